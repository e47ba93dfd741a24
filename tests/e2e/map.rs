//! `map`: which pages are resident, determined without touching them.

use std::process::Command;

use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::assert_fields;
use crate::oracle::{self, Attached};
use crate::pool::{HUGE, Pool};
use crate::sandbox::with_file_over;
use crate::sandbox::with_no_capabilities;
use crate::support::{NOBODY, file, finish, run, shmadm, shmadm_as};
use crate::terminal::on_terminal;

/// The size of the test's segment: one hundred pages and a part of one.
const SIZE: usize = 100 * 4096 + 123;

#[apply(test)]
fn the_extents_are_those_that_were_touched() {
    extents(&shmadm, 0o600);
}

#[apply(test)]
#[requires(Root)]
fn the_extents_are_those_that_were_touched_without_privilege() {
    extents(&|| shmadm_as(NOBODY), 0o666);
}

#[apply(test)]
fn the_help_explains_each_character_of_the_strip() {
    let help = run(["map", "--help"]).exits(0).stdout;
    for character in ["#", "s", ".", "?", "+"] {
        assert!(help.contains(&format!("\n  {character}     ")), "{character}: {help}");
    }
}

#[apply(test)]
fn the_strip_fits_the_terminal() {
    let id = touched(0o600).to_string();
    for columns in [60, 132] {
        let ran = on_terminal(shmadm().args(["map", &id]), columns).exits(0);
        let strip = ran.stdout.lines().nth(1).unwrap();
        assert_eq!(strip.len(), usize::from(columns), "{ran:?}");
        assert!(
            strip.starts_with(['[']) && "#+".contains(&strip[1..2]) && strip.contains("..") && strip.ends_with("]"),
            "{strip}"
        );
    }
    let shown = run(["map", &id]).exits(0).stdout;
    assert!(shown.contains("# resident    16K  4 pages of 4K") && shown.contains(". untouched"), "{shown}");
}

#[apply(test)]
fn a_single_page_is_singular() {
    let id = oracle::create(0, oracle::page_size(), 0o600);
    let untouched = run(["map", &id.to_string()]).exits(0).stdout;
    assert!(untouched.contains("  0 pages of ") && untouched.contains("  1 page of "), "{untouched}");
}

#[apply(test)]
fn csv_has_one_row_per_extent() {
    let id = touched(0o600).to_string();
    let csv = run(["map", &id, "--format", "csv"]).exits(0).stdout;
    assert!(csv.starts_with("OFFSET,LENGTH,STATE\r\n0,4096,resident\r\n4096,81920,untouched\r\n"), "{csv}");
    run(["map", "99"]).exits(3).prints_nothing();
    let none = oracle::create(0, 1 << 34, 0o600 | libc::SHM_NORESERVE).to_string();
    let report = run(["map", &none, "--json"]).exits(0).json();
    assert_eq!(report["extents"], json!([{"offset": 0, "length": 1_u64 << 34, "state": "untouched"}]));
}

#[apply(test)]
#[requires(Root)]
fn reading_through_another_attachment_changes_nothing() {
    let id = touched(0o600);
    let mut actor = Actor::start();
    actor.attach(id);
    let before = oracle::rows();
    assert_eq!(ids(&run(["map", &id.to_string(), "--json"]).exits(0).json()), EXPECTED);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn pages_that_may_be_in_swap_are_unknown() {
    let id = touched(0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let meminfo = file(directory.path(), "meminfo", b"MemTotal: 1000 kB\nSwapTotal: 1000 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &meminfo, c"/proc/meminfo");
    with_file_over(&mut command, &file(directory.path(), "vmstat", b""), c"/proc/vmstat");
    with_no_capabilities(&mut command);
    let report = finish(command.args(["map", &id, "--json"])).exits(0).json();
    assert_fields(&report, json!({ "untouched": 0, "resident": 4 * 4096, "unknown": SIZE - 4 * 4096 }));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn which_huge_page_is_resident_is_unknown() {
    let _pool = Pool::with_free(2, HUGE);
    let id = oracle::create(0, 4 << 20, 0o600 | libc::SHM_HUGETLB);
    let report = run(["map", &id.to_string(), "--json"]).exits(0).json();
    assert_fields(&report, json!({ "untouched": 4 << 20, "page_size": 2 << 20 }));
    Attached::new(id).write(0, b"x");
    let report = run(["map", &id.to_string(), "--json"]).exits(0).json();
    assert_eq!(report["unknown"], json!(4 << 20), "it is unknown which page is resident: {report}");
    oracle::remove(id);
}

/// The extents of the test's segment.
const EXPECTED: [(u64, u64, &str); 6] = [
    (0, 4096, "resident"),
    (4096, 20 * 4096, "untouched"),
    (21 * 4096, 2 * 4096, "resident"),
    (23 * 4096, 76 * 4096, "untouched"),
    (99 * 4096, 4096, "resident"),
    (100 * 4096, 123, "untouched"),
];

/// Creates the segment and touches four of its pages.
fn touched(mode: i32) -> i32 {
    let id = oracle::create(0, SIZE, mode);
    let attached = Attached::new(id);
    for page in [0, 21, 22, 99] {
        attached.write(page * 4096 + 7, b"here");
    }
    id
}

/// Returns extents as offset, length and state.
fn ids(report: &Value) -> Vec<(u64, u64, &str)> {
    let extent = |one: &'static str| move |extent: &Value| extent[one].as_u64().unwrap();
    let list = report["extents"].as_array().unwrap();
    list.iter().map(|one| (extent("offset")(one), extent("length")(one), one["state"].as_str().unwrap())).collect()
}

/// Checks the extents that a program with some privileges reports.
fn extents(program: &dyn Fn() -> Command, mode: i32) {
    let id = touched(mode);
    let report = finish(program().args(["map", &id.to_string(), "--json"])).exits(0).json();
    assert_eq!(ids(&report), EXPECTED);
    assert_fields(
        &report,
        json!({
            "id": id, "size": SIZE, "page_size": 4096, "resident": 4 * 4096, "swapped": 0, "unknown": 0,
        }),
    );
    assert_eq!(oracle::row(id).unwrap().get("rss"), (4 * 4096).to_string());
}
