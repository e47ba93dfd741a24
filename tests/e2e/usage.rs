//! `usage`: what the kernel's Shmem consists of. Other processes of the machine change the sums meanwhile, so a test
//! compares what it created, not the sums.

mod counts;

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde_json::{Value, json};

use crate::actor::{Actor, Request, filled_memfd};
use crate::fixtures::assert_fields;
use crate::in_flight::send_file;
use crate::oracle::{self, Attached};
use crate::sandbox::{with_empty_proc, with_file_over};
use crate::support::{NOBODY, file, finish, mount_tmpfs_on, run, shmadm, shmadm_as};

const MIB: usize = 1 << 20;

fn usage(by: &str) -> Value {
    run(["usage", "--json", "--by", by]).exits(0).json()
}

/// Returns the element of a list with a value in a field.
#[track_caller]
fn find(list: &Value, field: &str, value: &Value) -> Value {
    let found = list.as_array().unwrap().iter().find(|element| element[field] == *value);
    found.unwrap_or_else(|| panic!("no {field} {value} in {list}")).clone()
}

#[apply(test)]
#[requires(Root)]
fn each_byte_that_a_process_holds_is_found_once() {
    let mut actor = Actor::start();
    let pid = json!(actor.pid().to_string());
    let path = "/dev/shm/x";
    std::fs::write(path, vec![1; 3 * MIB]).unwrap();
    actor.ask(Request::OpenFile { path: path.to_owned() });
    actor.ask(Request::HoldMemfd { size: 5 * MIB, mapped: false });
    actor.ask(Request::HoldMemfd { size: 7 * MIB, mapped: true });
    actor.ask(Request::MapAnonymous { size: 11 * MIB });
    let id = actor.create(0, 13 * MIB);
    actor.attach(id);
    Attached::new(id).write(0, &vec![1; 13 * MIB]);
    let expected = (3 + 5 + 7 + 11 + 13) * MIB;
    let of_process = || find(&usage("process")["groups"], "name", &pid);
    assert_fields(&of_process(), json!({ "rss": expected, "size": expected, "count": 5, "swap": 0 }));
    // Without its name, the object remains.
    std::fs::remove_file(path).unwrap();
    assert_fields(&of_process(), json!({ "rss": expected, "count": 5 }));
    // A second process has half of what both use.
    let mut other = Actor::start();
    other.attach(id);
    assert_eq!(of_process()["rss"], expected - 13 * MIB / 2);
    assert_eq!(find(&usage("process")["groups"], "name", &json!(other.pid().to_string()))["rss"], 13 * MIB / 2);
}

#[apply(test)]
#[requires(Root)]
fn the_sources_and_the_rest_add_up_to_the_sum_of_the_kernel() {
    let mut actor = Actor::start();
    std::fs::write("/dev/shm/named", vec![1; MIB]).unwrap();
    std::fs::write("/dev/shm/unlinked", vec![1; 2 * MIB]).unwrap();
    actor.ask(Request::OpenFile { path: "/dev/shm/unlinked".to_owned() });
    std::fs::remove_file("/dev/shm/unlinked").unwrap();
    let report = usage("source");
    let sources = report["sources"].as_array().unwrap();
    let source = |name: &str| find(&report["sources"], "source", &json!(name));
    assert_fields(&source("devshm"), json!({ "rss": 3 * MIB, "swap": 0, "count": 2, "within": null }));
    assert_fields(&source("unlinked"), json!({ "rss": 2 * MIB, "size": 2 * MIB, "count": 1, "within": "devshm" }));
    let own = sources.iter().filter(|source| source["within"].is_null());
    let sum: u64 = own.map(|source| source["rss"].as_u64().unwrap()).sum();
    assert_eq!(report["accounted"], sum);
    let rest = report["unexplained"].as_i64().unwrap();
    assert_eq!(report["shmem"].as_i64().unwrap(), i64::try_from(sum).unwrap() + rest);
    assert_fields(&report, json!({ "by": "source", "groups": [] }));
}

#[apply(test)]
#[requires(Root)]
fn file_systems_are_found_with_and_without_a_limit_and_a_mount() {
    mount_tmpfs_on("/mnt", Some("size=0"));
    std::fs::create_dir("/mnt/directory").unwrap();
    std::fs::write("/mnt/directory/file", vec![1; MIB]).unwrap();
    std::fs::hard_link("/mnt/directory/file", "/mnt/link").unwrap();
    let unlimited = find(&usage("instance")["instances"], "mount", &json!("/mnt"));
    assert_fields(&unlimited, json!({ "size": 0, "used": MIB, "container": null }));
    mount_tmpfs_on("/mnt", Some("size=8M"));
    std::fs::write("/mnt/file", vec![1; 2 * MIB]).unwrap();
    let report = usage("instance");
    let limited = find(&report["instances"], "mount", &json!("/mnt"));
    assert_fields(&limited, json!({ "size": 8 * MIB, "used": 2 * MIB, "inodes_used": 2 }));
    let group = find(&report["groups"], "name", &limited["dev"]);
    assert_fields(&group, json!({ "detail": "/mnt", "rss": 2 * MIB }));
    // Mounted nowhere, it exists as long as a process has it open.
    let file = File::open("/mnt/file").unwrap();
    umount2("/mnt", MntFlags::MNT_DETACH).unwrap();
    let detached = find(&usage("source")["instances"], "dev", &limited["dev"]);
    assert_fields(&detached, json!({ "mount": null, "used": 2 * MIB }));
    let detached = find(&usage("instance")["groups"], "name", &limited["dev"]);
    let detail = detached["detail"].as_str().unwrap();
    // What another test starts has it open too, until it executes a program.
    let mut pids = detail.strip_prefix("not mounted, open by pid ").unwrap().split(" and ");
    assert!(pids.any(|pid| pid == std::process::id().to_string()), "{detail}");
    drop(file);
}

#[apply(test)]
#[requires(Root)]
fn a_file_system_is_that_of_dev_shm_wherever_else_it_is_mounted() {
    mount_tmpfs_on("/mnt", None);
    mount(Some("/mnt"), "/dev/shm", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    std::fs::write("/dev/shm/psm_0123abcd", vec![1; 3 * MIB]).unwrap();
    let report = usage("product");
    let of_source = find(&report["sources"], "source", &json!("devshm"));
    assert_fields(&of_source, json!({ "rss": 3 * MIB, "count": 1 }));
    let of_product = find(&report["groups"], "name", &json!("python-shared-memory"));
    assert!(of_product["rss"].as_u64() >= Some(3 * MIB as u64), "{of_product}");
}

#[apply(test)]
#[requires(Root)]
fn a_file_system_of_another_mount_namespace_is_that_of_a_container() {
    let in_new_namespace = || {
        mount_tmpfs_on("/mnt", Some("size=8M"));
        std::fs::write("/mnt/file", vec![1; 3 * MIB]).unwrap();
        (Actor::start(), std::fs::metadata("/mnt").unwrap().dev())
    };
    let (actor, device) = std::thread::scope(|scope| scope.spawn(in_new_namespace).join().unwrap());
    let namespace = std::fs::metadata(format!("/proc/{}/ns/mnt", actor.pid())).unwrap().ino();
    let report = usage("instance");
    let device = json!(format!("{}:{}", major(device), minor(device)));
    let instance = find(&report["instances"], "dev", &device);
    assert_fields(&instance, json!({ "mount": "/mnt", "mnt_ns": namespace, "size": 8 * MIB, "used": 3 * MIB }));
    assert_fields(&find(&report["groups"], "name", &device), json!({ "rss": 3 * MIB, "size": 8 * MIB, "count": 1 }));
    // Those of other processes are included.
    let source = find(&report["sources"], "source", &json!("container"));
    assert!(source["rss"].as_u64() >= Some(3 * MIB as u64), "{source}");
}

#[apply(test)]
#[requires(Root)]
fn the_sources_do_not_depend_on_the_groups() {
    mount_tmpfs_on("/mnt", Some("size=8M"));
    std::fs::write("/mnt/file", vec![1; MIB]).unwrap();
    std::fs::write("/dev/shm/named", vec![1; MIB]).unwrap();
    std::fs::write("/dev/shm/unlinked", vec![1; 2 * MIB]).unwrap();
    let unlinked = File::open("/dev/shm/unlinked").unwrap();
    std::fs::remove_file("/dev/shm/unlinked").unwrap();
    let space = nix::sys::statvfs::statvfs("/dev/shm").unwrap();
    let size = space.blocks() * space.fragment_size();
    let mut all = Vec::new();
    for by in ["source", "instance", "process", "user", "product", "container"] {
        let report = usage(by);
        let source = |name: &str| find(&report["sources"], "source", &json!(name));
        let of_dev_shm = json!({ "rss": 3 * MIB, "swap": 0, "size": size, "count": 2 });
        assert_fields(&source("devshm"), of_dev_shm.clone());
        assert_fields(&source("unlinked"), json!({ "rss": 2 * MIB, "size": 2 * MIB, "count": 1 }));
        if by == "instance" {
            let dev = &find(&report["instances"], "mount", &json!("/dev/shm"))["dev"];
            assert_fields(&find(&report["groups"], "name", dev), of_dev_shm);
        }
        // Other processes may write to these, but mount none.
        let tmpfs = source("tmpfs");
        all.push((tmpfs["size"].clone(), tmpfs["count"].clone()));
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    drop(unlinked);
}

#[apply(test)]
#[requires(Root)]
fn swapped_bytes_of_an_unopened_object_are_unknown() {
    let path = "/dev/shm/x";
    std::fs::write(path, vec![1; MIB]).unwrap();
    let sockets = send_file(&File::open(path).unwrap());
    std::fs::remove_file(path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let swapping = file(directory.path(), "meminfo", b"MemTotal: 9 kB\nShmem: 9 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &swapping, c"/proc/meminfo");
    let report = finish(command.args(["usage", "--json", "--by", "user"])).exits(0).json();
    assert_fields(&find(&report["groups"], "name", &Value::Null), json!({ "swap": null }));
    assert_fields(&find(&report["sources"], "source", &json!("unlinked")), json!({ "rss": MIB, "count": null }));
    drop(sockets);
}

#[apply(test)]
#[requires(Root)]
fn what_no_process_has_open_is_not_accounted_for() {
    // What else the machine has in flight is unknown, but it is not 8 TiB.
    let directory = tempfile::tempdir().unwrap();
    let large = file(directory.path(), "meminfo", b"MemTotal: 9 kB\nShmem: 8589934592 kB\n");
    let usage = |arguments: &[&str]| {
        let mut command = shmadm();
        with_file_over(&mut command, &large, c"/proc/meminfo");
        finish(command.env("COLUMNS", "80").args(["usage"]).args(arguments)).exits(0)
    };
    let sockets = send_file(&filled_memfd(MIB));
    let report = usage(&["--json"]).json();
    let sum = report["accounted"].as_u64().unwrap();
    assert_fields(&report, json!({ "shmem": 8_u64 << 40, "unexplained": (8_u64 << 40) - sum }));
    let in_flight = find(&report["possible"], "reason", &json!("in-flight"));
    assert!(in_flight["count"].as_u64() >= Some(1), "{report}");
    let table = usage(&[]).stdout;
    assert!(table.contains(" files held by "), "{table}");
    drop(sockets);
}

#[apply(test)]
#[requires(Root)]
fn the_hint_to_run_as_root_is_given_once() {
    let ran = finish(shmadm_as(NOBODY).arg("usage")).exits(0);
    assert_eq!(ran.stderr.matches("run as root").count(), 1, "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn the_sum_is_not_guessed_without_proc() {
    let mut command = shmadm();
    with_empty_proc(&mut command);
    finish(command.arg("usage")).exits(1).prints_nothing().says("/proc/meminfo does not show Shmem");
}

#[apply(test)]
#[requires(Root)]
fn memory_is_grouped_by_owner_and_program() {
    let path = "/dev/shm/psm_0123abcd";
    std::fs::write(path, vec![1; MIB]).unwrap();
    std::os::unix::fs::chown(path, Some(4_000_000_001), None).unwrap();
    assert_fields(&find(&usage("user")["groups"], "name", &json!("4000000001")), json!({ "rss": MIB, "count": 1 }));
    let product = find(&usage("product")["groups"], "name", &json!("python-shared-memory"));
    assert!(product["rss"].as_u64().unwrap() >= MIB as u64, "{product}");
}

#[apply(test)]
fn segments_are_shown_by_their_namespace() {
    let id = oracle::create(0, 2 * MIB, 0o600);
    Attached::new(id).write(0, &vec![1; 2 * MIB]);
    let name = json!(format!("ipc:[{}]", std::fs::metadata("/proc/thread-self/ns/ipc").unwrap().ino()));
    assert_fields(&find(&usage("instance")["groups"], "name", &name), json!({ "rss": 2 * MIB, "count": 1 }));
}

// The kernel charges pages to groups, so that the sums of what was found are not theirs.
#[apply(test)]
#[requires(Root)]
fn the_rows_of_control_groups_are_followed_by_the_sum_of_the_kernel_only() {
    let ran = run(["usage", "--by", "cgroup"]);
    if ran.code == Some(3) {
        // Not every machine has the memory controller.
        ran.prints_nothing().says("no memory.stat was found");
        return;
    }
    let table = ran.exits(0).stdout;
    assert!(!table.contains("accounted for") && !table.contains(" COUNT "), "{table}");
    assert!(table.lines().last().unwrap().starts_with("Shmem (/proc/meminfo) "), "{table}");
}

#[apply(test)]
fn rows_are_machine_readable_and_columns_can_be_chosen() {
    std::fs::write("/dev/shm/x", vec![1; MIB]).unwrap();
    let tsv = run(["usage", "--format", "tsv", "-o", "source,rss", "--all"]).exits(0).stdout;
    assert!(tsv.starts_with("SOURCE\tRSS\ndevshm\t1048576\n"), "{tsv}");
    assert!(!tsv.contains("Shmem"), "{tsv}");
    let colored = run(["usage", "--color", "always"]).exits(0).stdout;
    assert!(colored.contains("\n\u{1b}[32mtmpfs /dev/shm "), "{colored}");
    let table = run(["usage"]).exits(0).stdout;
    for total in ["accounted for ", "not accounted for ", "Shmem (/proc/meminfo) "] {
        assert!(table.contains(total), "{table}");
    }
    run(["usage", "-o", "nonsense"]).exits(2).says("invalid column \"nonsense\"");
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    run(["usage", "--dir", directory.path().to_str().unwrap()]).exits(2).says("--ns and --dir cannot be used");
    let columns = run(["usage", "--list-columns", "--json"]).exits(0).json();
    assert_fields(&columns["columns"][0], json!({ "column": "SOURCE", "description": "kind of shared memory" }));
    let columns = run(["usage", "--by", "user", "--list-columns", "--format", "tsv"]).exits(0).stdout;
    assert!(columns.lines().any(|line| line == "RSS\trss\tresident bytes"), "{columns}");
    assert!(run(["usage", "--list-columns"]).exits(0).stdout.contains("\nSOURCE "));
    for sort in ["rss,swap", "+rss"] {
        run(["usage", "--sort", sort]).exits(2).says(&format!("invalid sort column {sort:?}: expected one column\n"));
    }
}

#[apply(test)]
fn the_largest_values_come_first_and_unknown_ones_last() {
    std::fs::write("/dev/shm/x", vec![1; MIB]).unwrap();
    let mut actor = Actor::start();
    actor.ask(Request::HoldMemfd { size: 2 * MIB, mapped: false });
    let sorted = |column| run(["usage", "--by", "process", "--sort", column, "--json"]).exits(0).json();
    let report = sorted("pid");
    let groups = report["groups"].as_array().unwrap();
    assert!(groups.len() > 1 && groups.last().unwrap()["name"].is_null(), "{report}");
    let report = sorted("rss");
    let sizes = report["groups"].as_array().unwrap().iter().map(|group| group["rss"].as_u64().unwrap());
    assert!(sizes.is_sorted_by(|one, next| one >= next), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn memfds_and_anonymous_memory_are_listed_by_type_and_named_by_their_inode() {
    let mut actor = Actor::start();
    actor.ask(Request::HoldMemfd { size: 3 * MIB, mapped: false });
    actor.ask(Request::MapAnonymous { size: 5 * MIB });
    let of_actor = |kind: &str| {
        let listed = run(["list", "--type", kind, "--pid", &actor.pid().to_string(), "--json"]).exits(0).json();
        assert_eq!(listed["segments"], json!([]));
        listed["objects"].clone()
    };
    let memfd = &of_actor("memfd")[0];
    let expected = json!({ "type": "memfd", "name": null, "size": 3 * MIB, "allocated": 3 * MIB, "rss": 3 * MIB, "users": 1, "state": "unlinked" });
    assert_fields(memfd, expected);
    assert_fields(&of_actor("anonymous")[0], json!({ "type": "anonymous", "size": 5 * MIB, "mappings": 1 }));
    let name = format!("obj:{}", memfd["object"].as_str().unwrap());
    assert_eq!(run(["read", &name, "--length", "2", "--raw"]).exits(0).stdout, "\u{1}\u{1}");
    let who = run(["who", &name, "--json"]).exits(0).json();
    assert_fields(&who["objects"][0]["users"][0], json!({ "pid": actor.pid(), "how": "open" }));
    let found = run(["who", "--type", "memfd", "--pid", &actor.pid().to_string(), "--json"]).exits(0).json();
    assert_eq!(found["objects"], who["objects"]);
    let all = run(["who", "--type", "memfd", "--json"]).exits(0).json();
    assert!(all["objects"].as_array().unwrap().contains(&who["objects"][0]), "{all}");
    run(["rm", &name]).exits(5).says("it has no name");
    // The kernel would grant a lease on either.
    let anonymous = format!("obj:{}", of_actor("anonymous")[0]["object"].as_str().unwrap());
    for name in [&name, &anonymous] {
        let by = format!("pid {}", actor.pid());
        run(["set", name, "--size", "4K"]).exits(5).says(" to 4 KiB: it is in use").says(&by).says("--force");
    }
    assert!(!run(["list", "--posix"]).exits(0).stdout.contains("memfd"));
    let without_dev_shm = || {
        mount_tmpfs_on("/dev", None);
        mknod("/dev/null", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
        run(["read", &name, "--length", "2", "--raw"])
    };
    let read = std::thread::scope(|scope| scope.spawn(without_dev_shm).join().unwrap());
    assert_eq!(read.exits(0).stdout, "\u{1}\u{1}");
}

#[apply(test)]
#[requires(Root)]
fn chosen_columns_are_the_keys_of_the_rows_in_json() {
    std::fs::write("/dev/shm/x", vec![1; MIB]).unwrap();
    let report = run(["usage", "-o", "RSS,SOURCE", "--json"]).exits(0).json();
    assert_eq!(find(&report["sources"], "source", &json!("devshm")), json!({ "rss": MIB, "source": "devshm" }));
    assert_eq!(report["sources"].as_array().unwrap().len(), usage("source")["sources"].as_array().unwrap().len());
    assert!(report["accounted"].is_u64() && report["groups"] == json!([]), "{report}");
    let mut actor = Actor::start();
    actor.ask(Request::HoldMemfd { size: MIB, mapped: false });
    let pid = json!(actor.pid().to_string());
    let by_process = ["usage", "--by", "process", "--json", "-o", "PID,COUNT,SHARE"];
    let report = run(by_process).exits(0).json();
    let row = find(&report["groups"], "name", &pid);
    assert_eq!((row.as_object().unwrap().len(), &row["count"], row["share"].is_f64()), (3, &json!(1), true), "{row}");
    assert!(find(&report["sources"], "source", &json!("memfd"))["size"].is_u64());
}

#[apply(test)]
#[requires(Root)]
fn notes_take_lines_of_their_own_only_if_they_are_shown() {
    let _sockets = send_file(&filled_memfd(MIB));
    let shown = run(["usage"]).exits(0).stdout;
    assert!(shown.contains(" files held by "), "{shown}");
    let table = run(["usage", "-o", "SOURCE,RSS"]).exits(0).stdout;
    assert!(table.lines().all(|line| line.split_whitespace().count() > 1), "{table}");
    assert!(table.lines().last().unwrap().starts_with("Shmem (/proc/meminfo) "), "{table}");
}

#[apply(test)]
#[requires(Root)]
fn usage_by_process_says_that_objects_are_divided() {
    let is_said = |options: &[&str]| {
        let stderr = run([&["usage"][..], options].concat()).exits(0).stderr;
        stderr.contains("what several processes use is divided evenly among them\n")
    };
    assert!(is_said(&["--by", "process"]));
    for options in [&["--by", "process", "-q"][..], &["--by", "process", "--json"], &["--by", "user"]] {
        assert!(!is_said(options), "{options:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_narrow_terminal_keeps_the_beginning_of_a_source() {
    let mut actor = Actor::start();
    std::fs::write("/dev/shm/x", vec![1; MIB]).unwrap();
    actor.ask(Request::OpenFile { path: "/dev/shm/x".to_owned() });
    std::fs::remove_file("/dev/shm/x").unwrap();
    for width in ["60", "50", "40"] {
        let table = finish(shmadm().args(["usage"]).env("COLUMNS", width)).exits(0).stdout;
        for start in ["  unlinked,", "tmpfs /dev/", "Shmem (/pro", "not account"] {
            assert!(table.lines().any(|line| line.starts_with(start)), "{start:?}: {table}");
        }
    }
}
