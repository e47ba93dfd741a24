//! Segments, settings, processes and comparisons that tests of several modules share.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::oracle::{self, Row};
use crate::support::{NOBODY, Ran, Running, finish, shmadm, shmadm_as, wait_for};

/// A hostile process name: newlines, quotes, escape sequences, bytes that are not UTF-8.
pub(crate) const HOSTILE: &[u8] = b"evil\n99 \"0x1\"\t'a\\b\x1b[2J\xe2\x80\xaexet\xff,\r\xc2\x9b;";

/// Returns the ids of all segments, sorted.
pub(crate) fn ids() -> Vec<i32> {
    let mut ids: Vec<i32> = oracle::rows().iter().map(|row| row.get("shmid").parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Sets a limit of the test's IPC namespace.
pub(crate) fn sysctl(name: &str, value: u64) {
    std::fs::write(format!("/proc/sys/kernel/{name}"), value.to_string()).unwrap();
}

/// Returns the value of a limit of the test's IPC namespace.
pub(crate) fn sysctl_value(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().to_owned()
}

/// Causes the kernel to give the next segment this id; requires root.
pub(crate) fn set_next_id(id: i32) {
    sysctl("shm_next_id", u64::try_from(id).unwrap());
}

/// Runs the program as user nobody, with RLIMIT_MEMLOCK at 0.
pub(crate) fn without_locked_memory(arguments: &[&str]) -> Ran {
    let program = shmadm_as(NOBODY).get_program().to_owned();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -l 0 && exec \"$@\"", "sh"]).arg(program).args(arguments);
    finish(shell.uid(NOBODY).gid(NOBODY))
}

/// Starts `attach` in the foreground; returns the line that it prints once attached.
pub(crate) fn foreground(arguments: &[&str]) -> (Running, BufReader<ChildStdout>, String) {
    let mut running = Running(shmadm().args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (running, stdout, line)
}

/// Returns the keys of all segments, in the order of the kernel's table.
pub(crate) fn all_keys() -> Vec<u32> {
    oracle::rows().iter().map(|row| row.get("key").parse::<i32>().unwrap().cast_unsigned()).collect()
}

/// Returns the kernel's row of the segment whose id `create` printed as its only output.
#[track_caller]
pub(crate) fn created(ran: &Ran) -> Row {
    let id = ran.stdout.strip_suffix('\n').and_then(|line| line.parse().ok());
    oracle::row(id.unwrap_or_else(|| panic!("standard output is not only an id: {ran:#?}"))).unwrap()
}

/// Returns the path of a dump in a directory.
pub(crate) fn dump_path(directory: &Path) -> String {
    directory.join("segment.bin").to_string_lossy().into_owned()
}

/// Returns the names of the files in a directory, sorted.
pub(crate) fn file_names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(directory).unwrap().map(name).collect();
    names.sort_unstable();
    names
}

/// Starts a process with a hostile name that creates a segment with key 0x77 and keeps running.
pub(crate) fn hostile_process() -> Running {
    let mut command = shmadm();
    command.arg0(OsStr::from_bytes(HOSTILE)).args(["demo", "writer", "--key", "0x77", "--interval", "1h"]);
    let child = Running(command.stdout(Stdio::null()).spawn().unwrap());
    let attached = || oracle::rows().iter().any(|row| row.get("key") == "119" && row.get("nattch") == "1");
    wait_for("the process to attach its segment", attached);
    child
}

/// Returns the test process as causes name it while it is running.
pub(crate) fn this_process() -> String {
    describe_running(std::process::id().cast_signed())
}

/// Returns a running process as causes name it.
pub(crate) fn describe_running(pid: i32) -> String {
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    format!("pid {pid} ({}, running)", command.trim_end_matches('\0').replace('\0', " "))
}

/// Returns the children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread =
        |thread: std::io::Result<DirEntry>| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
    let pids: String = threads.map(of_thread).collect();
    pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Returns the value of a line of /proc/PID/status.
pub(crate) fn process_status(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.trim().to_owned()
}

/// Returns whether the processes of this machine can all be inspected.
pub(crate) fn can_inspect_all() -> bool {
    std::fs::read("/proc/1/maps").is_ok() && std::fs::read_dir("/proc/1/fd").is_ok()
}

/// Asserts the given fields of a JSON object, which may have others.
#[track_caller]
pub(crate) fn assert_fields(actual: &Value, expected: Value) {
    let differences: Vec<String> = expected
        .as_object()
        .unwrap()
        .iter()
        .filter(|(field, value)| actual.get(field) != Some(value))
        .map(|(field, value)| match actual.get(field) {
            Some(actual) => format!("{field:?} is {actual}, not {value}"),
            None => format!("{field:?} is missing"),
        })
        .collect();
    assert!(differences.is_empty(), "{}\nin {actual:#}", differences.join("\n"));
}

/// Returns a segment's JSON record without IDLE, which changes, and STATE, which the kernel's row lacks.
pub(crate) fn stable_fields(segment: &Value) -> Value {
    let mut segment = segment.clone();
    segment.as_object_mut().unwrap().retain(|name, _| name != "idle_seconds" && name != "state");
    segment
}

/// Returns the record of a segment that `stat` shows as one of `list`; it must not be marked for destruction.
#[track_caller]
pub(crate) fn without_former_key(segment: &Value) -> Value {
    let mut segment = segment.clone();
    assert_eq!(segment.as_object_mut().unwrap().remove("former_key"), Some(Value::Null), "{segment}");
    segment
}

/// Asserts that a segment's JSON record, except for IDLE and STATE, is the kernel's row and nothing else.
#[track_caller]
pub(crate) fn assert_is_row(segment: &Value, row: &Row) {
    assert_eq!(stable_fields(segment), oracle::record(row));
}
