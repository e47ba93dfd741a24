//! Seals of memfds: they are shown, and they are the cause of EPERM.

use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, major, memfd_create, minor};
use serde_json::json;

use super::create;
use crate::fixtures::assert_fields;
use crate::support::{Running, run};

/// A memfd of one page that a process has open. Without root, the program may not inspect that of the tests.
struct Memfd {
    file: OwnedFd,
    process: Running,
    /// The argument that names it.
    name: String,
}

impl Memfd {
    fn new() -> Self {
        let file = memfd_create("sealed", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 4096).unwrap();
        let stat = fstat(&file).unwrap();
        let name = format!("obj:{}:{}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
        let process = Command::new("sleep").arg("infinity").stdin(file.try_clone().unwrap()).spawn().unwrap();
        Self { file, process: Running(process), name }
    }

    fn seal(&self, seals: SealFlags) {
        fcntl_add_seals(&self.file, seals).unwrap();
    }
}

#[apply(test)]
fn the_seals_of_a_memfd_are_shown() {
    let memfd = Memfd::new();
    let name = &memfd.name;
    let seals = || run(["stat", name, "--json"]).exits(0).json()["objects"][0]["seals"].clone();
    assert_eq!(seals(), json!([]));
    memfd.seal(SealFlags::SHRINK | SealFlags::FUTURE_WRITE);
    assert_eq!(seals(), json!(["shrink", "future-write"]));
    let fields = run(["stat", name]).exits(0).stdout;
    assert!(fields.lines().any(|line| line.split_whitespace().eq(["Seals:", "shrink,", "future-write"])), "{fields}");
    let pid = memfd.process.pid().to_string();
    let stat = run(["stat", name]).exits(0).stdout;
    assert!(stat.contains(" Name: none (memfd \"sealed\")\n"), "{stat}");
    let listed = run(["list", "--type", "memfd", "--pid", &pid, "--json"]).exits(0).json();
    let row = listed["objects"].as_array().unwrap().iter().find(|it| name.ends_with(it["object"].as_str().unwrap()));
    assert_fields(row.unwrap(), json!({ "seals": ["shrink", "future-write"] }));
    let tsv = ["list", "--type", "memfd", "--pid", &pid, "--posix", "--format", "tsv", "-o", "OBJECT,SEALS"];
    let tsv = run(tsv).exits(0).stdout;
    assert!(tsv.contains(&format!("{}\tshrink; future-write\n", name.trim_start_matches("obj:"))), "{tsv}");
    let dump = tempfile::tempdir().unwrap();
    let path = dump.path().join("dump").to_str().unwrap().to_owned();
    run(["dump", name, &path]).exits(0);
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path + ".json").unwrap()).unwrap();
    assert_fields(&record["object"], json!({ "seals": ["shrink", "future-write"] }));
    // A file of a tmpfs cannot be sealed.
    create("x", 4096);
    assert_fields(&run(["stat", "/x", "--json"]).exits(0).json()["objects"][0], json!({ "seals": null }));
}

#[apply(test)]
fn a_seal_is_the_cause_of_a_denial() {
    for (seals, command, cause) in [
        (SealFlags::SHRINK, &["set", "--size=100", "--force"][..], "its seal F_SEAL_SHRINK forbids it"),
        (SealFlags::SHRINK, &["set", "--size=100"], "its seal F_SEAL_SHRINK forbids it"),
        (SealFlags::GROW | SealFlags::SHRINK, &["set", "--size=8K"], "its seal F_SEAL_GROW forbids it"),
        (SealFlags::EXEC, &["set", "--mode=600"], "its seal F_SEAL_EXEC forbids it"),
        (SealFlags::WRITE, &["write", "--hex=00"], "its seal F_SEAL_WRITE forbids it"),
        (SealFlags::FUTURE_WRITE, &["write", "--fill=1"], "its seal F_SEAL_FUTURE_WRITE forbids it"),
        (SealFlags::WRITE, &["attach", "--for=1ms"], "its seal F_SEAL_WRITE forbids it"),
    ] {
        let memfd = Memfd::new();
        memfd.seal(seals);
        let ran = run([&command[..1], &[&memfd.name], &command[1..]].concat());
        ran.exits(4).says("(EPERM, ").says(&format!("cause: {cause}\n"));
    }
}
