//! Arguments that are accepted or refused, and the messages of errors and reports.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fixtures::assert_fields;
use crate::holder::Holder;
use crate::oracle;
use crate::support::{NOBODY, Running, file, finish, is_root, run, shmadm, shmadm_as, wait_for};
use crate::terminal::on_terminal_of;

#[apply(test)]
fn a_file_without_a_size_is_written_to_its_end() {
    let id = oracle::create(0, 1 << 16, 0o600);
    let report = run(["write", &id.to_string(), "--input", "/proc/self/status", "--json"]).exits(0).json();
    let written = usize::try_from(report["written"].as_u64().unwrap()).unwrap();
    let contents = oracle::contents(id);
    assert!(contents.starts_with(b"Name:"), "{report}");
    assert!(contents[..written].ends_with(b"\n") && contents[written..].iter().all(|byte| *byte == 0));
}

#[apply(test)]
fn numbers_may_be_negative_in_every_form() {
    let id = oracle::create(0, 32, 0o600);
    let name = id.to_string();
    run(["write", &name, "--type", "f64", "-inf", "-1e5", "-.5", "nan"]).exits(0);
    let contents = oracle::contents(id);
    let values: Vec<f64> =
        contents.chunks_exact(8).map(|bytes| f64::from_ne_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(values[..3], [f64::NEG_INFINITY, -1e5, -0.5]);
    assert!(values[3].is_nan());
    run(["write", &name, "--type", "i8", "-0x80", "-1"]).exits(0);
    assert_eq!(oracle::contents(id)[..2], [0x80, 0xff]);
    assert_eq!(oracle::contents(id)[2..], contents[2..]);
}

#[apply(test)]
fn numbers_outside_the_type_are_refused() {
    let id = oracle::create(0, 32, 0o600);
    let name = id.to_string();
    for (kind, value) in
        [("f32", "1e39"), ("f32", "-1e39"), ("u8", "010"), ("u8", "-1"), ("i8", "-0x81"), ("i8", "-01")]
    {
        run(["write", &name, "--type", kind, value]).exits(2).prints_nothing();
    }
    assert_eq!(oracle::contents(id), [0; 32]);
}

#[apply(test)]
fn a_text_that_looks_like_an_option_is_refused() {
    let id = oracle::create(0, 32, 0o600);
    for arguments in [&["-hello"][..], &["-x"], &["--nope", "x"]] {
        run([&["write", "0"], arguments].concat()).exits(2).prints_nothing().says("unexpected argument");
    }
    run(["write", "0", "-"]).exits(2).prints_nothing().says("invalid text \"-\"").says("`shmadm write 0 --input -`");
    assert_eq!(oracle::contents(id), [0; 32], "nothing was written");
}

#[apply(test)]
fn the_error_of_a_text_that_looks_like_an_option_names_the_text() {
    let id = oracle::create(0, 32, 0o600);
    for before in [&["--offset", "4"][..], &["-q"], &["--hex", "00"], &["--type", "i32", "-1"]] {
        let ran = run([&["write", "0"], before, &["-hello"]].concat()).exits(2).prints_nothing();
        assert!(ran.stderr.contains("'-hello'"), "{before:?}: {ran:?}");
        assert!(!ran.stderr.contains("-- -q") && !ran.stderr.contains("-- --"), "{before:?}: {ran:?}");
    }
    assert_eq!(oracle::contents(id), [0; 32], "nothing was written");
}

#[apply(test)]
fn after_two_hyphens_everything_is_text() {
    let id = oracle::create(0, 32, 0o600);
    for (text, expected) in [("-hello", b"-hello\0"), ("-x", b"-xello\0"), ("-", b"-xello\0")] {
        run(["write", "0", "--", text]).exits(0);
        assert_eq!(&oracle::contents(id)[..7], expected);
    }
}

#[apply(test)]
fn conflicting_options_are_refused() {
    let id = oracle::create(0, 32, 0o600);
    let name = id.to_string();
    for arguments in [
        &["write", &name, "--length", "4", "x"][..],
        &["write", &name, "--length", "1", "--hex", "aa"],
        &["read", &name, "--count", "2", "--raw"],
    ] {
        run(arguments).exits(2).prints_nothing().says("error: ");
    }
    assert_eq!(oracle::contents(id), [0; 32], "nothing was written");
}

#[apply(test)]
fn arguments_cannot_inject_error_lines() {
    for arguments in [
        &["stat", "a\nb\x1b[31m"][..],
        &["stat", "a\nerror: b\r\x07\u{9b}31m"],
        &["list", "--\x1b[31mx"],
        &["list", "--x\nerror: y"],
        &["list", "--format=\x1b[31m"],
        &["--format=\x1b[31m"],
        &["x\nerror: y\x1b[31m"],
    ] {
        let ran = run(arguments).exits(2).prints_nothing();
        let forged = ran.stderr.chars().any(|char| char.is_control() && char != '\n');
        assert!(!forged, "{arguments:?}: {ran:?}");
        let errors: Vec<bool> = ran.stderr.lines().map(|line| line.starts_with("error:")).collect();
        assert!(errors[0] && !errors[1..].contains(&true), "{arguments:?}: {ran:#?}");
    }
}

#[apply(test)]
fn the_help_option_can_be_combined_with_short_options() {
    for arguments in [["list", "-ph"], ["create", "-hq"]] {
        let ran = run(arguments).exits(0);
        assert!(ran.stdout.contains("Usage: ") && ran.stderr.is_empty(), "{ran:#?}");
        assert_eq!(oracle::rows(), []);
    }
    run(["write", "5", "-hello"]).exits(2).prints_nothing();
}

#[apply(test)]
fn a_number_too_large_for_a_key_is_not_suggested_as_a_key() {
    let ran = run(["stat", "4294967296"]).exits(2).prints_nothing();
    assert!(!ran.stderr.contains("key:4294967296"), "{ran:?}");
    run(["stat", "4000000000"]).exits(2).prints_nothing().says("key:4000000000");
}

#[apply(test)]
fn address_0_is_not_suggested() {
    let id = oracle::create(0, 4096, 0o600);
    let ran = run(["attach", &id.to_string(), "--address", "0x123"]).exits(1).prints_nothing().says("EINVAL");
    let hints: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("hint:")).collect();
    assert!(!hints.iter().any(|hint| hint.contains("0x0")), "{ran:?}");
}

#[apply(test)]
fn one_segment_with_several_names_is_shown_once() {
    let id = oracle::create(0x4d2, 8192, 0o600);
    let report = run(["stat", &id.to_string(), &format!("id:{id}"), "0x4d2", "--json"]).exits(0).json();
    assert_eq!(report["segments"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["segments"][0]["id"], id);
}

#[apply(test)]
fn a_missing_file_is_reported_with_errno_and_call() {
    let name = oracle::create(0, 32, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let mut command = shmadm();
    let ran = finish(command.args(["write", &name, "--json", "--input"]).arg(&missing)).exits(1);
    let error = &ran.json()["error"];
    assert_fields(error, json!({ "errno": "ENOENT", "call": "open" }));
    assert!(error["message"].as_str().unwrap().ends_with("(ENOENT, open)"), "{error}");
    let first = ran.stderr.lines().next().unwrap();
    assert!(first.starts_with("error: ") && first.ends_with("(ENOENT, open)"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn a_file_without_permission_is_reported_with_errno_and_call() {
    let id = oracle::create(0, 32, 0o666);
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let closed = file(directory.path(), "closed", b"text");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = shmadm_as(NOBODY);
    let ran = finish(command.args(["write", &id.to_string(), "--json", "--input"]).arg(&closed)).exits(4);
    let error = &ran.json()["error"];
    assert_fields(error, json!({ "errno": "EACCES", "call": "open", "kind": "permission" }));
    assert_eq!(oracle::contents(id), [0; 32]);
}

#[apply(test)]
fn a_full_device_is_reported_with_errno_and_call() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = shmadm().arg("list").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains("(ENOSPC, write)"), "{stderr}");
}

#[apply(test)]
fn a_missing_execute_permission_is_named() {
    let id = oracle::create(0, 4096, 0o600);
    if is_root() {
        oracle::set(id, NOBODY, NOBODY, 0o600);
    }
    let ran = finish(plain_user().args(["attach", &id.to_string(), "--read-only", "--exec"]));
    let ran = ran.exits(4).prints_nothing().says("(EACCES, shmat)");
    let cause = ran.stderr.lines().find(|line| line.starts_with("cause:"));
    assert!(cause.is_some_and(|cause| cause.contains("execute")), "{ran:?}");
    assert_eq!(oracle::nattch(id), 0);
}

#[apply(test)]
fn a_size_is_shown_with_a_unit_unless_bytes_is_given() {
    let name = oracle::create(0, 8192, 0o600).to_string();
    let size = |arguments: &[&str]| {
        let ran = run([&["stat", &name], arguments].concat()).exits(0);
        let line = ran.stdout.lines().find(|line| line.trim_start().starts_with("Size:")).map(str::trim);
        let line = line.unwrap_or_else(|| panic!("{ran:?}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(size(&[]), "Size: 8192 (8K)");
    assert_eq!(size(&["--bytes"]), "Size: 8192");
}

#[apply(test)]
fn the_events_of_the_demo_are_in_order() {
    let ran = run(["demo", "--json", "--interval", "0s", "--rounds", "3"]).exits(0);
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order = ["create", "attach", "use", "detach", "destroy"];
    let steps: Vec<usize> =
        events.iter().map(|event| order.iter().position(|step| event["step"] == *step).unwrap()).collect();
    assert!(steps.is_sorted(), "the steps are not in order: {ran:#?}");
    assert_eq!(events.iter().filter(|event| event["event"] == "use").count(), 6, "{ran:#?}");
    let attached: Vec<_> =
        events.iter().filter(|event| event["event"] == "stat" && event["step"] == "attach").collect();
    assert_eq!(attached.len(), 1, "{ran:#?}");
    assert_eq!(attached[0]["segment"]["nattch"], 2, "{ran:#?}");
}

#[apply(test)]
fn a_terminal_that_reports_no_rows_has_columns() {
    let mut command = shmadm();
    command.args(["demo", "writer", "--key", "0x77", "--interval", "1000000s"]).stdout(Stdio::null());
    let _writer = Running(command.spawn().unwrap());
    wait_for("the segment to be attached", || oracle::rows().iter().any(|row| row.get("nattch") == "1"));
    let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest(&run(["list"]).exits(0).stdout) > 60, "it would be longer if nothing were cut");
    let ran = on_terminal_of(shmadm().args(["list", "--color", "never"]), 60, 0).exits(0);
    assert!(ran.stdout.lines().count() == 2 && longest(&ran.stdout) <= 60, "{ran:#?}");
}

#[apply(test)]
fn a_creation_reports_its_holder() {
    let report = run(["create", "--hold", "--json"]).exits(0).json();
    let pid = i32::try_from(report["holder"].as_i64().unwrap_or_else(|| panic!("{report}"))).unwrap();
    let holder = Holder::new(pid);
    assert_eq!(holder.read("comm"), "shmadm-hold\n");
    assert_eq!((&report["created"], &report["segment"]["nattch"]), (&true.into(), &1.into()), "{report}");
    let report = run(["create", "--json"]).exits(0).json();
    assert_eq!(report.get("holder"), Some(&Value::Null), "{report}");
}

/// Returns the program as a user without privilege runs it.
fn plain_user() -> Command {
    // Unlike root, a user of a user namespace has no capabilities after execve(2).
    if is_root() { shmadm_as(NOBODY) } else { shmadm() }
}
