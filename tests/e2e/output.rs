//! Output that all commands share: formats, errors, closed pipes, full disks, terminals and hostile text.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use crate::fixtures::{assert_fields, hostile_process};
use crate::oracle::{self, Attached};
use crate::sandbox::{with_file_over, without};
use crate::support::{Ran, file, finish, run, shmadm, wait_for};
use crate::terminal::on_terminal;

/// The same as text, with invalid UTF-8 escaped.
const HOSTILE_TEXT: &str = "evil\n99 \"0x1\"\t'a\\b\u{1b}[2J\u{202e}xet\\xff,\r\u{9b};";

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
    for line in ["--json list --format json", "--format json list", "list --format json --json", "ls --json"] {
        assert_eq!(run(line.split(' ')).exits(0).stdout, "{\"schema\":1,\"segments\":[]}\n", "{line}");
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
            let before = machine.iter().chain(&arguments);
            assert_error(&run(before).exits(code).says("error: "), kind);
            let behind = arguments.iter().chain(machine);
            assert_error(&run(behind).exits(code).says("error: "), kind);
        }
        run(&arguments).exits(code).prints_nothing();
    }
    let error = &run(["create", "--json", "--key", "1234", "--exclusive"]).exits(6).json()["error"];
    assert_fields(error, json!({ "errno": "EEXIST", "call": "shmget" }));
    // After `--` it is text, not an option.
    let other = oracle::create(0, 100, 0o600).to_string();
    run(["write", &other, "--", "--json"]).exits(0).prints_nothing();
}

#[apply(test)]
fn a_closed_pipe_ends_the_program_quietly_after_its_work() {
    let closed = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        finish(shmadm().args(arguments).stdout(writer)).exits(0)
    };
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
        assert_eq!(closed(arguments).stderr, "", "{arguments:?}");
    }
    closed(&["rm", &id, "--json"]);
    // These would run for hours with no reader.
    let endless = oracle::create(0, 1 << 40, 0o600 | libc::SHM_NORESERVE).to_string();
    let numbers = ["--type", "u8", "--count", "1000000000000"];
    for form in [&["--json"][..], &["--hex"], &numbers, &[&numbers[..], &["--json"]].concat()] {
        closed(&[&["read", &endless], form].concat());
    }
    closed(&["rm", &endless]);
    assert_eq!(oracle::rows(), []);
    closed(&["create", "--key", "1234"]);
    assert_eq!(oracle::rows().len(), 1);
    closed(&["write", "0x4d2", "x", "--json"]);
    let made = oracle::rows()[0].get("shmid").parse().unwrap();
    assert_eq!(oracle::contents(made)[0], b'x');
    closed(&["demo", "--rounds", "1", "--interval", "10ms"]);
    assert_eq!(oracle::rows().len(), 1, "it must finish its work");
}

#[apply(test)]
fn a_closed_standard_output_is_an_error_and_leaves_nothing() {
    let id = oracle::create(0, 8192, 0o600);
    let name = id.to_string();
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
    // No holder remains that was not reported, even where it cannot be asked to exit.
    for sandboxed in [false, true] {
        let mut command = shmadm();
        let command = without_output(command.args(["attach", &name, "--background"]));
        if sandboxed {
            without(command, libc::SYS_pidfd_open, None, Errno::ENOSYS);
        }
        finish(command).exits(1).says("was terminated again");
        wait_for("the holder to exit", || oracle::stat(id).unwrap().shm_nattch == 0);
    }
    // A command that prints nothing needs no standard output.
    finish(without_output(shmadm().args(["rm", &name]))).exits(0);
}

#[apply(test)]
fn a_full_disk_is_an_error() {
    let full = |arguments: &[&str]| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        finish(shmadm().args(arguments).stdout(full)).exits(1).says("error: ").says("standard output")
    };
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
        full(arguments);
    }
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump").to_string_lossy().into_owned();
    run(["dump", &id, "--output", &dump]).exits(0);
    let rows = oracle::rows();
    for arguments in [&["create"][..], &["create", "--json", "--hold"], &["restore", &dump, "--hold"]] {
        full(arguments).says(" was removed again, because its id could not be printed");
        wait_for("the holder to exit", || oracle::rows() == rows);
    }
}

#[apply(test)]
fn quiet_omits_only_status_lines() {
    let id = run(["create"]).exits(0).says("created segment").stdout.trim().to_owned();
    run(["write", &id, "x"]).exits(0).says("wrote 1 byte");
    assert_eq!(run(["write", &id, "x", "--quiet"]).exits(0).stderr, "");
    assert_eq!(run(["-q", "write", &id, "x"]).exits(0).stderr, "");
    let made = run(["-q", "create"]).exits(0);
    assert_eq!((made.stderr.as_str(), made.stdout.lines().count()), ("", 1));
    assert_eq!(run(["rm", &id, "-q"]).exits(0).stderr, "");
    run(["rm", &id, "-q"]).exits(3).says("error: ");
}

#[apply(test)]
fn colour_depends_on_the_option_and_the_terminal() {
    oracle::create(0, 4096, 0o600);
    let colored = |ran: &Ran| ran.stdout.contains('\x1b');
    assert!(!colored(&run(["list"]).exits(0)));
    assert!(colored(&run(["list", "--color", "always"]).exits(0)));
    assert!(colored(&on_terminal(shmadm().arg("list"), 120).exits(0)));
    assert!(!colored(&on_terminal(shmadm().args(["list", "--color", "never"]), 120).exits(0)));
    assert!(!colored(&on_terminal(shmadm().env("NO_COLOR", "1").arg("list"), 120).exits(0)));
    assert!(!colored(&on_terminal(shmadm().env("TERM", "dumb").arg("list"), 120).exits(0)));
    assert!(colored(&finish(shmadm().env("NO_COLOR", "1").args(["--color=always", "list"])).exits(0)));
    // Machine formats have no colour, whatever the option; colour does not change the words.
    assert!(!colored(&run(["list", "--json", "--color", "always"]).exits(0)));
    assert!(!colored(&run(["list", "--format", "csv", "--color", "always"]).exits(0)));
    let painted = run(["list", "--color", "always"]).exits(0).stdout;
    let plain = run(["list", "-o", "id,state"]).exits(0).stdout;
    assert!(painted.contains("STATE") && painted.contains("idle") && plain.contains("idle"));
    assert!(run(["stat", "77", "--color", "always"]).exits(3).stderr.contains("\x1b["));
    assert!(!run(["stat", "77"]).exits(3).stderr.contains('\x1b'));
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
    // Chosen columns stay; only free text is cut.
    let ran = on_terminal(shmadm().args(["list", "-o", "ID,KEY,STATE,CCOMMAND", "--color=never"]), 60).exits(0);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 60), "{ran:?}");
    assert!(ran.stdout.contains("CCOMMAND") && ran.stdout.contains('…'), "{ran:?}");
    // Without a terminal nothing is cut.
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

/// Asserts that a table has one line per segment, and no control sequences.
#[track_caller]
fn assert_harmless(text: &str) {
    assert_eq!(text.lines().count(), 1 + oracle::rows().len(), "{text:?}");
    let harmful = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
}

/// A process with a hostile command line.
#[apply(test)]
fn a_hostile_command_line_forges_nothing() {
    oracle::create(0, 4096, 0o600);
    let _hostile = hostile_process();
    let command = format!("{HOSTILE_TEXT} demo writer --key 0x77 --interval 1h");
    let json = run(["list", "--json", "-o", "+CCOMMAND,LCOMMAND"]).exits(0).json();
    let segment = &json["segments"][1];
    assert_fields(segment, json!({ "ccommand": command.clone(), "lcommand": command.clone() }));
    assert_harmless(&run(["list", "-o", "+CCOMMAND"]).exits(0).stdout);
    assert_harmless(&run(["list", "-p"]).exits(0).stdout);
    assert_harmless(&on_terminal(shmadm().args(["list", "--color", "never"]), 200).exits(0).stdout);
    let stat = run(["stat", "0x77"]).exits(0).stdout;
    assert!(stat.lines().all(|line| line.contains(": ")) && !stat.contains(['\x1b', '\r', '\u{9b}']), "{stat:?}");

    let tsv = run(["list", "-o", "ID,CCOMMAND,KEY", "--format", "tsv"]).exits(0).stdout;
    let lines: Vec<Vec<&str>> = tsv.split_terminator('\n').map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines.len(), lines.iter().all(|fields| fields.len() == 3)), (3, true), "{tsv:?}");
    let escaped = command.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    assert_eq!(lines[2][1..], [escaped.as_str(), "0x00000077"]);

    let csv = run(["list", "-o", "CCOMMAND,KEY", "--format", "csv"]).exits(0).stdout;
    let quoted = format!("\"{}\",0x00000077\r\n", command.replace('"', "\"\""));
    assert!(csv.ends_with(&quoted), "RFC 4180: {csv:?}");

    // On a terminal people read them: control sequences must have no effect.
    for format in ["csv", "tsv"] {
        let arguments = ["list", "-o", "CCOMMAND,KEY", "--format", format];
        let shown = on_terminal(shmadm().args(arguments), 200).exits(0).stdout;
        assert!(!shown.contains(['\x1b', '\u{9b}', '\u{202e}']), "{shown:?}");
        assert!(shown.contains("\\x1b[2J\\u{202e}xet") && shown.trim_end().ends_with("0x00000077"), "{shown:?}");
    }

    // Refusals also name processes.
    let ran = run(["rm", "0x77"]).exits(5);
    assert!(!ran.stderr.contains(['\x1b', '\r', '\t', '\u{202e}', '\u{9b}']), "{ran:?}");
}

/// A segment whose owner has a hostile name; a name in /etc/passwd can contain neither newlines nor colons.
#[apply(test)]
#[requires(Root)]
fn a_hostile_user_name_forges_nothing() {
    const UID: u32 = 54_321;
    const NAME: &[u8] = b"e\tv\"il,\\\x1b[2J\xe2\x80\xae'\xff";
    let text = "e\tv\"il,\\\u{1b}[2J\u{202e}'\\xff";
    let directory = tempfile::tempdir().unwrap();
    let passwd = [b"root:x:0:0::/:/bin/sh\n".as_slice(), NAME, b":x:54321:54321::/:/bin/sh\n"].concat();
    let passwd = file(directory.path(), "passwd", &passwd);
    let id = oracle::create(0, 4096, 0o600);
    oracle::set(id, UID, 0, 0o600);
    let list = |arguments: &[&str]| {
        let mut command = shmadm();
        with_file_over(&mut command, &passwd, c"/etc/passwd");
        finish(command.args(arguments)).exits(0)
    };
    let json = list(&["list", "--json"]).json();
    assert_fields(&json["segments"][0], json!({ "owner": text, "uid": UID }));
    assert_harmless(&list(&["list"]).stdout);
    assert_harmless(&list(&["list", "-c"]).stdout);
    let tsv = list(&["list", "-o", "OWNER,ID", "--format", "tsv"]).stdout;
    let escaped = text.replace('\\', "\\\\").replace('\t', "\\t");
    assert_eq!(tsv, format!("OWNER\tID\n{escaped}\t{id}\n"));
    let csv = list(&["list", "-o", "OWNER,ID", "--format", "csv"]).stdout;
    assert_eq!(csv, format!("OWNER,ID\r\n\"{}\",{id}\r\n", text.replace('"', "\"\"")));
    let stat = list(&["stat", &id.to_string()]).stdout;
    assert!(!stat.contains(['\x1b', '\t', '\u{202e}']), "{stat:?}");
}
