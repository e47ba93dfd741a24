//! Every command in a hint runs as printed, for the user who gets it.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::actor::{Actor, Request};
use crate::fixtures::{dump_path, sysctl};
use crate::objects::create;
use crate::oracle::{self, Attached};
use crate::sandbox::with_no_capabilities;
use crate::support::{NOBODY, Ran, file, finish, mount_tmpfs, reachable_copy, run, shmadm, shmadm_as};

/// Runs a command that fails, and then the commands in its hints. Returns them.
#[track_caller]
fn hints_run(arguments: &[&str]) -> Vec<String> {
    hints_of(finish(shmadm().args(arguments)), None, Path::new("/"))
}

/// Does the same as another user.
#[track_caller]
fn hints_run_as(uid: u32, arguments: &[&str]) -> Vec<String> {
    hints_of(finish(shmadm_as(uid).args(arguments)), Some(uid), Path::new("/"))
}

#[track_caller]
fn hints_of(ran: Ran, uid: Option<u32>, directory: &Path) -> Vec<String> {
    let lines = ran.stderr.lines().filter_map(|line| line.strip_prefix("hint: "));
    let commands: Vec<String> =
        lines.filter_map(|line| Some(line.strip_suffix('`')?.split_once('`')?.1.to_owned())).collect();
    assert!(!commands.is_empty(), "{ran:#?}");
    for command in &commands {
        let is_placeholder = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        assert!(!command.contains('…') && !command.split(' ').any(is_placeholder), "{command}");
        let Some((sudo, arguments)) = command.split_once("shmadm ").filter(|(sudo, _)| ["", "sudo "].contains(sudo))
        else {
            continue;
        };
        let mut shell = Command::new("bash");
        let program = reachable_copy();
        shell.arg("-c").arg(format!("{} {arguments}", program.display())).stdin(Stdio::null()).current_dir(directory);
        if let Some(uid) = uid.filter(|_| sudo.is_empty()) {
            shell.uid(uid).gid(uid);
        }
        let replay = finish(&mut shell);
        assert_eq!(replay.code, Some(0), "{command}: {replay:#?}\nafter {ran:#?}");
    }
    commands
}

#[apply(test)]
#[requires(Root)]
fn hints_of_commands_on_segments_run_as_printed() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let keyed = oracle::create(0x4d2, 4096, 0o600).to_string();
    assert_eq!(hints_run(&["read", &id, "--peek", "--length", "4"]), [format!("shmadm read {id} --length 4")]);
    assert_eq!(hints_run(&["read", "0x4d2", "--json", "--peek"]), ["shmadm read 0x4d2 --json"]);
    let attached = Attached::new(id.parse().unwrap());
    assert_eq!(
        hints_run(&["rm", "-n", &id, "--ignore-missing"]),
        [format!("shmadm rm -n --ignore-missing --force {id}")]
    );
    assert_eq!(hints_run(&["rm", &id, &keyed]), [format!("shmadm rm --force {id}")]);
    drop(attached);
    hints_run(&["stat", "99"]);
    hints_run(&["read", "0x99"]);
    let other = oracle::create(0, 4096, 0o600).to_string();
    assert_eq!(
        hints_run(&["attach", &other, "--for", "0s", "--address", "0x7123"]),
        [format!("shmadm attach {other} --for 0s --address 0x7123 --round")]
    );
}

#[apply(test)]
#[requires(Root)]
fn hints_have_the_longest_name_of_an_object() {
    // Quoted, each byte takes four.
    let name = format!("/{}", "'".repeat(255));
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create(&name[1..], 4096) });
    let quoted = format!("'/{}'", r"'\''".repeat(255));
    assert_eq!(hints_run(&["--color=never", "rm", &name]), [format!("shmadm --color=never rm --force {quoted}")]);
    create(&name[1..], 8192);
    assert_eq!(
        hints_run(&["create", &name, "--size", "4K"]),
        [format!("shmadm set {quoted} --size 4096"), format!("shmadm create {quoted}")]
    );
}

#[apply(test)]
#[requires(Root)]
fn hints_of_create_keep_what_was_typed() {
    oracle::create(0x4d2, 4096, 0o600);
    let typed = |options: &[&str]| hints_run(&[&["create", "--key", "0x4d2"], options].concat());
    assert_eq!(typed(&["--size", "1M", "--mode", "660", "--json"]), ["shmadm create --key 0x4d2 --json"]);
    assert_eq!(typed(&["--mode", "660", "--hold"])[1..], ["shmadm create --key 0x4d2 --hold"]);
    run(["detach", "0x4d2"]).exits(0);
    assert_eq!(
        typed(&["--exclusive", "--mode=660", "-n"]),
        ["shmadm create --key 0x4d2 --mode=660 -n", "shmadm create --exclusive --mode=660 -n --key random"]
    );
    // Only what the segment does not meet is left out.
    assert_eq!(typed(&["--exclusive", "--size", "8K", "--mode", "660"])[0], "shmadm create --key 0x4d2 --mode 660");
    assert_eq!(typed(&["--exclusive", "--size", "1K", "--mode", "600"])[0], "shmadm create --key 0x4d2 --size 1K");
    assert_eq!(hints_run(&["create", "--size", "0", "--key=0x77"]), ["shmadm create --key=0x77"]);
    sysctl("shmmni", 1);
    hints_run(&["create"]);
    sysctl("shmmni", 4096);
    sysctl("shmmax", 4096);
    assert_eq!(hints_run(&["create", "--size", "8192"]), ["sysctl -w kernel.shmmax=8192"]);
    assert_eq!(hints_run_as(NOBODY, &["create", "--size", "8192"]), ["sudo sysctl -w kernel.shmmax=8192"]);
    sysctl("shm_rmid_forced", 1);
    let hints = hints_run(&["create", "--mode", "600"]);
    assert_eq!(hints, ["shmadm create --mode 600 --hold", "sysctl -w kernel.shm_rmid_forced=0"]);
    run(["detach", oracle::rows().last().unwrap().get("shmid")]);
    let hints = hints_run(&["create", "--size", "0"]);
    assert_eq!(hints, ["shmadm create --hold", "sysctl -w kernel.shm_rmid_forced=0"]);
    run(["detach", oracle::rows().last().unwrap().get("shmid")]);
    let hints = hints_run(&["demo", "--keep", "--interval", "0s"]);
    assert_eq!(hints, ["sysctl -w kernel.shm_rmid_forced=0", "shmadm demo --interval 0s"]);
}

#[apply(test)]
#[requires(Root)]
fn hints_consider_the_rights_of_the_caller_too() {
    let id = oracle::create(0x4d2, 4096, 0o644);
    let name = id.to_string();
    let as_nobody = |arguments: &[&str]| finish(shmadm_as(NOBODY).args(arguments));
    let denied = "mode 0644, owner root:root: user nobody (other) has read access only";
    let ran = as_nobody(&["attach", &name, "--address", "0x123"]).exits(1).says(&format!("; {denied}\n"));
    assert!(!ran.stderr.contains("hint:"), "{ran:?}");
    as_nobody(&["attach", &name, "--address", "0x123", "--read-only"]).exits(1).says("hint: ");
    sysctl("shm_rmid_forced", 1);
    let hints = hints_run_as(NOBODY, &["read", &name, "--text"]);
    assert_eq!(hints, [format!("shmadm attach {name} --read-only --background")]);
    // The holder belongs to the caller, but only root may remove the segment.
    as_nobody(&["rm", &name]).exits(5).says("; only root can remove it\n").says("`shmadm detach ");
    as_nobody(&["detach", &name]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn hints_for_another_user_run_as_printed() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let attached = Attached::new(id.parse().unwrap());
    assert_eq!(hints_run_as(NOBODY, &["read", &id, "--text"]), [format!("sudo shmadm read {id} --text")]);
    assert_eq!(hints_run_as(NOBODY, &["set", &id, "--mode", "640"]), [format!("sudo shmadm set --mode 640 {id}")]);
    assert_eq!(hints_run_as(NOBODY, &["who", &id]), [format!("sudo shmadm who {id}")]);
    drop(attached);
    let ran = finish(shmadm_as(NOBODY).args(["read", &id, "--peek"])).exits(1).says("no process has it attached");
    assert!(!ran.stderr.contains("hint:"), "it could not be read without --peek either: {ran:#?}");
    let own = oracle::create(0, 4096, 0o400);
    oracle::set(own, NOBODY, NOBODY, 0o400);
    let hints = hints_run_as(NOBODY, &["write", &own.to_string(), "x"]);
    assert_eq!(hints, [format!("shmadm set {own} --mode 0600")]);
    assert_eq!(oracle::row(own).unwrap().get("perms"), "600");
    assert_eq!(hints_run_as(NOBODY, &["rm", &id]), [format!("sudo shmadm rm {id}")]);
}

#[apply(test)]
#[requires(Root)]
fn hints_about_files_run_as_printed() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    let dump = dump_path(directory.path());
    run(["dump", &id, &dump]).exits(0);
    assert_eq!(hints_run(&["dump", "0x4d2", &dump]), [format!("shmadm dump 0x4d2 {dump} --force")]);
    let hints = hints_run(&["restore", &dump, "--mode", "600", "--key", "0x4d2"]);
    assert_eq!(hints[0], format!("shmadm restore {dump} --mode 600 --key random"));
    let link = directory.path().join("link");
    symlink("other", &link).unwrap();
    let link = link.to_string_lossy().into_owned();
    let target = directory.path().join("other").to_string_lossy().into_owned();
    let id = oracle::create(0x4d3, 4096, 0o600).to_string();
    assert_eq!(hints_run(&["dump", &id, &link]), [format!("shmadm dump {id} --output {target}")]);
    assert_eq!(hints_run(&["metrics", "-o", &link]), [format!("shmadm metrics --output {target}")]);
    hints_run(&["diff", "/etc/hostname"]);
    let list = file(directory.path(), "a\n'\u{202e}b", run(["prune", "-n", "--json"]).stdout.as_bytes());
    std::fs::set_permissions(&list, Permissions::from_mode(0o666)).unwrap();
    let hints = hints_run(&["rm", "--ignore-missing", "--from", &list.to_string_lossy()]);
    let name = format!("{}/a\\n\\'\\342\\200\\256b", directory.path().display());
    assert_eq!(hints, [format!("shmadm rm --ignore-missing --from - < $'{name}'")]);
}

#[apply(test)]
#[requires(Root)]
fn hints_of_other_commands_run_as_printed() {
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    run(["write", &id, "no integer of the demo"]).exits(0);
    hints_run(&["demo", "--key", "0x4d2", "--interval", "0s"]);
    let hints = hints_run(&["demo", "writer", "--key", "0x4d2", "--rounds", "1", "--interval=0s"]);
    assert!(hints[0].starts_with("shmadm demo writer --rounds 1 --interval=0s --key 0x"), "{hints:?}");
    let actor = Actor::start();
    let ns = actor.pid().to_string();
    let ran = run(["--ns", &ns, "demo", "--keep", "--interval", "0s"]).exits(0);
    assert!(ran.stdout.contains(&format!("To destroy it, run: `shmadm --ns {ns} rm ")), "{ran:#?}");
    hints_run(&["prune", "--state", "idle", "--json"]);
    hints_run(&["prune", "--unattached", "--older-than", "0s"]);
    hints_run(&["metrics", "--json"]);
    let [first, second, third] = [5, 6, 7].map(|key| oracle::create(key, 4096, 0o600).to_string());
    for usage in [
        &["delete", &first][..],
        &["delete"],
        &["rm", "-m", &second],
        &["list", "-i"],
        &["-m"],
        &["write", &third, "-hello"],
    ] {
        hints_run(usage);
    }
    let create = reachable_copy().display().to_string();
    hints_run(&["leakcheck", "--isolate", "never", "--", &create, "create", "-q"]);
}

#[apply(test)]
#[requires(Root)]
fn hints_leave_out_the_namespace_and_the_directory_where_these_are_refused() {
    let actor = Actor::start();
    let pid = actor.pid().to_string();
    assert_eq!(hints_run(&["--ns", &pid, "usage"]), ["shmadm usage"]);
    mount_tmpfs(None);
    assert_eq!(hints_run(&["--dir", "/mnt", "usage", "--json"]), ["shmadm usage --json"]);
    assert_eq!(hints_run(&["top", "--ns", &pid, "--batch", "--rounds=1"]), ["shmadm top --batch --rounds=1"]);
    let hints = run(["--ns", &pid, "trace", "-p", &pid]).exits(125);
    assert!(hints.stderr.contains(&format!("hint: omit --ns: `shmadm trace -p {pid}`\n")), "{hints:?}");
}

#[apply(test)]
#[requires(Root)]
fn sudo_is_not_suggested_to_root() {
    finish(shmadm_as(NOBODY).args(["create", "-q"])).exits(0);
    let mut command = shmadm();
    let ran = finish(with_no_capabilities(command.args(["rm", oracle::rows()[0].get("shmid")])));
    let ran = ran.exits(4).says("CAP_SYS_ADMIN is missing");
    assert!(!ran.stderr.contains("sudo"), "{ran:#?}");
}
