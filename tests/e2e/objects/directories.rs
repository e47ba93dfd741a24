//! Directories of programs, such as joblib and libqb: one row with everything below it.

use std::path::Path;

use serde_json::json;

use super::create;
use super::list::objects;
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, can_inspect_all};
use crate::sandbox::with_file_over;
use crate::support::{file, finish, run, shmadm};

const NAME: &str = "joblib_memmapping_folder_4194304_x";

/// Creates the directory of a process that has exited, with a file in it, whose path is returned.
fn directory() -> String {
    std::fs::create_dir_all(format!("/dev/shm/{NAME}/sub")).unwrap();
    create(&format!("{NAME}/sub/array.pkl"), 4096)
}

/// Returns the record of the directory in a listing.
fn listed() -> serde_json::Value {
    objects(&run(["list", "--posix", "--probe", "--json"]).exits(0).json())[0].clone()
}

#[apply(test)]
fn listing_a_directory_does_not_count_as_its_use() {
    directory();
    let days_ago = ["-d", "10 days ago", &format!("/dev/shm/{NAME}")];
    assert!(std::process::Command::new("touch").args(days_ago).status().unwrap().success());
    let accessed = || std::fs::metadata(format!("/dev/shm/{NAME}")).unwrap().accessed().unwrap();
    let before = accessed();
    listed();
    assert_eq!(accessed(), before);
}

#[apply(test)]
fn the_users_of_the_files_below_a_directory_are_its_users() {
    let file = directory();
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: file });
    assert_fields(
        &listed(),
        json!({ "type": "dir", "state": "in-use", "users": 1, "mappings": 1, "maker": 4_194_304 }),
    );
    let name = format!("/{NAME}");
    let who = run(["who", &name]).exits(0).stdout;
    assert!(who.contains(&format!("{name}  {}", actor.pid())), "{who}");
    drop(actor);
    if !can_inspect_all() {
        run(["list"]).exits(0).says("hint: determine the state of 1 object: `shmadm list --probe`\n");
    }
    assert_fields(&listed(), json!({ "state": "orphan", "users": 0 }));
    let stat = run(["stat", "--probe", &name]).exits(0).stdout;
    assert!(stat.contains("orphan"), "{stat}");
}

#[apply(test)]
fn the_memory_of_a_directory_is_that_of_everything_below_it() {
    let path = directory();
    std::fs::write(&path, [1; 4096]).unwrap();
    std::fs::write(format!("/dev/shm/{NAME}/other"), [1; 8192]).unwrap();
    std::fs::hard_link(&path, format!("/dev/shm/{NAME}/same")).unwrap();
    assert_fields(&listed(), json!({ "allocated": 12288, "rss": 12288, "swap": 0 }));
    let stat = run(["stat", &format!("/{NAME}"), "--json"]).exits(0).json();
    assert_fields(&stat["objects"][0], json!({ "rss": 12288, "swap": 0 }));
    // With swap in use, the files themselves show it.
    let directory = tempfile::tempdir().unwrap();
    let swapping = file(directory.path(), "meminfo", b"MemTotal: 9 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &swapping, c"/proc/meminfo");
    let report = finish(command.args(["list", "--posix", "--json"])).exits(0).json();
    assert_fields(objects(&report)[0], json!({ "rss": 12288, "swap": 0 }));
}

#[apply(test)]
fn a_directory_is_removed_only_by_the_user() {
    directory();
    for options in [&[][..], &["--force"], &["--dry-run"]] {
        run([&["rm", &format!("/{NAME}")], options].concat())
            .exits(1)
            .says(&format!("error: \"/{NAME}\" is not a shared memory object: it is a directory\n"))
            .says(&format!("hint: list the processes that use files in it: `shmadm who /{NAME}`\n"))
            .says(&format!("hint: remove it and everything in it: `rm -r /dev/shm/{NAME}`\n"));
    }
    run(["prune", "--posix", "--unattached", "--older-than", "0s", "--yes"]).exits(0).says("kept 1: 1 a directory\n");
    assert!(Path::new("/dev/shm").join(NAME).join("sub/array.pkl").exists());
}
