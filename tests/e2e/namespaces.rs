//! `--ns` and `--all-ns`: commands in other IPC namespaces.

mod all;
mod mounted;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::holder::Holder;
use crate::oracle;
use crate::sandbox::{with_new_pid_namespace, without};
use crate::support::{NOBODY, Ran, Running, finish, is_root, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(Root)]
fn accept_a_pid_a_file_or_an_inode_number() {
    oracle::create(7, 1, 0o600);
    let (actor, number) = elsewhere();
    let path = format!("/proc/{}/ns/ipc", actor.pid());
    for place in [actor.pid().to_string(), path, format!("ipc:[{number}]"), number.to_string()] {
        let in_it = |arguments: &[&str]| run([&["--ns", &place][..], arguments].concat());
        let id = in_it(&["create", "--key", "1234", "--size", "8192", "-q"]).exits(0).stdout;
        let listed = &in_it(&["list", "--json"]).exits(0).json()["segments"];
        assert_eq!(listed.as_array().unwrap().len(), 1, "{place}: {listed}");
        assert_fields(&listed[0], json!({ "ns": number, "rss": 0, "owner": "root" }));
        in_it(&["write", "0x4d2", "hello"]).exits(0);
        assert_eq!(in_it(&["read", "0x4d2", "--text", "--length", "5"]).exits(0).stdout.trim_end(), "hello");
        let holder = Holder::printed(&in_it(&["attach", "0x4d2", "--background"]).exits(0));
        let report = in_it(&["who", "0x4d2", "--json"]).exits(0).json();
        assert_eq!(report["segments"][0]["attachments"][0]["pid"], holder.pid);
        in_it(&["detach", "0x4d2"]).exits(0);
        in_it(&["stat", id.trim()]).exits(0);
        in_it(&["rm", id.trim()]).exits(0);
        // The option is also accepted after the command.
        assert_eq!(run(["list", "--json", "--ns", &place]).exits(0).json()["segments"], json!([]));
    }
    assert_eq!(oracle::rows().len(), 1, "the caller's namespace has not changed");
}

/// Starts an actor in another namespace that has segment 0 with key 1234 attached, as this namespace has segment 0.
fn attached_elsewhere() -> (Actor, String) {
    let here = oracle::create(7, 4096, 0o600);
    let (mut actor, _) = elsewhere();
    let id = actor.create(1234, 4096);
    assert_eq!(id, here, "without --ns, a hint would apply to this namespace");
    actor.attach(id);
    let pid = actor.pid().to_string();
    (actor, pid)
}

#[apply(test)]
#[requires(Root)]
fn the_hint_of_a_refusal_runs_as_printed_in_the_same_namespace() {
    let (_actor, pid) = attached_elsewhere();
    let here = oracle::rows();
    let advice = format!("`shmadm --ns {pid} rm --json --force 0`");
    let ran = run(["--ns", &pid, "rm", "0x4d2", "--json"]).exits(5).says(&advice);
    assert!(ran.json()["failed"][0]["hints"][0].as_str().unwrap().ends_with(&advice), "{ran:?}");
    run(advice.trim_matches('`').split(' ').skip(1)).exits(0);
    assert_eq!(oracle::rows(), here);
}

#[apply(test)]
#[requires(Root)]
fn hints_name_the_same_namespace() {
    let (mut actor, pid) = attached_elsewhere();
    let advice = format!("`shmadm --ns {pid} list`");
    let ran = run(["--ns", &pid, "stat", "99", "--json"]).exits(3);
    assert!(ran.json()["error"]["hints"].to_string().contains(&advice), "{ran:?}");
    run(["stat", "99", &format!("--ns={pid}")]).exits(3).says(&advice);
    // The command line already contains --ns.
    actor.create(0, 4096);
    let ran = run([&*format!("--ns={pid}"), "prune", "--unattached", "--older-than", "0s"]).exits(5);
    ran.says(&format!("`shmadm --ns={pid} prune --unattached"));
}

#[apply(test)]
fn ns_and_all_ns_conflict() {
    for command in ["prune", "list", "who"] {
        run([command, "--ns", "1", "--all-ns"]).exits(2).says("cannot be combined").prints_nothing();
    }
}

#[apply(test)]
fn the_callers_own_needs_no_privilege() {
    oracle::create(7, 4096, 0o600);
    let number = oracle::namespace();
    for place in ["/proc/self/ns/ipc".to_owned(), format!("ipc:[{number}]"), number.to_string()] {
        let listed = run(["--ns", &place, "list", "--json"]).exits(0).json();
        assert_eq!(listed["segments"].as_array().unwrap().len(), 1, "{place}");
        if is_root() {
            finish(shmadm_as(NOBODY).args(["--ns", "/proc/self/ns/ipc", "list"])).exits(0);
        }
    }
}

#[apply(test)]
#[requires(Root)]
fn a_pid_is_not_looked_up_in_a_foreign_proc() {
    // The first process of a new pid namespace, in which /proc still belongs to the old one.
    let mut command = Command::new("/bin/sh");
    let script = "\"$0\" create --key 0x7 -q; \"$0\" --ns 1 list --json; exit $?";
    command.args(["-c", &format!("sh -c '{script}' \"$0\"; exit $?"), env!("CARGO_BIN_EXE_shmadm")]);
    let ran = finish(with_new_pid_namespace(&mut command)).exits(0);
    let listed: Value = serde_json::from_str(ran.stdout.lines().nth(1).unwrap()).unwrap();
    assert_eq!(listed["segments"][0]["key"], "0x00000007", "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn a_proc_without_the_caller_proves_nothing() {
    let id = oracle::create(7, 4096, 0o600).to_string();
    let _attached = oracle::Attached::new(id.parse().unwrap());
    // As after `nsenter --mount` into a container: /proc is the container's, the pid namespace is not.
    let mut inner = Command::new("/bin/sh");
    let script = "mount --make-rprivate / && mount -t proc proc /proc && echo ready && read line";
    inner.args(["-c", &format!("sh -c '{script}'; exit $?")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    // SAFETY: between fork and exec this makes one system call and nothing else.
    #[expect(unsafe_code, reason = "only pre_exec can put a child into namespaces of its own")]
    #[expect(clippy::disallowed_methods, reason = "tests prepare their own children")]
    unsafe {
        inner.pre_exec(|| unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).map_err(Into::into));
    }
    let mut inner = Running(inner.spawn().unwrap());
    let mut ready = [0; 6];
    inner.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let mounts = File::open(format!("/proc/{}/ns/mnt", inner.0.id())).unwrap();
    let there = |arguments: &[&str]| {
        let (mut command, mounts) = (shmadm(), mounts.try_clone().unwrap());
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "only pre_exec can put a child into a namespace")]
        #[expect(clippy::disallowed_methods, reason = "tests prepare their own children")]
        unsafe {
            command.pre_exec(move || setns(&mounts, CloneFlags::CLONE_NEWNS).map_err(Into::into));
        }
        finish(command.args(arguments))
    };
    // By its inode number, which that /proc does not show.
    let here = inner.0.id().to_string();
    let listed = there(&["--ns", &here, "list", "--json"]).exits(0).json();
    assert_eq!(listed["segments"][0]["key"], "0x00000007", "{listed}");
    let report = there(&["who", &id, "--json"]).exits(0).says("/proc belongs to another pid namespace: ").json();
    assert_eq!(report["segments"][0]["hidden"], json!([{"reason": "unknown", "count": 1, "pids": null}]), "{report}");
    let _open = File::create("/dev/shm/x").unwrap();
    let report = there(&["who", "/x", "--json"]).exits(0).says("in use: /proc belongs to another pid namespace\n");
    let hidden = &report.json()["objects"][0]["hidden"];
    assert_eq!(*hidden, json!([{"reason": "unknown", "count": null}]), "{report:?}");
    there(&["detach", &id]).exits(1).says("/proc belongs to another pid namespace");
    let cause = "cause: attached by processes that cannot be found (/proc belongs to another pid namespace); ";
    there(&["rm", &id]).exits(5).says(cause);
    drop(inner.0.stdin.take());
}

#[apply(test)]
fn an_invalid_namespace_is_an_error() {
    for (place, code, says) in [
        ("", 2, "invalid namespace"),
        ("0", 2, "invalid namespace"),
        ("-1", 2, ""),
        ("+1", 2, "invalid namespace"),
        ("12abc", 2, "invalid namespace"),
        ("010", 2, "invalid namespace"),
        ("ipc:[x]", 2, "invalid namespace"),
        ("ipc:[]", 2, "invalid namespace"),
        ("18446744073709551616", 2, "invalid namespace"),
        ("4194304", 1, "no such process in this /proc"),
        ("/nonexistent/ns", 1, "(ENOENT, open)"),
        ("/dev/null", 1, "it is not an IPC namespace"),
        ("/proc/self/ns/net", 1, "it is not an IPC namespace"),
        ("/", 1, "it is not an IPC namespace"),
    ] {
        let ran = run(["--ns", place, "create", "--json"]).exits(code);
        assert!(ran.stderr.contains(says), "{place:?}: {ran:?}");
        assert!(ran.json()["error"].is_object(), "{ran:?}");
    }
    // Without access to the processes, it is unknown which of them are in the namespace.
    for number in ["ipc:[1]", "4194305"] {
        let ran = run(["--ns", number, "list"]).says(&format!("cannot find the IPC namespace {number}"));
        assert!(matches!(ran.code, Some(1 | 4)), "{ran:?}");
    }
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn a_missing_privilege_is_named() {
    let (actor, _) = elsewhere();
    let pid = actor.pid().to_string();
    let ran = finish(shmadm_as(NOBODY).args(["--ns", &pid, "list"])).exits(4).prints_nothing();
    ran.says("(EACCES, open)").says("CAP_SYS_PTRACE").says(&format!("`sudo shmadm --ns {pid} list`"));
    // A process that has mounted or opened the file makes it available; entering still requires the privilege.
    let file = std::fs::File::open(format!("/proc/{pid}/ns/ipc")).unwrap();
    let opened = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
    let mut command = shmadm();
    let refused = without(&mut command, libc::SYS_setns, None, Errno::EPERM);
    let ran = finish(refused.args(["--ns", &opened, "list", "--json"])).exits(4);
    let error = &ran.json()["error"];
    assert_fields(error, json!({ "kind": "permission", "call": "setns", "errno": "EPERM" }));
    assert!(error["cause"].as_str().unwrap().contains("CAP_SYS_ADMIN"), "{error}");
}

/// A container of user nobody with a segment of key 1234 that its process has attached.
struct Container {
    actor: Actor,
    pid: String,
}

impl Container {
    fn start() -> Self {
        let mut actor = container_of_nobody();
        let id = actor.create(1234, 4096);
        actor.attach(id);
        let pid = actor.pid().to_string();
        Self { actor, pid }
    }

    /// Runs the program as nobody with `--ns`.
    fn run(&self, arguments: &[&str]) -> Ran {
        finish(shmadm_as(NOBODY).args(["--ns", &self.pid]).args(arguments))
    }
}

// The owner is root inside it and keeps its uid outside.
#[apply(test)]
#[requires(Root)]
fn the_owner_of_the_user_namespace_needs_no_privilege() {
    let container = Container::start();
    let listed = container.run(&["list", "--json"]).exits(0).json();
    let pid = container.actor.pid();
    let expected = json!({ "uid": NOBODY, "cuid": NOBODY, "gid": NOBODY, "cpid": pid, "state": "in-use" });
    assert_fields(&listed["segments"][0], expected);
    let mine = container.run(&["list", "--mine", "--json"]).exits(0).json();
    assert_eq!(mine["segments"].as_array().unwrap().len(), 1);
    // Its file names it, too.
    let file = format!("/proc/{pid}/ns/ipc");
    let named = finish(shmadm_as(NOBODY).args(["--ns", &file, "list", "--json"])).exits(0).json();
    assert_eq!(named["segments"][0]["uid"], NOBODY);
}

#[apply(test)]
#[requires(Root)]
fn the_owner_of_the_user_namespace_can_change_the_mode_but_not_the_owner() {
    let container = Container::start();
    container.run(&["set", "0x4d2", "--mode", "640"]).exits(0);
    container.run(&["set", "0x4d2", "--owner", "0"]).exits(1).says("in this user namespace");
    let listed = container.run(&["list", "--json"]).exits(0).json();
    assert_fields(&listed["segments"][0], json!({ "uid": NOBODY, "mode": "0640" }));
}

#[apply(test)]
#[requires(Root)]
fn root_sees_the_ids_of_its_own_user_namespace() {
    let container = Container::start();
    let listed = run(["--ns", &container.pid, "list", "--json"]).exits(0).json();
    assert_eq!(listed["segments"][0]["uid"], NOBODY);
}

// It is shown with the uid of the caller's user namespace.
#[apply(test)]
#[requires(Root)]
fn a_holder_in_the_user_namespace_belongs_to_the_same_user() {
    let container = Container::start();
    let holder: i64 = container.run(&["attach", "0x4d2", "--background"]).exits(0).stdout.trim().parse().unwrap();
    let report = &container.run(&["who", "0x4d2", "--json"]).exits(0).json()["segments"][0];
    let attachments = report["attachments"].as_array().unwrap();
    let held = attachments.iter().find(|attachment| attachment["pid"] == holder).unwrap();
    assert_eq!((&held["uid"], &report["nattch"]), (&json!(NOBODY), &json!(2)), "{report}");
    container.run(&["detach", "0x4d2"]).exits(0).says("nattch 2 before, 1 after");
}

#[apply(test)]
#[requires(Root)]
fn leakcheck_reports_the_ids_of_the_callers_user_namespace() {
    let container = Container::start();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(NOBODY), None).unwrap();
    let report = directory.path().join("report.json").to_str().unwrap().to_owned();
    let program = shmadm_as(NOBODY).get_program().to_str().unwrap().to_owned();
    let command = ["--report", &report, "--leak-exit-code", "7", "--", &program, "create", "-q"];
    container.run(&[&["leakcheck"][..], &command].concat()).exits(7);
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    // The program exits at once, so its segment can be unattributed.
    let mut found = ["leaked", "unattributed"].iter().flat_map(|list| report[*list].as_array().unwrap());
    assert_fields(found.next().unwrap(), json!({ "uid": NOBODY, "cuid": NOBODY, "gid": NOBODY }));
}

#[apply(test)]
#[requires(Root)]
fn another_user_may_not_enter_the_namespace() {
    let container = Container::start();
    finish(shmadm_as(NOBODY - 1).args(["--ns", &container.pid, "list"])).exits(4);
}

#[apply(test)]
#[requires(Root)]
fn prune_requires_all_ns_to_be_explicit() {
    // With a unique key: other tests and the machine have orphans too.
    let key = unique_key();
    let text = format!("{key:#x}");
    let mut keepers: Vec<(Actor, u64)> = (0..3).map(|_| elsewhere()).collect();
    for (keeper, _) in &mut keepers {
        let mut maker = Actor::start();
        maker.enter(format!("/proc/{}/ns/ipc", keeper.pid()));
        maker.create(key, 4096);
        maker.leave();
    }
    // One of them is now in use.
    let id = keepers[2].0.number(Request::FirstId);
    keepers[2].0.attach(id);
    let line = ["prune", "--all-ns", "--older-than", "0s", "--key", &text];
    let refused = run(line).exits(5).prints_nothing();
    let numbers: Vec<u64> = keepers.iter().map(|(_, number)| *number).collect();
    for number in &numbers[..2] {
        assert!(refused.stderr.contains(&format!("1 in {number}")), "{refused:?}");
    }
    assert!(!refused.stderr.contains(&numbers[2].to_string()), "{refused:?}");
    let shown = run([&line[..], &["-n"]].concat()).exits(0).stdout;
    assert!(shown.trim_start().starts_with("NS  CONTAINER"), "{shown}");
    let report = run([&line[..], &["-y", "--json"]].concat()).exits(0).json();
    let mut pruned: Vec<u64> =
        report["removed"].as_array().unwrap().iter().map(|row| row["ns"].as_u64().unwrap()).collect();
    pruned.sort_unstable();
    let mut expected = numbers[..2].to_vec();
    expected.sort_unstable();
    assert_eq!(pruned, expected, "{report}");
    let left = all_ns(&["list", "--all-ns", "--key", &text, "--json"]);
    assert_eq!((left.len(), &left[0]["ns"]), (1, &json!(numbers[2])));
}

#[apply(test)]
#[requires(Root)]
fn prune_skips_those_that_only_a_child_could_enter() {
    let keeper = container_of_nobody();
    let key = unique_key();
    let pid = keeper.pid().to_string();
    finish(shmadm_as(NOBODY).args(["--ns", &pid, "create", "--key", &format!("{key:#x}")])).exits(0);
    let text = format!("{key:#x}");
    let line = ["prune", "--all-ns", "--older-than", "0s", "--key", &text, "-y", "--json"];
    let ran = finish(shmadm_as(NOBODY).args(line)).exits(0);
    let report = ran.json();
    assert_eq!(report["removed"], json!([]), "{report}");
    let reason = report["skipped"][0]["reason"].as_str().unwrap();
    let alone = format!("`shmadm prune --older-than 0s --key {text} -y --json --ns {pid}`");
    assert!(reason.ends_with(&alone), "{reason}");
    let alone = finish(shmadm_as(NOBODY).args(["--ns", &pid, "prune", "--older-than", "0s", "-y", "--json"]));
    assert_eq!(alone.exits(0).json()["removed"].as_array().unwrap().len(), 1);
}

/// Starts an actor in its own IPC namespace and returns the namespace's number; requires root.
pub(crate) fn elsewhere() -> (Actor, u64) {
    let mut actor = Actor::start();
    actor.unshare();
    let number = actor.namespace();
    (actor, number)
}

pub(crate) fn container_of_nobody() -> Actor {
    container_of(NOBODY)
}

/// Starts an actor of another user, in a user namespace that this user created and an IPC namespace owned by it.
pub(crate) fn container_of(uid: u32) -> Actor {
    let mut command = Command::new("/proc/self/exe");
    command.uid(uid).gid(uid).current_dir("/");
    let mut actor = Actor::spawn(&mut command);
    actor.unshare_user();
    actor
}

/// Returns the namespace file of the only thread that an actor has in addition to its leader.
pub(crate) fn other_thread(actor: &Actor) -> String {
    let threads = std::fs::read_dir(format!("/proc/{}/task", actor.pid())).unwrap();
    let other = threads.map(|entry| entry.unwrap().path()).find(|path| !path.ends_with(actor.pid().to_string()));
    other.unwrap().join("ns/ipc").to_string_lossy().into_owned()
}

/// Returns a key that no other test uses.
pub(crate) fn unique_key() -> u32 {
    fastrand::u32(0x1000_0000..0x7fff_ffff)
}

/// Runs the program and returns the segments that it reports.
#[track_caller]
pub(crate) fn all_ns(arguments: &[&str]) -> Vec<Value> {
    run(arguments).exits(0).json()["segments"].as_array().unwrap().clone()
}
