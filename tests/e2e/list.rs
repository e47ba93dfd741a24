//! `list`: every row matches the kernel; selection of rows and columns.

mod columns;

use std::process::Stdio;

use nix::libc::SHM_NORESERVE;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::getpid;
use serde_json::{Value, json};

use crate::fixtures::{assert_fields, assert_is_row};
use crate::oracle::{self, Attached, Row};
use crate::sandbox::with_new_pid_namespace;
use crate::support::{NOBODY, Running, finish, run, shmadm, shmadm_as, wait_for};

/// A uid without a name in the user database.
const STRANGER: u32 = 100_000;
/// The columns of CSV and TSV, which must not change.
const FROZEN: &str = "ID,KEY,SIZE,MODE,UID,OWNER,GID,GROUP,CUID,CREATOR,CGID,CREATOR_GROUP,CPID,LPID,NATTCH,ATIME,\
                      DTIME,CTIME,IDLE,DEST,LOCKED,RSS,SWAP,STATE,NS";

#[apply(test)]
fn no_segment_is_an_empty_list() {
    for arguments in [vec!["list", "--json"], vec!["ls", "--format", "json"]] {
        assert_eq!(run(&arguments).exits(0).stdout, "{\"schema\":1,\"segments\":[],\"objects\":[]}\n", "{arguments:?}");
    }
    assert_eq!(run(["list", "--json", "-o", "ID"]).exits(0).stdout, "{\"schema\":1,\"segments\":[]}\n");
    assert_eq!(run(["list", "--format", "csv"]).exits(0).stdout, format!("{FROZEN}\r\n"));
    assert_eq!(run(["list", "--format", "tsv", "--no-headings"]).exits(0).stdout, "");
}

#[apply(test)]
fn every_field_matches_the_kernel() {
    let _kept = several_segments();
    agrees(&run(["list", "--json"]).exits(0).json());
    agrees_in_part();
}

#[apply(test)]
#[requires(Root)]
fn every_field_matches_the_kernel_for_several_owners() {
    let _kept = several_segments();
    let given = oracle::create(0x00ab_cdef, 12_345, 0o640);
    oracle::set(given, STRANGER, STRANGER, 0o604);
    let odd = oracle::create(0, 1, 0o600);
    oracle::set(odd, NOBODY, STRANGER, 0);
    let theirs = shmadm_as(STRANGER).args(["create", "--key", "0xfffffffe", "--mode", "0"]).output().unwrap();
    assert!(theirs.status.success(), "{theirs:?}");
    agrees(&run(["list", "--json"]).exits(0).json());
    agrees_in_part();
    // Any user sees all of them, whatever their modes.
    agrees(&finish(shmadm_as(STRANGER).args(["list", "--json"])).exits(0).json());
    let own = finish(shmadm_as(STRANGER).args(["list", "--mine", "-o", "id", "--format", "tsv"])).exits(0);
    let mut expected = vec!["ID".to_owned()];
    expected.extend(rows_with(|row| row.get("uid") == "100000" || row.get("cuid") == "100000"));
    assert_eq!(expected.len(), 3, "one segment given away, one created");
    assert_eq!(own.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(ids(&["--owner", "100000"]), rows_with(|row| row.get("uid") == "100000"));
}

#[apply(test)]
fn processes_outside_the_pid_namespace_are_unknown() {
    let id = oracle::create(0, 4096, 0o600);
    let mut command = std::process::Command::new("/bin/sh");
    // The shell itself is still outside the namespace of its children.
    command.args(["-c", "\"$0\" list --json; exit $?", env!("CARGO_BIN_EXE_shmadm")]);
    let json = finish(with_new_pid_namespace(&mut command)).exits(0).json();
    let segment = &json["segments"][0];
    assert_fields(segment, json!({ "id": id, "cpid": null, "state": "unknown" }));
}

#[apply(test)]
fn rows_are_sorted_by_the_given_column() {
    let sizes = [5000, 1, 70_000];
    let made = sizes.map(|size| oracle::create(0, size, 0o600).to_string());
    let by_size = [1, 0, 2].map(|index: usize| made[index].clone());
    assert_eq!(ids(&["--sort", "size"]), by_size);
    assert_eq!(ids(&["--sort", "SIZE", "-r"]), by_size.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(ids(&["--sort", "id", "--reverse"]), made.into_iter().rev().collect::<Vec<_>>());
    run(["list", "--sort", "nonsense"]).exits(2).prints_nothing().says("--list-columns");
    run(["list", "--sort", "id,key"]).exits(2).prints_nothing();
}

#[apply(test)]
fn csv_and_tsv_have_the_frozen_columns() {
    let _kept = several_segments();
    let csv = run(["list", "--format", "csv"]).exits(0).stdout;
    let tsv = run(["list", "--format", "tsv"]).exits(0).stdout;
    assert!(csv.ends_with("\r\n") && !csv.replace("\r\n", "").contains(['\r', '\n']), "RFC 4180: {csv:?}");
    let mut lines = csv.split_terminator("\r\n");
    assert_eq!(lines.next(), Some(FROZEN));
    assert_eq!(tsv.lines().next(), Some(FROZEN.replace(',', "\t").as_str()));
    let rows = oracle::rows();
    let lines: Vec<_> = lines.collect();
    assert_eq!((lines.len(), tsv.lines().count()), (rows.len(), rows.len() + 1));
    for ((row, csv), tsv) in rows.iter().zip(lines).zip(tsv.lines().skip(1)) {
        // None of these values contains a comma; another test covers quoting.
        let fields: Vec<_> = csv.split(',').collect();
        let tabbed: Vec<_> = tsv.split('\t').collect();
        let record = oracle::record(row);
        for (place, name) in FROZEN.split(',').enumerate().filter(|(_, name)| !["IDLE", "STATE"].contains(name)) {
            let expected = match &record[name.to_lowercase()] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!((fields[place], tabbed[place]), (expected.as_str(), expected.as_str()), "{name}: {csv}");
        }
    }
}

/// Creates segments of all kinds, which exist while the returned value does.
fn several_segments() -> Vec<Attached> {
    for (number, key) in [0, 0, 1, 1234, 0x7fff_ffff, 0x8000_0000, 0xdead_beef, 0xffff_ffff].into_iter().enumerate() {
        oracle::create(key, 1 + number * 4095, [0o600, 0, 0o777, 0o421, 0o644, 0o200, 0o007, 0o400][number]);
    }
    oracle::create(0x51, (4 << 30) + 1, 0o600 | SHM_NORESERVE);
    oracle::create(0x52, 1 << 44, 0o666 | SHM_NORESERVE);
    let locked = oracle::create(0x53, 4096, 0o600);
    oracle::lock(locked);
    let touched = oracle::create(0x54, 3 * 4096, 0o600);
    Attached::new(touched).write(4096, &[1]);
    let twice = oracle::create(0x55, 8192, 0o600);
    let dest = oracle::create(0x56, 4096, 0o640);
    let kept = vec![Attached::new(twice), Attached::new(twice), Attached::new(dest)];
    kept[0].write(0, &[1; 8192]);
    oracle::remove(dest);
    // A removed segment leaves a gap in the kernel's table, which must not show.
    oracle::remove(oracle::create(0, 4096, 0o600));
    oracle::create(0x57, 4096, 0o600);
    kept
}

/// Compares a whole listing with the kernel's.
#[track_caller]
fn agrees(json: &Value) {
    let rows = oracle::rows();
    let segments = json["segments"].as_array().unwrap();
    assert_eq!(segments.len(), rows.len());
    for (row, segment) in rows.iter().zip(segments) {
        let idle = &segment["idle_seconds"];
        match row.get("nattch") {
            "0" => {
                let idle = idle.as_i64().unwrap();
                assert!((0..=oracle::idle(row)).contains(&idle), "{idle}: {row:?}");
            }
            _ => assert!(idle.is_null(), "{segment}"),
        }
        assert!(segment["state"].is_string(), "{segment}");
        assert_is_row(segment, row);
    }
}

/// Compares the columns that come from another source than the whole record.
#[track_caller]
fn agrees_in_part() {
    let tsv = run(["list", "-o", "ID,KEY,SIZE,NATTCH", "--format", "tsv"]).exits(0).stdout;
    let mut expected = vec!["ID\tKEY\tSIZE\tNATTCH".to_owned()];
    expected.extend(oracle::rows().iter().map(|row| {
        let key: i32 = row.get("key").parse().unwrap();
        format!("{}\t0x{key:08x}\t{}\t{}", row.get("shmid"), row.get("size"), row.get("nattch"))
    }));
    assert_eq!(tsv.lines().collect::<Vec<_>>(), expected);
    // And all other columns of this source.
    let cheap = "id,mode,uid,gid,cuid,cgid,cpid,lpid,atime,dtime,ctime,dest,locked";
    let json = run(["list", "--json", "-o", cheap]).exits(0).json();
    for (row, segment) in oracle::rows().iter().zip(json["segments"].as_array().unwrap()) {
        let mut record = oracle::record(row);
        record.as_object_mut().unwrap().retain(|key, _| cheap.split(',').any(|name| name == key));
        assert_eq!(*segment, record);
    }
}

/// Returns the ids that a listing with these arguments shows, in its order.
#[track_caller]
fn ids(arguments: &[&str]) -> Vec<String> {
    let fixed = ["list", "-o", "ID", "--no-headings", "--format", "tsv"];
    let ran = run(fixed.iter().chain(arguments)).exits(0);
    ran.stdout.lines().map(ToOwned::to_owned).collect()
}

/// Returns the ids of the kernel's rows that meet a condition.
fn rows_with(condition: impl Fn(&Row) -> bool) -> Vec<String> {
    oracle::rows().iter().filter(|row| condition(row)).map(|row| row.get("shmid").to_owned()).collect()
}

/// Creates a segment from a process that has exited.
fn made_by_another() -> i32 {
    run(["create"]).exits(0).stdout.trim().parse().unwrap()
}

/// Checks STATE for processes whose status the test controls.
#[apply(test)]
fn the_state_is_the_first_that_applies() {
    let state = |id: i32| run(["stat", &id.to_string(), "--json"]).exits(0).json()["segments"][0]["state"].clone();
    let listed = |word: &str| ids(&["--state", word]);

    let idle = oracle::create(0, 4096, 0o600);
    let in_use = oracle::create(0, 4096, 0o600);
    let dest = oracle::create(0, 4096, 0o600);
    let _attached = [Attached::new(in_use), Attached::new(dest)];
    oracle::remove(dest);
    let orphan = made_by_another();
    let used = made_by_another();
    drop(Attached::new(used));
    assert_eq!(oracle::stat(used).unwrap().shm_lpid, getpid().as_raw());

    // A killed process leaves its segment; until it is waited for, it is a zombie.
    let mut command = shmadm();
    command.args(["demo", "writer", "--key", "0x77", "--interval", "1h"]).stdout(Stdio::null());
    let mut writer = Running(command.spawn().unwrap());
    let by_key = || oracle::rows().into_iter().find(|row| row.get("key") == "119");
    wait_for("the writer's attachment", || by_key().is_some_and(|row| row.get("nattch") == "1"));
    let killed: i32 = by_key().unwrap().get("shmid").parse().unwrap();
    assert_eq!(state(killed), "in-use");
    writer.0.kill().unwrap();
    let pid = writer.pid();
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    assert_eq!(state(killed), "orphan", "a zombie cannot attach again");
    writer.0.wait().unwrap();
    assert_eq!(state(killed), "orphan");

    for (id, word) in [(idle, "idle"), (in_use, "in-use"), (dest, "dest"), (orphan, "orphan"), (used, "idle")] {
        assert_eq!(state(id), word);
        assert!(listed(word).contains(&id.to_string()), "{word}");
    }
    let mut all: Vec<String> = ["dest", "in-use", "idle", "unknown", "orphan"].into_iter().flat_map(listed).collect();
    all.sort_by_key(|id| id.parse::<i32>().unwrap());
    assert_eq!(all, rows_with(|_| true), "each segment is in exactly one state");
    run(["list", "--state", "lost"]).exits(2).prints_nothing();
}

#[apply(test)]
fn filters_select_by_owner_key_and_size() {
    let private = oracle::create(0, 4096, 0o600);
    oracle::create(1234, 4096, 0o600);
    oracle::create(0xffff_ffff, 4097, 0o600);
    let large = oracle::create(0, 1 << 20, 0o600);
    let me = nix::unistd::geteuid().to_string();

    assert_eq!(ids(&["--owner", &me]), rows_with(|row| row.get("uid") == me));
    assert_eq!(ids(&["--owner", "4294967294"]), Vec::<String>::new());
    assert_eq!(ids(&["--mine"]), rows_with(|_| true));
    for key in ["1234", "0x4d2", "02322"] {
        assert_eq!(ids(&["--key", key]), rows_with(|row| row.get("key") == "1234"), "{key}");
    }
    assert_eq!(ids(&["--key", "0xffffffff"]), rows_with(|row| row.get("key") == "-1"));
    assert_eq!(ids(&["--key", "private"]), [private, large].map(|id| id.to_string()));
    for (size, bytes) in
        [("4097", 4097), ("4K", 4096), ("1MiB", 1 << 20), ("1048577", (1 << 20) + 1), ("1MB", 1_000_000)]
    {
        let least = |row: &Row| row.get("size").parse::<u64>().unwrap() >= bytes;
        assert_eq!(ids(&["--min-size", size]), rows_with(least), "{size}");
    }
}

#[apply(test)]
fn older_than_selects_idle_segments() {
    oracle::create(0, 4096, 0o600);
    let _attached = Attached::new(oracle::create(0, 4096, 0o600));
    assert_eq!(ids(&["--older-than", "1h"]), Vec::<String>::new());
    wait_for("a second to pass", || oracle::rows().iter().all(|row| oracle::idle(row) >= 1));
    // An attached segment is not idle, however old it is.
    assert_eq!(ids(&["--older-than", "1s"]), rows_with(|row| row.get("nattch") == "0"));
}

#[apply(test)]
fn a_duration_of_0_needs_no_unit() {
    let id = oracle::create(0, 4096, 0o600);
    let report = run(["list", "--older-than", "0", "--json"]).exits(0).json();
    assert_eq!(report["segments"][0]["id"], id);
}
