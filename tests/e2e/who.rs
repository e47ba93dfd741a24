//! `who`: every mapping of a segment is found, and no mapping that only resembles one.

mod elsewhere;
mod exiting;
mod hidden;
mod many;
mod threads;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use crate::actor::{Actor, ChildRequest, Request};
use crate::fixtures::{assert_fields, sysctl};
use crate::oracle;
use crate::pool::{HUGE, Pool};
use crate::sandbox::without;
use crate::support::{Ran, Running, finish, run, shmadm};

/// linux/fs.h: PROCMAP_QUERY.
const PROCMAP_QUERY: u32 = 0xc068_6611;

#[apply(test)]
fn an_attachment_is_reported_with_all_fields() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 8192);
    let address = actor.attach(id);
    let report = &run(["who", "0x4d2", "--json"]).exits(0).json()["segments"][0];
    let attachment = json!({
        "pid": actor.pid(), "uid": nix::unistd::geteuid().as_raw(), "address": address, "size": 8192,
        "access": "rw", "ns": oracle::namespace(), "certain": true,
        // The creator explains the whole count, so no other process was inspected.
        "shared_with": null,
    });
    assert_fields(report, json!({ "id": id, "nattch": 1, "found": 1, "ns": oracle::namespace(), "hidden": [] }));
    let mut found = report["attachments"][0].clone();
    let (user, command) = (found["user"].take(), found["command"].take());
    found.as_object_mut().unwrap().retain(|key, _| key != "user" && key != "command");
    assert_eq!(found, attachment);
    assert!(command.as_str().unwrap().ends_with("--actor"), "{command}");
    assert_eq!(user, run(["stat", "0x4d2", "--json"]).json()["segments"][0]["owner"]);
}

#[apply(test)]
fn procmap_query_and_maps_text_agree() {
    let mut actors: Vec<Actor> = (0..6).map(|_| Actor::start()).collect();
    let ids: Vec<i32> = (1..=3).map(|key| actors[0].create(key, 12288)).collect();
    for (number, actor) in actors.iter_mut().enumerate() {
        actor.attach(ids[number % 3]);
        actor.ask(Request::AttachReadOnly { id: ids[(number + 1) % 3] });
    }
    actors[1].ask(Request::SplitMapping);
    actors[2].ask(ChildRequest::Fork);
    let asked = run(["who", "--all", "--json"]).exits(0).json();
    let read = finish(
        without(&mut shmadm(), libc::SYS_ioctl, Some(PROCMAP_QUERY), Errno::ENOTTY).args(["who", "--all", "--json"]),
    );
    assert_eq!(asked, read.exits(0).json());
    for segment in asked["segments"].as_array().unwrap() {
        let nattch = oracle::stat(i32::try_from(segment["id"].as_i64().unwrap()).unwrap()).unwrap().shm_nattch;
        assert_fields(segment, json!({ "nattch": nattch, "found": nattch }));
    }
    assert_eq!(pids_of(&asked, ids[1]).len(), 4, "{asked}");
}

#[apply(test)]
fn mprotect_splits_a_mapping_and_fork_copies_the_parts() {
    let mut actor = Actor::start();
    let id = actor.create(7, 12288);
    actor.attach(id);
    actor.ask(Request::SplitMapping);
    let report = who(id);
    assert_fields(&report, json!({ "nattch": 3, "found": 3 }));
    let access: Vec<_> = report["attachments"].as_array().unwrap().iter().map(|one| &one["access"]).collect();
    assert_eq!(access, ["rw", "ro", "rw"]);
    let child = actor.number(ChildRequest::Fork);
    let report = who(id);
    assert_fields(&report, json!({ "nattch": 6, "found": 6 }));
    assert_eq!(pids(&report), BTreeSet::from([actor.pid(), child]));
    let table = run(["who", &id.to_string()]).exits(0).stdout;
    let row = table.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!((row[3], row[4], table.lines().count()), ("3", "rw", 3), "one row per process: {table}");
}

#[apply(test)]
fn memory_shared_by_two_processes_counts_once() {
    let id = oracle::create(7, 4096, 0o600);
    let mut other = Actor::start();
    other.attach(id);
    // The last user is inspected first; it does not explain the whole count, so every process is inspected.
    let mut actor = Actor::start();
    actor.attach(id);
    let twin = actor.number(ChildRequest::CloneVm);
    let report = who(id);
    assert_fields(&report, json!({ "nattch": 2, "found": 2, "hidden": [] }));
    let (first, second) = (actor.pid().min(twin), actor.pid().max(twin));
    assert_eq!(pids(&report), BTreeSet::from([first, other.pid()]));
    // Every process is inspected here.
    let ran = run(["who", "--all", "--all-ns", "--json"]).exits(0);
    let report = ran.json()["segments"].as_array().unwrap().clone();
    let report = report.iter().find(|segment| segment["ns"] == oracle::namespace()).unwrap();
    let shared = report["attachments"].as_array().unwrap().iter().find(|one| one["pid"] == first).unwrap();
    assert_eq!((&shared["shared_with"], &report["found"]), (&json!([second]), &json!(2)));
    ran.says(&format!("pid {first} shares its address space with pid {second}"));
}

#[apply(test)]
fn a_file_with_the_name_of_a_segment_is_not_one() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    // A memfd is on the same device as segments and can have the id as its inode number; only its name differs.
    for name in ["/SYSV000004d2", "SYSV000004d2"] {
        actor.ask(Request::MapMemfd { name: name.to_owned() });
    }
    let forged = std::env::temp_dir().join(format!("SYSV000004d2-{}", std::process::id()));
    std::fs::write(&forged, [0; 4096]).unwrap();
    actor.ask(Request::MapFile { path: forged.display().to_string() });
    std::fs::remove_file(&forged).unwrap();
    let mut other = Actor::start();
    other.attach(id);
    assert_eq!(pids(&who(id)), BTreeSet::from([other.pid()]));
}

#[apply(test)]
#[requires(Root)]
fn a_file_of_the_same_name_and_inode_on_another_device_is_not_a_segment() {
    let mut forger = Actor::start();
    let inode = forger.number(Request::MapForged { name: "SYSV000004d2".to_owned() });
    // Enough segments that one of them has that id.
    let id = std::iter::from_fn(|| Some(oracle::create(0, 4096, 0o600))).find(|id| *id == inode - 1).unwrap() + 1;
    assert_eq!(oracle::create(1234, 4096, 0o600), id);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", forger.pid())).unwrap();
    let shown = maps.lines().find(|line| line.contains("SYSV")).unwrap();
    assert!(shown.ends_with("/SYSV000004d2") && shown.contains(&format!(" {inode} ")), "the forgery: {shown}");
    let mut other = Actor::start();
    other.attach(id);
    assert_eq!(pids(&who(id)), BTreeSet::from([other.pid()]));
}

#[apply(test)]
fn a_marked_segment_loses_its_key_and_keeps_its_attachments() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.remove(id);
    let mut later = Actor::start();
    let second = later.create(1234, 4096);
    later.attach(second);
    assert_eq!(pids(&who(id)), BTreeSet::from([actor.pid()]));
    assert_eq!(pids(&who(second)), BTreeSet::from([later.pid()]));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_segment_of_huge_pages_is_found_on_its_own_device() {
    let _pool = Pool::with_free(2, HUGE);
    let mut actor = Actor::start();
    let id = actor.create_with(7, 2 << 20, libc::SHM_HUGETLB);
    assert!(id >= 0, "the pool has been filled");
    actor.attach(id);
    let report = who(id);
    assert_eq!((pids(&report), &report["found"]), (BTreeSet::from([actor.pid()]), &json!(1)), "{report}");
    assert_eq!(report["attachments"][0]["certain"], true);
    actor.detach();
    actor.remove(id);
}

#[apply(test)]
fn an_unattached_segment_needs_no_search() {
    let id = oracle::create(7, 4096, 0o600).to_string();
    // The program may not open any file of a process, and does not need to.
    let mut closed = shmadm();
    let ran = finish(without(&mut closed, libc::SYS_memfd_create, None, Errno::EMFILE).args(["who", &id, "--json"]));
    assert_fields(&ran.exits(0).json()["segments"][0], json!({ "found": 0, "attachments": [] }));
    run(["who", &id]).exits(0).says("is not attached");
}

/// Returns the ids of the segments in a report.
fn reported_ids(ran: &Ran) -> Vec<Value> {
    ran.json()["segments"].as_array().unwrap().iter().map(|segment| segment["id"].clone()).collect()
}

#[apply(test)]
fn all_adds_the_segments_that_are_not_named() {
    let (one, two) = (oracle::create(7, 4096, 0o600), oracle::create(8, 4096, 0o600));
    assert_eq!(reported_ids(&run(["who", "--json"]).exits(0)), [one, two]);
    assert_eq!(reported_ids(&run(["who", "--all", &one.to_string(), "--json"]).exits(0)), [one, two]);
    run(["who", "--all", "99"]).exits(3).says("cannot find segment 99");
}

#[apply(test)]
fn two_names_of_one_segment_are_reported_once() {
    let id = oracle::create(7, 4096, 0o600);
    assert_eq!(reported_ids(&run(["who", &id.to_string(), "0x7", "--json"]).exits(0)), [id]);
}

#[apply(test)]
fn a_missing_segment_does_not_hide_the_others() {
    let id = oracle::create(7, 4096, 0o600);
    let ran = run(["who", &id.to_string(), "99", "--json"]).exits(3).says("cannot find segment 99");
    assert_eq!(reported_ids(&ran), [id]);
}

#[apply(test)]
fn only_missing_segments_are_an_error_object() {
    run(["who", "99"]).exits(3).prints_nothing();
    for command in ["who", "stat"] {
        let ran = run([command, "98", "99", "--json"]).exits(3).says("cannot find 2 segments (98 and 99): ");
        assert_eq!(ran.json()["error"]["kind"], "not-found", "{ran:?}");
    }
}

#[apply(test)]
fn changes_no_attachment_and_no_time() {
    let mut actor = Actor::start();
    let id = actor.create(7, 4096);
    actor.attach(id);
    let before = oracle::rows();
    for arguments in [&["who", "7"][..], &["who", "key:7", "--json"], &["list", "-o", "+pids"], &["stat", "key:7"]] {
        run(arguments);
    }
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn never_destroys_a_segment_that_a_detach_would_destroy() {
    sysctl("shm_rmid_forced", 1);
    let mut actor = Actor::start();
    let idle = actor.create(7, 4096);
    let attached = actor.create(8, 4096);
    actor.attach(attached);
    let before = oracle::rows();
    for arguments in [
        &["who"][..],
        &["who", "0x7"],
        &["who", "--all", "--all-ns", "--json"],
        &["stat", "0x7"],
        &["list", "-o", "+pids,commands"],
        &["prune", "--unattached", "--older-than", "0s", "-n"],
        &["prune", "-y", "--older-than", "0s"],
    ] {
        run(arguments).exits(0);
        assert_eq!(oracle::rows(), before, "{arguments:?}");
    }
    assert_eq!(pids(&who(idle)), BTreeSet::new());
}

/// Starts an actor and a child of it that have a segment attached; returns the actor, the pids in order, and the id.
fn two_attached() -> (Actor, [i32; 2], String) {
    let mut actor = Actor::start();
    let id = actor.create(7, 4096);
    actor.attach(id);
    let child = actor.number(ChildRequest::Fork);
    let pids = [actor.pid().min(child), actor.pid().max(child)];
    (actor, pids, id.to_string())
}

#[apply(test)]
fn stat_names_the_attached_processes() {
    let (_actor, pids, id) = two_attached();
    let stat = run(["stat", &id]).exits(0).stdout;
    for pid in pids {
        assert!(stat.contains(&format!("Attached by pid: {pid} (")), "{stat}");
    }
}

#[apply(test)]
fn rm_and_detach_name_the_attached_processes() {
    let (_actor, [first, second], id) = two_attached();
    run(["rm", &id]).exits(5).says(&format!("attached 2 times by pid {first} (")).says(&format!(" and pid {second} ("));
    run(["detach", &id]).exits(5).says(&format!("pid {first} (")).says(&format!("pid {second} ("));
}

#[apply(test)]
fn list_names_the_attached_processes() {
    let (_actor, pids, _) = two_attached();
    let row = &run(["list", "-o", "id,pids,commands", "--json"]).exits(0).json()["segments"][0];
    assert_eq!(row["pids"], json!(pids));
    assert!(row["commands"][1].as_str().unwrap().ends_with("--actor"), "{row}");
    let tsv = run(["list", "-o", "PIDS", "--format", "tsv", "--no-headings"]).exits(0).stdout;
    assert_eq!(tsv, format!("{},{}\n", pids[0], pids[1]));
}

#[apply(test)]
fn csv_and_tsv_have_one_row_per_mapping() {
    let mut actor = Actor::start();
    let id = actor.create(7, 12288);
    actor.attach(id);
    actor.ask(Request::SplitMapping);
    let csv = run(["who", "--format", "csv"]).exits(0).stdout;
    let heading = "ID,PID,USER,ATTACHES,ACCESS,COMMAND,ADDRESS,SIZE,UID,NS,CERTAIN,SHARED_WITH,SEGMENT_NS";
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some(heading), 4), "{csv}");
    let tsv = run(["who", "--format", "tsv", "--mappings"]).exits(0).stdout;
    assert_eq!(tsv.lines().count(), 4);
    assert_eq!(run(["who", "--mappings"]).exits(0).stdout.lines().count(), 4);
}

#[apply(test)]
fn a_hostile_command_line_forges_no_row() {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("evil\n 0  1  root  \x1b[2J\u{202e}");
    let mut actor = Actor::spawn(&mut command);
    let id = actor.create(7, 4096);
    actor.attach(id);
    let table = run(["who"]).exits(0).stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("evil\\n 0  1  root  \\x1b[2J\\u{202e}"), "{table}");
    let refused = run(["rm", &id.to_string()]).exits(5);
    assert!(!refused.stderr.contains('\x1b') && refused.stderr.contains("evil\\n 0"), "{refused:?}");
    let command = &who(id)["attachments"][0]["command"];
    assert!(command.as_str().unwrap().starts_with("evil\n 0  1"), "{command}");
}

#[apply(test)]
fn an_attachment_that_changes_during_the_search_is_found_or_hidden() {
    let mut keeper = Actor::start();
    let id = keeper.create(7, 4096);
    let mut restless = Running(
        Command::new(env!("CARGO_BIN_EXE_shmadm"))
            .args(["read", "0x7", "--every", "1ms", "--text"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    for _ in 0..30 {
        keeper.attach(id);
        let report = who(id);
        let count = |field: &Value| field.as_u64().unwrap();
        let hidden: u64 = report["hidden"].as_array().unwrap().iter().map(|hidden| count(&hidden["count"])).sum();
        assert!(pids(&report).contains(&keeper.pid()), "{report}");
        assert!(count(&report["found"]) + hidden >= count(&report["nattch"]), "an attachment is lost: {report}");
        keeper.detach();
    }
    restless.0.kill().unwrap();
}

/// Runs `who --json` for one segment.
#[track_caller]
pub(crate) fn who(id: i32) -> Value {
    run(["who", &id.to_string(), "--json"]).exits(0).json()["segments"][0].clone()
}

/// Returns the pids of the attached processes.
pub(crate) fn pids(shown: &Value) -> BTreeSet<i32> {
    let pid = |one: &Value| i32::try_from(one["pid"].as_i64().unwrap()).unwrap();
    shown["attachments"].as_array().unwrap().iter().map(pid).collect()
}

/// Returns the pids that a report lists for a segment.
fn pids_of(report: &Value, id: i32) -> BTreeSet<i32> {
    pids(report["segments"].as_array().unwrap().iter().find(|segment| segment["id"] == id).unwrap())
}
