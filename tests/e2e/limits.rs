//! `limits`: the limits of a namespace, and their usage.

use nix::libc::SHM_NORESERVE;
use serde_json::{Value, json};

use crate::fixtures::sysctl_value;
use crate::oracle::{self, Attached};
use crate::support::run;

/// A segment of this size is beyond any memory, and four of them are beyond 64 bits.
const ENORMOUS: usize = 1 << 62;

#[apply(test)]
fn match_the_kernel() {
    let touched = oracle::create(0, 10_000, 0o600);
    Attached::new(touched).write(0, &[1; 5000]);
    oracle::create(0, 1, 0o600);
    // As text, since these numbers are beyond what a double holds.
    let text = run(["limits", "--json"]).exits(0).stdout;
    let page = oracle::page_size();
    let forced = sysctl_value("shm_rmid_forced") != "0";
    let limits = format!(
        "{{\"schema\":1,\"limits\":{{\"shmmni\":{},\"shmmax\":{},\"shmall\":{},\"shmmin\":1,\"page_size\":{page},\
         \"rmid_forced\":{forced}}},\"usage\":",
        sysctl_value("shmmni"),
        sysctl_value("shmmax"),
        sysctl_value("shmall")
    );
    assert!(text.starts_with(&limits), "{text}");
    let sum = |name: &str| oracle::rows().iter().map(|row| row.get(name).parse::<u64>().unwrap()).sum::<u64>();
    let page = u64::try_from(page).unwrap();
    let pages: u64 = [10_000, 1_u64].iter().map(|size| size.div_ceil(page)).sum();
    let usage: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        usage["usage"],
        json!({"segments": 2, "pages": pages, "size": 10_001, "rss": sum("rss"), "swap": sum("swap")})
    );
    assert!(sum("rss") > 0);
}

#[apply(test)]
fn sums_go_beyond_64_bits() {
    for _ in 0..5 {
        oracle::create(0, ENORMOUS, 0o600 | SHM_NORESERVE);
    }
    let text = run(["limits", "--json"]).exits(0).stdout;
    let size = 5 * (ENORMOUS as u128);
    assert!(size > u128::from(u64::MAX));
    assert!(text.contains(&format!("\"size\":{size},")), "{text}");
    let pages: u64 = text.split_once("\"pages\":").unwrap().1.split(',').next().unwrap().parse().unwrap();
    let page = oracle::page_size();
    assert_eq!(u128::from(pages) * u128::try_from(page).unwrap(), size);
    run(["list"]).exits(0);
    let bytes = run(["limits", "--bytes"]).exits(0).stdout;
    assert!(bytes.contains(&size.to_string()), "{bytes}");
}

#[apply(test)]
fn the_table_shows_the_usage() {
    oracle::create(0, 4096, 0o600);
    oracle::create(0, 4096, 0o600);
    let table = run(["limits"]).exits(0).stdout;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["RESOURCE", "DESCRIPTION", "LIMIT", "USED", "USE%"]);
    let most: u64 = sysctl_value("shmmni").parse().unwrap();
    let line = table.lines().find(|line| line.starts_with("SHMMNI ")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let rounded = (20_000 + most / 2) / most;
    let share = format!("{}.{:02}%", rounded / 100, rounded % 100);
    assert_eq!(words[words.len() - 3..], [most.to_string().as_str(), "2", share.as_str()], "{line}");
    let tsv = run(["limits", "--format", "tsv", "--no-headings"]).exits(0).stdout;
    let row: Vec<_> = tsv.lines().next().unwrap().split('\t').collect();
    assert_eq!((row[0], row[2], row[3], row.len()), ("SHMMNI", most.to_string().as_str(), "2", 5));
}
