//! `diff` of listings with POSIX objects.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{create, file_id};
use crate::diff::Listings;
use crate::fixtures::assert_fields;
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm, shmadm_as};

/// Returns the names of records.
fn names(records: &Value) -> Vec<&str> {
    records.as_array().unwrap().iter().map(|record| record["name"].as_str().unwrap()).collect()
}

#[apply(test)]
fn objects_are_created_removed_and_changed() {
    for name in ["gone", "grows", "opens", "renamed", "linked", "same", "recreated"] {
        create(name, 4096);
    }
    let listings = Listings::new();
    let before = listings.list("before.json", &[]);
    assert_eq!(run(["diff", &before]).exits(0).stderr, "no differences\n");
    fs::remove_file("/dev/shm/gone").unwrap();
    fs::File::options().write(true).open("/dev/shm/grows").unwrap().set_len(8192).unwrap();
    fs::set_permissions("/dev/shm/opens", fs::Permissions::from_mode(0o666)).unwrap();
    fs::rename("/dev/shm/renamed", "/dev/shm/sem.moved").unwrap();
    fs::hard_link("/dev/shm/linked", "/dev/shm/second").unwrap();
    fs::remove_file("/dev/shm/recreated").unwrap();
    create("recreated", 4096);
    // Contents and times are not compared.
    fs::write("/dev/shm/same", [1; 4096]).unwrap();
    for arguments in [&["diff", &before, "--json"][..], &["diff", &before, &listings.list("after.json", &[]), "--json"]]
    {
        let report = run(arguments).exits(1).says("1 created, 2 removed, 4 changed").json();
        assert_fields(&report, json!({ "created": [], "removed": [], "changed": [] }));
        let objects = &report["objects"];
        // A second name of an object is not another object.
        assert_eq!(names(&objects["created"]), ["/recreated"]);
        let mut removed = names(&objects["removed"]);
        removed.sort_unstable();
        assert_eq!(removed, ["/gone", "/recreated"]);
        let change = |name: &str| -> Value {
            let changed = objects["changed"].as_array().unwrap().iter();
            changed.clone().find(|change| change["before"]["name"] == name).unwrap()["changes"].clone()
        };
        assert_eq!(change("/grows"), json!(["size"]));
        assert_eq!(change("/opens"), json!(["mode"]));
        assert_eq!(change("/renamed"), json!(["name"]));
        assert_eq!(change("/linked"), json!(["links"]));
    }
    let table = run(["diff", &before]).exits(1).stdout;
    let row = format!("changed  sem:/moved  {}", file_id("/dev/shm/sem.moved").trim_start_matches("obj:"));
    assert!(
        table.lines().any(|line| line.starts_with(&row) && line.ends_with("name /renamed -> sem:/moved")),
        "{table}"
    );
    assert!(table.contains("size 4 KiB -> 8 KiB") && table.contains("mode 0600 -> 0666"), "{table}");
    // CSV and TSV print segments.
    assert_eq!(run(["diff", &before, "--format", "csv", "--no-headings"]).exits(1).stdout, "");
    let only = listings.write("only.json", run(["list", "--posix", "--json"]).exits(0).stdout.as_bytes());
    assert_eq!(run(["diff", &only]).exits(0).stderr, "no differences\n");
    fs::remove_file("/dev/shm/same").unwrap();
    let rows = run(["diff", &only, "--format", "tsv", "--no-headings"]).exits(1).stdout;
    assert!(rows.starts_with("removed\t/same\t"), "{rows}");
}

#[apply(test)]
#[requires(Root)]
fn an_unknown_size_does_not_differ() {
    fs::create_dir("/dev/shm/secret").unwrap();
    fs::set_permissions("/dev/shm/secret", fs::Permissions::from_mode(0o700)).unwrap();
    fs::write("/dev/shm/secret/data", [1; 8192]).unwrap();
    let listings = Listings::new();
    let list = finish(shmadm_as(NOBODY).args(["list", "--json"])).exits(0);
    let before = listings.write("before.json", list.stdout.as_bytes());
    assert_eq!(run(["diff", &before]).exits(0).stderr, "no differences\n");
}

#[apply(test)]
fn listings_without_objects_still_work() {
    let listings = Listings::new();
    let old = listings.write("old.json", b"{\"schema\":1,\"segments\":[]}\n");
    create("x", 4096);
    let report = run(["diff", &old, "--json"]).exits(0).json();
    assert_eq!(report, json!({ "schema": 1, "created": [], "removed": [], "changed": [], "objects": null }));
    let new = listings.list("new.json", &[]);
    run(["diff", &old, &new]).exits(0);
    let only = listings.write("only.json", run(["list", "--posix", "--json"]).exits(0).stdout.as_bytes());
    run(["diff", &old, &only]).exits(2).says("cannot compare a listing of segments with one of POSIX objects");
    let broken = listings.write("broken.json", b"{\"schema\":1,\"objects\":[{\"name\":\"/x\"}]}");
    run(["diff", &broken]).exits(2).says("its objects lack object, type, size");
}

#[apply(test)]
fn another_file_system_is_not_compared() {
    create("x", 4096);
    let listings = Listings::new();
    let before = listings.list("before.json", &[]);
    mount_tmpfs_on("/dev/shm", Some("mode=1777"));
    run(["diff", &before]).exits(2).says("with /dev/shm, which is device ").says("cause: it lists objects of 0:");
    let piped = finish(shmadm().args(["diff", "-"]).stdin(fs::File::open(&before).unwrap())).exits(2);
    piped.says("error: cannot compare standard input with /dev/shm, which is device ");
}
