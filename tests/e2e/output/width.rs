//! Output that is wider than the terminal: what is left out, and where lines end.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::actor::{Actor, ChildRequest};
use crate::objects::create;
use crate::oracle::{self, Attached};
use crate::support::{Ran, file, finish, run, shmadm};
use crate::terminal::{Terminal, on_terminal};

/// Starts an actor as a program of a directory with a long name.
fn program(name: &str) -> Actor {
    Actor::spawn(Command::new("/proc/self/exe").arg0(format!("/usr/lib/long/path/3.11/site-packages/{name}")))
}

#[track_caller]
fn assert_fits(ran: &Ran, columns: usize) {
    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= columns, "{columns}: {line:?} in {ran:#?}");
    }
}

#[apply(test)]
fn the_programs_of_a_long_directory_can_be_told_apart() {
    let (mut reader, mut writer) = (program("reader"), program("writer"));
    let id = reader.create(1234, 4096);
    writer.attach(id);
    for options in [&["-p"][..], &["-o", "+LCOMMAND"], &["-o", "id,ccommand,lcommand,ctime,atime,key"]] {
        let ran = on_terminal(shmadm().args(["list", "--color=never"]).args(options), 80).exits(0);
        assert_fits(&ran, 80);
        let row = ran.stdout.lines().nth(1).unwrap();
        assert!(row.contains("writer --actor"), "{ran:#?}");
        assert!(row.contains("reader --actor") || !ran.stdout.contains("CCOMMAND"), "{ran:#?}");
    }
}

#[apply(test)]
fn the_longest_names_of_programs_fit() {
    create("libpod_rootless_lock_1000", 4096);
    create("sem.mp-abc", 32);
    for columns in [60, 80] {
        let ran = on_terminal(shmadm().args(["identify", "--color=never"]), columns).exits(0);
        assert_fits(&ran, columns.into());
        assert_eq!(ran.stdout.lines().count(), 3, "{ran:#?}");
    }
}

#[apply(test)]
fn added_columns_replace_those_of_the_default_table() {
    let mut actor = program("server");
    let id = actor.create(1234, 4096);
    actor.attach(id);
    let pids: Vec<String> = (0..8).map(|_| actor.number(ChildRequest::Fork).to_string()).collect();
    let ran = on_terminal(shmadm().args(["list", "-o", "+PIDS,COMMANDS", "--color=never"]), 80).exits(0);
    assert_fits(&ran, 80);
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:#?}");
    assert!(ran.stdout.contains("PIDS") && ran.stdout.contains("COMMANDS") && !ran.stdout.contains("MODE"), "{ran:#?}");
    // The pids that are shown are whole.
    let row = ran.stdout.lines().nth(1).unwrap();
    let shown = row.split_whitespace().find(|word| word.ends_with(",…")).unwrap();
    let shown: Vec<&str> = shown.split(',').collect();
    let (rest, shown) = shown.split_last().unwrap();
    assert!(*rest == "…" && !shown.is_empty(), "{row}");
    let first = actor.pid().to_string();
    assert!(shown.iter().all(|pid| **pid == first || pids.contains(&(*pid).to_owned())), "{row}: {pids:?}");
    let wide = on_terminal(shmadm().args(["list", "-o", "+MODE,PIDS", "--color=never"]), 80).exits(0);
    assert!(wide.stdout.contains("MODE"), "a column that was asked for is shown: {wide:#?}");
    assert_fits(&on_terminal(shmadm().args(["list", "-o", "+PIDS,COMMANDS", "--color=never"]), 60).exits(0), 60);
}

#[apply(test)]
fn columns_is_the_width_if_standard_output_is_not_a_terminal() {
    let mut reader = program("reader");
    reader.create(1234, 4096);
    let list = |columns: &str, options: &[&str]| finish(shmadm().env("COLUMNS", columns).arg("list").args(options));
    let ran = list("60", &[]).exits(0);
    assert_fits(&ran, 60);
    assert!(ran.stdout.contains("0x000004d2") && !ran.stdout.contains("site-packages"), "{ran:#?}");
    for format in ["--json", "--format=csv", "--format=tsv"] {
        let options = &["-o", "id,ccommand", format][..];
        assert_eq!(list("20", options).stdout, run([&["list"], options].concat()).stdout, "{format}");
    }
    for invalid in ["", "0", "-5", "wide"] {
        assert!(list(invalid, &[]).exits(0).stdout.contains("/usr/lib/long/path/3.11/site-packages/reader"));
    }
}

#[apply(test)]
fn the_longest_name_of_an_object_fits_and_hides_no_column() {
    create(&"x".repeat(255), 4096);
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "empty.json", b"{\"schema\":1,\"segments\":[],\"objects\":[]}");
    for (arguments, code) in [
        (&["list"][..], 0),
        (&["list", "--posix"], 0),
        (&["prune", "--dry-run", "--unattached", "--older-than", "0s"], 0),
        (&["diff", empty.to_str().unwrap()], 1),
    ] {
        let ran = finish(shmadm().env("COLUMNS", "80").args(arguments)).exits(code);
        assert_fits(&ran, 80);
        assert!(ran.stdout.contains("OWNER") && ran.stdout.contains("/xxx"), "{ran:#?}");
    }
}

#[apply(test)]
fn an_ellipsis_is_printed_only_in_a_utf_8_locale() {
    let mut reader = program("reader");
    reader.create(1234, 4096);
    for (variables, ellipsis) in [
        (&[("LC_ALL", "C")][..], "..."),
        (&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")], "..."),
        (&[("LC_ALL", ""), ("LC_CTYPE", "C"), ("LANG", "en_US.UTF-8")], "..."),
        (&[], "..."),
        (&[("LANG", "de_DE.utf8")], "…"),
        (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], "…"),
    ] {
        let mut command = shmadm();
        command.env_clear().env("COLUMNS", "40").envs(variables.iter().copied());
        let ran = finish(command.args(["list", "-o", "id,key,ccommand"])).exits(0);
        assert_fits(&ran, 40);
        assert!(ran.stdout.contains(&format!("{ellipsis}/reader --actor")), "{variables:?}: {ran:#?}");
    }
    for command in ["list", "who", "stat", "prune", "rm"] {
        let help = run([command, "--help"]).exits(0).stdout;
        assert!(help.is_ascii(), "{help}");
    }
}

#[apply(test)]
fn messages_are_broken_between_words() {
    let id = oracle::create(1234, 4096, 0o600);
    let _attached = Attached::new(id);
    let plain = run(["rm", "0x4d2", "--color=never"]).exits(5).stderr;
    let mut command = shmadm();
    command.args(["rm", "0x4d2", "--color=never"]);
    let (code, shown) = Terminal::start(command, 50, &[2]).end();
    let shown = shown.replace("\r\n", "\n");
    assert_eq!(code, Some(5));
    let unfit: Vec<&str> =
        shown.lines().filter(|line| line.chars().count() > 50 && line.trim().contains(' ')).collect();
    assert_eq!(unfit, [] as [&str; 0], "{shown}");
    assert!(shown.lines().count() > plain.lines().count(), "{shown}");
    let joined: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(joined, plain.split_whitespace().collect::<Vec<_>>());
    assert!(shown.contains("`shmadm rm --color=never --force 0`"), "a command is not broken: {shown}");
}

#[apply(test)]
fn several_views_fit_a_terminal() {
    let mut actor = program("server");
    let id = actor.create(1234, 4096);
    actor.attach(id);
    let list = ["list", "-t", "-p", "-c", "--color=never"];
    let ran = on_terminal(shmadm().args(list), 80).exits(0);
    assert_fits(&ran, 80);
    assert!(["ATIME", "CTIME", "LPID", "MODE"].iter().all(|name| ran.stdout.contains(name)), "{ran:#?}");
    let wide = run(list).exits(0).stdout;
    assert!(["CREATOR_GROUP", "LCOMMAND", "IDLE"].iter().all(|name| wide.contains(name)), "{wide}");
}

#[apply(test)]
fn the_reason_for_a_removal_is_shown_on_a_narrow_terminal() {
    create("x", 4096);
    let prune = ["prune", "-n", "--posix", "--unattached", "--older-than", "0s", "--color=never"];
    let ran = on_terminal(shmadm().args(prune), 80).exits(0);
    assert_fits(&ran, 80);
    assert!(ran.stdout.contains("  nothing shows which process "), "{ran:#?}");
}

/// Names and commands are never broken: a line can be wider if it is one word or a command.
#[apply(test)]
fn no_line_is_wider_than_a_terminal_of_60_columns() {
    let mut actor = program("server");
    let id = actor.create(0x4d2, 4096);
    actor.attach(id);
    let id = id.to_string();
    let unused = oracle::create(0, 8192, 0o600).to_string();
    let name = "application-server.cache.00001";
    create(name, 4096);
    let _open = std::fs::File::open(format!("/dev/shm/{name}")).unwrap();
    let object = format!("/{name}");
    let directory = tempfile::tempdir().unwrap();
    let empty = file(directory.path(), "empty.json", b"{\"schema\":1,\"segments\":[],\"objects\":[]}");
    let (empty, program) = (empty.to_str().unwrap(), env!("CARGO_BIN_EXE_shmadm"));
    let helps = shmadm::COMMANDS.iter().map(|command| format!("help {}", command.name));
    let lines = [
        "help",
        "list --foo",
        "list --state foo",
        "create --size 12x",
        "create --mode 99999",
        "usage --by foo",
        "set 0",
        "set 0 --lock --unlock",
        "stat abc",
        "list",
        "list -t",
        "list -p",
        "list -c",
        "list -t -p -c",
        "list --all-ns",
        "list --sysv --all-ns",
        "list --posix",
        "list --list-columns",
        "who",
        "who --mappings",
        &format!("who --mappings {object}"),
        &format!("stat {id} {object}"),
        &format!("map {id}"),
        &format!("map {object}"),
        "limits",
        "usage --all",
        "usage --by process",
        "top --batch --rounds 1",
        "identify",
        "prune -n --unattached --older-than 0s",
        &format!("rm -n -f {id} {unused} {object}"),
        &format!("rm {id} {object}"),
        &format!("detach {id}"),
        "create --key 0x4d2 --size 99999999",
        &format!("diff {empty}"),
        "demo --rounds 1 --interval 0s",
        &format!("leakcheck {program} create"),
        &format!("trace {program} create --key 0x4d2 --exclusive"),
    ];
    let mut wide = Vec::new();
    for line in lines.into_iter().map(str::to_owned).chain(helps) {
        let mut command = shmadm();
        command.args(line.split_whitespace()).env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
        let (_, shown) = Terminal::start(command, 60, &[1, 2]).end();
        assert!(!shown.is_empty(), "{line}");
        for shown in shown.lines().filter(|line| line.chars().count() > 60) {
            let text = shown.trim();
            if text.contains(' ') && !text.starts_with("shmadm ") && !text.starts_with("`shmadm ") {
                wide.push(format!("{line}: {shown}"));
            }
        }
    }
    assert_eq!(wide, [] as [&str; 0], "{}", wide.join("\n"));
}
