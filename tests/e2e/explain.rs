//! Causes that name what holds a limit, and failures of many segments.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{HOSTILE, assert_fields, hostile_process, sysctl};
use crate::oracle;
use crate::pool::HUGE;
use crate::sandbox::{with_empty_proc, without};
use crate::support::{NOBODY, Ran, finish, reachable_copy, run, shmadm, shmadm_as};
use crate::terminal::{WIDE, on_terminal};

#[track_caller]
fn cause(ran: &Ran) -> &str {
    ran.stderr.lines().find_map(|line| line.strip_prefix("cause: ")).unwrap_or_else(|| panic!("{ran:#?}"))
}

/// Creates orphans: segments whose creator has exited.
fn orphans(count: usize) {
    (0..count).for_each(|_| drop(run(["create", "-q"]).exits(0)));
}

#[apply(test)]
#[requires(Root)]
fn the_holders_of_all_ids_are_named() {
    let mut holder = Actor::start();
    for _ in 0..4 {
        let id = holder.create(0, 4096);
        holder.attach(id);
        oracle::remove(id);
    }
    let attached = holder.create(0, 4096);
    holder.attach(attached);
    let (mut second, shared) = (Actor::start(), holder.create(0, 4096));
    second.attach(shared);
    orphans(3);
    finish(shmadm_as(NOBODY).args(["create", "-q"])).exits(0);
    oracle::create(0, 4096, 0o600);
    sysctl("shmmni", 11);
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", holder.pid())).unwrap();
    let command = command.trim_end_matches('\0').replace('\0', " ");
    let (pid, own) = (holder.pid(), std::process::id());
    let by = format!("by pid {pid}, {command}");
    let ran = run(["create"]).exits(1);
    let cause = cause(&ran).to_owned();
    let start = format!(
        "all 11 segment ids of this IPC namespace are in use (kernel.shmmni): 4 orphans (3 created by user root), \
         4 marked for destruction (all attached {by}), 2 in use (1 attached by each of pid "
    );
    assert!(cause.starts_with(&start), "{ran:#?}");
    assert!(
        [holder.pid(), second.pid()].iter().all(|pid| cause.contains(&format!(" pid {pid}, {command}"))),
        "{cause}"
    );
    assert!(cause.contains(&format!("1 idle (created by pid {own}, ")), "{ran:#?}");
    // Who is not permitted to inspect the processes still learns who created the segments.
    let ran = finish(shmadm_as(NOBODY).arg("create")).exits(1);
    ran.says("4 marked for destruction (all created by user root), 2 in use (all created by user root)");
}

#[apply(test)]
fn a_segment_that_exceeds_memory_is_not_to_be_filled() {
    let ran = run(["create", "--size", "1P", "--fill", "1", "--key", "1"]).exits(1);
    ran.says(
        "hint: create it without allocating or reserving memory: `shmadm create --size 1P --key 1 --no-reserve`\n",
    );
}

#[apply(test)]
#[requires(Root)]
fn the_holders_of_all_pages_are_named() {
    let page = oracle::page_size();
    let mut holder = Actor::start();
    let id = holder.create(0, 6 * page);
    holder.attach(id);
    orphans(2);
    sysctl("shmall", 10);
    let ran = run(["create", "--size", &(5 * page).to_string()]).exits(1);
    let start = format!(
        "5 more pages would exceed the limit of 10 for all segments, with 8 in use (kernel.shmall): 2 in \
         orphans (all created by user root), 6 in attached segments (all attached by pid {}, ",
        holder.pid()
    );
    assert!(cause(&ran).starts_with(&start), "{ran:#?}");
    ran.says("hint: list the 2 orphans: `shmadm prune --dry-run --older-than 0s`");
}

#[apply(test)]
#[requires(Root, HugePages(HUGE))]
fn missing_memory_and_huge_pages_are_named_after_a_full_limit() {
    sysctl("shmall", 5);
    let pages = "pages would exceed the limit of 5 for all segments, with 0 in use (kernel.shmall); ";
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "0" {
        let ran = run(["create", "--size", "64P"]).exits(1);
        assert!(cause(&ran).contains(&format!("{pages}the size exceeds memory and swap: ")), "{ran:?}");
        ran.says("hint: create it without allocating or reserving memory: ");
    }
    let huge = ["create", "--huge=2M", "--size", "64P"];
    let lacking = " huge pages of 2 MiB required; free and not reserved in the pool: ";
    let denied = "huge pages require CAP_IPC_LOCK or membership in the group vm.hugetlb_shm_group";
    let ran = run(huge).exits(1);
    assert!(cause(&ran).contains(pages) && cause(&ran).contains(lacking), "{ran:?}");
    let ran = ran.says("; the enlarged pool would exceed the memory of the machine, ");
    assert!(!ran.stderr.contains("enlarge the pool"), "{ran:?}");
    let ran = finish(shmadm_as(NOBODY).args(huge)).exits(1);
    assert!(cause(&ran).contains(&format!("{pages}{denied}")) && cause(&ran).contains(lacking), "{ran:?}");
    sysctl("shmall", 1 << 60);
    orphans(1);
    sysctl("shmmni", 1);
    let ids = "; the only segment id of this IPC namespace is in use (kernel.shmmni)";
    let ran = run(huge).exits(1);
    assert!(cause(&ran).contains(lacking) && cause(&ran).contains(ids), "{ran:?}");
    let ran = finish(shmadm_as(NOBODY).args(huge)).exits(4);
    assert!(cause(&ran).starts_with(denied) && cause(&ran).contains(ids), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn all_limits_that_a_segment_exceeds_are_named_in_the_order_of_the_kernels_checks() {
    orphans(1);
    sysctl("shmmni", 1);
    sysctl("shmall", 1);
    sysctl("shmmax", 4096);
    let pages = "2 more pages would exceed the limit of 1 for all segments, with 1 in use (kernel.shmall): 1 in \
                 orphans (created by user root)";
    let ids = "the only segment id of this IPC namespace is in use (kernel.shmmni): 1 orphan (created by user root)";
    let shmmax = "the size exceeds the limit of 4 KiB for one segment (kernel.shmmax)";
    let create = |size: &str| run(["create", "--size", size]).exits(1);
    assert_eq!(cause(&create("8K")), format!("{shmmax}; {pages}; {ids}"));
    sysctl("shmmax", 8192);
    assert_eq!(cause(&create("8K")), format!("{pages}; {ids}"));
    sysctl("shmall", 3);
    assert_eq!(cause(&create("8K")), ids);
    sysctl("shmmni", 2);
    run(["create", "--size", "8K"]).exits(0);
    sysctl("shmmax", 1 << 50);
    sysctl("shmall", 1 << 40);
    assert!(cause(&create("256T")).ends_with(" (vm.overcommit_memory); all 2 segment ids of this IPC namespace are in use (kernel.shmmni): 2 orphans (all created by user root)"));
}

#[apply(test)]
#[requires(Root)]
fn orphans_that_the_caller_may_not_remove_are_listed() {
    orphans(40);
    sysctl("shmmni", 40);
    let ran = finish(shmadm_as(NOBODY).arg("create")).exits(1);
    ran.says("hint: list the 40 orphans: `shmadm list --state orphan`")
        .says("hint: raise the limit: `sudo sysctl -w kernel.shmmni=80`");
}

#[apply(test)]
#[requires(Root)]
fn the_same_failure_of_many_segments_is_one_error() {
    orphans(40);
    let names: Vec<String> = oracle::rows().iter().map(|row| row.get("shmid").to_owned()).collect();
    let as_nobody = |arguments: &[&str]| finish(shmadm_as(NOBODY).args(arguments));
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let some = format!("40 segments ({}, {}, {} and 37 more): ", all[0], all[1], all[2]);
    let lines = |ran: Ran| ran.stderr.lines().map(str::to_owned).collect::<Vec<_>>();
    let removal = lines(as_nobody(&[&["rm"], &*all].concat()).exits(4));
    assert_eq!(
        removal,
        [
            format!("error: cannot remove {some}Operation not permitted (EPERM, shmctl IPC_RMID)"),
            "cause: user nobody is neither the owner (root) nor the creator (root), and CAP_SYS_ADMIN is missing"
                .into(),
            format!("hint: root can do this: `sudo shmadm rm {}`", names.join(" ")),
        ]
    );
    let change = lines(as_nobody(&[&["set", "--mode", "600"], &*all].concat()).exits(4));
    assert_eq!(change[0], format!("error: cannot change {some}Operation not permitted (EPERM, shmctl IPC_SET)"));
    assert_eq!(change.len(), 3, "{change:#?}");
    let prune = ["prune", "--yes", "--any-owner", "--older-than", "0s"];
    let pruned = lines(as_nobody(&prune).exits(4));
    assert_eq!(pruned[0], removal[0]);
    assert_eq!(pruned.last().unwrap(), "hint: root can do this: `sudo shmadm prune --yes --any-owner --older-than 0s`");
    let report = as_nobody(&[&prune[..], &["--json"]].concat()).exits(4).json();
    assert_eq!(report["failed"].as_array().unwrap().len(), 40, "{report}");
    let failure = json!({ "target": names[7], "errno": "EPERM", "code": 4,
        "error": format!("cannot remove segment {}: Operation not permitted (EPERM, shmctl IPC_RMID)", names[7]) });
    assert_fields(&report["failed"][7], failure);
    let stat = lines(run([&["stat"], &*all, &["0x7007", "0x7008", "0x7009"]].concat()).exits(3));
    assert_eq!(
        stat[0],
        "error: cannot find 3 segments (0x7007, 0x7008 and 0x7009): \
                         No such file or directory (ENOENT, shmget)"
    );
    for command in ["stat", "who", "identify"] {
        let ran = run([command, "0x7007", "0x7008", "0x7009", "--json"]).exits(3);
        assert_eq!(format!("error: {}", ran.json()["error"]["message"].as_str().unwrap()), stat[0]);
        assert_eq!(lines(ran)[0], stat[0]);
    }
}

#[apply(test)]
fn a_segment_that_a_sandbox_keeps_is_named() {
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let ran = finish(without(shmadm().args(["create", "--fill", "1"]), libc::SYS_shmctl, None, errno));
        let rows = oracle::rows();
        let id = rows.last().unwrap().get("shmid");
        assert!(matches!(ran.code, Some(1 | 4)), "{ran:#?}");
        let ran = ran.prints_nothing().says(&format!("segment {id} exists and cannot be removed: "));
        assert!(!ran.stderr.contains("mmap_min_addr") && ran.stderr.contains("seccomp filter"), "{ran:#?}");
        let held = finish(without(shmadm().args(["create", "--hold"]), libc::SYS_shmctl, None, errno));
        held.says("error: cannot attach segment ").says(&format!("({errno:?}, shmctl IPC_STAT)"));
        let refused = finish(without(shmadm().arg("create"), libc::SYS_shmget, None, errno));
        assert!(cause(&refused).contains("a seccomp filter"), "{refused:#?}");
    }
}

#[apply(test)]
fn the_demo_reports_what_a_sandbox_denies() {
    for json in [&[][..], &["--json"]] {
        let ran = finish(without(
            shmadm().args(["demo", "--interval", "0s"]).args(json),
            libc::SYS_shmctl,
            None,
            Errno::EPERM,
        ));
        let ran = ran.exits(4).says("error: cannot attach segment ").says("(EPERM, shmctl IPC_STAT)");
        assert!(!ran.stderr.contains("missing field"), "{ran:#?}");
        assert!(cause(&ran).contains("exists and cannot be removed: "), "{ran:#?}");
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran:#?}");
        if !json.is_empty() {
            let id = oracle::rows().last().unwrap().get("shmid").to_owned();
            let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
            let expected = json!({"kind": "permission", "errno": "EPERM", "call": "shmctl IPC_STAT", "target": id});
            assert_fields(&last["error"], expected);
        }
    }
}

#[apply(test)]
fn a_segment_that_a_sandbox_keeps_is_named_by_each_command_that_creates_one() {
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump").to_str().unwrap().to_owned();
    let id = oracle::create(0, 4096, 0o600).to_string();
    run(["dump", &id, "--output", &dump]).exits(0);
    let restore = ["restore", &dump, "--key", "private"];
    let restore_held = [&restore[..], &["--hold"]].concat();
    let halves = [["demo", "writer", "--key", "0x51"], ["demo", "reader", "--key", "0x52"]];
    for command in [&restore[..], &restore_held, &halves[0], &halves[1]] {
        let ran = finish(without(shmadm().args(command), libc::SYS_shmctl, None, Errno::EPERM)).exits(4);
        let id = oracle::rows().last().unwrap().get("shmid").to_owned();
        ran.says(&format!("segment {id} exists and cannot be removed: "));
    }
}

#[apply(test)]
fn without_a_cause_in_the_kernels_rules_a_denial_is_not_explained_by_an_address() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let ran = finish(without(shmadm().args(["read", &id]), libc::SYS_shmat, None, Errno::EPERM)).exits(4);
    assert_eq!(cause(&ran), "denied by a security module or a seccomp filter");
}

#[apply(test)]
fn json_on_a_terminal_escapes_what_could_change_it() {
    let _process = hostile_process();
    assert!(HOSTILE.windows(3).any(|bytes| bytes == "\u{202e}".as_bytes()));
    let on_terminal_json = |arguments: &[&str]| {
        let ran = on_terminal(shmadm().args(arguments), WIDE);
        assert!(!ran.stdout.contains(['\u{9b}', '\u{202e}', '\x1b']), "{ran:#?}");
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    };
    let id = oracle::rows()[0].get("shmid").to_owned();
    for arguments in [&["who", "--json"][..], &["list", "--json", "-o", "ID,CCOMMAND"], &["rm", &id, "--json"]] {
        assert!(on_terminal_json(arguments).to_string().contains('\u{9b}'), "{arguments:?}");
    }
    for arguments in [
        &["write", &id, "--json", "--input", "no\u{9b}\u{202e}file"][..],
        &["stat", "\u{9b}\u{202e}", "--json"],
        &["trace", "--json", "--", "./\u{9b}\u{202e}"],
    ] {
        assert!(on_terminal_json(arguments)["error"]["message"].is_string());
    }
    run(["create", "--key", "5"]).exits(0);
    run(["write", "0x5", "a\u{9b}\u{202e}b"]).exits(0);
    assert_eq!(on_terminal_json(&["read", "0x5", "--text", "--json"])["text"], "a\u{9b}\u{202e}b");
    let leakcheck = ["leakcheck", "--isolate", "never", "--report", "/dev/stdout", "--", "/bin/true", "\u{9b}"];
    assert_eq!(on_terminal_json(&leakcheck)["command"][1], "\u{9b}");
    let piped = run(["read", "0x5", "--text", "--json"]).exits(0);
    assert!(piped.stdout.contains('\u{202e}'), "only a terminal is protected: {piped:#?}");
}

#[apply(test)]
#[requires(Root)]
fn without_proc_prune_does_not_know_how_much_memory_it_frees() {
    orphans(1);
    let mut command = shmadm();
    with_empty_proc(&mut command);
    let options = ["prune", "--any-owner", "--unattached", "--older-than", "0s"];
    let report = finish(command.args(options).args(["-n", "--json"])).exits(0).json();
    assert_eq!(report["freed"], json!({ "segments": 1, "objects": 0, "size": 4096, "rss": null, "swap": null }));
    let mut command = shmadm();
    with_empty_proc(&mut command);
    finish(command.args(options).arg("--yes")).exits(0).says("freed 1 segment (4 KiB)\n");
}

#[apply(test)]
#[requires(Root)]
fn segments_of_unmapped_users_are_not_the_callers_own() {
    orphans(1);
    finish(shmadm_as(1234).args(["create", "-q"])).exits(0);
    let unmapped = |arguments: &[&str]| {
        let mut command = Command::new(reachable_copy());
        command.args(arguments);
        in_user_namespace(&mut command);
        finish(&mut command)
    };
    let listed = unmapped(&["list", "--json"]).exits(0).json();
    assert!(listed["segments"].as_array().unwrap().iter().all(|row| row["uid"] == 65534), "{listed}");
    assert_eq!(unmapped(&["list", "--mine", "--json"]).exits(0).json()["segments"], json!([]));
    let report = unmapped(&["prune", "--yes", "--older-than", "0s", "--json"]).exits(0).json();
    assert_eq!((&report["removed"], &report["failed"]), (&json!([]), &json!([])));
    assert_eq!(oracle::rows().len(), 2);
}

#[apply(test)]
#[requires(Root)]
fn leakcheck_does_not_count_segments_of_unmapped_users_as_the_callers_own() {
    let mut command = Command::new(reachable_copy());
    command.args(["leakcheck", "--isolate", "never", "--", "sh", "-c", "echo ready; read line"]);
    in_user_namespace(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut leakcheck = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(leakcheck.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    finish(shmadm_as(1234).args(["create", "-q"])).exits(0);
    leakcheck.stdin.take().unwrap().write_all(b"\n").unwrap();
    let ran: Ran = leakcheck.wait_with_output().unwrap().into();
    ran.exits(0).says("1 new segment of other users not reported");
}

/// Moves a command to a user namespace that maps no user.
#[expect(unsafe_code, reason = "only pre_exec can move a child to a namespace")]
#[expect(clippy::disallowed_methods, reason = "tests prepare their own children")]
fn in_user_namespace(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec this makes one system call and nothing else.
    unsafe { command.pre_exec(|| unshare(CloneFlags::CLONE_NEWUSER).map_err(Into::into)) };
}
