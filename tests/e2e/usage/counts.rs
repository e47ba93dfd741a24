//! How many objects the groups of `usage` have, and their order.

use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, chown, symlink};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;

use super::{MIB, find, usage};
use crate::actor::{Actor, ChildRequest, Request};
use crate::fixtures::assert_fields;
use crate::oracle::{self, Attached};
use crate::sandbox::with_file_over;
use crate::support::{file, finish, run, shmadm};

#[apply(test)]
#[requires(Root)]
fn an_object_that_several_processes_of_a_container_use_is_counted_once() {
    let mut actor = Actor::start();
    actor.ask(Request::HoldMemfd { size: MIB, mapped: false });
    let pids = [actor.pid(), actor.number(ChildRequest::Fork), actor.number(ChildRequest::Fork)];
    let directory = tempfile::tempdir().unwrap();
    let id = "0123456789abcdef".repeat(4);
    let of_container = file(directory.path(), "container", format!("0::/docker/{id}\n").as_bytes());
    let of_service = file(directory.path(), "service", b"0::/system.slice/a.service\n");
    let mut command = shmadm();
    for (pid, group) in pids.iter().zip([&of_container, &of_container, &of_service]) {
        let path = CString::new(format!("/proc/{pid}/cgroup")).unwrap();
        with_file_over(&mut command, group, Box::leak(path.into_boxed_c_str()));
    }
    let report = finish(command.args(["usage", "--by", "container", "--json"])).exits(0).json();
    let group = |name: &str| find(&report["groups"], "name", &json!(name));
    let third = MIB / 3;
    assert_fields(&group(&id[..12]), json!({ "count": 1, "rss": MIB - third }));
    assert_fields(&group("a.service"), json!({ "count": 1, "rss": third }));
}

#[apply(test)]
#[requires(Root)]
fn what_has_no_memory_is_not_counted() {
    let (uid, path) = (4_000_000_002, |name: &str| format!("/dev/shm/{name}"));
    std::fs::write(path("used"), [1; 4096]).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    mknod(&*path("device"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
    symlink("used", path("link")).unwrap();
    for name in ["used", "empty", "device"] {
        chown(path(name), Some(uid), None).unwrap();
    }
    // A segment has no memory until a process writes to it.
    let [_untouched, touched] = [0, 0].map(|key| oracle::create(key, MIB, 0o600));
    Attached::new(touched).write(0, &[1]);
    let report = usage("user");
    assert_fields(&find(&report["groups"], "name", &json!(uid.to_string())), json!({ "rss": 4096, "count": 1 }));
    assert_fields(&find(&report["sources"], "source", &json!("devshm")), json!({ "rss": 4096, "count": 1 }));
    let namespace = std::fs::metadata("/proc/thread-self/ns/ipc").unwrap().ino();
    let name = json!(format!("ipc:[{namespace}]"));
    assert_fields(&find(&usage("instance")["groups"], "name", &name), json!({ "rss": 4096, "count": 1 }));
}

#[apply(test)]
#[requires(Root)]
fn unlinked_objects_stay_below_dev_shm_in_any_order() {
    std::fs::write("/dev/shm/x", [1; 4096]).unwrap();
    let _open = std::fs::File::open("/dev/shm/x").unwrap();
    std::fs::remove_file("/dev/shm/x").unwrap();
    for column in ["source", "rss", "swap", "size", "count", "share"] {
        let table = run(["usage", "--all", "--sort", column]).exits(0).stdout;
        let names: Vec<&str> =
            table.lines().map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap()).collect();
        let index = names.iter().position(|name| *name == "unlinked, still in use").unwrap();
        assert_eq!(names[index - 1], "tmpfs /dev/shm", "--sort {column}: {table}");
    }
}
