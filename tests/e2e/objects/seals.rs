//! Seals of memfds: they are shown, and they are the cause of EPERM.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, major, memfd_create, minor};
use serde_json::json;

use super::create;
use crate::fixtures::assert_fields;
use crate::support::run;

/// Returns the argument that names a file.
fn name_of(file: &OwnedFd) -> String {
    let stat = fstat(file).unwrap();
    format!("obj:{}:{}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino)
}

#[apply(test)]
fn the_seals_of_a_memfd_are_shown() {
    let file = memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, 4096).unwrap();
    let name = name_of(&file);
    let seals = || run(["stat", &name, "--json"]).exits(0).json()["objects"][0]["seals"].clone();
    assert_eq!(seals(), json!([]));
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::FUTURE_WRITE).unwrap();
    assert_eq!(seals(), json!(["shrink", "future-write"]));
    let fields = run(["stat", &name]).exits(0).stdout;
    assert!(fields.lines().any(|line| line.split_whitespace().eq(["Seals:", "shrink,", "future-write"])), "{fields}");
    let own = std::process::id().to_string();
    let listed = run(["list", "--type", "memfd", "--pid", &own, "--json"]).exits(0).json();
    let memfd = listed["objects"].as_array().unwrap().iter().find(|it| name.ends_with(it["object"].as_str().unwrap()));
    assert_fields(memfd.unwrap(), json!({ "seals": ["shrink", "future-write"] }));
    let tsv = ["list", "--type", "memfd", "--pid", &own, "--posix", "--format", "tsv", "-o", "OBJECT,SEALS"];
    let tsv = run(tsv).exits(0).stdout;
    assert!(tsv.contains(&format!("{}\tshrink; future-write\n", name.trim_start_matches("obj:"))), "{tsv}");
    // A file of a tmpfs cannot be sealed.
    create("x", 4096);
    assert_fields(&run(["stat", "/x", "--json"]).exits(0).json()["objects"][0], json!({ "seals": null }));
}

#[apply(test)]
fn a_seal_is_the_cause_of_a_denial() {
    for (seals, command, cause) in [
        (SealFlags::SHRINK, &["set", "--size=100", "--force"][..], "its seal F_SEAL_SHRINK forbids it"),
        (SealFlags::GROW | SealFlags::SHRINK, &["set", "--size=8K"], "its seal F_SEAL_GROW forbids it"),
        (SealFlags::EXEC, &["set", "--mode=600"], "its seal F_SEAL_EXEC forbids it"),
        (SealFlags::WRITE, &["write", "--hex=00"], "its seal F_SEAL_WRITE forbids it"),
        (SealFlags::FUTURE_WRITE, &["write", "--fill=1"], "its seal F_SEAL_FUTURE_WRITE forbids it"),
        (SealFlags::WRITE, &["attach", "--for=1ms"], "its seal F_SEAL_WRITE forbids it"),
    ] {
        let file = memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 4096).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        let name = name_of(&file);
        let ran = run([&command[..1], &[&name], &command[1..]].concat());
        let ran = ran.exits(if command[0] == "write" { 1 } else { 4 });
        ran.says("(EPERM, ").says(&format!("cause: {cause}\n"));
    }
}
