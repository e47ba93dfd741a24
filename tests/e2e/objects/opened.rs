//! Objects that a process opens and closes while shmadm looks for their users.

use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use super::create;
use crate::actor::{Actor, Request};
use crate::sandbox::without;
use crate::support::{NOBODY, Ran, finish, shmadm, shmadm_as};
use crate::vanish::{Call, Stopped};

/// A process that opens and closes an object.
struct Opener {
    actor: Actor,
    path: String,
    descriptor: Option<i32>,
}

impl Opener {
    fn start(path: &str) -> Self {
        Self { actor: Actor::start(), path: path.to_owned(), descriptor: None }
    }

    fn open(&mut self) {
        self.descriptor = Some(self.actor.number(Request::OpenFile { path: self.path.clone() }));
    }

    fn close(&mut self) {
        let descriptor = self.descriptor.take().unwrap();
        assert_eq!(self.actor.number(Request::CloseFile { descriptor }), 0);
    }
}

/// Creates an object of user nobody.
fn create_for_nobody(name: &str) -> String {
    let path = create(name, 4096);
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    path
}

fn reasons(ran: &Ran) -> Vec<Value> {
    let report = ran.json();
    report["objects"][0]["hidden"].as_array().unwrap().iter().map(|hidden| hidden["reason"].clone()).collect()
}

#[apply(test)]
#[requires(Root)]
fn permission_is_not_the_reason_if_an_object_is_opened_during_the_search() {
    let mut opener = Opener::start(&create_for_nobody("x"));
    let mut command = shmadm_as(NOBODY);
    command.args(["who", "/x", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stopped = Stopped::command_before(1, is_lease, command);
    for look in 0..3 {
        opener.open();
        if look < 2 {
            stopped.calls_until(|call| matches!(call.number, libc::SYS_poll | libc::SYS_ppoll));
            opener.close();
            stopped.calls_until(is_lease);
        }
    }
    let why = "no process that uses it was found: a process opened it during the search\n";
    let ran = stopped.go_on().exits(0).says(&format!("warning: object /x is in use, but {why}"));
    assert_eq!(ran.json()["objects"][0]["hidden"], json!([{ "reason": "in-flight", "count": 1 }]));
    // It keeps it open from now on.
    let refused = finish(shmadm_as(NOBODY).args(["rm", "/x"])).exits(5);
    refused.says("no process that uses it was found: ").says("you are not permitted to inspect some processes");
    let ran = finish(shmadm_as(NOBODY).args(["who", "/x", "--json"]));
    assert!(reasons(&ran.exits(0)).contains(&json!("permission")));
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_opens_an_object_during_the_search_is_found() {
    let mut opener = Opener::start(&create("x", 4096));
    let mut command = shmadm();
    command.args(["who", "/x", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stopped = Stopped::command_before(1, is_lease, command);
    opener.open();
    let report = stopped.go_on().exits(0).json()["objects"][0].clone();
    assert_eq!((&report["users"][0]["pid"], &report["hidden"]), (&json!(opener.actor.pid()), &json!([])));
}

#[apply(test)]
#[requires(Root)]
fn permission_is_not_the_reason_if_it_is_unknown_whether_an_object_was_opened() {
    let mut opener = Opener::start(&create_for_nobody("x"));
    opener.open();
    let mut command: Command = shmadm_as(NOBODY);
    let command = without(&mut command, libc::SYS_inotify_init1, None, Errno::EMFILE);
    let ran = finish(command.args(["who", "/x", "--json"])).exits(0);
    assert_eq!(reasons(&ran), ["unknown"]);
}

#[apply(test)]
#[requires(Root)]
fn a_file_in_a_directory_that_is_opened_during_the_search_is_not_hidden_by_permission() {
    std::fs::create_dir("/dev/shm/dir").unwrap();
    std::fs::set_permissions("/dev/shm/dir", std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut opener = Opener::start(&create_for_nobody("dir/x"));
    opener.open();
    let who = || reasons(&finish(shmadm_as(NOBODY).args(["who", "/dir", "--json"])).exits(0));
    assert!(who().contains(&json!("permission")));
    opener.close();
    let mut command = shmadm_as(NOBODY);
    command.args(["who", "/dir", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stopped = Stopped::command_before(1, is_lease, command);
    for _ in 0..2 {
        opener.open();
        stopped.calls_until(|call| matches!(call.number, libc::SYS_poll | libc::SYS_ppoll));
        opener.close();
        stopped.calls_until(is_lease);
    }
    opener.open();
    assert_eq!(reasons(&stopped.go_on().exits(0)), ["in-flight"]);
}

/// Returns whether a call requests a write lease.
fn is_lease(call: &Call) -> bool {
    call.number == libc::SYS_fcntl && call.arguments[1] == libc::F_SETLEASE as u64
}
