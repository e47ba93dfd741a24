//! Without /proc, objects cannot be opened, and their users cannot be found.

use std::process::Command;

use serde_json::{Value, json};

use super::create;
use crate::fixtures::assert_fields;
use crate::sandbox::with_empty_proc;
use crate::support::{Ran, finish, shmadm};

fn without_proc(arguments: &str) -> Ran {
    let mut command: Command = shmadm();
    with_empty_proc(&mut command);
    finish(command.args(arguments.split(' ')))
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_cannot_be_opened_without_proc_is_not_missing() {
    create("a", 4096);
    for (command, attempt) in [
        ("read /a --length 4", "cannot read object /a"),
        ("write /a text", "cannot write object /a"),
        ("set /a --size 1M", "cannot change object /a"),
        ("set /a --size 1", "cannot change object /a"),
        ("set /a --mode 0644", "cannot change object /a"),
        ("map /a", "cannot read object /a"),
        ("attach /a --for 1ms", "cannot attach object /a"),
        ("dump /a -o -", "cannot read object /a"),
        ("create /new", "cannot create object /new of 4 KiB"),
    ] {
        let ran = without_proc(command).exits(1);
        assert!(ran.stderr.starts_with(&format!("error: {attempt}\ncause: /proc is not mounted, and ")), "{ran:?}");
        ran.says("hint: mount the /proc of this pid namespace: `mount -t proc proc /proc`\n");
    }
    assert_eq!(without_proc("create /a").exits(0).stderr, "opened existing object /a (4 KiB)\n");
    let ran = without_proc("rm /a").exits(5);
    ran.says("error: cannot remove object /a: cannot determine whether it is in use\ncause: /proc/self/fd is needed ")
        .says(", and /proc is not mounted\nhint: remove the name anyway: ");
    without_proc("rm /missing").exits(3);
    without_proc("rm /a --force -n").exits(0);
    without_proc("rm /a --force").exits(0);
}

#[apply(test)]
#[requires(Root)]
fn users_that_were_not_looked_for_are_not_counted() {
    create("a", 4096);
    std::fs::create_dir("/dev/shm/dir").unwrap();
    std::fs::write("/dev/shm/dir/file", "x").unwrap();
    let none = json!({ "users": null, "mappings": null, "descriptors": null, "state": "unknown" });
    assert_fields(&without_proc("stat /a --json").exits(0).json()["objects"][0], none.clone());
    // A file below a directory that cannot be opened has not vanished.
    let listed = without_proc("list --posix --probe --json").exits(0).json();
    listed["objects"].as_array().unwrap().iter().for_each(|object| assert_fields(object, none.clone()));
    let who = without_proc("who /a --json").exits(0).says("whether object /a is in use: /proc is not mounted\n").json();
    let hidden = json!([{ "reason": "unknown", "count": null }]);
    assert_fields(&who["objects"][0], json!({ "in_use": Value::Null, "hidden": hidden }));
    let stat = without_proc("stat /a").exits(0).stdout;
    assert!(stat.contains("Processes: unknown\n"), "{stat}");
}
