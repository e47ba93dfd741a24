//! `leakcheck`: every leak of a command is reported, and nothing else is reported or changed.

mod attribution;
mod commands;
mod creations;
mod objects;
mod pass_through;
mod shared;
mod traced;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use serde_json::json;

use crate::actor::Request;
use crate::fixtures::{assert_fields, set_next_id, sysctl};
use crate::oracle;
use crate::sandbox::without;
use crate::support::{NOBODY, Ran, file, finish, run, shmadm, shmadm_as};

pub(crate) use commands::{Daemon, actor, create, is_alive, keys, leakcheck, making, piped, reported, reported_with};

#[apply(test)]
fn exits_with_the_commands_code_or_65_for_a_leak() {
    let leak = making(&[1]);
    for (script, code, leaks) in [
        ("true".to_owned(), 0, 0),
        (leak.clone(), 65, 1),
        (format!("{leak}; exit 1"), 1, 1),
        ("exit 130".to_owned(), 130, 0),
        (format!("{leak}; exit 130"), 130, 1),
        (format!("{leak}; kill -9 $$"), 137, 1),
        ("kill -TERM $$".to_owned(), 143, 0),
        // A real-time signal, which has no name.
        ("kill -40 $$".to_owned(), 168, 0),
        ("exit 255".to_owned(), 255, 0),
    ] {
        let (ran, report) = reported(&["--isolate", "always"], &script);
        let ran = ran.exits(code).prints_nothing();
        assert_eq!(report["exit_code"], if code == 65 { 0 } else { code }, "{script}");
        assert_eq!(report["leaked"].as_array().unwrap().len(), leaks, "{script}: {ran:?}");
        assert_eq!(ran.stderr.contains("leaked: segment 0 (key 0x00000001, 4 KiB"), leaks == 1, "{ran:?}");
    }
}

#[apply(test)]
fn leak_exit_code_is_configurable() {
    for code in ["0", "1", "255"] {
        let options = ["--isolate", "always", "--leak-exit-code", code];
        finish(&mut leakcheck(&options, &making(&[1]))).exits(code.parse().unwrap()).says("leaked: ");
    }
    finish(&mut leakcheck(&["--leak-exit-code", "256"], "true")).exits(125);
}

#[apply(test)]
fn a_removed_segment_is_not_said_to_end_with_its_namespace() {
    let ran = finish(&mut leakcheck(&["--isolate", "always", "--rm"], &making(&[1]))).exits(65).says("; removed\n");
    assert!(!ran.stderr.contains("IPC namespace"), "{ran:?}");
    finish(&mut leakcheck(&["--isolate", "always"], &making(&[1])))
        .exits(65)
        .says("leaked segments were destroyed with the command's IPC namespace");
    // A process that keeps the namespace.
    let script = format!("sleep 9 >/dev/null 2>&1 & {}", making(&[1]));
    finish(&mut leakcheck(&["--isolate", "always"], &script))
        .exits(65)
        .says("leaked segments are destroyed with the command's IPC namespace, once no process is left in it\n");
}

#[apply(test)]
fn a_command_that_cannot_run_exits_126_or_127_as_in_shells() {
    for (command, code, words) in [
        ("no-such-command", 127, "error: cannot run no-such-command: No such file or directory (ENOENT, execve)"),
        (
            "/etc/passwd",
            126,
            "error: cannot run /etc/passwd: Permission denied (EACCES, execve)\n\
             cause: the file is not executable (mode 0644)\n",
        ),
        ("/", 126, "error: cannot run /: Permission denied (EACCES, execve)\ncause: it is a directory\n"),
    ] {
        let mut leakcheck = shmadm();
        leakcheck.args(["leakcheck", "--isolate", "always", "--", command]).env("PATH", "/usr/bin:/bin");
        finish(&mut leakcheck).exits(code).says(words);
    }
}

#[apply(test)]
fn its_own_failures_have_a_separate_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let (ran, nowhere) = (directory.path().join("ran"), directory.path().join("none/report.json"));
    let script = format!("touch {}", ran.display());
    let nowhere = nowhere.to_str().unwrap();
    for options in [
        &["--json"][..],
        &["--format", "csv"],
        &["--no-such-option"],
        &["--lenient", "--strict", "--rm"],
        &["--strict"],
        &["--isolate", "sometimes"],
        &["--report", nowhere],
        &["--report", "-"],
        &["--junit", "-"],
        &["--junit", nowhere],
        &["--report", "x", "--junit", "x"],
        &["--report", "x", "--junit", "./x"],
        &["--report", directory.path().to_str().unwrap()],
    ] {
        finish(&mut leakcheck(options, &script)).exits(125).says("error: ");
        assert!(!ran.exists(), "{options:?}");
    }
}

#[apply(test)]
fn json_suggests_a_report() {
    let hint = "hint: write JSON to a file: `shmadm leakcheck --report leaks.json -- ";
    finish(&mut leakcheck(&["--json"], "true")).exits(125).says(hint);
    let hint = "hint: write a file of that name: `shmadm leakcheck --junit ./- -- ";
    finish(&mut leakcheck(&["--junit", "-"], "true")).exits(125).says(hint);
}

#[apply(test)]
fn a_command_is_required_and_its_options_are_its_own() {
    for arguments in [&["leakcheck"][..], &["leakcheck", "--"], &["leakcheck", "--unknown", "true"]] {
        run(arguments).exits(125);
    }
    run(["leakcheck", "--help"]).exits(0);
    for dashes in [&[][..], &["--"]] {
        let mut command = shmadm();
        command.args(["leakcheck", "-q"]).args(dashes).args(["echo", "--rm", "--json", "--help", "--", "-q"]);
        let ran = finish(command.env("PATH", "/usr/bin:/bin")).exits(0);
        assert_eq!(ran.stdout, "--rm --json --help -- -q\n");
    }
}

#[apply(test)]
fn isolated_reports_match_the_kernel() {
    let outside = oracle::create(1, 4096, 0o600);
    let before = oracle::rows();
    // The keys are also taken outside; the command prints the kernel's own table.
    let script = format!("{}; cat /proc/sysvipc/shm", making(&[1, 2, 0xffff_fffd]));
    let (ran, report) = reported(&["--isolate", "always"], &script);
    let ran = ran.exits(65);
    let rows: Vec<oracle::Row> = oracle::parse(&ran.stdout);
    assert_eq!(rows.len(), 3);
    let leaked = report["leaked"].as_array().unwrap();
    for (leak, row) in leaked.iter().zip(&rows) {
        let mut expected = oracle::record(row);
        expected["ns"] = leak["ns"].clone();
        assert_fields(leak, expected);
        assert_fields(leak, json!({ "attachments": [], "hidden": [], "outcome": null }));
    }
    assert_eq!(leaked.len(), 3);
    assert_ne!(leaked[0]["ns"], json!(oracle::namespace()));
    assert_eq!(keys(&report["leaked"]), [1, 2, 0xffff_fffd]);
    assert_fields(&report, json!({ "schema": 1, "unattributed": [], "command": ["sh", "-c", script] }));
    let privileged = nix::unistd::geteuid().is_root();
    assert_eq!(report["isolation"], if privileged { "ipc" } else { "user+ipc" });
    assert_eq!(oracle::rows(), before, "segments outside are unchanged");
    assert!(oracle::row(outside).is_some());
}

#[apply(test)]
fn five_hundred_leaks_are_all_reported() {
    let made: Vec<u32> = (1..=500).collect();
    let (ran, report) = reported(&["--isolate", "always"], &making(&made));
    let ran = ran.exits(65).says("warning: 500 leaked segments (2000 KiB, 0 B resident)");
    assert_eq!(keys(&report["leaked"]), made);
    assert_eq!(ran.stderr.matches("leaked: segment ").count(), 500);
}

#[apply(test)]
fn a_segment_removed_in_time_is_not_a_leak() {
    let script = piped(&[create(5), Request::Remove { id: 0 }], &actor());
    let ran = finish(&mut leakcheck(&["--isolate", "always"], &script)).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("0\n0\n", "no shared memory was leaked\n"));
    assert_eq!(finish(&mut leakcheck(&["--isolate", "always", "-q"], &script)).exits(0).stderr, "");
}

#[apply(test)]
fn leftover_processes_are_reported_with_their_segments() {
    let daemon = Daemon::new(&[create(7), Request::Attach { id: 0 }, create(8)]);
    let (ran, report) = reported(&["--isolate", "always", "--rm"], &daemon.start_until("1"));
    let pid: i32 = ran.stdout.trim().parse().unwrap();
    let ran = ran.exits(65);
    assert!(ran.stderr.contains(&format!("still attached by pid {pid} (")), "{ran:?}");
    assert!(ran.stderr.contains("1 is still attached by processes that the command left running"), "{ran:?}");
    assert_eq!(keys(&report["leaked"]), [7, 8]);
    let held = &report["leaked"][0];
    assert_eq!((&held["attachments"][0]["pid"], &held["state"]), (&json!(pid), &json!("in-use")));
    assert!(held["attachments"][0]["command"].as_str().unwrap().ends_with("--actor"));
    assert_fields(held, json!({ "outcome": "kept", "reason": "it is attached" }));
    let idle = &report["leaked"][1];
    assert_fields(idle, json!({ "outcome": "kept", "reason": "its creator or last user is running" }));
    assert!(idle["creator_command"].as_str().unwrap().ends_with("--actor"), "it is running and was observed");
    daemon.end(pid);
}

#[apply(test)]
#[requires(Root)]
fn only_unattached_segments_are_hinted_for_removal() {
    for (requests, rm) in [
        (vec![create(7), Request::Attach { id: 0 }, create(8)], Some("hint: remove them: `shmadm rm 1`\n")),
        (vec![create(7), Request::Attach { id: 0 }], None),
    ] {
        oracle::remove_all();
        set_next_id(0);
        let daemon = Daemon::new(&requests);
        let answer = if rm.is_some() { "1" } else { "0x.*" };
        let ran = finish(&mut leakcheck(&["--isolate", "never", "--trace"], &daemon.start_until(answer))).exits(65);
        let pid: i32 = ran.stdout.trim().parse().unwrap();
        let attached = ran.stderr.lines().find(|line| line.starts_with("hint: 1 segment is still attached, by pid "));
        let attached = attached.unwrap_or_else(|| panic!("{ran:?}"));
        assert!(attached.contains(&format!("by pid {pid} (")) && attached.ends_with("`shmadm who 0`"), "{ran:?}");
        assert_eq!(ran.stderr.contains("shmadm rm"), rm.is_some(), "{ran:?}");
        assert!(rm.is_none_or(|rm| ran.stderr.contains(rm)), "{ran:?}");
        daemon.end(pid);
    }
}

#[apply(test)]
#[requires(Root)]
fn isolated_namespaces_inherit_the_limits() {
    sysctl("shmmni", 2);
    sysctl("shmmax", 8192);
    sysctl("shmall", 77);
    let script = "cat /proc/sys/kernel/shmmni /proc/sys/kernel/shmmax /proc/sys/kernel/shmall";
    assert_eq!(finish(&mut leakcheck(&[], script)).exits(0).stdout, "2\n8192\n77\n");
    let mut command = shmadm_as(NOBODY);
    command.args(["leakcheck", "--isolate", "always", "--", "sh", "-c", &format!("{script}; id -u; id -g")]);
    let ran = finish(command.env("PATH", "/usr/bin:/bin")).exits(0);
    assert_eq!(ran.stdout, "2\n8192\n77\n65534\n65534\n", "{ran:?}");
    let three = format!("{} && {0} && {0}", "shmadm create");
    let program = Path::new(env!("CARGO_BIN_EXE_shmadm")).parent().unwrap();
    let mut command = leakcheck(&[], &three);
    command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    let ran = finish(&mut command).exits(1).says("(kernel.shmmni)").says("warning: 2 leaked segments");
    assert_eq!(ran.stdout, "0\n1\n");
    // With shm_rmid_forced, segments are destroyed at the exit of their last user: no leak remains.
    sysctl("shm_rmid_forced", 1);
    assert_eq!(finish(&mut leakcheck(&[], &making(&[1]))).exits(0).stdout, "");
}

#[apply(test)]
fn two_hundred_at_once_with_the_same_keys_are_kept_apart() {
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let builder = std::thread::Builder::new();
            let work = move || {
                for number in 0..50 {
                    let count = 1 + (worker + number) % 4;
                    let made: Vec<u32> = (1..=count).collect();
                    let (ran, report) = reported(&["--isolate", "always"], &making(&made));
                    ran.exits(65);
                    assert_eq!(keys(&report["leaked"]), made);
                    assert_eq!(report["unattributed"], json!([]));
                }
            };
            builder.spawn_scoped(scope, work).unwrap();
        }
    });
    assert_eq!(oracle::rows(), []);
}

/// Runs a script with a JUnit report; returns the names of its elements and the report.
#[track_caller]
fn junit(script: &str, code: i32) -> (Vec<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "leaks.xml", b"an earlier report");
    let options = ["--isolate", "always", "--junit", path.to_str().unwrap()];
    finish(&mut leakcheck(&options, script)).exits(code);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut names, mut depth) = (Vec::new(), 0_i32);
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(start) => {
                depth += 1;
                names.push(start.name().as_ref().to_owned());
            }
            quick_xml::events::Event::End(_) => depth -= 1,
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{text}");
    (names, text)
}

#[apply(test)]
fn junit_has_a_case_that_fails_for_a_leak() {
    let (names, text) = junit(&format!("{} # <&>", making(&[5, 6])), 65);
    assert_eq!(names, ["testsuites", "testsuite", "properties", "testcase", "failure"]);
    assert!(text.contains("failures=\"1\"") && text.contains("# &lt;&amp;&gt;"), "{text}");
    assert!(text.contains("<failure message=\"2 leaked System V shared memory segments\" type=\"leak\">"), "{text}");
    assert!(text.contains("(key 0x00000005, 4 KiB") && text.contains("(key 0x00000006, 4 KiB"), "{text}");
}

#[apply(test)]
fn junit_has_no_failure_without_a_leak() {
    let (_, text) = junit("true", 0);
    assert!(text.contains("failures=\"0\" errors=\"0\"") && !text.contains("<failure"), "{text}");
}

#[apply(test)]
fn junit_has_an_error_if_the_command_fails() {
    let (_, text) = junit("exit 7", 7);
    assert!(text.contains("failures=\"0\" errors=\"1\""), "{text}");
    assert!(text.contains("<error message=\"exit code 7\" type=\"exit\"/>"), "{text}");
}

#[apply(test)]
#[requires(Root)]
fn an_unprivileged_user_is_warned_that_the_run_is_not_isolated() {
    let mut command = shmadm_as(NOBODY);
    command.args(["leakcheck", "--", "id", "-u"]).env("PATH", "/usr/bin:/bin");
    let ran = finish(&mut command).exits(0).says("not isolated (requires CAP_SYS_ADMIN)").says("`--isolate always`");
    assert_eq!(ran.stdout, "65534\n");
}

#[apply(test)]
#[requires(Root)]
fn an_unprivileged_user_keeps_its_ids_in_isolation() {
    let mut command = shmadm_as(NOBODY);
    let show = "id -u; id -g; grep ^Cap /proc/self/status; cat /proc/sysvipc/shm";
    command.args(["leakcheck", "--isolate", "always", "--", "sh", "-c", show]).env("PATH", "/usr/bin:/bin");
    oracle::create(3, 4096, 0o666);
    let ran = finish(&mut command).exits(0);
    assert!(ran.stdout.starts_with("65534\n65534\n"), "{ran:?}");
    assert!(ran.stdout.contains("CapEff:\t0000000000000000"), "{ran:?}");
    assert_eq!(oracle::parse(&ran.stdout), []);
}

/// Runs a command with a short PATH and nothing else in its environment.
fn run_bare(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    Ran::from(command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap())
}

#[apply(test)]
#[requires(Root)]
fn a_user_namespace_that_cannot_be_nested_is_explained() {
    let inside = |isolation: &str| {
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces && \
             exec setpriv --bounding-set=-all --inh-caps=-all {} leakcheck --isolate {isolation} -- true",
            env!("CARGO_BIN_EXE_shmadm")
        );
        run_bare("unshare", &["--user", "--map-root-user", "sh", "-c", &script])
    };
    inside("auto").exits(0).says("not isolated");
    inside("never").exits(0);
    let ran = inside("always").exits(125).says("cause: the limit on user or IPC namespaces");
    ran.says("(ENOSPC, unshare)").says(": `shmadm leakcheck --isolate never -- ");
}

// The uid of root without capabilities cannot be mapped.
#[apply(test)]
#[requires(Root)]
fn a_user_namespace_without_a_map_is_explained() {
    let leakcheck = [env!("CARGO_BIN_EXE_shmadm"), "leakcheck", "--isolate", "always", "--", "true"];
    let ran = run_bare("setpriv", &[&["--bounding-set=-all"][..], &leakcheck].concat());
    ran.exits(125).says("(EPERM, write uid_map)").says("CAP_SETFCAP");
    let ran = run_bare("unshare", &[&["--user"][..], &leakcheck].concat());
    ran.exits(125).says("your uid is not mapped in the current user namespace");
}

#[apply(test)]
#[requires(Root)]
fn a_command_outlives_its_supervisor() {
    let mut command = leakcheck(&["-q"], "echo ready; read line; echo $line");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let mut stdin = child.stdin.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::io::Write::write_all(&mut stdin, b"still here\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "still here");
}

#[apply(test)]
fn a_failed_wait_for_the_command_is_an_error() {
    for (call, name) in [(libc::SYS_wait4, "wait4"), (libc::SYS_waitid, "waitid")] {
        let ran = finish(without(&mut leakcheck(&["--isolate", "never"], "exit 0"), call, None, Errno::EPERM));
        ran.exits(125).says("cannot supervise the command").says(&format!("(EPERM, {name})"));
    }
}
