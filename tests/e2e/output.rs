//! Output that all commands share: formats, errors, closed pipes, full disks, terminals and hostile text.

mod headings;
mod hostile;
mod width;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use serde_json::{Value, json};

use crate::fixtures::{assert_fields, dump_path, hostile_process, ids};
use crate::oracle::{self, Attached};
use crate::sandbox::without;
use crate::support::{Ran, finish, run, shmadm, wait_for};
use crate::terminal::on_terminal;
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn format_and_json_conflict_in_any_position() {
    for line in [
        "--json list --format csv",
        "--json --format csv list",
        "list --json --format csv",
        "list --format csv --json",
        "--format csv list --json",
        "--format=tsv --json list",
        "list --format table --json",
        "--json create --format csv",
        "--format csv list --json --format json",
        "--format csv create --format json",
    ] {
        let ran = run(line.split(' ')).exits(2).says("error: ");
        assert_error(&ran, "usage");
    }
    assert_eq!(oracle::rows(), [], "no segment was created");
}

#[apply(test)]
fn an_unsupported_or_repeated_format_is_refused() {
    for line in [
        "create --format csv",
        "--format csv list --format=tsv",
        "--format tsv create",
        "rm 5 --format csv",
        "write 5 x --format tsv",
        "demo --format csv",
    ] {
        run(line.split(' ')).exits(2).prints_nothing().says("error: ");
    }
    assert_eq!(oracle::rows(), [], "no segment was created");
}

#[apply(test)]
fn json_may_be_requested_by_both_options() {
    for line in ["--json list --format json", "--format json list", "list --format json --json", "ls --json"] {
        assert_eq!(run(line.split(' ')).exits(0).stdout, "{\"schema\":1,\"segments\":[],\"objects\":[]}\n", "{line}");
    }
}

#[apply(test)]
fn json_errors_have_a_kind_and_an_exit_code() {
    let id = oracle::create(1234, 100, 0o600).to_string();
    let _attached = Attached::new(id.parse().unwrap());
    for (arguments, code, kind) in [
        (vec!["stat", "77"], 3, "not-found"),
        (vec!["stat", "12abc"], 2, "usage"),
        (vec!["stat"], 2, "usage"),
        (vec!["nonsense"], 2, "usage"),
        (vec!["list", "--nonsense"], 2, "usage"),
        (vec!["list", "-o", "nonsense"], 2, "usage"),
        (vec!["create", "--key", "1234", "--exclusive"], 6, "exists"),
        (vec!["create", "--key", "1234", "--fill", "0"], 5, "refused"),
        (vec!["read", &id, "--offset", "101"], 1, "failed"),
        (vec!["write", &id, "-hello"], 2, "usage"),
        (vec!["set", &id, "--mode", "999"], 2, "usage"),
        (vec!["create", "--size", "0"], 1, "failed"),
        (vec!["create", "--size", "1E"], 2, "usage"),
    ] {
        for machine in [&["--json"][..], &["--format", "json"], &["--format=json"]] {
            let leading = machine.iter().chain(&arguments);
            assert_error(&run(leading).exits(code).says("error: "), kind);
            let trailing = arguments.iter().chain(machine);
            assert_error(&run(trailing).exits(code).says("error: "), kind);
        }
        run(&arguments).exits(code).prints_nothing();
    }
}

#[apply(test)]
fn a_json_error_has_the_errno_and_the_call() {
    oracle::create(1234, 100, 0o600);
    let error = &run(["create", "--json", "--key", "1234", "--exclusive"]).exits(6).json()["error"];
    assert_fields(error, json!({ "errno": "EEXIST", "call": "shmget" }));
}

#[apply(test)]
fn json_after_two_hyphens_is_text() {
    let id = oracle::create(0, 100, 0o600);
    run(["write", &id.to_string(), "--", "--json"]).exits(0).prints_nothing();
    assert!(oracle::contents(id).starts_with(b"--json\0"));
}

/// Runs the program with a standard output that no process reads.
#[track_caller]
fn with_closed_pipe(arguments: &[&str]) -> Ran {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    finish(shmadm().args(arguments).stdout(writer)).exits(0)
}

#[apply(test)]
fn a_closed_pipe_ends_the_program_quietly() {
    let id = oracle::create(0, 2 << 20, 0o600).to_string();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["stat", &id],
        &["limits", "--format", "csv"],
        &["read", &id, "--hex"],
        &["read", &id, "--raw"],
        &["read", &id, "--raw", "--every", "10ms"],
        &["read", &id, "--json"],
        &["read", &id, "--json", "--every", "10ms"],
        &["--help"],
        &["completions", "bash"],
    ] {
        assert_eq!(with_closed_pipe(arguments).stderr, "", "{arguments:?}");
    }
}

// Without the end, these would run for hours, or years.
#[apply(test)]
fn a_closed_pipe_ends_a_read_of_huge_memory() {
    let id = oracle::create(0, 1 << 40, 0o600 | libc::SHM_NORESERVE).to_string();
    let numbers = ["--type", "u8", "--count", "1000000000000"];
    for form in [&["--json"][..], &["--hex"], &numbers, &[&numbers[..], &["--json"]].concat()] {
        with_closed_pipe(&[&["read", &id], form].concat());
    }
    run(["create", "/huge", "--size", &i64::MAX.to_string()]).exits(0);
    with_closed_pipe(&["read", "/huge", "--raw"]);
    with_closed_pipe(&["dump", "/huge", "--output", "-"]);
}

#[apply(test)]
fn a_closed_pipe_does_not_stop_a_change() {
    with_closed_pipe(&["create", "--key", "1234"]);
    let id = ids()[0];
    with_closed_pipe(&["write", "0x4d2", "x", "--json"]);
    assert_eq!(oracle::contents(id)[0], b'x');
    with_closed_pipe(&["demo", "--rounds", "1", "--interval", "10ms"]);
    assert_eq!(ids(), [id], "the demo removes its segment");
    with_closed_pipe(&["rm", &id.to_string(), "--json"]);
    assert_eq!(ids(), [] as [i32; 0]);
}

#[apply(test)]
fn a_closed_standard_output_is_an_error_and_leaves_nothing() {
    let name = oracle::create(0, 8192, 0o600).to_string();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["read", &name, "--raw"],
        &["dump", &name, "--output", "-"],
        &["--version"],
        &["create", "--key", "1234"],
        &["create", "--hold"],
    ] {
        finish(without_output(&mut shmadm()).args(arguments)).exits(1).says("(EBADF, write)");
        // A holder detaches with a delay, and the removed segment is destroyed then.
        wait_for("what was created to be removed", || oracle::rows().len() == 1);
    }
}

#[apply(test)]
fn an_id_that_could_not_be_printed_is_not_printed_later() {
    let (mut reader, mut pipe) = std::io::pipe().unwrap();
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut filled = 0;
    while let Ok(written) = pipe.write(&[b'.'; 4096]) {
        filled += written;
    }
    let mut command = shmadm();
    command.arg("create").stdout(pipe).stderr(Stdio::piped());
    let removes = |call: &Call| call.is_shmctl(libc::IPC_RMID);
    let stopped = Stopped::command_before(1, removes, command);
    // The reader continues after the write has failed.
    let mut text = vec![0; filled];
    reader.read_exact(&mut text).unwrap();
    stopped.go_on().exits(1).says("(EAGAIN, write)").says("its id could not be printed");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), ids()), ("", vec![]));
}

#[apply(test)]
fn a_holder_that_cannot_be_reported_is_terminated() {
    let id = oracle::create(0, 8192, 0o600);
    // Without pidfd_open, it cannot be asked to exit.
    for sandboxed in [false, true] {
        let mut command = shmadm();
        let command = without_output(command.args(["attach", &id.to_string(), "--background"]));
        if sandboxed {
            without(command, libc::SYS_pidfd_open, None, Errno::ENOSYS);
        }
        finish(command).exits(1).says("was terminated");
        wait_for("the holder to exit", || oracle::stat(id).unwrap().shm_nattch == 0);
    }
}

#[apply(test)]
fn a_holder_whose_pid_cannot_be_printed_is_ended() {
    let id = oracle::create(0, 4096, 0o600);
    let name = id.to_string();
    for arguments in [&["attach", &name, "--background"][..], &["attach", &name, "--background", "--json"]] {
        with_full_disk(arguments).says("was terminated");
        wait_for("the holder to exit", || oracle::nattch(id) == 0);
    }
}

#[apply(test)]
fn a_command_that_prints_nothing_needs_no_standard_output() {
    let id = oracle::create(0, 8192, 0o600).to_string();
    finish(without_output(shmadm().args(["rm", &id]))).exits(0);
}

/// Runs the program with a standard output on a full disk.
#[track_caller]
fn with_full_disk(arguments: &[&str]) -> Ran {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = finish(shmadm().args(arguments).stdout(full)).exits(1).says("error: cannot write to standard output");
    ran.says("cause: the device or file system is full")
}

#[apply(test)]
fn a_full_disk_is_an_error() {
    let id = oracle::create(0, 200_000, 0o600).to_string();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["list", "--format", "tsv"],
        &["stat", &id],
        &["limits"],
        &["read", &id],
        &["read", &id, "--raw"],
        &["read", &id, "--json"],
        &["--help"],
        &["--version"],
        &["completions", "bash"],
    ] {
        with_full_disk(arguments);
    }
}

#[apply(test)]
fn a_segment_whose_id_cannot_be_printed_is_removed() {
    let id = oracle::create(0, 200_000, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", &id, "--output", &dump]).exits(0);
    let rows = oracle::rows();
    for arguments in [
        &["create"][..],
        &["create", "--json"],
        &["create", "--key", "0x4d2"],
        &["create", "--hold"],
        &["create", "--json", "--hold"],
        &["restore", &dump, "--hold"],
    ] {
        with_full_disk(arguments).says(" was removed, because its id could not be printed");
        // The holder was killed and may still be attached; the segment is destroyed when it detaches.
        wait_for("the new segment to be destroyed", || oracle::rows() == rows);
    }
}

#[apply(test)]
fn quiet_omits_status_lines() {
    let id = run(["create"]).exits(0).says("created segment").stdout.trim().to_owned();
    run(["write", &id, "x"]).exits(0).says("wrote 1 byte");
    for arguments in [&["write", &id, "x", "--quiet"][..], &["-q", "write", &id, "x"], &["rm", &id, "-q"]] {
        assert_eq!(run(arguments).exits(0).stderr, "", "{arguments:?}");
    }
}

#[apply(test)]
fn quiet_keeps_the_id_and_errors() {
    let ran = run(["-q", "create"]).exits(0);
    assert_eq!((ran.stderr.as_str(), ran.stdout.lines().count()), ("", 1));
    run(["rm", "77", "-q"]).exits(3).says("error: ");
}

/// Returns whether a text has control sequences.
fn is_colored(text: &str) -> bool {
    text.contains('\x1b')
}

#[apply(test)]
fn by_default_only_a_terminal_has_color() {
    oracle::create(0, 4096, 0o600);
    assert!(!is_colored(&run(["list"]).exits(0).stdout));
    assert!(is_colored(&on_terminal(shmadm().arg("list"), 120).exits(0).stdout));
    assert!(!is_colored(&run(["stat", "77"]).exits(3).stderr));
}

#[apply(test)]
fn the_environment_disables_color() {
    oracle::create(0, 4096, 0o600);
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let ran = on_terminal(shmadm().env(name, value).arg("list"), 120).exits(0);
        assert!(!is_colored(&ran.stdout), "{name}: {ran:?}");
    }
}

#[apply(test)]
fn the_option_overrides_the_terminal_and_the_environment() {
    oracle::create(0, 4096, 0o600);
    assert!(is_colored(&run(["list", "--color", "always"]).exits(0).stdout));
    assert!(is_colored(&run(["stat", "77", "--color", "always"]).exits(3).stderr));
    assert!(is_colored(&finish(shmadm().env("NO_COLOR", "1").args(["--color=always", "list"])).exits(0).stdout));
    assert!(!is_colored(&on_terminal(shmadm().args(["list", "--color", "never"]), 120).exits(0).stdout));
}

#[apply(test)]
fn machine_formats_have_no_color() {
    oracle::create(0, 4096, 0o600);
    for format in ["json", "csv", "tsv"] {
        assert!(!is_colored(&run(["list", "--format", format, "--color", "always"]).exits(0).stdout), "{format}");
    }
}

#[apply(test)]
fn color_does_not_change_the_words() {
    oracle::create(0, 4096, 0o600);
    let colored = run(["list", "--color", "always"]).exits(0).stdout;
    assert!(colored.contains("STATE") && colored.contains("idle"), "{colored:?}");
    assert!(run(["list", "-o", "id,state"]).exits(0).stdout.contains("idle"));
}

#[apply(test)]
fn a_narrow_terminal_cuts_only_free_text() {
    let _hostile = hostile_process();
    oracle::create(0x7777, (1 << 50) + 1, 0o600 | libc::SHM_NORESERVE);
    for columns in [60, 80, 100, 132] {
        let ran = on_terminal(shmadm().args(["list", "--color", "never"]), columns).exits(0);
        assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
        for line in ran.stdout.lines() {
            assert!(line.chars().count() <= columns.into(), "{columns}: {line}");
        }
        for key in ["0x00000077", "0x00007777"] {
            assert!(ran.stdout.contains(key), "{ran:?}");
        }
    }
}

#[apply(test)]
fn a_narrow_terminal_shows_all_selected_columns() {
    let _hostile = hostile_process();
    oracle::create(0x7777, 4096, 0o600);
    let ran = on_terminal(shmadm().args(["list", "-o", "ID,KEY,STATE,CCOMMAND", "--color=never"]), 60).exits(0);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 60), "{ran:?}");
    assert!(ran.stdout.contains("CCOMMAND") && ran.stdout.contains('…'), "{ran:?}");
}

#[apply(test)]
fn without_a_terminal_nothing_is_cut() {
    let _hostile = hostile_process();
    assert!(run(["list"]).exits(0).stdout.contains("--interval 1h"));
}

/// Closes standard output of a command.
#[expect(unsafe_code, reason = "only pre_exec can close it")]
#[expect(clippy::disallowed_methods, reason = "tests prepare their own children")]
fn without_output(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only close is called.
    unsafe { command.pre_exec(|| nix::unistd::close(1).map_err(Into::into)) }
}

/// Asserts that standard output is one JSON error with all its keys.
#[track_caller]
fn assert_error(ran: &Ran, kind: &str) {
    let json = ran.json();
    let error = json["error"].as_object().unwrap_or_else(|| panic!("{ran:?}"));
    let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["call", "cause", "errno", "hints", "kind", "message", "target"]);
    assert_eq!((&json["schema"], &error["kind"]), (&1.into(), &kind.into()), "{ran:?}");
    assert!(error["hints"].as_array().unwrap().iter().all(Value::is_string), "{ran:?}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.starts_with("error"), "{ran:?}");
}
