//! `list`, `who` and `prune` report what they cannot inspect or do not show.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::family::{create_control, inside_pid_namespace};
use super::list::objects;
use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::in_flight::send_descriptor;
use crate::oracle;
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(Root)]
fn objects_that_cannot_be_listed_are_unknown() {
    mount_tmpfs_on("/dev/shm", Some("mode=0700"));
    create("x", 4096);
    let list = |options: &[&str]| finish(shmadm_as(NOBODY).arg("list").args(options));
    let problem = "cannot list /dev/shm: Permission denied (EACCES, open)\n";
    list(&[]).exits(0).says(&format!("warning: objects omitted: {problem}"));
    assert_eq!(list(&["--json"]).exits(0).stdout, "{\"schema\":1,\"segments\":[],\"objects\":null}\n");
    list(&["--posix"]).exits(4).says(problem);
    assert_eq!(list(&["--sysv"]).exits(0).stderr, "");
    let ran = list(&["--unlinked"]).exits(0);
    ran.says(&format!("warning: cannot determine whether unlinked objects hold memory: {problem}"));
    for command in ["prune -n", "prune -n --json", "limits"] {
        let ran = finish(shmadm_as(NOBODY).args(command.split(' '))).exits(0);
        ran.says(&format!("warning: objects omitted: {problem}"));
    }
    assert!(!finish(shmadm_as(NOBODY).args(["prune", "-n", "--sysv"])).exits(0).stderr.contains("warning"));
}

#[apply(test)]
#[requires(Root)]
fn the_mode_of_the_directory_is_the_cause_if_names_cannot_be_looked_up() {
    create("x", 4096);
    let prune = ["prune", "--posix", "--unattached", "--older-than", "0s", "-n", "--json"];
    let report = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(report.path(), run(prune).exits(0).stdout).unwrap();
    std::fs::set_permissions(report.path(), Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions("/dev/shm", Permissions::from_mode(0o700)).unwrap();
    let from = format!("rm --from {} -n", report.path().display());
    for (command, attempt, call) in [
        ("stat /x", "cannot find object /x", ": Permission denied (EACCES, statx)"),
        ("rm /x", "cannot find object /x", ": Permission denied (EACCES, statx)"),
        ("read /x", "cannot find object /x", ": Permission denied (EACCES, statx)"),
        ("create /x", "cannot create object /x", ": Permission denied (EACCES, statx)"),
        ("create /x -n", "would fail: cannot create object /x", ""),
        (&from, "cannot find object /x", ": Permission denied (EACCES, statx)"),
    ] {
        let ran = finish(shmadm_as(NOBODY).args(command.split(' '))).exits(4);
        ran.says(&format!("error: {attempt}{call}\ncause: the mode of /dev/shm is 0700 and its owner is root\n"));
    }
    let error = finish(shmadm_as(NOBODY).args(["create", "/x", "--json"])).exits(4).json()["error"].clone();
    assert_eq!(error["cause"], "the mode of /dev/shm is 0700 and its owner is root");
}

#[apply(test)]
#[requires(Root)]
fn objects_of_a_directory_that_cannot_be_listed_have_names() {
    mount_tmpfs_on("/dev/shm", Some("mode=0711"));
    std::fs::set_permissions(create("x", 4096), Permissions::from_mode(0o666)).unwrap();
    for command in ["stat /x", "read /x", "who /x", "attach /x --for 1ms", "dump /x -o -"] {
        finish(shmadm_as(NOBODY).args(command.split(' '))).exits(0);
    }
    let ran = finish(shmadm_as(NOBODY).args(["list", "--posix"])).exits(4);
    ran.says("cannot list /dev/shm: Permission denied (EACCES, open)\n");
}

#[apply(test)]
#[requires(Root)]
fn objects_of_a_directory_on_disk_are_omitted_with_a_warning() {
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    mount(Some(disk.path()), "/dev/shm", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let namespace = "/proc/self/ns/ipc";
    let commands = ["list", "limits", "metrics", "prune -n", "leakcheck --isolate never true", "leakcheck true"];
    for command in commands {
        run(command.split(' '))
            .exits(0)
            .says("warning: objects omitted: cannot use /dev/shm: neither a tmpfs nor a hugetlbfs is mounted there\n");
        run(["--ns", namespace].into_iter().chain(command.split(' ')))
            .exits(0)
            .says("warning: objects omitted: cannot find the POSIX objects of this IPC namespace\n");
    }
    // These are in no directory.
    for command in ["list --type memfd", "who --type memfd", "list --type memfd,anonymous"] {
        let ran = run(command.split(' ').chain(["--json"])).exits(0);
        assert!(ran.json()["objects"].is_array() && ran.stderr.is_empty(), "{ran:?}");
    }
    let reason = "/x in /dev/shm: neither a tmpfs nor a hugetlbfs is mounted there\n";
    run(["stat", "/x"]).exits(1).says(&format!("error: cannot find object {reason}"));
    run(["create", "/x"]).exits(1).says(&format!("error: cannot create object {reason}"));
    run(["prune", "--posix", "-n"]).exits(1).says("error: cannot use /dev/shm: ");
    assert_eq!(run(["prune", "--sysv", "-n"]).exits(0).stderr, "nothing to prune\n");
    umount2("/dev/shm", MntFlags::MNT_DETACH).unwrap();
    assert_eq!(run(["prune", "-n"]).exits(0).stderr, "nothing to prune\n");
}

#[apply(test)]
#[requires(Root)]
fn a_directory_that_cannot_be_read_has_no_size() {
    std::fs::create_dir("/dev/shm/secret").unwrap();
    std::fs::set_permissions("/dev/shm/secret", Permissions::from_mode(0o700)).unwrap();
    std::fs::write("/dev/shm/secret/data", [1; 8192]).unwrap();
    let record = |command: &mut Command| finish(command.args(["list", "--json"])).exits(0).json()["objects"][0].clone();
    assert_fields(&record(&mut shmadm_as(NOBODY)), json!({ "type": "dir", "size": null, "allocated": null }));
    assert_fields(&record(&mut shmadm()), json!({ "type": "dir", "size": 8192, "allocated": 8192 }));
    let table = finish(shmadm_as(NOBODY).args(["list", "--no-headings", "--color", "never"])).exits(0).stdout;
    assert_eq!(table.split_whitespace().collect::<Vec<_>>()[..5], ["/secret", "-", "root", "0700", "-"]);
    let stat = finish(shmadm_as(NOBODY).args(["stat", "/secret"])).exits(0).stdout;
    let sizes: Vec<&str> = stat.lines().skip(3).take(4).map(str::trim_start).collect();
    assert_eq!(sizes, ["Size: unknown", "Allocated: unknown", "Resident: unknown", "Swapped: unknown"]);
}

#[apply(test)]
#[requires(Root)]
fn the_attributes_of_an_object_that_is_only_mapped_are_unknown() {
    use std::os::unix::process::CommandExt;
    // Only root may follow /proc/PID/map_files.
    let mut actor = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY).current_dir("/"));
    let path = create("x", 4096);
    std::os::unix::fs::chown(&path, Some(NOBODY), None).unwrap();
    let file = file_id(&path);
    actor.ask(Request::MapFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    let stat = finish(shmadm_as(NOBODY).args(["stat", &file])).exits(0).stdout;
    let unknown: Vec<&str> = stat.lines().filter_map(|line| line.trim_start().strip_suffix(": unknown")).collect();
    assert_eq!(
        unknown,
        [
            "Allocated",
            "Resident",
            "Swapped",
            "Mode",
            "Owner",
            "Group",
            "Names (links)",
            "Created",
            "Last read",
            "Last write",
            "Last change",
            "Product",
            "Created by pid"
        ],
        "{stat}"
    );
}

#[apply(test)]
fn a_column_of_objects_is_found_with_a_hint() {
    create("x", 4096);
    let ran = run(["list", "-o", "NAME,SIZE"]).exits(2).says("invalid column \"NAME\"");
    ran.says("hint: show this column of POSIX objects: `shmadm list -o NAME,SIZE --posix`\n");
    assert_eq!(run(["list", "-o", "NAME,SIZE", "--posix", "--no-headings"]).exits(0).stdout, "/x  4K\n");
    let ran = run(["list", "-o", "nosuch"]).exits(2);
    assert!(!ran.stderr.contains("--posix"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn the_objects_of_a_process_include_those_without_a_name() {
    let (named, unlinked) = (create("named", 4096), create("unlinked", 8192));
    std::fs::write(&unlinked, [1; 4096]).unwrap();
    let (file, id) = (file_id(&unlinked), oracle::create(0, 4096, 0o600));
    let (mut actor, mut other) = (Actor::start(), Actor::start());
    actor.attach(id);
    actor.ask(Request::OpenFile { path: unlinked.clone() });
    std::fs::remove_file(unlinked).unwrap();
    for actor in [&mut actor, &mut other] {
        actor.ask(Request::OpenFile { path: named.clone() });
    }
    let pid = actor.pid().to_string();
    let report =
        run(["who", "--pid", &pid, "--json"]).exits(0).says("total: 1 segment and 2 objects (12 KiB)\n").json();
    let names: Vec<_> =
        objects(&report).iter().map(|object| (object["name"].clone(), object["found"].clone())).collect();
    assert_eq!(names, [(json!("/named"), json!(1)), (Value::Null, json!(1))]);
    assert_eq!(format!("obj:{}", objects(&report)[1]["object"].as_str().unwrap()), file);
    // The size is that of the object, also of one that is not mapped.
    let table = run(["who", "--pid", &pid]).exits(0).stdout;
    let sizes: Vec<_> = table.lines().filter(|line| line.contains("open")).map(|line| line.contains(" 4K ")).collect();
    assert_eq!(sizes, [true, true], "{table}");
    // `list` shows them only with an option, and `who` only with --pid.
    run(["who"]).exits(0).says(" 4 KiB: `shmadm list --unlinked`\n");
    let hint = format!("hint: also list 1 unlinked object: `shmadm list --pid {pid} --unlinked`\n");
    run(["list", "--pid", &pid]).exits(0).says(&hint);
    let listed = run(["list", "--pid", &pid, "--unlinked", "--posix", "--json"]).exits(0).json();
    assert_eq!(objects(&listed).len(), 1);
    let hint = "hint: also list 1 unlinked object: `shmadm list --state unlinked --unlinked`\n";
    run(["list", "--state", "unlinked"]).exits(0).says(hint);
}

#[apply(test)]
#[requires(Root)]
fn users_that_were_not_found_are_reported() {
    let path = create("unlinked", 4096);
    std::fs::write(&path, [1; 4096]).unwrap();
    let _sockets = [send_descriptor(path.clone()), send_descriptor(create("flies", 4096))];
    std::fs::remove_file(path).unwrap();
    run(["list", "--unlinked"])
        .exits(0)
        .says("warning: unlinked objects hold 4 KiB, but no process that uses them was found: a Unix socket has ");
    // A user of one object is not that of another.
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create("used", 4096) });
    let ran = run(["prune", "--posix", "--older-than", "0s"])
        .exits(0)
        .says(&format!("kept 2: 2 in use by pid {}", actor.pid()));
    ran.says("processes that were not found");
}

#[apply(test)]
#[requires(Root)]
fn a_hint_names_the_option_that_determines_unknown_states() {
    create("torch_4194304_1_1", 4096);
    create_control("PostgreSQL.1");
    let list = |options: &[&str]| finish(&mut inside_pid_namespace(&[&["list"], options].concat())).exits(0);
    let ran = list(&["--state", "orphan"]);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    ran.says("hint: determine the state of 2 objects: `shmadm list --state orphan --probe`\n");
    let ran = list(&["--state", "orphan", "--probe"]);
    assert_eq!((ran.stdout.lines().count(), &*ran.stderr), (2, ""), "{ran:?}");
    // No lease shows that an object is unlinked.
    assert_eq!(list(&["--state", "unlinked"]).stderr, "");
    // Machines do not read hints.
    assert_eq!(list(&["--posix", "--json"]).stderr, "");
    for (command, objects) in [("stat /torch_4194304_1_1", "1 object"), ("identify", "2 objects")] {
        let ran =
            |option| finish(&mut inside_pid_namespace(&[&command.split(' ').collect::<Vec<_>>()[..], option].concat()));
        ran(&[]).exits(0).says(&format!("hint: determine the state of {objects}: `shmadm {command} --probe`\n"));
        assert_eq!([&["--probe"][..], &["--json"]].map(|option| ran(option).exits(0).stderr), ["", ""]);
    }
}

#[apply(test)]
#[requires(Root)]
fn who_asks_the_lease_of_everything_that_it_shows() {
    let _sockets = [send_descriptor(create("flies", 4096)), send_descriptor(create("too", 4096))];
    create("unused", 4096);
    for arguments in [&["who"][..], &["who", "--all"], &["who", "--all", "/unused"]] {
        let report = run([arguments, &["--json"]].concat()).exits(0).json();
        let in_use = |name: &str| {
            let object = report["objects"].as_array().unwrap().iter().find(|object| object["name"] == name).unwrap();
            assert!(name == "/unused" || object["hidden"][0]["reason"] == "in-flight", "{object}");
            object["in_use"].as_bool()
        };
        assert_eq!(["/flies", "/too", "/unused"].map(in_use), [Some(true), Some(true), Some(false)]);
    }
    // Nothing is hidden behind a lease that was granted, whatever the scan could not see.
    let who = ["who", "/unused", "--json"];
    for report in [run(who).exits(0).json(), finish(&mut inside_pid_namespace(&who)).exits(0).json()] {
        assert_fields(&report["objects"][0], json!({ "in_use": false, "hidden": [] }));
    }
    for (filter, objects) in [("--state=in-use", 2), ("--name=f*", 1), ("--state=unused", 1), ("--older-than=0s", 1)] {
        let report = run(["who", filter, "--json"]).exits(0).json();
        assert_eq!(report["objects"].as_array().unwrap().len(), objects, "{filter}: {report}");
    }
    let ran = run(["who"]).exits(0).says("warning: 2 objects are in use (object /");
    ran.says("), but no process that uses them was found: a Unix socket has descriptors queued");
    run(["who", "--name=too"]).exits(0).says("warning: object /too is in use, but no process that uses it was found: ");
}
