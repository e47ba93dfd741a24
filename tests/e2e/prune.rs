//! `prune`: orphans are removed, and nothing else.

pub(crate) mod churn;
mod looks;

use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{assert_fields, assert_is_row};
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, finish, run, shmadm, shmadm_as};
use crate::terminal::{Terminal, WIDE};

#[apply(test)]
fn by_default_removes_the_callers_orphans_older_than_ten_minutes() {
    let young = orphan(1);
    assert_eq!(pruned(&["prune", "--yes"]), json!([]), "it is younger than ten minutes");
    run(["prune"]).exits(0).says("nothing to prune").prints_nothing();
    assert!(exists(young));
    let ran = run(["prune", "--yes", "--older-than", "0s"]).exits(0).prints_nothing();
    let cpid = "its creator";
    assert!(!ran.stderr.contains(cpid) && ran.stderr.contains("removed segment"), "{ran:?}");
    assert!(!exists(young));
}

#[apply(test)]
fn keeps_segments_that_are_attached_or_have_a_running_user() {
    let gone = orphan(1);
    let mut actor = Actor::start();
    let idle = actor.create(2, 4096);
    let attached = actor.create(3, 4096);
    actor.attach(attached);
    // Its creator has exited, its last user has not.
    let used = orphan(4);
    actor.attach(used);
    actor.detach();
    // Marked, and attached.
    let marked = actor.create(5, 4096);
    actor.attach(marked);
    actor.remove(marked);
    assert_eq!(pruned(&["prune", "--yes", "--older-than", "0s"]), json!([gone]));
    for kept in [idle, attached, used, marked] {
        assert!(exists(kept), "{kept}");
    }
    assert_eq!(
        pruned(&["prune", "-y", "--older-than", "0s", "--unattached", "--state", "idle", "-n"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--unattached"]), json!([idle, used]));
    assert!(exists(attached) && exists(marked));
    drop(actor);
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

#[apply(test)]
#[requires(Root)]
fn keeps_segments_of_other_users_by_default() {
    let mine = orphan(1);
    let theirs = theirs(2);
    let given = orphan(3);
    oracle::set(given, NOBODY, NOBODY, 0o600);
    // Segments of other users are skipped by default; when requested, they fail with EPERM.
    let theirs_alone = finish(shmadm_as(NOBODY).args(["prune", "-y", "--older-than", "0s", "--json"])).exits(0);
    assert_eq!(ids(&theirs_alone.json()["removed"]), json!([theirs, given]), "owned, although created by root");
    let theirs = self::theirs(2);
    let ran = finish(shmadm_as(NOBODY).args(["prune", "-y", "--older-than", "0s", "--any-owner", "--json"]));
    let report = ran.exits(4).json();
    assert_eq!(ids(&report["removed"]), json!([theirs]));
    assert_fields(&report["failed"][0], json!({ "target": mine.to_string(), "code": 4 }));
    assert!(exists(mine));
    // A dry run does not list what would be denied.
    let ran = finish(shmadm_as(NOBODY).args(["prune", "-n", "--older-than", "0s", "--any-owner", "--json"]));
    let report = ran.exits(4).json();
    assert_eq!((ids(&report["removed"]), &report["failed"][0]["code"]), (json!([]), &json!(4)), "{report}");
    let theirs = self::theirs(2);
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--owner", "65534"]), json!([theirs]));
    let theirs = self::theirs(2);
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s"]), json!([mine]));
    assert_eq!(pruned(&["prune", "-y", "--older-than", "0s", "--any-owner"]), json!([theirs]));
}

#[apply(test)]
#[requires(Root)]
fn an_owner_can_remove_a_segment_with_mode_0() {
    let output = shmadm_as(NOBODY).args(["create", "--mode", "0", "-q"]).output().unwrap();
    let id: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
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
    let ran = run(["prune", "--older-than", "0s"]).exits(5).prints_nothing().says("--yes");
    assert!(ran.stderr.starts_with("error: cannot remove 1 segment"), "{ran:?}");
    assert!(
        ran.stderr.contains("hint: show what would be removed: `shmadm prune --older-than 0s --dry-run`"),
        "{ran:?}"
    );
    let error = &run(["prune", "--older-than", "0s", "--json"]).exits(5).json()["error"];
    assert_eq!(error["kind"], "refused");
    assert!(exists(id));
    // Listing needs no confirmation, nor does an empty result.
    run(["prune", "--older-than", "0s", "--dry-run"]).exits(0);
    run(["prune"]).exits(0);
}

#[apply(test)]
fn on_a_terminal_lists_the_segments_and_asks() {
    let id = orphan(1);
    for answer in ["\n", "n\n", "no\n", "yesterday\n", "\u{4}"] {
        let mut terminal = Terminal::run(&["prune", "--older-than", "0s"], WIDE);
        terminal.wait_for("remove 1 segment? [y/N]");
        terminal.type_in(answer);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(5), "{answer:?}: {shown}");
        assert!(shown.contains(&format!("segment {id} (key 0x00000001, 4 KiB): creator")), "{shown}");
        assert!(exists(id));
    }
    // Both the question and the answer need a terminal.
    for deaf in [0, 2] {
        let (code, shown) = Terminal::run_without(&["prune", "--older-than", "0s"], WIDE, deaf).end();
        assert_eq!(code, Some(5), "{deaf}: {shown}");
        assert!(exists(id));
    }
    for answer in ["y\n", "Yes\n"] {
        let id = oracle::row(id).map_or_else(|| orphan(1), |_| id);
        let mut terminal = Terminal::run(&["prune", "--older-than", "0s"], WIDE);
        terminal.wait_for("[y/N]");
        terminal.type_in(answer);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("freed 1 segment"), "{shown}");
        assert!(!exists(id));
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
    for reason in
        ["it has been attached since", "it has been used since", "it was already removed", "it has changed since"]
    {
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
    assert!(shown.contains("it has changed since") && exists(id), "{shown}");
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

#[apply(test)]
fn a_dry_run_lists_segments_with_reasons_and_changes_nothing() {
    let id = orphan(1);
    let before = oracle::rows();
    let table = run(["prune", "--older-than", "0s", "--dry-run"]).exits(0);
    assert!(table.stdout.starts_with("ID  KEY"), "{table:?}");
    assert!(table.stdout.contains("orphan") && table.stdout.contains("has exited, never attached"));
    let report = run(["prune", "--older-than", "0s", "-n", "--json"]).exits(0).json();
    let mut record = report["removed"][0].clone();
    assert_eq!(record.as_object_mut().unwrap().remove("outcome").unwrap(), "destroyed");
    assert_eq!(record["state"], "orphan");
    assert_is_row(&record, &oracle::row(id).unwrap());
    assert_eq!(report["dry_run"], true);
    let csv = run(["prune", "--older-than", "0s", "-n", "--format", "csv"]).exits(0).stdout;
    assert!(csv.starts_with("ID,KEY,OWNER,SIZE,RSS,SWAP,STATE,IDLE,OUTCOME,WHY,NS,CONTAINER\r\n"), "{csv}");
    assert_eq!(csv.lines().count(), 2);
    assert_eq!(oracle::rows(), before);
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
    let freed = json!({"segments": 2, "size": (1 << 30) + 40_960, "rss": 8192, "swap": 0});
    assert_fields(&report, json!({ "freed": freed, "failed": [], "skipped": [] }));
    let empty = json!({"schema": 1, "dry_run": false, "removed": [], "failed": [], "skipped": [],
        "freed": {"segments": 0, "size": 0, "rss": 0, "swap": 0}});
    assert_eq!(run(["prune", "-y", "--json"]).exits(0).json(), empty);
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

/// The same, with a size.
fn sized_orphan(key: u32, size: usize) -> i32 {
    let mut actor = Actor::start();
    let id = actor.create_with(key, size, libc::SHM_NORESERVE);
    actor.leave();
    id
}

/// The same, as another user.
fn theirs(key: u32) -> i32 {
    let key = format!("{key:#x}");
    let output = shmadm_as(NOBODY).args(["create", "--key", &key, "-q"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
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
