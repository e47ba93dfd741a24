//! The processes that use objects, and listings while other processes change them.

use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::oracle::{self, Attached};
use crate::sandbox::{ShownProcesses, with_file_over};
use crate::support::{NOBODY, Ran, file, finish, run, shmadm, shmadm_as};
use crate::vanish::{Call, Stopped};

/// Creates a named semaphore of glibc.
fn create_semaphore(name: &str, value: u8) -> String {
    let mut contents = [0_u8; 32];
    (contents[0], contents[8]) = (value, 0x80);
    let path = create(name, 32);
    std::fs::write(&path, contents).unwrap();
    path
}

#[apply(test)]
#[requires(Root)]
fn a_listing_does_not_wait_for_a_lease() {
    let path = create_semaphore("sem.lock", 3);
    let mut holder = Actor::start();
    assert_eq!(holder.ask(Request::LeaseFile { path: path.clone() }), "0");
    // The kernel breaks the lease after fs.lease-break-time, and only then lets a waiting open(2) continue.
    let listed = run(["list", "--posix", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "name": "sem:/lock", "value": null, "waiters": null }));
    drop(holder);
    let listed = run(["list", "--posix", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "value": 3, "waiters": 0 }));
    // With swap in use, every object is opened.
    let mut holder = Actor::start();
    assert_eq!(holder.ask(Request::LeaseFile { path }), "0");
    let directory = tempfile::tempdir().unwrap();
    let swapping = file(directory.path(), "meminfo", b"MemTotal: 9 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &swapping, c"/proc/meminfo");
    let listed = finish(command.args(["list", "--posix", "--json"])).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "value": null, "rss": null, "swap": null }));
    drop(holder);
}

#[apply(test)]
#[requires(Root)]
fn what_replaces_a_semaphore_after_it_was_listed_is_not_opened() {
    let path = "/dev/shm/sem.lock";
    let replacements: [fn(&str); 3] = [
        |path| drop(std::fs::rename(create_semaphore("other", 7), path)),
        // /dev/zero, whose contents look like a semaphore of musl.
        |path| mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).unwrap(),
        // An open(2) would wait for a writer.
        |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
    ];
    for replace in replacements {
        create_semaphore("sem.lock", 3);
        // A call of open(2) that does not open a directory: that of the semaphore.
        let opens = |call: &Call| {
            let flags = call.arguments[2];
            let has = |flag: i32| flags & u64::from(flag.cast_unsigned()) != 0;
            call.number == libc::SYS_openat && has(libc::O_PATH) && has(libc::O_NOFOLLOW) && !has(libc::O_DIRECTORY)
        };
        let stopped = Stopped::before(1, opens, &["list", "--posix", "--json"]);
        std::fs::remove_file(path).unwrap();
        replace(path);
        let listed = stopped.go_on().exits(0).json();
        assert_fields(&listed["objects"][0], json!({ "name": "sem:/lock", "value": null, "waiters": null }));
        std::fs::remove_file(path).unwrap();
    }
}

#[apply(test)]
#[requires(Root)]
fn descriptors_are_found_after_the_leader_has_exited() {
    let path = create("x", 4096);
    std::fs::write(&path, "contents").unwrap();
    let mut actor = Actor::start();
    let descriptor: i32 = actor.number(Request::OpenFile { path: path.clone() });
    actor.exit_leader();
    let object = || {
        let listed = run(["list", "--posix", "--json"]).exits(0).json();
        listed["objects"][0].clone()
    };
    assert_fields(&object(), json!({ "state": "in-use", "users": 1, "descriptors": 1, "mappings": 0 }));
    let user = || -> Value {
        let report = run(["who", &file_id(&path), "--json"]).exits(0).json();
        report["objects"][0]["users"][0].clone()
    };
    assert_fields(&user(), json!({ "pid": actor.pid(), "how": "open", "fd": descriptor, "access": "rw" }));
    assert!(user()["ns"].is_u64() && user()["mnt_ns"].is_u64());
    run(["rm", "/x"]).exits(5);
    // Without its name, the file is opened through the thread.
    let name = file_id(&path);
    std::fs::remove_file(&path).unwrap();
    let listed = run(["list", "--unlinked", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "state": "unlinked", "users": 1 }));
    let who = run(["who", "--state", "unlinked", "--json"]).exits(0).json();
    assert_eq!(who["objects"][0]["object"], listed["objects"][0]["object"]);
    assert!(run(["read", &name, "--text"]).exits(0).stdout.starts_with("contents"));
}

#[apply(test)]
#[requires(Root)]
fn a_state_does_not_read_the_flags_of_descriptors() {
    let path = create("x", 4096);
    let mut actor = Actor::start();
    let open = |actor: &mut Actor, count| {
        (0..count).for_each(|_| drop(actor.ask(Request::OpenFile { path: path.clone() })));
    };
    let shown = ShownProcesses::new(&[actor.pid()]);
    let count_calls = || {
        let mut command = shmadm();
        shown.to(&mut command).args(["list", "--posix", "-o", "STATE"]);
        Stopped::count_calls_of(command)
    };
    open(&mut actor, 50);
    let few = count_calls();
    open(&mut actor, 500);
    let many = count_calls();
    // Reading its flags would take at least four more.
    assert!(many < few + 500 * 4, "{few} calls for 50 descriptors, {many} for 550");
}

#[apply(test)]
#[requires(Root)]
fn a_descriptor_without_access_does_not_use_an_object_that_has_a_name() {
    use std::os::unix::fs::OpenOptionsExt;
    let path = create("x", 4096);
    let file = std::fs::File::options().read(true).custom_flags(nix::libc::O_PATH).open(&path).unwrap();
    let listed = run(["list", "--posix", "--probe", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "state": "unused", "users": 0 }));
    run(["who", "/x"]).exits(0).says("object /x is not in use");
    let prune = ["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "0s"];
    assert!(run([&prune[..], &["-n"]].concat()).exits(0).stdout.contains("would destroy"));
    run(["rm", "/x", "-n"]).exits(0);
    // Without a name, it still keeps the memory.
    std::fs::remove_file(&path).unwrap();
    let listed = run(["list", "--unlinked", "--json"]).exits(0).json();
    assert_fields(&listed["objects"][0], json!({ "state": "unlinked", "users": 1 }));
    drop(file);
}

#[apply(test)]
#[requires(Root)]
fn an_unlinked_object_is_read_through_a_mapping_after_the_leader_has_exited() {
    let path = create("x", 4096);
    std::fs::write(&path, "contents").unwrap();
    let name = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: path.clone() });
    actor.exit_leader();
    std::fs::remove_file(path).unwrap();
    assert!(run(["read", &name, "--text"]).exits(0).stdout.starts_with("contents"));
}

#[apply(test)]
#[requires(Root)]
fn a_listing_by_another_user_leaves_the_access_time_of_a_semaphore() {
    let path = create_semaphore("sem.lock", 3);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let accessed = || std::fs::metadata(&path).unwrap().accessed().unwrap();
    let before = accessed();
    let report = finish(shmadm_as(NOBODY).args(["list", "--posix", "--json"])).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "name": "sem:/lock", "value": null }));
    assert_eq!(accessed(), before);
    // Its owner need not change it to read it.
    let report = run(["list", "--posix", "--json"]).exits(0).json();
    assert_fields(&report["objects"][0], json!({ "value": 3 }));
    assert_eq!(accessed(), before);
}

#[apply(test)]
#[requires(Root)]
fn a_table_shows_what_names_an_object_without_a_name() {
    let mut actor = Actor::start();
    let (path, pid) = (create("gone", 4096), actor.pid().to_string());
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    actor.ask(Request::HoldMemfd { size: 4096, mapped: false });
    actor.ask(Request::HoldMemfd { size: 4096, mapped: false });
    for (options, count) in [
        (&["--type", "memfd"][..], 2),
        (&["--type", "memfd", "--posix"], 2),
        (&["--type", "memfd", "--posix", "-o", "NAME,SIZE"], 2),
        (&["--unlinked", "-o", "NAME,SIZE"], 1),
    ] {
        let table = run([&["list", "--pid", &pid, "--no-headings"], options].concat()).exits(0).stdout;
        let mut names: Vec<&str> = table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        names.dedup();
        assert_eq!(names.len(), count, "{options:?}: {table}");
        run([&["stat"], &*names].concat()).exits(0);
    }
    // For programs, the name is missing.
    let tsv = ["list", "--pid", &pid, "--unlinked", "--format", "tsv", "--no-headings", "-o", "NAME,SIZE"];
    assert_eq!(run(tsv).exits(0).stdout, "\t4096\n");
}

#[apply(test)]
#[requires(Root)]
fn who_prints_no_headings_of_a_table_without_rows() {
    let id = oracle::create(0, 4096, 0o600);
    let headings = |ran: Ran| ran.stdout.lines().filter(|line| line.contains("PID")).count();
    assert_eq!(headings(run(["who"]).exits(0)), 1, "there is nothing else to print");
    let _open = std::fs::File::open(create("open", 4096)).unwrap();
    let ran = run(["who"]).exits(0);
    assert!(ran.stdout.starts_with("NAME "), "{ran:?}");
    assert_eq!(headings(ran), 1);
    let _attached = Attached::new(id);
    let ran = run(["who"]).exits(0);
    assert!(ran.stdout.trim_start().starts_with("ID ") && headings(ran) == 2);
}
