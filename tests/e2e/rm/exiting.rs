//! `rm`, `detach` and `stat` of a segment or an object whose only user is exiting: they wait for it, and then look
//! again.

use nix::libc;

use crate::actor::{Actor, Request};
use crate::dying::{Blockade, Killed, Unmapped};
use crate::objects::{create, names};
use crate::oracle;
use crate::support::{Ran, run};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn a_segment_is_removed_once_its_killed_user_has_exited() {
    for (options, removed) in [(&[][..], true), (&["--dry-run"], false)] {
        let mut actor = Actor::start();
        let id = attached(&mut actor);
        let dying = Killed::hold(actor);
        let name = id.to_string();
        let stopped = Stopped::before(1, waits, &[&["rm", &name], options].concat());
        drop(dying);
        stopped.go_on().exits(0);
        assert_eq!(oracle::row(id).is_none(), removed);
    }
}

#[apply(test)]
fn an_object_is_removed_once_its_killed_user_has_exited() {
    for (options, left) in [(&[][..], &[][..]), (&["--dry-run"], &["x"])] {
        let mut actor = Actor::start();
        actor.ask(Request::OpenFile { path: create("x", 4096) });
        let dying = Killed::hold(actor);
        let refused = run([&["rm", "/x"], options].concat()).exits(5);
        refused.says(&format!("cause: open by pid {} (", dying.pid())).says(", exiting)\n");
        let stopped = Stopped::before(1, waits, &[&["rm", "/x"], options].concat());
        drop(dying);
        stopped.go_on().exits(0);
        assert_eq!(names(), left);
    }
}

#[apply(test)]
#[requires(Root)]
fn a_segment_is_removed_once_a_user_without_memory_map_has_exited() {
    let (id, dying) = attached_by_unmapped();
    assert_eq!(after_exit(dying, &["rm", &id.to_string(), "--json"]).exits(0).json()["removed"][0]["id"], id);
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn detach_finds_nothing_attached_once_the_user_has_exited() {
    let (id, dying) = attached_by_unmapped();
    let ran = after_exit(dying, &["detach", &id.to_string()]).exits(3);
    ran.says(&format!("error: cannot detach segment {id}: it is not attached\n"));
}

#[apply(test)]
#[requires(Root)]
fn stat_shows_one_state_of_the_segment() {
    let (id, dying) = attached_by_unmapped();
    let shown = after_exit(dying, &["stat", &id.to_string()]).exits(0).stdout;
    let field = |name: &str| shown.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap().to_owned();
    assert_eq!(field("Attached:"), " 0 times", "{shown}");
    // The last user is this test, which has released the memory.
    assert_eq!(field("State:"), " idle (not attached; creator or last user is running)", "{shown}");
}

/// Runs the program; the process exits when the program waits for it.
fn after_exit(dying: Unmapped, arguments: &[&str]) -> Ran {
    let stopped = Stopped::before(1, waits, arguments);
    drop(dying);
    stopped.go_on()
}

/// Returns whether a call waits for a process.
fn waits(call: &Call) -> bool {
    (call.number == libc::SYS_poll || call.number == libc::SYS_ppoll) && call.arguments[2] != 0
}

/// Creates a segment that only a process without memory map has attached.
fn attached_by_unmapped() -> (i32, Unmapped) {
    let mut blockade = Blockade::new();
    let id = attached(&mut blockade.actor);
    (id, blockade.kill(true))
}

fn attached(actor: &mut Actor) -> i32 {
    // This process has the test's namespace and the attachments of other tests. A key of its own distinguishes them.
    let id = actor.create(0x726d, 4096);
    actor.attach(id);
    id
}
