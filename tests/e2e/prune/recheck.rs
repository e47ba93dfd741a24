//! `prune` checks each segment again right before it removes it: the program is stopped there and the state changes.

use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{assert_fields, set_next_id};
use crate::oracle;
use crate::support::{run, wait_for};
use crate::vanish::{Call, Stopped};

/// The command under test.
const PRUNE: &[&str] = &["prune", "--yes", "--older-than", "0s", "--json"];

/// Returns whether a call reads a segment's record.
fn look(call: &Call) -> bool {
    call.is_shmctl(libc::IPC_STAT)
}

/// Returns whether a call removes a segment.
fn removal(call: &Call) -> bool {
    call.is_shmctl(libc::IPC_RMID)
}

/// Creates a segment whose creator has exited.
fn orphan() -> i32 {
    super::orphan(1234)
}

/// Asserts that a segment was skipped for a reason, and nothing was removed.
#[track_caller]
fn skips(report: &Value, id: i32, reason: &str) {
    assert_fields(report, json!({ "removed": [], "failed": [] }));
    assert_eq!(report["skipped"][0]["id"], id, "{report}");
    assert!(report["skipped"][0]["reason"].as_str().unwrap().starts_with(reason), "{report}");
}

#[apply(test)]
fn an_attachment_before_either_check_is_detected() {
    for nth in [1, 2] {
        let id = orphan();
        let stopped = Stopped::before(nth, look, PRUNE);
        let attached = oracle::Attached::new(id);
        let before = oracle::rows();
        skips(&stopped.go_on().exits(0).json(), id, "attached since the listing");
        assert_eq!(oracle::rows(), before, "look {nth}");
        drop(attached);
        assert!(oracle::remove(id));
    }
}

#[apply(test)]
fn a_past_attachment_before_either_check_is_detected() {
    for nth in [1, 2] {
        let id = orphan();
        let stopped = Stopped::before(nth, look, PRUNE);
        drop(oracle::Attached::new(id));
        let before = oracle::rows();
        skips(&stopped.go_on().exits(0).json(), id, "used since the listing");
        assert_eq!(oracle::rows(), before, "look {nth}");
        assert!(oracle::remove(id));
    }
}

#[apply(test)]
fn a_dry_run_also_checks_again() {
    let id = orphan();
    let line = [PRUNE, &["--dry-run"]].concat();
    let stopped = Stopped::before(1, look, &line);
    let attached = oracle::Attached::new(id);
    skips(&stopped.go_on().exits(0).json(), id, "attached since the listing");
    drop(attached);
    assert!(oracle::remove(id));
}

#[apply(test)]
fn a_use_in_the_same_second_is_detected_by_its_last_user() {
    // Used by a process that has exited, then again within the same second, so that its times stay the same.
    let id = loop {
        let id = orphan();
        let mut first = Actor::start();
        first.attach(id);
        first.detach();
        first.leave();
        let before = oracle::stat(id).unwrap();
        let stopped = Stopped::before(2, look, PRUNE);
        let mut second = Actor::start();
        second.attach(id);
        second.detach();
        second.leave();
        let after = oracle::stat(id).unwrap();
        let report = stopped.go_on().exits(0).json();
        skips(&report, id, "used since the listing");
        if (before.shm_atime, before.shm_dtime) == (after.shm_atime, after.shm_dtime) {
            break id;
        }
        assert!(oracle::remove(id));
    };
    assert!(oracle::remove(id));
}

#[apply(test)]
fn a_change_before_either_check_is_detected() {
    for nth in [1, 2] {
        let id = orphan();
        let stopped = Stopped::before(nth, look, PRUNE);
        let me = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        oracle::set(id, me.0, me.1, 0o640);
        skips(&stopped.go_on().exits(0).json(), id, "changed since the listing");
        assert!(oracle::remove(id));
    }
}

#[apply(test)]
fn a_removal_before_either_check_or_the_call_is_not_an_error() {
    for before in [(1, look as fn(&Call) -> bool), (2, look), (1, removal)] {
        let id = orphan();
        let stopped = Stopped::before(before.0, before.1, PRUNE);
        assert!(oracle::remove(id));
        // Its key is reused immediately.
        let next = oracle::create(1234, 4096, 0o600);
        let rows = oracle::rows();
        skips(&stopped.go_on().exits(0).json(), id, "already removed");
        assert_eq!(oracle::rows(), rows);
        assert!(oracle::remove(next));
    }
}

#[apply(test)]
#[requires(Root)]
fn a_reused_id_before_either_check_is_detected() {
    for nth in [1, 2] {
        let id = orphan();
        let stopped = Stopped::before(nth, look, PRUNE);
        assert!(oracle::remove(id));
        // The same id, key, size and mode, and usually the same second: only the creator differs.
        set_next_id(id);
        assert_eq!(oracle::create(1234, 4096, 0o600), id);
        skips(&stopped.go_on().exits(0).json(), id, "changed since the listing");
        assert!(oracle::remove(id));
    }
}

#[apply(test)]
fn an_attachment_after_the_last_check_is_marked_and_named() {
    let id = orphan();
    let stopped = Stopped::before(1, removal, PRUNE);
    let mut actor = Actor::start();
    actor.attach(id);
    let ran = stopped.go_on().exits(0).says("it was attached just before the removal, by pid ");
    assert!(ran.stderr.contains(&format!("by pid {} (", actor.pid())), "{ran:?}");
    assert!(!ran.stderr.contains("freed 1"), "{ran:?}");
    let report = ran.json();
    assert_eq!(report["removed"][0]["outcome"], "marked");
    let nothing = json!({"segments": 0, "objects": 0, "size": 0, "rss": 0, "swap": 0});
    assert_eq!(report["freed"], nothing, "marking frees nothing");
    assert_eq!(oracle::row(id).unwrap().get("perms"), "1600");
}

#[apply(test)]
fn a_changed_state_is_detected() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    let line = [PRUNE, &["--unattached"]].concat();
    let stopped = Stopped::before(1, look, &line);
    actor.leave();
    skips(&stopped.go_on().exits(0).json(), id, "now in state orphan");
    assert!(oracle::remove(id));
}

#[apply(test)]
fn no_call_comes_between_the_last_check_and_the_removal() {
    let id = orphan();
    let stopped = Stopped::before(1, look, PRUNE);
    let calls = stopped.calls_until(removal);
    let of_it = |call: &Call| call.arguments[0] == u64::from(id.cast_unsigned());
    let [.., last, removing] = calls.as_slice() else { panic!("no check precedes the removal") };
    assert!(look(last) && of_it(last) && of_it(removing), "the call before is number {}", last.number);
    assert!(calls.iter().any(|call| call.number == libc::SYS_pidfd_open), "its creator is checked again");
    stopped.go_on().exits(0);
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn a_signal_between_two_removals_ends_it_with_a_report() {
    let ids = [orphan(), super::orphan(1)];
    let stopped = Stopped::before(1, removal, PRUNE);
    stopped.signal(nix::sys::signal::Signal::SIGTERM);
    let ran = stopped.go_on();
    assert_eq!(ran.signal, Some(libc::SIGTERM), "{ran:?}");
    let removed = ran.json()["removed"].as_array().unwrap().len();
    assert_eq!(removed, 1, "{ran:?}");
    wait_for("the second segment to exist", || oracle::row(ids[1]).is_some());
    run(["prune", "-y", "--older-than", "0s"]).exits(0);
}
