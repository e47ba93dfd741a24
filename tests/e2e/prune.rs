//! `prune`: orphans are removed, and nothing else.

pub(crate) mod churn;
mod exiting;
mod question;
mod recheck;
mod summary;

use expect_test::expect;
use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{assert_fields, assert_is_row};
use crate::oracle::{self, Attached};
use crate::redact::Redaction;
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as};
use crate::terminal::Terminal;

#[apply(test)]
fn by_default_keeps_orphans_younger_than_ten_minutes() {
    let young = orphan(1);
    assert_eq!(pruned(&["prune", "--yes"]), json!([]));
    run(["prune"]).exits(0).says("nothing to prune").prints_nothing();
    assert!(exists(young));
}

#[apply(test)]
fn older_than_0s_removes_every_orphan() {
    let id = orphan(1);
    Redaction::new().check(
        &run(["prune", "--yes", "--older-than", "0s"]),
        &expect![[r#"
        [stderr]
        removed segment 0 (key 0x00000001, 4 KiB)
        freed 1 segment (4 KiB, 0 bytes resident)
    "#]],
    );
    assert!(!exists(id));
}

/// Segments that `prune` keeps by default, and the actor that uses them.
struct InUse {
    actor: Actor,
    /// The creator is running.
    idle: i32,
    attached: i32,
    /// The creator has exited, the last user is running.
    used: i32,
    /// Marked for destruction, and attached.
    marked: i32,
}

impl InUse {
    fn new() -> Self {
        let mut actor = Actor::start();
        let idle = actor.create(2, 4096);
        let attached = actor.create(3, 4096);
        actor.attach(attached);
        let used = orphan(4);
        actor.attach(used);
        actor.detach();
        let marked = actor.create(5, 4096);
        actor.attach(marked);
        actor.remove(marked);
        Self { actor, idle, attached, used, marked }
    }
}

#[apply(test)]
fn keeps_segments_that_are_attached_or_have_a_running_user() {
    let orphan = orphan(1);
    let InUse { actor: _actor, idle, attached, used, marked } = InUse::new();
    assert_eq!(pruned(&["prune", "--yes", "--older-than", "0s"]), json!([orphan]));
    for kept in [idle, attached, used, marked] {
        assert!(exists(kept), "{kept}");
    }
}

#[apply(test)]
fn unattached_also_removes_segments_with_a_running_user() {
    let InUse { actor: _actor, idle, attached, used, marked } = InUse::new();
    let unattached = ["prune", "-y", "--older-than", "0s", "--unattached"];
    assert_eq!(pruned(&[&unattached[..], &["--state", "idle", "-n"]].concat()), json!([idle, used]));
    assert_eq!(pruned(&unattached), json!([idle, used]));
    assert!(exists(attached) && exists(marked));
}

#[apply(test)]
fn a_killed_user_leaves_an_orphan() {
    let mut actor = Actor::start();
    let id = actor.create(1, 4096);
    actor.attach(id);
    drop(actor);
    assert_eq!(pruned(&["prune", "--yes", "--older-than", "0s"]), json!([id]));
}

#[apply(test)]
fn filters_combine_with_and() {
    let small = orphan(1);
    let large = sized_orphan(2, 65_536);
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--key", "7"]), json!([]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--min-size", "64K", "--key", "1"]), json!([]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--min-size", "64K"]), json!([large]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "1h", "--key", "1"]), json!([]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--key", "1", "--state", "orphan"]), json!([small]));
}

#[apply(test)]
fn invalid_arguments_are_a_usage_error_and_remove_nothing() {
    let id = orphan(1);
    for arguments in [
        &["--any-owner", "--mine"][..],
        &["--any-owner", "--owner", "0"],
        &["--older-than", "10"],
        &["--owner", "no-such-user"],
        &["0"],
    ] {
        let mut line = vec!["prune", "--yes"];
        line.extend(arguments);
        run(&line).exits(2).prints_nothing();
    }
    assert!(exists(id));
}

#[apply(test)]
fn a_state_that_it_never_removes_matches_nothing_and_says_why() {
    let attached = oracle::create(7, 4096, 0o600);
    let _attachment = Attached::new(attached);
    let idle = oracle::create(8, 4096, 0o600);
    for (arguments, why) in [
        (&["--state", "in-use"][..], "never removes attached segments"),
        (&["--state", "dest", "--unattached"], "never removes attached segments"),
        (&["--state", "idle"], "unless --unattached is given"),
        (&["--state", "unknown"], "unless --unattached is given"),
    ] {
        let line = ["prune", "--yes", "--json", "--older-than", "0s"].iter().chain(arguments);
        let ran = run(line).exits(0).says(why);
        assert_eq!(ran.json()["removed"], json!([]));
    }
    assert!(exists(attached) && exists(idle));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--unattached", "--state", "idle"]), json!([idle]));
}

/// Removes the orphans of a user who runs `prune` with options.
fn pruned_by_nobody(options: &[&str]) -> Ran {
    finish(shmadm_as(NOBODY).args(["prune", "-y", "--older-than", "0s", "--json"]).args(options))
}

#[apply(test)]
#[requires(Root)]
fn an_owner_prunes_only_their_own_segments_by_default() {
    let mine = orphan(1);
    let theirs = theirs(2);
    let given = orphan(3);
    oracle::set(given, NOBODY, NOBODY, 0o600);
    let report = pruned_by_nobody(&[]).exits(0).json();
    assert_eq!(ids(&report["removed"]), json!([theirs, given]), "owned, although created by root");
    assert!(exists(mine));
}

#[apply(test)]
#[requires(Root)]
fn any_owner_reports_segments_that_the_user_may_not_remove() {
    let mine = orphan(1);
    let theirs = theirs(2);
    let report = pruned_by_nobody(&["--any-owner"]).exits(4).json();
    assert_eq!(ids(&report["removed"]), json!([theirs]));
    assert_fields(&report["failed"][0], json!({ "target": mine.to_string(), "code": 4 }));
    assert!(exists(mine));
}

#[apply(test)]
#[requires(Root)]
fn a_dry_run_with_any_owner_omits_segments_that_the_user_may_not_remove() {
    orphan(1);
    let report = pruned_by_nobody(&["--any-owner", "-n"]).exits(4).json();
    assert_eq!(ids(&report["removed"]), json!([]), "{report}");
    // No call has failed.
    let error = "would fail: cannot remove segment 0: not permitted";
    assert_fields(&report["failed"][0], json!({ "code": 4, "errno": null, "error": error }));
}

#[apply(test)]
#[requires(Root)]
fn root_prunes_only_segments_of_root_by_default() {
    let (mine, theirs) = (orphan(1), theirs(2));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s"]), json!([mine]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--any-owner"]), json!([theirs]));
    let theirs = self::theirs(2);
    orphan(1);
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--owner", "65534"]), json!([theirs]));
}

#[apply(test)]
#[requires(Root)]
fn an_owner_can_remove_a_segment_with_mode_0() {
    let created = finish(shmadm_as(NOBODY).args(["create", "--mode", "0", "-q"])).exits(0);
    let id: i32 = created.stdout.trim().parse().unwrap();
    let ran = finish(shmadm_as(NOBODY).args(["prune", "-y", "--older-than", "0s", "--json"])).exits(0);
    assert_eq!(ids(&ran.json()["removed"]), json!([id]));
}

#[apply(test)]
fn never_attaches() {
    // Attaching can destroy a segment (shm_rmid_forced), and overwrites the last user.
    let id = orphan(1);
    let mut actor = Actor::start();
    actor.attach(id);
    actor.detach();
    let before = oracle::rows();
    for arguments in
        [&["prune", "-n", "--older-than", "0s"][..], &["prune", "-y"], &["prune", "-y", "--older-than", "0s"]]
    {
        run(arguments).exits(0);
        assert_eq!(oracle::rows(), before, "{arguments:?}");
    }
}

#[apply(test)]
fn without_a_terminal_requires_yes() {
    let id = orphan(1);
    Redaction::new().check(
        &run(["prune", "--older-than", "0s"]),
        &expect![[r#"
        [stderr]
        error: cannot remove 1 segment: confirmation required
        cause: --yes was not given, and there is no terminal for the prompt
        hint: show what would be removed: `shmadm prune --older-than 0s --dry-run`
        hint: remove without asking: `shmadm prune --older-than 0s --yes`
        [exit code 5]
    "#]],
    );
    let error = &run(["prune", "--older-than", "0s", "--json"]).exits(5).json()["error"];
    assert_eq!(error["kind"], "refused");
    assert!(exists(id));
}

#[apply(test)]
fn a_dry_run_and_an_empty_result_need_no_confirmation() {
    orphan(1);
    run(["prune", "--older-than", "0s", "--dry-run"]).exits(0);
    run(["prune"]).exits(0);
}

#[apply(test)]
fn a_dry_run_lists_segments_with_reasons() {
    orphan(1);
    let before = oracle::rows();
    let table = run(["prune", "--older-than", "0s", "--dry-run"]).exits(0);
    assert!(table.stdout.starts_with("ID  KEY"), "{table:?}");
    assert!(table.stdout.contains("orphan") && table.stdout.contains("has exited, never attached"));
    assert!(table.stdout.contains(" would destroy ") && !table.stdout.contains("destroyed"), "{table:?}");
    let csv = run(["prune", "--older-than", "0s", "-n", "--format", "csv"]).exits(0).stdout;
    assert!(csv.starts_with("ID,KEY,OWNER,SIZE,RSS,SWAP,STATE,IDLE,OUTCOME,WHY,NS,CONTAINER,NAME\r\n"), "{csv}");
    assert_eq!(csv.lines().count(), 2);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_dry_run_reports_the_records_in_json() {
    let id = orphan(1);
    let report = run(["prune", "--older-than", "0s", "-n", "--json"]).exits(0).json();
    assert_eq!(report["dry_run"], true);
    let mut record = report["removed"][0].clone();
    assert_eq!(record.as_object_mut().unwrap().remove("outcome").unwrap(), "destroyed");
    assert_eq!(record["state"], "orphan");
    assert_is_row(&record, &oracle::row(id).unwrap());
}

#[apply(test)]
fn reports_the_freed_size_memory_and_swap() {
    let touched = sized_orphan(1, 40_960);
    let attached = oracle::Attached::new(touched);
    attached.write(0, &[1; 5000]);
    drop(attached);
    // The test process is its last user and is running: the segment is idle.
    let untouched = sized_orphan(2, 1 << 30);
    let report = run(["prune", "-y", "--older-than", "0s", "--unattached", "--json"]).exits(0).json();
    assert_eq!(ids_of(&report["removed"]), [touched, untouched], "{report}");
    let freed = json!({"segments": 2, "objects": 0, "size": (1 << 30) + 40_960, "rss": 8192, "swap": 0});
    assert_fields(&report, json!({ "freed": freed, "failed": [], "skipped": [] }));
}

#[apply(test)]
fn without_orphans_the_report_is_empty() {
    let kept = json!({"young": 0, "other_owner": 0, "idle": 0, "unknown": 0, "attached": 0, "excluded": 0,
        "in_use": 0, "unused": 0, "persistent": 0, "directory": 0, "linked": 0});
    let empty = json!({"schema": 1, "dry_run": false, "removed": [], "failed": [], "skipped": [], "kept": kept,
        "freed": {"segments": 0, "objects": 0, "size": 0, "rss": 0, "swap": 0}});
    assert_eq!(run(["prune", "-y", "--json"]).exits(0).json(), empty);
}

#[apply(test)]
#[requires(Root)]
fn the_summary_counts_what_is_kept_by_reason() {
    orphan(11);
    orphan(12);
    theirs(13);
    let InUse { actor, .. } = InUse::new();
    let mut redaction = Redaction::new();
    redaction.name(actor.pid(), "[PID]");
    redaction.check(
        &run(["prune"]),
        &expect![[r#"
            [stderr]
            nothing to prune
            kept 7: 2 idle for less than 10m (--older-than 0s), 1 of other users (--any-owner), 2 idle (--unattached), 2 attached by pid [[PID]]
        "#]],
    );
    let kept =
        |arguments: &[&str]| run([&["prune", "--json", "-n"], arguments].concat()).exits(0).json()["kept"].clone();
    assert_fields(&kept(&["--older-than", "0s"]), json!({ "young": 0, "other_owner": 1, "idle": 2, "attached": 2 }));
    assert_fields(&kept(&["--any-owner"]), json!({ "young": 3, "other_owner": 0, "excluded": 0 }));
    assert_fields(&kept(&["--unattached"]), json!({ "young": 4, "other_owner": 1, "idle": 0 }));
    assert_fields(&kept(&["--owner", "65534"]), json!({ "young": 1, "other_owner": 6, "attached": 0 }));
    assert_fields(&kept(&["--key", "11"]), json!({ "young": 1, "other_owner": 0, "attached": 0, "excluded": 6 }));
    assert_fields(&kept(&["--state", "idle"]), json!({ "idle": 2, "excluded": 5 }));
}

#[apply(test)]
#[requires(Root)]
fn attachments_that_were_not_found_are_not_those_of_one_process() {
    let mut actors = [Actor::start(), Actor::start()];
    for actor in &mut actors {
        let id = actor.create(0, 4096);
        actor.attach(id);
    }
    finish(shmadm_as(NOBODY).args(["prune", "--dry-run", "--older-than", "0s", "--any-owner"]))
        .exits(0)
        .says("kept 2: 2 attached by processes that you are not permitted to inspect (2 attachments)\n");
}

#[apply(test)]
fn the_table_fits_in_sixty_columns() {
    orphan(1);
    let (code, shown) = Terminal::run(&["prune", "--older-than", "0s", "-n", "--color", "never"], 60).end();
    assert_eq!(code, Some(0));
    assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 60 || line.starts_with("would")), "{shown}");
}

#[apply(test)]
fn a_closed_pipe_does_not_stop_the_removal() {
    let id = orphan(1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = finish(shmadm().args(["prune", "-y", "--older-than", "0s", "--json"]).stdout(writer));
    ran.exits(0);
    assert!(!exists(id));
}

/// Creates a segment whose creator has exited.
fn orphan(key: u32) -> i32 {
    sized_orphan(key, 4096)
}

/// Creates an orphan of a given size.
fn sized_orphan(key: u32, size: usize) -> i32 {
    let mut actor = Actor::start();
    let id = actor.create_with(key, size, libc::SHM_NORESERVE);
    actor.leave();
    id
}

/// Creates an orphan of user nobody.
fn theirs(key: u32) -> i32 {
    let key = format!("{key:#x}");
    finish(shmadm_as(NOBODY).args(["create", "--key", &key, "-q"])).exits(0).stdout.trim().parse().unwrap()
}

fn exists(id: i32) -> bool {
    oracle::row(id).is_some()
}

/// Runs `prune` and returns the ids of the removed segments.
#[track_caller]
fn pruned(arguments: &[&str]) -> Value {
    ids(&run([arguments, &["--json"]].concat()).exits(0).json()["removed"])
}

/// Returns the ids of a list of records.
fn ids(list: &Value) -> Value {
    list.as_array().unwrap().iter().map(|one| one["id"].clone()).collect()
}

/// Returns the ids of a list of records as numbers.
fn ids_of(list: &Value) -> Vec<i32> {
    list.as_array().unwrap().iter().map(|one| i32::try_from(one["id"].as_i64().unwrap()).unwrap()).collect()
}

#[apply(test)]
fn under_churn_only_orphans_are_removed() {
    churn::run_workers_and_prune();
}
