//! The columns of `list`: selection, views, and the values of columns that are not part of the record.

use nix::unistd::getpid;
use serde_json::json;

use super::FROZEN;
use crate::actor::Actor;
use crate::oracle::{self, Attached};
use crate::pool::{HUGE, Pool};
use crate::support::{finish, run, shmadm};

/// Returns the headings of a table.
#[track_caller]
fn headings(options: &[&str]) -> Vec<String> {
    let table = run([&["list"], options].concat()).exits(0).stdout;
    table.lines().next().unwrap().split_whitespace().map(ToOwned::to_owned).collect()
}

/// Returns the keys of the first segment in JSON.
#[track_caller]
fn keys(columns: &str) -> Vec<String> {
    let json = run(["list", "--json", "-o", columns]).exits(0).json();
    json["segments"][0].as_object().unwrap().keys().cloned().collect()
}

#[apply(test)]
fn columns_are_selected_by_name_in_the_given_order() {
    let id = oracle::create(1234, 4096, 0o600);
    assert_eq!(headings(&["-o", "key,Id"]), ["KEY", "ID"]);
    let json = run(["list", "--json", "-o", "size,ID"]).exits(0).stdout;
    assert_eq!(json, format!("{{\"schema\":1,\"segments\":[{{\"size\":4096,\"id\":{id}}}]}}\n"));
    let mut keys = keys("Size,id,IDLE,ccommand");
    keys.sort();
    assert_eq!(keys, ["ccommand", "id", "idle_seconds", "size"]);
}

#[apply(test)]
fn the_json_name_of_a_column_selects_it() {
    let tsv = run(["list", "-o", "id,idle_seconds", "--sort", "idle_seconds", "--format", "tsv"]).exits(0).stdout;
    assert_eq!(tsv.lines().next(), Some("ID\tIDLE"));
}

#[apply(test)]
fn a_plus_adds_columns_to_the_default_ones() {
    oracle::create(1234, 4096, 0o600);
    assert_eq!(headings(&["-o", "+gid"]), [headings(&["--sysv"]), vec!["GID".to_owned()]].concat());
    assert_eq!(keys("+lcommand").len(), FROZEN.split(',').count() + 1);
}

#[apply(test)]
fn an_invalid_column_is_a_usage_error() {
    for columns in ["nonsense", "id,nonsense", "+nonsense", "", "id,,key"] {
        for format in ["table", "json", "csv", "tsv"] {
            let ran = run(["list", "-o", columns, "--format", format]).exits(2).says("--list-columns");
            assert!(format == "json" || ran.stdout.is_empty(), "{ran:?}");
        }
    }
}

#[apply(test)]
fn every_listed_column_can_be_selected() {
    let listed = run(["list", "--list-columns"]).exits(0).stdout;
    let names: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    for name in FROZEN.split(',').chain(["CCOMMAND", "LCOMMAND"]) {
        assert!(names.contains(&name), "{name} is not listed");
    }
    for name in names {
        run(["list", "-o", name]).exits(0);
    }
}

/// Returns the words of the only row of a table.
#[track_caller]
fn words(options: &[&str]) -> Vec<String> {
    let ran = finish(shmadm().env("TZ", "UTC").args([&["list", "--no-headings"], options].concat())).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1, "one line per segment, and no header: {ran:?}");
    ran.stdout.split_whitespace().map(ToOwned::to_owned).collect()
}

#[apply(test)]
fn bytes_shows_exact_sizes() {
    oracle::create(1234, 65_536, 0o640);
    assert_eq!(words(&["-o", "size"]), ["64K"]);
    assert_eq!(words(&["-o", "size", "--bytes"]), ["65536"]);
}

#[apply(test)]
fn time_selects_the_form_of_times() {
    let row = oracle::row(oracle::create(1234, 65_536, 0o640)).unwrap();
    assert_eq!(words(&["-o", "ctime,atime", "--time", "unix"]), [row.get("ctime"), "-"]);
    let iso = oracle::record(&row)["ctime"].as_str().unwrap().replace('Z', "+00:00");
    assert_eq!(words(&["-o", "ctime", "--time", "iso"]), [iso]);
    assert_eq!(words(&["-o", "ctime"]).last().unwrap(), "ago");
    run(["list", "--time", "stardate"]).exits(2);
}

// As ipcs has them.
#[apply(test)]
fn each_view_has_its_columns() {
    oracle::create(1234, 65_536, 0o640);
    for (option, columns) in
        [("-t", ["ATIME", "DTIME", "CTIME"]), ("-p", ["ID", "CPID", "LPID"]), ("-c", ["CREATOR", "OWNER", "MODE"])]
    {
        let headings = headings(&[option]);
        assert!(columns.iter().all(|column| headings.iter().any(|word| word == column)), "{headings:?}");
    }
    assert!(words(&["-p"]).contains(&getpid().to_string()), "the creator's pid");
}

#[apply(test)]
fn views_combine_and_show_each_column_once() {
    oracle::create(1234, 65_536, 0o640);
    let times = ["ID", "KEY", "OWNER", "ATIME", "DTIME", "CTIME", "IDLE"];
    let pids = ["CPID", "LPID", "CCOMMAND", "LCOMMAND"];
    let creators = ["MODE", "CREATOR", "CREATOR_GROUP", "GROUP"];
    assert_eq!(headings(&["-t", "-p"]), [&times[..], &pids].concat());
    assert_eq!(headings(&["-c", "-p", "-t"]), [&times[..], &pids, &creators].concat());
    assert_eq!(headings(&["-tpc", "--all-ns"])[0], "NS");
    assert_eq!(headings(&["-tp", "-o", "+gid"]), [&times[..], &pids, &["GID"]].concat());
}

#[apply(test)]
fn a_locked_segment_is_visible_in_the_default_table() {
    let id = oracle::create(1234, 4096, 0o600);
    let plain = headings(&["--sysv"]);
    assert!(!plain.contains(&"LOCKED".to_owned()), "nothing is locked: {plain:?}");
    oracle::lock(id);
    assert!(headings(&[]).contains(&"LOCKED".to_owned()) && words(&[]).contains(&"yes".to_owned()));
    // What -o prints does not change.
    assert_eq!(headings(&["-o", "+gid"]), [plain, vec!["GID".to_owned()]].concat());
}

#[apply(test)]
#[requires(Root)]
fn the_page_size_is_that_of_an_attachment() {
    let id = oracle::create(1, 4096, 0o600);
    let sizes = || run(["list", "--json", "-o", "page_size"]).exits(0).json()["segments"].clone();
    assert_eq!(sizes(), json!([{ "page_size": null }]));
    let _attached = Attached::new(id);
    assert_eq!(sizes(), json!([{ "page_size": oracle::page_size() }]));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn the_page_size_of_huge_pages_is_theirs() {
    let _pool = Pool::with_free(2, HUGE);
    let mut actor = Actor::start();
    let id = actor.create_with(7, HUGE, nix::libc::SHM_HUGETLB);
    assert!(id >= 0, "the pool has been filled");
    actor.attach(id);
    assert_eq!(words(&["-o", "page_size"]), ["2M"]);
    actor.detach();
    actor.remove(id);
}

#[apply(test)]
fn machine_formats_have_bytes_and_rfc_3339_times_whatever_the_options() {
    let row = oracle::row(oracle::create(1234, 65_536, 0o640)).unwrap();
    let csv = run(["list", "-o", "size,ctime", "--format", "csv", "--time", "unix", "--no-headings"]).exits(0);
    assert_eq!(csv.stdout, format!("65536,{}\r\n", oracle::record(&row)["ctime"].as_str().unwrap()));
}
