//! Every command with every kind of file instead of an object: an error that names the kind, and no panic.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm_as};

/// Commands about an object; its name replaces `NAME`.
const ABOUT_ONE: &[&[&str]] = &[
    &["stat", "NAME"],
    &["read", "NAME", "--raw"],
    &["read", "NAME", "--json"],
    &["write", "NAME", "--hex", "00"],
    &["dump", "NAME", "--output", "-"],
    &["map", "NAME", "--json"],
    &["attach", "NAME", "--for", "1ms"],
    &["detach", "NAME"],
    &["who", "NAME", "--json"],
    &["set", "NAME", "--mode", "600", "--json"],
    &["set", "NAME", "--size", "100"],
    &["rm", "NAME", "--dry-run"],
    &["rm", "NAME"],
];

fn with_name<'a>(command: &[&'a str], name: &'a str) -> Vec<&'a str> {
    command.iter().map(|word| if *word == "NAME" { name } else { *word }).collect()
}

#[apply(test)]
fn what_is_not_an_object_is_named() {
    let path = |name: &str| format!("/dev/shm/{name}");
    symlink("/etc/passwd", path("symlink")).unwrap();
    mkfifo(&*path("fifo"), Mode::S_IRWXU).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let mut kinds = vec![
        ("/symlink", "a symbolic link"),
        ("/fifo", "a FIFO"),
        ("/directory", "a directory"),
        ("/socket", "a socket"),
    ];
    if mknod(&*path("device"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).is_ok() {
        kinds.push(("/device", "a device"));
    }
    let directory = file_id(&path("directory"));
    for command in ABOUT_ONE {
        // These show the files below a directory.
        let shows_directories = matches!(command, ["stat" | "who", ..]);
        for (name, what) in &kinds {
            if shows_directories && *name == "/directory" {
                run(with_name(command, name)).exits(0);
                continue;
            }
            let ran = run(with_name(command, name)).exits(1);
            ran.says(&format!("\"{name}\" is not a shared memory object: it is {what}"));
        }
        if !shows_directories {
            run(with_name(command, &directory)).exits(1).says("\"/directory\" is not a shared memory object");
        }
    }
    assert_eq!(super::names().len(), kinds.len());
}

#[apply(test)]
fn a_mount_on_a_directory_is_not_an_object() {
    std::fs::create_dir("/dev/shm/mount").unwrap();
    mount_tmpfs_on("/dev/shm/mount", None);
    run(["stat", "/mount"]).exits(1).says("\"/mount\" is not a shared memory object: it is another mount\n");
}

#[apply(test)]
fn what_does_not_exist_is_not_found() {
    for command in ABOUT_ONE {
        for name in ["/missing", "sem:/missing", "obj:0:1:4294967297"] {
            run(with_name(command, name)).exits(3).says("it was removed or never existed");
        }
    }
}

#[apply(test)]
fn an_unlinked_object_is_changed_and_read_through_its_user() {
    let path = create("x", 8192);
    let name = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    for command in ABOUT_ONE {
        let expected = match command {
            // Only its user can detach it, its name is removed already, and its user would get SIGBUS.
            ["detach" | "rm", ..] | ["set", _, "--size", _] => 5,
            _ => 0,
        };
        let ran = run(with_name(command, &name));
        assert_eq!(ran.code, Some(expected), "{command:?}: {ran:#?}");
    }
    run(["rm", &name, "--force"]).exits(5).says("it has no name").says(&format!("pid {}", actor.pid()));
    run(["write", &name, "rescued"]).exits(0);
    assert_eq!(run(["read", &name, "--text"]).exits(0).stdout, "rescued\n");
}

#[apply(test)]
#[requires(Root)]
fn another_users_object_is_denied_with_its_mode() {
    let path = create("private", 8192);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    for command in ABOUT_ONE {
        let expected = match command {
            ["stat" | "who", ..] => 0,
            // No process is found, but not every process could be inspected.
            ["detach", ..] => 5,
            _ => 4,
        };
        let ran = finish(shmadm_as(NOBODY).args(with_name(command, "/private")));
        assert_eq!(ran.code, Some(expected), "{command:?}: {ran:#?}");
        if expected == 4 {
            let denied = ["EACCES", "EPERM"].iter().any(|errno| ran.stderr.contains(&format!("({errno}, ")));
            // A dry run names no call.
            assert!(denied || command.contains(&"--dry-run"), "{command:?}: {ran:#?}");
        }
    }
    assert_eq!(std::fs::metadata(path).unwrap().len(), 8192);
}

#[apply(test)]
fn no_command_panics_at_the_name_of_an_object() {
    let path = create("x", 8192);
    let names = ["/x", "sem:/x", &file_id(&path), "/x/y", "/", "sem:", "obj:1", "obj:0:1:2"];
    let listing = run(["list", "--json"]).exits(0).stdout;
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("listing").to_str().unwrap().to_owned();
    std::fs::write(&saved, listing).unwrap();
    let filters =
        ["--exclude", "--key", "--owner", "--group", "--creator", "--pid", "--cpid", "--name", "--ns", "--dir"];
    for name in names {
        let mut lines: Vec<Vec<&str>> = ABOUT_ONE.iter().map(|command| with_name(command, name)).collect();
        for command in
            ["attach", "check", "completions", "create", "demo", "detach", "diff", "dump", "leakcheck", "limits"]
        {
            lines.push(vec![command, name]);
        }
        for command in ["list", "map", "metrics", "prune", "read", "restore", "rm", "set", "stat", "who", "write"] {
            lines.extend([vec![command, name], vec![command, name, name, "--json"]]);
        }
        for command in ["list", "who", "prune"] {
            lines.extend(filters.iter().map(|filter| vec![command, filter, name, "--json"]));
            lines.push(vec![command, "--exclude", name, "--yes"]);
        }
        lines.extend([
            vec!["rm", "--from", name],
            vec!["rm", "--from", &saved],
            vec!["diff", &saved],
            vec!["diff", &saved, "--json"],
            vec!["create", "--key", name],
            vec!["create", name, "--dry-run", "--json"],
            vec!["list", "--posix", "--sort", "MAKER", "-o", "+PIDS,COMMANDS"],
            vec!["stat", name, name, "1", "2", "3", "4", "5", "6", "7", "8", "--probe"],
            vec!["read", name, "--peek"],
            vec!["attach", name, "--background", "--for", "1ms"],
        ]);
        for line in lines {
            let ran = run(&line);
            assert!(ran.code.is_some_and(|code| code != 101), "{line:?}: {ran:#?}");
            assert!(!ran.stderr.contains("panicked"), "{line:?}: {ran:#?}");
        }
        std::fs::write(&path, [0; 8192]).unwrap();
    }
}
