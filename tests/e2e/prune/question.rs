//! The question that `prune` asks on a terminal.

use serde_json::Value;

use crate::actor::Actor;
use crate::oracle;
use crate::prune::{exists, ids_of, orphan};
use crate::support::NOBODY;
use crate::terminal::{Terminal, WIDE};

/// Runs `prune` on a terminal, answers the question, and returns the exit code and what was shown.
fn answered(answer: &str) -> (Option<i32>, String) {
    let mut terminal = Terminal::run(&["prune", "--older-than", "0s"], WIDE);
    terminal.wait_for("remove 1 segment? [y/N]");
    terminal.type_in(answer);
    terminal.end()
}

#[apply(test)]
fn any_answer_but_yes_keeps_the_segments() {
    let id = orphan(1);
    for answer in ["\n", "n\n", "no\n", "yesterday\n", "\u{4}"] {
        let (code, shown) = answered(answer);
        assert_eq!(code, Some(5), "{answer:?}: {shown}");
        assert!(shown.contains(&format!("segment {id} (key 0x00000001, 4 KiB): creator")), "{shown}");
        assert!(exists(id));
    }
}

#[apply(test)]
fn yes_removes_the_segments() {
    for answer in ["y\n", "Yes\n"] {
        let id = orphan(1);
        let (code, shown) = answered(answer);
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("freed 1 segment"), "{shown}");
        assert!(!exists(id));
    }
}

#[apply(test)]
fn the_question_and_the_answer_need_a_terminal() {
    let id = orphan(1);
    for redirected in [0, 2] {
        let (code, shown) = Terminal::run_without(&["prune", "--older-than", "0s"], WIDE, redirected).end();
        assert_eq!(code, Some(5), "{redirected}: {shown}");
        assert!(exists(id));
    }
}

#[apply(test)]
fn a_segment_that_changes_during_the_question_is_skipped() {
    let ids = [orphan(1), orphan(2), orphan(3), orphan(4), orphan(5), orphan(6)];
    let [used, attached, removed, changed, replaced, left] = ids;
    let mut terminal = Terminal::run(&["prune", "--older-than", "0s", "--json"], WIDE);
    terminal.wait_for("remove 6 segments? [y/N]");
    let mut actor = Actor::start();
    actor.attach(attached);
    actor.attach(used);
    actor.detach();
    oracle::remove(removed);
    oracle::remove(replaced);
    oracle::set(changed, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), 0o640);
    // Within the second of its creation, its change time stays the same and only the mode differs.
    terminal.type_in("y\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let report = shown.lines().find(|line| line.trim_start().starts_with("{\"schema\"")).unwrap();
    let report: Value = serde_json::from_str(report.trim()).unwrap();
    assert_eq!(ids_of(&report["removed"]), [left], "{report}");
    let mut skipped = ids_of(&report["skipped"]);
    skipped.sort_unstable();
    let mut expected = vec![used, attached, removed, changed, replaced];
    expected.sort_unstable();
    assert_eq!(skipped, expected, "{report}");
    for kept in [used, attached, changed] {
        assert!(exists(kept), "{kept}");
    }
    let reasons = report["skipped"].to_string();
    for reason in ["attached since the", "used since the", "already removed", "changed since the"] {
        assert!(reasons.contains(reason), "{reason}: {reasons}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_segment_whose_owner_changes_during_the_question_is_skipped() {
    let id = orphan(1);
    let mut terminal = Terminal::run(&["prune", "--older-than", "0s", "--owner", "root"], WIDE);
    terminal.wait_for("[y/N]");
    // Usually within the second of its creation, so that its change time stays the same.
    let group = oracle::stat(id).unwrap().shm_perm.gid;
    oracle::set(id, NOBODY, group, 0o600);
    terminal.type_in("y\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("changed since the listing") && exists(id), "{shown}");
}

#[apply(test)]
fn a_signal_during_the_question_removes_nothing() {
    let id = orphan(1);
    let mut terminal = Terminal::run(&["prune", "--older-than", "0s"], WIDE);
    terminal.wait_for("[y/N]");
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, None, "{shown}");
    assert!(exists(id));
}
