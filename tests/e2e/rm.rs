//! `rm`: the given segments are removed, and no others.

mod exiting;
mod from;

use expect_test::expect;
use nix::libc;
use serde_json::json;

use crate::actor::Actor;
use crate::fixtures::{assert_fields, ids, set_next_id};
use crate::holder::Holder;
use crate::oracle;
use crate::redact::Redaction;
use crate::support::{NOBODY, finish, run, shmadm_as};
use crate::vanish::Stopped;

#[apply(test)]
fn a_private_segment_has_no_key_to_free() {
    let id = oracle::create(0, 4096, 0o600);
    let _attached = oracle::Attached::new(id);
    let ran = run(["rm", "--force", "0"]).exits(0);
    assert_eq!(
        ran.stderr,
        "warning: marked segment 0 (4 KiB) for destruction: its memory is freed at the last detach\n"
    );
}

#[apply(test)]
#[requires(Root)]
fn a_destroyed_segment_whose_id_another_has_by_now_is_not_marked() {
    let id = oracle::create(0, 4096, 0o600);
    let stopped = Stopped::before(1, |call| call.is_shmctl(libc::IPC_RMID), &["rm", &id.to_string()]);
    stopped.calls_until(|call| call.is_shmctl(libc::IPC_STAT));
    set_next_id(id);
    assert_eq!(oracle::create(0, 8192, 0o600), id);
    stopped.go_on().exits(0).says(&format!("\nremoved segment {id} (4 KiB)\n"));
    assert_eq!(ids(), [id]);
}

#[apply(test)]
fn refuses_an_attached_segment() {
    // By an actor: in a user namespace, the program may not inspect the test process.
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    let before = oracle::rows();
    let mut redaction = Redaction::new();
    redaction.name(actor.pid(), "ACTOR");
    redaction.check(&run(["rm", "0x4d2"]), &expect![[r#"
        [stderr]
        error: cannot remove segment 0: it is attached
        cause: attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running
        hint: mark for destruction, which frees the key now and the memory at the last detach: `shmadm rm --force 0`
        [exit code 5]
    "#]]);
    for more in ["--dry-run", "-n", "--ignore-missing"] {
        let would = if more == "--ignore-missing" { "" } else { "would fail: " };
        let error = format!("error: {would}cannot remove segment 0: it is attached\n");
        run(["rm", "0x4d2", more]).exits(5).prints_nothing().says(&error);
    }
    let report = run(["rm", "0x4d2", "--json"]).exits(5).json();
    assert_eq!(report["removed"], json!([]));
    assert_fields(&report["failed"][0], json!({ "code": 5, "target": "0x4d2" }));
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_dry_run_with_force_reports_that_an_attached_segment_would_be_marked() {
    let _attached = oracle::Attached::new(oracle::create(0x4d2, 4096, 0o600));
    let before = oracle::rows();
    let ran = run(["rm", "0x4d2", "--force", "--dry-run"]).exits(0);
    let later = "processes that ask for key 0x000004d2 afterwards get another segment";
    assert_eq!(ran.stdout, format!("would mark segment 0 (key 0x000004d2, 4 KiB) for destruction; {later}\n"));
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn force_marks_an_attached_segment_and_reports_that_it_remains() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let attached = oracle::Attached::new(id);
    let report = run(["rm", "0x4d2", "--force", "--json"]).exits(0);
    let report = report.says("warning: ").says("its key is freed now, the memory at the last detach").json();
    // The record shows the state before the removal.
    assert_fields(&report["removed"][0], json!({ "outcome": "marked", "key": "0x000004d2" }));
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("key"), row.get("perms"), row.get("nattch")), ("0", "1600", "1"));
    drop(attached);
    assert_eq!(ids(), [] as [i32; 0]);
}

#[apply(test)]
fn the_key_of_a_marked_segment_can_be_reused() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let attached = oracle::Attached::new(id);
    run(["rm", "0x4d2", "--force"]).exits(0);
    run(["stat", "0x4d2"]).exits(3);
    let next = oracle::create(0x4d2, 4096, 0o600);
    // Marking it again changes nothing.
    let marked = "segment 0 (4 KiB) was already marked for destruction: its memory is freed at the last detach\n";
    for more in [None, Some("-n")] {
        run(["rm", &id.to_string(), "-f"].into_iter().chain(more)).exits(0).prints_nothing().says(marked);
    }
    drop(attached);
    assert_eq!(ids(), [next]);
}

#[apply(test)]
fn a_dry_run_lists_the_segments_and_changes_nothing() {
    let (one, two) = (oracle::create(0x4d2, 4096, 0o600), oracle::create(0, 100, 0o600));
    let before = oracle::rows();
    let (first, second) = (one.to_string(), two.to_string());
    let ran = run(["rm", "-n", &first, &second]).exits(0);
    let expected =
        format!("would remove segment {one} (key 0x000004d2, 4 KiB)\nwould remove segment {two} (100 bytes)\n");
    assert_eq!(ran.stdout, expected);
    let report = run(["rm", "-n", &first, &second, "--json"]).exits(0).json();
    assert_eq!(report["dry_run"], true);
    assert_eq!(report["removed"].as_array().unwrap().len(), 2);
    assert_eq!(run(["rm", "--dry-run", &first, "77"]).exits(3).stdout.lines().count(), 1);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_missing_segment_does_not_stop_the_others() {
    let (one, two) = (oracle::create(0, 4096, 0o600), oracle::create(0x4d2, 4096, 0o600));
    let stays = oracle::create(0, 4096, 0o600);
    let ran = run(["rm", &one.to_string(), "0xbeef", "key:1234"]).exits(3).prints_nothing();
    assert!(
        ran.stderr.contains("cannot find segment 0xbeef: ") && ran.stderr.matches("error: ").count() == 1,
        "{ran:?}"
    );
    assert_eq!(ids(), [stays]);
    assert!(oracle::stat(two).is_none());
}

#[apply(test)]
fn reports_each_segment_in_json() {
    let id = oracle::create(0x4d2, 5000, 0o640);
    let expected = oracle::record(&oracle::rows()[0]);
    let ran = run(["rm", "0x4d2", "77", "--json"]).exits(3);
    let report = ran.json();
    let mut keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["dry_run", "failed", "removed", "schema"]);
    assert_fields(&report, json!({ "schema": 1, "dry_run": false }));
    let removed = &report["removed"][0];
    assert_eq!(removed["outcome"], "destroyed");
    assert_fields(removed, expected);
    let failed = &report["failed"][0];
    assert_fields(failed, json!({ "target": "77", "errno": "EINVAL", "code": 3 }));
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("77")), "{failed}");
    assert!(oracle::stat(id).is_none());
}

#[apply(test)]
fn failures_of_one_kind_exit_with_its_code_and_mixed_ones_with_1() {
    let (one, two, free) =
        (oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600));
    let _attached = [oracle::Attached::new(one), oracle::Attached::new(two)];
    let [one, two, free] = [one, two, free].map(|id| id.to_string());
    run(["rm", &one, &two]).exits(5);
    run(["rm", "77", "78"]).exits(3);
    let report = run(["rm", "77", &one, &free, &two, "--json"]).exits(1).json();
    let codes: Vec<_> = report["failed"].as_array().unwrap().iter().map(|failed| &failed["code"]).collect();
    assert_eq!(codes, [&json!(3), &json!(5), &json!(5)]);
    assert_eq!(ids().len(), 2, "only the unattached segment is removed");
}

#[apply(test)]
fn an_invalid_argument_removes_nothing() {
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    let before = oracle::rows();
    for bad in ["12abc", "", "010", "key:0", "0x"] {
        for arguments in [[&*id, bad], [bad, "0x4d2"]] {
            run(["rm", "--force"].into_iter().chain(arguments)).exits(2).prints_nothing();
            assert_eq!(oracle::rows(), before, "{arguments:?}");
        }
    }
    let error = run(["rm", &id, "12abc", "--json"]).exits(2).json();
    assert_eq!(error["error"]["kind"], "usage");
    run(["rm"]).exits(2);
    run(["rm", &id, "--format", "csv"]).exits(2);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn two_names_of_one_segment_count_once() {
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    let report = run(["rm", &id, "0x4d2", "key:02322", &format!("id:{id}"), "--json"]).exits(0).json();
    assert_eq!(report["removed"].as_array().unwrap().len(), 1);
    assert_eq!(report["failed"], json!([]));
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn ignore_missing_ignores_only_missing_segments() {
    let id = oracle::create(0, 4096, 0o600);
    let ran = run(["rm", "--ignore-missing", "77", "0xbeef"]).exits(0).prints_nothing();
    assert_eq!(ran.stderr, "");
    let attached = oracle::Attached::new(id);
    run(["rm", "--ignore-missing", "77", &id.to_string()]).exits(5);
    drop(attached);
    let report = run(["rm", "--ignore-missing", "--json", &id.to_string(), "77"]).exits(0).json();
    assert_eq!(report["removed"].as_array().unwrap().len(), 1);
    assert_eq!(report["failed"], json!([]));
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn ignore_missing_still_hints_at_a_key() {
    let id = oracle::create(1234, 4096, 0o600);
    let ran = run(["rm", "--ignore-missing", "1234", "77"]).exits(0).prints_nothing();
    assert_eq!(ran.stderr, "hint: a segment with key 1234 (0x4d2) exists: write key:1234\n");
    assert_eq!(ids(), [id]);
}

#[apply(test)]
fn reports_that_the_creator_or_the_last_user_is_running() {
    let (mut creator, mut user) = (Actor::start(), Actor::start());
    let note = |segment: &str, who: &str, pids: &[i32]| {
        let pids: Vec<String> = pids.iter().map(|pid| format!("pid {pid} (")).collect();
        for arguments in [&["rm", "-n", segment][..], &["rm", segment]] {
            let ran = run(arguments).exits(0).says(&format!("the {who} of segment {segment} "));
            assert!(pids.iter().all(|pid| ran.stderr.contains(pid)), "{ran:?}");
        }
    };
    let [both, created, shared] = [1, 2, 3].map(|key| creator.create(key, 4096));
    for id in [both, shared] {
        let user = if id == both { &mut creator } else { &mut user };
        user.attach(id);
        user.detach();
    }
    note(&both.to_string(), "creator and last user", &[creator.pid()]);
    note(&created.to_string(), "creator", &[creator.pid()]);
    note(&shared.to_string(), "creator and the last user", &[creator.pid(), user.pid()]);
    let used = run(["create", "-q"]).exits(0).stdout.trim().to_owned();
    user.attach(used.parse().unwrap());
    user.detach();
    note(&used, "last user", &[user.pid()]);
    let orphan = run(["create", "-q"]).exits(0).stdout.trim().to_owned();
    let ran = run(["rm", &orphan]).exits(0);
    assert_eq!(ran.stderr, format!("removed segment {orphan} (4 KiB)\n"));
}

#[apply(test)]
fn never_attaches() {
    // Attaching would overwrite the last user.
    let id = oracle::create(0, 4096, 0o600);
    drop(oracle::Attached::new(id));
    let before = oracle::rows();
    run(["rm", "-n", &id.to_string()]).exits(0);
    assert_eq!(oracle::rows(), before);
    let ran = run(["rm", "--quiet", &id.to_string()]).exits(0).prints_nothing();
    assert_eq!(ran.stderr, "", "--quiet prints nothing");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn another_users_segment_is_denied_with_the_cause() {
    let id = oracle::create(0x4d2, 4096, 0o666);
    let before = oracle::rows();
    for (more, words) in [
        (None, "error: cannot remove segment 0: Operation not permitted (EPERM, shmctl IPC_RMID)\n"),
        (Some("--force"), "error: cannot remove segment 0: Operation not permitted (EPERM, shmctl IPC_RMID)\n"),
        (Some("--dry-run"), "error: would fail: cannot remove segment 0: not permitted\n"),
    ] {
        let ran = finish(shmadm_as(NOBODY).args(["rm", "0x4d2"]).args(more)).exits(4).prints_nothing().says(words);
        assert!(ran.stderr.contains("is neither the owner (root) nor the creator (root)"), "{ran:?}");
        assert_eq!(oracle::rows(), before);
    }
    let report = finish(shmadm_as(NOBODY).args(["rm", "77", "0x4d2", "--json"])).exits(1).json();
    assert_fields(&report["failed"][1], json!({ "errno": "EPERM", "code": 4 }));
    // Both the owner and the creator may remove it.
    oracle::set(id, NOBODY, NOBODY, 0o600);
    finish(shmadm_as(NOBODY).args(["rm", "0x4d2"])).exits(0);
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(Root)]
fn an_unreadable_segment_can_be_marked() {
    let id = oracle::create(0, 4096, 0o600);
    oracle::set(id, NOBODY, NOBODY, 0);
    let attached = oracle::Attached::new(id);
    finish(shmadm_as(NOBODY).args(["rm", &id.to_string()])).exits(5).says("cause: attached by ");
    finish(shmadm_as(NOBODY).args(["rm", "-f", &id.to_string()])).exits(0).says("for destruction");
    assert_eq!(oracle::row(id).unwrap().get("perms"), "1000");
    drop(attached);
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn a_segment_that_only_own_holders_keep_attached_hints_at_detach() {
    let id = oracle::create(0, 4096, 0o600);
    let holders = [Holder::attached_to(id), Holder::attached_to(id)];
    let ran = run(["rm", "0"]).exits(5).says("hint: end your background attachments first: `shmadm detach 0`\n");
    assert!(!ran.stderr.contains("--force"), "{ran:?}");
    // Another process remains after these have detached.
    let attached = oracle::Attached::new(id);
    run(["rm", "0"]).exits(5).says("`shmadm rm --force 0`");
    drop(attached);
    run(["detach", "0"]).exits(0);
    run(["rm", "0"]).exits(0);
    assert!(holders.iter().all(|holder| !holder.is_running()));
}
