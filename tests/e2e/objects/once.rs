//! What objects hold is counted once, whatever names and mounts lead to it.

use std::fs::{create_dir, hard_link};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::create;
use crate::actor::{Actor, Request};
use crate::support::{mount_tmpfs_on, run};

const SIZE: usize = 64 << 10;

fn fill(name: &str) -> String {
    let path = create(name, 0);
    std::fs::write(&path, vec![1; SIZE]).unwrap();
    path
}

/// Unlinks an object that the returned process has open.
fn unlink(path: String) -> Actor {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    actor
}

fn bind(source: &str, target: &str) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Returns how much memory of /dev/shm belongs to unlinked objects.
fn unlinked() -> Value {
    run(["limits", "--json"]).exits(0).json()["posix"]["unlinked"].clone()
}

/// Returns the same by the sum of all shared memory.
fn unlinked_in_usage() -> u64 {
    let report = run(["usage", "--json", "--by", "source"]).exits(0).json();
    let sources = report["sources"].as_array().unwrap();
    let found = sources.iter().find(|source| source["source"] == "unlinked");
    found.map_or(0, |source| source["rss"].as_u64().unwrap())
}

#[apply(test)]
fn a_file_with_several_names_in_directories_hides_no_unlinked_object() {
    let path = fill("x");
    let _process = unlink(fill("gone"));
    assert_eq!(unlinked(), SIZE);
    for directory in ["/dev/shm/d", "/dev/shm/e"] {
        create_dir(directory).unwrap();
        for name in ["one", "two"] {
            hard_link(&path, format!("{directory}/{name}")).unwrap();
        }
    }
    assert_eq!(unlinked(), SIZE);
    let report = run(["list", "--posix", "--json"]).exits(0).json();
    let sizes = report["objects"].as_array().unwrap().iter().map(|object| object["size"].clone());
    assert_eq!(sizes.collect::<Vec<_>>(), [json!(SIZE), json!(SIZE), json!(SIZE)], "{report}");
}

#[apply(test)]
#[requires(Root)]
fn files_next_to_a_directory_that_is_mounted_on_dev_shm_are_not_unlinked() {
    mount_tmpfs_on("/mnt", Some("size=10M"));
    create_dir("/mnt/objects").unwrap();
    std::fs::write("/mnt/other", vec![1; SIZE]).unwrap();
    bind("/mnt/objects", "/dev/shm");
    let _process = unlink(fill("gone"));
    assert_eq!(unlinked(), Value::Null);
    // Now no mount shows all of the file system.
    umount2("/mnt", MntFlags::MNT_DETACH).unwrap();
    assert_eq!(unlinked(), Value::Null);
    assert_eq!(unlinked_in_usage(), SIZE as u64);
}

#[apply(test)]
#[requires(Root)]
fn a_directory_that_is_mounted_on_another_one_is_not_counted_again() {
    for directory in ["/dev/shm/d", "/dev/shm/e"] {
        create_dir(directory).unwrap();
    }
    fill("d/x");
    let _process = unlink(fill("gone"));
    assert_eq!(unlinked_in_usage(), SIZE as u64);
    bind("/dev/shm/d", "/dev/shm/e");
    assert_eq!(unlinked_in_usage(), SIZE as u64);
    // What the mount covers is unknown.
    assert_eq!(unlinked(), Value::Null);
    umount2("/dev/shm/e", MntFlags::MNT_DETACH).unwrap();
}

#[apply(test)]
#[requires(Root)]
fn what_a_mount_covers_is_not_unlinked() {
    mount_tmpfs_on("/mnt", None);
    std::fs::write("/mnt/outside", "").unwrap();
    fill("inside");
    fill("covered");
    create_dir("/dev/shm/directory").unwrap();
    fill("directory/covered");
    assert_eq!(unlinked(), 0);
    for (source, target) in [
        ("/mnt/outside", "covered"),
        ("/dev/shm/inside", "covered"),
        ("/mnt", "directory"),
        ("/dev/null", "directory/covered"),
    ] {
        let target = format!("/dev/shm/{target}");
        bind(source, &target);
        assert_eq!(unlinked(), Value::Null, "{source} on {target}");
        assert!(!run(["list", "--posix"]).exits(0).stderr.contains("unlinked"));
        assert!(!run(["metrics"]).exits(0).stdout.contains("shmadm_posix_unlinked_bytes{"));
        run(["check", "-w", "unlinked-bytes=1K"]).exits(3).says("another mount covers a part of it");
        // It remains a part of the file system.
        let report = run(["usage", "--json"]).exits(0).json();
        assert_eq!(
            (&report["sources"][0]["source"], &report["sources"][0]["rss"]),
            (&json!("devshm"), &json!(3 * SIZE))
        );
        assert_eq!(unlinked_in_usage(), 0);
        umount2(&*target, MntFlags::MNT_DETACH).unwrap();
    }
    assert_eq!(unlinked(), 0);
}
