//! `diff` in other namespaces, and in all of them.

use std::fs::File;
use std::process::Command;

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::diff::Listings;
use crate::oracle;
use crate::support::{NOBODY, Ran, finish, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(Root)]
fn a_listing_is_compared_in_the_namespace_that_it_is_of() {
    let listings = Listings::new();
    let mut actor = Actor::start();
    actor.unshare();
    let ns: u64 = actor.namespace();
    let id = actor.create(1234, 4096);
    let pid = actor.pid().to_string();
    let before = listings.list("before.json", &["--ns", &pid]);
    run(["--ns", &pid, "diff", &before]).exits(0).prints_nothing();
    actor.attach(id);
    let report = run(["diff", &before, "--json", "--ns", &pid]).exits(1).json();
    assert_eq!(report["changed"][0]["changes"], json!(["attached"]));
    // Here it would look as if everything had been removed.
    let ran = run(["diff", &before]).exits(2).prints_nothing().says(&ns.to_string());
    let here = oracle::namespace().to_string();
    assert!(ran.stderr.contains(&here), "{ran:?}");
    let hint = typed(&ran);
    assert!(hint.contains(&format!("ipc:[{ns}]")), "{hint}");
    let again: Ran = Command::new("sh")
        .args(["-c", &hint.replace("shmadm ", &format!("{} ", env!("CARGO_BIN_EXE_shmadm")))])
        .output()
        .unwrap()
        .into();
    assert!(again.exits(1).stdout.contains("attached 0 -> 1"));
}

#[apply(test)]
#[requires(Root)]
fn a_namespace_that_no_longer_exists_is_not_suggested() {
    let listings = Listings::new();
    let mut actor = Actor::start();
    actor.unshare();
    actor.create(1234, 4096);
    let before = listings.list("before.json", &["--ns", &actor.pid().to_string()]);
    let text = std::fs::read_to_string(&before).unwrap();
    // No namespace has this number, while a new one may have that of a destroyed one.
    let before = listings.write("dead.json", text.replace(&actor.namespace().to_string(), "7").as_bytes());
    let ran = run(["diff", &before]).exits(2).prints_nothing();
    let ran = ran.says("cause: it lists segments of 7; ");
    let piped = finish(shmadm().args(["diff", "-"]).stdin(File::open(&before).unwrap())).exits(2);
    piped.says("error: cannot compare standard input with this IPC namespace, which is ");
    let reasons = ["IPC namespace 7 no longer has a process\n", "no visible process is in that namespace"];
    assert!(reasons.iter().any(|reason| ran.stderr.contains(reason)), "{ran:?}");
    assert!(!ran.stderr.contains("hint:"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn all_namespaces_are_compared_at_once() {
    let listings = Listings::new();
    let mut actors: Vec<(Actor, u64)> = (0..3)
        .map(|_| {
            let mut actor = Actor::start();
            actor.unshare();
            let ns = actor.namespace();
            (actor, ns)
        })
        .collect();
    // The same ids in each.
    let made: Vec<i32> = actors.iter_mut().map(|(actor, _)| actor.create(1234, 4096)).collect();
    assert_eq!(made, [0, 0, 0]);
    let all = run(["list", "--all-ns", "--json"]).exits(0).stdout;
    let before = listings.write("before.json", all.as_bytes());
    actors[0].0.attach(0);
    actors[1].0.remove(0);
    let report = run(["diff", "--all-ns", &before, "--json"]).exits(1).json();
    // Other tests create and remove segments in their own namespaces.
    let ours: Vec<u64> = actors.iter().map(|(_, ns)| *ns).collect();
    let of_ours = |record: &Value| ours.iter().position(|ns| record["ns"] == *ns);
    let places = |list: &Value, field: &str| -> Vec<usize> {
        list.as_array()
            .unwrap()
            .iter()
            .filter_map(|one| of_ours(if field.is_empty() { one } else { &one[field] }))
            .collect()
    };
    assert_eq!(places(&report["created"], ""), Vec::<usize>::new());
    assert_eq!(places(&report["removed"], ""), [1]);
    assert_eq!(places(&report["changed"], "after"), [0]);
    let table = run(["diff", "--all-ns", &before, "-q"]).exits(1).stdout;
    assert!(table.lines().any(|line| line.ends_with(&ours[1].to_string()) && line.starts_with("removed")), "{table}");
    // Without the option it is of too many.
    let hint = typed(&run(["diff", &before]).exits(2).prints_nothing());
    assert_eq!(hint, format!("shmadm diff {before} --all-ns"));
}

#[apply(test)]
#[requires(Root)]
fn segments_in_an_inaccessible_namespace_are_not_reported_as_removed() {
    let listings = Listings::new();
    let mut actor = Actor::start();
    actor.unshare();
    let ns: u64 = actor.namespace();
    actor.create(1234, 4096);
    let all = run(["list", "--all-ns", "--json"]).exits(0).stdout;
    let before = listings.write("before.json", all.as_bytes());
    let ran = finish(shmadm_as(NOBODY).args(["diff", "--all-ns", &before, "--json"]));
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let report = ran.says("cannot be entered").json();
    let is_of_it = |record: &Value| record["ns"] == ns;
    assert!(!report["removed"].as_array().unwrap().iter().any(is_of_it), "{report}");
}

/// Returns the command that a hint has.
#[track_caller]
fn typed(ran: &Ran) -> String {
    let hint = ran.stderr.lines().find(|line| line.starts_with("hint:")).unwrap();
    hint.split('`').nth(1).unwrap().to_owned()
}
