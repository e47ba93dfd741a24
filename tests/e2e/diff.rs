//! `diff`: reported changes, compared with the changes that the test made.

mod elsewhere;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixtures::{assert_fields, assert_is_row, set_next_id};
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, file, finish, run, run_with_input, shmadm, shmadm_as};
use crate::terminal::on_terminal;

/// The columns of CSV and TSV, which must not change.
const FROZEN: &str = "CHANGE,ID,KEY,OWNER,MODE,SIZE,NATTCH,CPID,WHAT,NS";

/// A directory with listings.
pub(crate) struct Listings(tempfile::TempDir);

impl Listings {
    /// Creates a directory that other users can search.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self(directory)
    }

    /// Writes the output of `list` with these arguments into a file.
    #[track_caller]
    pub(crate) fn list(&self, name: &str, arguments: &[&str]) -> String {
        let listing = run([arguments, &["list", "--json"]].concat()).exits(0).stdout;
        self.write(name, listing.as_bytes())
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> String {
        file(self.path(), name, text).to_string_lossy().into_owned()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Returns the ids of records.
fn ids(records: &Value) -> Vec<i64> {
    records.as_array().unwrap().iter().map(|record| record["id"].as_i64().unwrap()).collect()
}

#[apply(test)]
fn without_a_difference_prints_nothing_and_exits_0() {
    let listings = Listings::new();
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = listings.list("before.json", &[]);
    // Times, last user, memory and state change by themselves and are not differences.
    Attached::new(id).write(0, b"x");
    for arguments in [&["diff", &before][..], &["diff", &before, &listings.list("after.json", &[])]] {
        let ran = run(arguments).exits(0).prints_nothing();
        assert_eq!(ran.stderr, "no differences\n");
        assert_eq!(run([arguments, &["-q"]].concat()).exits(0).prints_nothing().stderr, "");
        let report = run([arguments, &["--json"]].concat()).exits(0).json();
        let objects = json!({"created": [], "removed": [], "changed": []});
        assert_eq!(report, json!({"schema": 1, "created": [], "removed": [], "changed": [], "objects": objects}));
        let csv = run([arguments, &["--format", "csv"]].concat()).exits(0).stdout;
        assert_eq!(csv, format!("{FROZEN}\r\n"));
    }
}

#[apply(test)]
fn reports_the_changes_that_were_made() {
    let listings = Listings::new();
    let [kept, gone, mode, more, fewer, marked, locked] =
        [1, 2, 3, 4, 5, 6, 7].map(|key| oracle::create(key, 4096 + key as usize, 0o600));
    let attached = [Attached::new(fewer), Attached::new(fewer), Attached::new(marked)];
    let rows = |ids: &[i32]| ids.iter().map(|id| oracle::row(*id).unwrap()).collect::<Vec<_>>();
    let (was, went) = (rows(&[mode, more, fewer, marked, locked]), rows(&[gone]));
    let before = listings.list("before.json", &[]);

    oracle::remove(gone);
    let made = oracle::create(0xdead_beef, 1 << 40, 0o640 | nix::libc::SHM_NORESERVE);
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    oracle::set(mode, uid, gid, 0o644);
    let _more = [Attached::new(more), Attached::new(more)];
    let [first, _second, third] = attached;
    drop(first);
    oracle::remove(marked);
    oracle::lock(locked);

    let after = listings.list("after.json", &[]);
    for arguments in [&["diff", &before][..], &["diff", &before, &after]] {
        let report = run([arguments, &["--json"]].concat()).exits(1).json();
        assert_eq!((ids(&report["created"]), ids(&report["removed"])), (vec![made.into()], vec![gone.into()]));
        assert_is_row(&report["created"][0], &oracle::row(made).unwrap());
        assert_is_row(&report["removed"][0], &went[0]);
        let changed = report["changed"].as_array().unwrap();
        let words: Vec<_> =
            changed.iter().map(|one| (ids(&json!([one["after"]]))[0], one["changes"].clone())).collect();
        assert_eq!(
            words,
            [
                (mode.into(), json!(["mode"])),
                (more.into(), json!(["attached"])),
                (fewer.into(), json!(["detached"])),
                (marked.into(), json!(["key", "marked"])),
                (locked.into(), json!(["locked"])),
            ]
        );
        for ((one, was), id) in changed.iter().zip(&was).zip([mode, more, fewer, marked, locked]) {
            assert_is_row(&one["before"], was);
            assert_is_row(&one["after"], &oracle::row(id).unwrap());
        }
        let table = run(arguments).exits(1).says("1 created, 1 removed, 5 changed").stdout;
        let headings: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(headings, ["CHANGE", "ID", "KEY", "OWNER", "MODE", "SIZE", "NATTCH", "STATE", "WHAT"]);
        let state = |key: &str| table.lines().find(|line| line.contains(key)).unwrap().contains(" idle ");
        assert!(state("0xdeadbeef") && state("0x00000002") && table.contains(" dest "), "{table}");
        for line in ["mode 0600 -> 0644", "attached 0 -> 2", "detached 2 -> 1", "; marked", "locked"] {
            assert!(table.lines().any(|shown| shown.ends_with(line)), "{line:?} is not in {table}");
        }
        assert!(!table.contains(&format!(" {kept}  0x00000001")), "an unchanged segment is not reported: {table}");
    }
    let backwards = run(["diff", &after, &before, "--json"]).exits(1).json();
    assert_eq!(ids(&backwards["created"]), [i64::from(gone)]);
    assert_eq!(backwards["changed"][3]["changes"], json!(["key", "unmarked"]));
    drop(third);
}

#[apply(test)]
fn csv_and_tsv_have_frozen_columns() {
    let listings = Listings::new();
    let id = oracle::create(0x8000_0001, 4096, 0o600);
    let before = listings.list("before.json", &[]);
    let _attached = Attached::new(id);
    let (row, me) = (oracle::row(id).unwrap(), std::process::id());
    let ns = oracle::namespace();
    let record = oracle::record(&row);
    let owner = record["owner"].as_str().unwrap_or_default();
    let expected = format!("changed,{id},0x80000001,{owner},0600,4096,1,{me},attached 0 -> 1,{ns}");
    let csv = run(["diff", &before, "--format", "csv"]).exits(1).stdout;
    assert_eq!(csv, format!("{FROZEN}\r\n{expected}\r\n"));
    let tsv = run(["diff", &before, "--format", "tsv", "--no-headings"]).exits(1).stdout;
    assert_eq!(tsv, format!("{}\n", expected.replace(',', "\t")));
}

#[apply(test)]
#[requires(Root)]
fn owner_and_group_are_reported_with_both_names() {
    let listings = Listings::new();
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = listings.list("before.json", &[]);
    oracle::set(id, 4_000_000_000, 70_000, 0o600);
    let report = run(["diff", &before, "--json"]).exits(1).json();
    assert_eq!(report["changed"][0]["changes"], json!(["owner", "group"]));
    assert_eq!(report["changed"][0]["after"]["uid"], 4_000_000_000_u32);
    let table = run(["diff", &before]).exits(1).stdout;
    assert!(table.contains("owner root -> 4000000000; group root -> 70000"), "{table}");
}

#[apply(test)]
#[requires(Root)]
fn a_reused_id_is_another_segment() {
    let listings = Listings::new();
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = listings.list("before.json", &[]);
    oracle::remove(id);
    set_next_id(id);
    // Created by another process, otherwise identical.
    run(["create", "--key", "0x4d2", "--size", "4096"]).exits(0);
    assert_eq!(oracle::rows()[0].get("shmid"), id.to_string());
    let report = run(["diff", &before, "--json"]).exits(1).json();
    assert_eq!((ids(&report["created"]), ids(&report["removed"])), (vec![id.into()], vec![id.into()]));
    assert_eq!(report["changed"], json!([]));
}

#[apply(test)]
fn a_creator_hidden_from_one_listing_is_not_a_difference() {
    let listings = Listings::new();
    oracle::create(0x4d2, 4096, 0o600);
    let mut listing = run(["list", "--json"]).exits(0).json();
    listing["segments"][0]["cpid"] = Value::Null;
    listing["segments"][0]["ns"] = Value::Null;
    let before = listings.write("before.json", listing.to_string().as_bytes());
    run(["diff", &before]).exits(0).prints_nothing();
    run(["diff", &listings.list("after.json", &[]), &before]).exits(0).prints_nothing();
}

#[apply(test)]
fn immutable_fields_identify_a_segment() {
    let listings = Listings::new();
    oracle::create(0x4d2, 4096, 0o600);
    let listing = run(["list", "--json"]).exits(0).json();
    let after = listings.write("after.json", listing.to_string().as_bytes());
    for (field, value, is_same) in [
        ("id_of_tomorrow", json!(7), true),
        ("cpid", Value::Null, true),
        ("ns", Value::Null, true),
        ("lpid", json!(7), true),
        ("id", json!(6), false),
        ("cuid", json!(7), false),
        ("cgid", json!(7), false),
        ("cpid", json!(7), false),
        ("size", json!(4097), false),
        ("ns", json!(7), false),
    ] {
        let mut other = listing.clone();
        other["segments"][0][field] = value;
        let other = listings.write("other.json", other.to_string().as_bytes());
        for files in [[&other, &after], [&after, &other]] {
            let report = run(["diff", files[0], files[1], "--json"]).exits(i32::from(!is_same)).json();
            let numbers = ["created", "removed", "changed"].map(|list| report[list].as_array().unwrap().len());
            assert_eq!(numbers, if is_same { [0, 0, 0] } else { [1, 1, 0] }, "{field}: {report}");
        }
    }
}

#[apply(test)]
fn a_record_without_a_namespace_does_not_take_the_counterpart_of_one_with() {
    let listings = Listings::new();
    oracle::create(0x4d2, 4096, 0o600);
    let listing = run(["list", "--json"]).exits(0).json();
    let write = |name: &str, segments: &[(Value, u64)]| {
        let record = |(ns, nattch): &(Value, u64)| {
            let mut record = listing["segments"][0].clone();
            (record["ns"], record["nattch"]) = (ns.clone(), json!(nattch));
            record
        };
        let records: Vec<Value> = segments.iter().map(record).collect();
        listings.write(name, json!({ "schema": 1, "segments": records }).to_string().as_bytes())
    };
    let before = write("before.json", &[(json!(1), 0), (json!(2), 0), (json!(3), 0)]);
    let after = write("after.json", &[(Value::Null, 9), (json!(2), 0), (json!(1), 4), (json!(4), 0)]);
    let report = run(["diff", &before, &after, "--json"]).exits(1).json();
    let created: Vec<_> = report["created"].as_array().unwrap().iter().map(|record| &record["ns"]).collect();
    assert_eq!((created, &report["removed"]), (vec![&json!(4)], &json!([])));
    let changed = report["changed"].as_array().unwrap().iter();
    let changed: Vec<_> = changed.map(|changed| (&changed["before"]["ns"], &changed["after"]["nattch"])).collect();
    assert_eq!(changed, [(&json!(3), &json!(9)), (&json!(1), &json!(4))]);
}

#[apply(test)]
fn standard_input_can_be_a_listing() {
    let listings = Listings::new();
    let before = run(["list", "--json"]).exits(0).stdout;
    let file = listings.write("before.json", before.as_bytes());
    let id = oracle::create(0, 4096, 0o600);
    let report = run_with_input(["diff", "-", "--json"], before.as_bytes()).exits(1).json();
    assert_eq!(ids(&report["created"]), [i64::from(id)]);
    let after = run(["list", "--json"]).exits(0).stdout;
    let report = run_with_input(["diff", &file, "-", "--json"], after.as_bytes()).exits(1).json();
    assert_eq!(ids(&report["created"]), [i64::from(id)]);
}

#[apply(test)]
fn a_narrow_terminal_shows_the_changes() {
    let listings = Listings::new();
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = listings.list("before.json", &[]);
    let _attached = Attached::new(id);
    for columns in [40, 60, 200] {
        let ran = on_terminal(shmadm().args(["diff", &before, "-q"]), columns);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let lines: Vec<_> = ran.stdout.lines().map(str::trim_end).collect();
        assert!(lines.iter().all(|line| line.len() <= columns.into()), "{lines:#?}");
        assert!(lines[1].contains("attached 0 -> 1"), "{lines:#?}");
    }
}

#[apply(test)]
fn a_closed_pipe_keeps_the_exit_code_and_a_full_disk_is_an_error() {
    let listings = Listings::new();
    let before = listings.list("before.json", &[]);
    for made in [0, 1] {
        for form in ["json", "table", "csv", "tsv"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let ran = finish(shmadm().args(["diff", &before, "-q", "--format", form]).stdout(writer));
            assert_eq!(ran.exits(made).stderr, "", "{form}");
        }
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = finish(shmadm().args(["diff", &before, "-q", "--json"]).stdout(full));
        ran.exits(2).says("cannot write to standard output");
        oracle::create(0, 4096, 0o600);
    }
}

#[apply(test)]
#[requires(Root)]
fn another_user_needs_no_privilege() {
    let listings = Listings::new();
    let closed = oracle::create(0x4d2, 4096, 0);
    let before = listings.list("before.json", &[]);
    finish(shmadm_as(NOBODY).args(["diff", &before])).exits(0).prints_nothing();
    let _attached = Attached::new(closed);
    let ran = finish(shmadm_as(NOBODY).args(["diff", &before, "--json"])).exits(1);
    assert_eq!(ran.json()["changed"][0]["changes"], json!(["attached"]));
    let secret = listings.write("secret.json", b"{}");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let cause = "(EACCES, open)\ncause: the file or one of its parent directories denies you access\n";
    finish(shmadm_as(NOBODY).args(["diff", &secret])).exits(2).prints_nothing().says(cause);
}

#[apply(test)]
fn an_invalid_listing_is_refused() {
    let listings = Listings::new();
    oracle::create(0x4d2, 4096, 0o600);
    let good = listings.list("good.json", &[]);
    let listed = run(["list", "--json", "-o", "ID,KEY,SIZE"]).exits(0).stdout;
    let limits = run(["limits", "--json"]).exits(0).stdout;
    let who = run(["who", "--all", "--json"]).exits(0).stdout;
    let failure = run(["stat", "99", "--json"]).exits(3).stdout;
    let listing = run(["list", "--json"]).exits(0).stdout;
    let record = run(["list", "--json"]).exits(0).json()["segments"][0].to_string();
    let with = |from: &str, to: &str| {
        assert!(listing.contains(from), "{from}: {listing}");
        listing.replace(from, to)
    };
    for (name, text, says) in [
        ("empty", "", "cause: it is empty"),
        ("table", &*run(["list"]).exits(0).stdout, "cause: it is not valid JSON"),
        ("other", "{\"hello\":1}", "no \"schema\""),
        ("newer", "{\"schema\":2,\"segments\":[]}", "its \"schema\" is 2, but this version of shmadm reads only 1"),
        ("columns", &listed, "cause: its segments lack mode, uid, gid, cuid, cgid, cpid, nattch, dest, locked, ns"),
        ("limits", &limits, "cause: it has neither \"segments\" nor \"objects\"\n"),
        ("who", &who, "its segments lack key"),
        ("cut", &listing[..10], "it is not valid JSON"),
        ("two", &listing.repeat(2), "it is not valid JSON"),
        ("list", "[]", "no \"schema\""),
        ("text", &with("\"schema\":1", "\"schema\":\"1\""), "its \"schema\" is \"1\""),
        ("missing", &with("\"cpid\":", "\"other\":"), "its segments lack cpid"),
        ("twice", &format!("{{\"schema\":1,\"segments\":[{record},{record}]}}"), "it contains segment 0 twice"),
        ("negative", &with("\"id\":0", "\"id\":-5"), "invalid id -5"),
        ("string", &with("\"id\":0", "\"id\":\"0\""), "invalid type"),
        ("key", &with("0x000004d2", "0x1000004d2"), "32 bits"),
        ("failure", &failure, "report of a failure, not a listing: cannot find segment 99"),
    ] {
        let bad = listings.write(name, text.as_bytes());
        for arguments in [["diff", &bad, &good], ["diff", &good, &bad]] {
            let ran = run(arguments).exits(2).prints_nothing().says(says);
            assert!(ran.stderr.starts_with(&format!("error: cannot compare {bad}: ")), "{ran:?}");
            assert!(ran.stderr.contains("`shmadm list --json`"), "{ran:?}");
            let error = &run([&arguments[..], &["--json"]].concat()).exits(2).json()["error"];
            assert_fields(error, json!({ "kind": "failed", "target": bad }));
        }
    }
}

#[apply(test)]
fn an_unreadable_file_is_reported_with_its_errno() {
    let listings = Listings::new();
    let missing = listings.path().join("missing");
    let ran = run(["diff".as_ref(), missing.as_os_str()]).exits(2).prints_nothing();
    ran.says("cannot read ").says("(ENOENT, open)");
    let directory: PathBuf = listings.path().to_owned();
    run(["diff".as_ref(), directory.as_os_str()]).exits(2).prints_nothing().says("(EISDIR, read)");
}

#[apply(test)]
fn a_usage_error_exits_2() {
    let listings = Listings::new();
    let good = listings.list("good.json", &[]);
    for arguments in [
        &["diff"][..],
        &["diff", &good, &good, &good],
        &["diff", &good, "--no-such-option"],
        &["diff", &good, "--json", "--format", "csv"],
        &["diff", &good, &good, "--all-ns"],
        &["diff", "-", "-"],
        &["--ns", "", "diff", &good],
        &["diff", "--ns", "2147483647", &good],
    ] {
        let ran = run(arguments).exits(2);
        assert!(ran.stderr.contains("error: "), "{arguments:?}: {ran:?}");
    }
}

#[apply(test)]
fn help_exits_0() {
    run(["diff", "--help"]).exits(0);
}

#[apply(test)]
fn an_empty_listing_has_no_difference() {
    let listings = Listings::new();
    let empty = listings.list("empty.json", &[]);
    run(["diff", &empty]).exits(0).prints_nothing().says("no differences");
    run(["--format", "json", "diff", &empty]).exits(0);
}

#[apply(test)]
fn other_commands_keep_their_exit_codes() {
    run(["stat", "99", "--ns", "/proc/self/ns/ipc"]).exits(3);
    run(["--ns", "diff/", "stat", "99"]).exits(1);
}
