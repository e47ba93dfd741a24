//! Where and how calls are shown.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::actor::{CallRequest, Request};
use crate::fixtures::assert_fields;
use crate::leakcheck::{create, making};
use crate::support::{Ran, finish, shmadm};
use crate::trace::{calls, performing, trace};

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[apply(test)]
fn json_has_one_object_per_call() {
    let requests: [&dyn crate::actor::Line; 4] =
        [&create(0x4d2), &create(0x4d2), &Request::Attach { id: 0 }, &CallRequest::Control { id: 0, command: 2 }];
    let ran = finish(&mut trace(&["--json"], &performing(&requests))).exits(0);
    assert_eq!(ran.stderr, "");
    let objects = objects(&ran.stdout);
    let keys = ["schema", "time", "pid", "thread", "call", "args", "result", "errno", "cause", "hints"];
    for object in &objects {
        let object = object.as_object().unwrap();
        assert_eq!(object.keys().count(), keys.len());
        assert!(keys.iter().all(|key| object.contains_key(*key)), "{object:?}");
        assert_eq!(object["pid"], object["thread"]);
        let time = object["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-23T08:00:00.000000Z".len() && time.ends_with('Z'), "{time}");
    }
    let args = json!({ "key": "0x000004d2", "size": 4096, "flags": ["IPC_CREAT", "IPC_EXCL"], "mode": "0600" });
    assert_fields(&objects[0], json!({ "schema": 1, "call": "shmget", "args": args, "result": 0, "errno": null }));
    assert_fields(&objects[1], json!({ "call": "shmget", "args": args, "result": -1, "errno": "EEXIST" }));
    assert_fields(&objects[2], json!({ "call": "shmat", "args": { "id": 0, "address": null, "flags": [] } }));
    assert!(objects[2]["result"].as_str().unwrap().starts_with("0x"), "{}", objects[2]);
    let [_, stat, ..] = &objects[2..] else { panic!("{objects:?}") };
    let record = json!({ "key": "0x000004d2", "size": 4096, "mode": "0600", "flags": [], "nattch": 1, "dtime": null });
    assert_eq!(stat["args"]["command"], "IPC_STAT");
    assert_fields(&stat["args"]["buf"], record);
}

#[apply(test)]
fn a_file_has_each_call_as_soon_as_it_ends() {
    let mut traced = crate::trace::Traced::start(&[]);
    assert!(traced.lines().is_empty());
    traced.actor.create(1, 4096);
    assert_eq!(traced.lines().len(), 1);
    traced.actor.create(2, 4096);
    assert_eq!(traced.end().len(), 2);
}

#[apply(test)]
fn a_file_is_replaced_and_a_stream_is_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calls");
    std::fs::write(&path, "old\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o606)).unwrap();
    let file = path.to_str().unwrap();
    let ran = finish(&mut trace(&["--json", "-o", file], &format!("echo out; {}", making(&[1])))).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", ""));
    assert_eq!(objects(&std::fs::read_to_string(&path).unwrap()).len(), 1);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777 & !0o022, 0o644 & !0o022);
    let ran = finish(&mut trace(&["-o", "/dev/stdout"], &making(&[2]))).exits(0);
    assert!(ran.stdout.starts_with('[') && ran.stderr.is_empty(), "{ran:?}");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let ran = finish(&mut trace(&["-o", link.to_str().unwrap()], "echo ran")).exits(125).prints_nothing();
    ran.says("it is a symbolic link");
    finish(&mut trace(&["-o", "-"], "echo ran")).exits(125).prints_nothing().says("--output - would be mixed");
}

#[apply(test)]
fn an_error_of_the_output_does_not_stop_the_command() {
    let script = format!("{}; echo done", making(&[1, 2]));
    let ran = finish(&mut trace(&["-o", "/dev/full"], &script)).exits(125);
    assert_eq!(ran.stdout, "done\n");
    ran.says("cannot write /dev/full: No space left on device (ENOSPC, write)");
    let ran = finish(&mut trace(&["-o", "/dev/full"], &format!("{script}; exit 3"))).exits(3);
    assert_eq!(ran.stderr.matches("cannot write /dev/full").count(), 1, "{ran:?}");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (end, code) in [("", 125), ("exit 3", 3)] {
        let script = format!("{}; {end}", making(&[1]));
        finish(trace(&[], &script).stderr(full())).exits(code);
        let ran = finish(trace(&["--json"], &script).stdout(full())).exits(code);
        assert_eq!(ran.stderr.matches("cannot write to standard output").count(), 1, "{ran:?}");
    }
    // A reader that goes away is not an error.
    let program = env!("CARGO_BIN_EXE_shmadm");
    let script =
        format!("{program} trace -- sh -c \"{}\" 2>&1 >/dev/null | true; echo ${{PIPESTATUS[0]}}", making(&[5]));
    let ran: Ran = Command::new("bash").args(["-c", &script]).output().unwrap().into();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("0\n", ""));
    let script = format!("{program} trace --json -- sh -c \"{}\" | true; echo ${{PIPESTATUS[0]}}", making(&[3, 4]));
    let ran: Ran = Command::new("bash").args(["-c", &script]).output().unwrap().into();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("0\n", ""));
}

#[apply(test)]
fn failed_shows_only_failed_calls() {
    let requests: [&dyn crate::actor::Line; 3] = [&create(1), &create(1), &create(2)];
    let ran = finish(&mut trace(&["--failed"], &performing(&requests))).exits(0);
    assert_eq!(calls(&ran), ["shmget(0x00000001, 4096, IPC_CREAT|IPC_EXCL|0600) = -1 EEXIST (File exists)"]);
}

#[apply(test)]
fn the_summary_counts_calls_and_segments() {
    let first = performing(&[&create(1), &create(2), &create(1), &Request::Remove { id: 0 }]);
    let second = performing(&[&Request::OpenOrCreate { key: 2, size: 1 }, &Request::OpenOrCreate { key: 3, size: 1 }]);
    let script = format!("{first}; {second}");
    let ran = finish(&mut trace(&["--summary", "--failed"], &script)).exits(0);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains(" calls, ")).collect();
    let ends = [
        " --actor: 4 calls, 1 failed (shmget 3, shmctl 1); created 2 segments, leaked 1 (1)",
        " --actor: 2 calls, 0 failed (shmget 2); created 1 segment, leaked 1 (2)",
    ];
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{lines:?}");
    let ran = finish(&mut trace(&["--summary", "--json"], &performing(&[&create(4)]))).exits(0);
    let objects = objects(&ran.stdout);
    let process = &objects[1]["summary"][0];
    assert_fields(process, json!({ "calls": { "shmget": { "made": 1, "failed": 0 } }, "created": [3], "leaked": [3] }));
    assert_eq!((&objects[1]["schema"], &process["pid"]), (&json!(1), &objects[0]["pid"]));
    let elsewhere = performing(&[&Request::UnshareUser, &create(5), &Request::OpenOrCreate { key: 5, size: 1 }]);
    let ran = finish(&mut trace(&["--summary"], &elsewhere)).exits(0);
    ran.says("2 calls, 0 failed (shmget 2); created 1 segment in another IPC namespace\n");
    let ran = finish(&mut trace(&["--summary"], "true")).exits(0);
    assert_eq!(ran.stderr, "no shared memory calls\n");
}

#[apply(test)]
fn quiet_changes_nothing_that_is_traced() {
    let mut command = shmadm();
    command.args(["-q", "trace", "-f", "--", "sh", "-c", &making(&[1])]).env("PATH", "/usr/bin:/bin");
    assert_eq!(calls(&finish(&mut command).exits(0)).len(), 1);
}
