//! `map`: where a segment lives, without touching any of it.

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

/// Bytes of the segment that is looked at: a hundred pages and a bit.
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
fn the_picture_fits_the_terminal() {
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
fn csv_has_one_row_per_extent() {
    let id = touched(0o600).to_string();
    let csv = run(["map", &id, "--format", "csv"]).exits(0).stdout;
    assert!(csv.starts_with("OFFSET,LENGTH,STATE\r\n0,4096,resident\r\n4096,81920,untouched\r\n"), "{csv}");
    run(["map", "99"]).exits(3).prints_nothing();
    let none = oracle::create(0, 1 << 34, 0o600 | libc::SHM_NORESERVE).to_string();
    let told = run(["map", &none, "--json"]).exits(0).json();
    assert_eq!(told["extents"], json!([{"offset": 0, "length": 1_u64 << 34, "state": "untouched"}]));
}

#[apply(test)]
#[requires(Root)]
fn through_another_s_attachment_nothing_moves() {
    let id = touched(0o600);
    let mut actor = Actor::start();
    actor.attach(id);
    let before = oracle::rows();
    assert_eq!(ids(&run(["map", &id.to_string(), "--json"]).exits(0).json()), EXPECTED);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn what_may_be_in_swap_is_not_called_untouched() {
    let id = touched(0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let meminfo = file(directory.path(), "meminfo", b"MemTotal: 1000 kB\nSwapTotal: 1000 kB\n");
    let mut command = shmadm();
    with_file_over(&mut command, &meminfo, c"/proc/meminfo");
    with_file_over(&mut command, &file(directory.path(), "vmstat", b""), c"/proc/vmstat");
    with_no_capabilities(&mut command);
    let told = finish(command.args(["map", &id, "--json"])).exits(0).json();
    assert_fields(&told, json!({ "untouched": 0, "resident": 4 * 4096, "unknown": SIZE - 4 * 4096 }));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn of_huge_pages_it_tells_what_is_known() {
    let _pool = Pool::with_free(2, HUGE);
    let id = oracle::create(0, 4 << 20, 0o600 | libc::SHM_HUGETLB);
    let told = run(["map", &id.to_string(), "--json"]).exits(0).json();
    assert_fields(&told, json!({ "untouched": 4 << 20, "page_size": 2 << 20 }));
    Attached::new(id).write(0, b"x");
    let told = run(["map", &id.to_string(), "--json"]).exits(0).json();
    assert_eq!(told["unknown"], json!(4 << 20), "which page it is cannot be told: {told}");
    oracle::remove(id);
}

/// The extents of the segment that is looked at.
const EXPECTED: [(u64, u64, &str); 6] = [
    (0, 4096, "resident"),
    (4096, 20 * 4096, "untouched"),
    (21 * 4096, 2 * 4096, "resident"),
    (23 * 4096, 76 * 4096, "untouched"),
    (99 * 4096, 4096, "resident"),
    (100 * 4096, 123, "untouched"),
];

/// Makes that segment.
fn touched(mode: i32) -> i32 {
    let id = oracle::create(0, SIZE, mode);
    let attached = Attached::new(id);
    for page in [0, 21, 22, 99] {
        attached.write(page * 4096 + 7, b"here");
    }
    id
}

/// Returns extents as offset, length and state.
fn ids(told: &Value) -> Vec<(u64, u64, &str)> {
    let extent = |one: &'static str| move |extent: &Value| extent[one].as_u64().unwrap();
    let list = told["extents"].as_array().unwrap();
    list.iter().map(|one| (extent("offset")(one), extent("length")(one), one["state"].as_str().unwrap())).collect()
}

/// Looks with a program of some rights.
fn extents(program: &dyn Fn() -> Command, mode: i32) {
    let id = touched(mode);
    let told = finish(program().args(["map", &id.to_string(), "--json"])).exits(0).json();
    assert_eq!(ids(&told), EXPECTED);
    assert_fields(
        &told,
        json!({
            "id": id, "size": SIZE, "page_size": 4096, "resident": 4 * 4096, "swapped": 0, "unknown": 0,
        }),
    );
    assert_eq!(oracle::row(id).unwrap().get("rss"), (4 * 4096).to_string());
}
