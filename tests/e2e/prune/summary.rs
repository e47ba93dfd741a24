//! The summary of `prune`: what it frees, and why it keeps the rest.

use super::orphan;
use crate::oracle;
use crate::support::{NOBODY, finish, run, shmadm_as};

#[apply(test)]
fn totals_above_64_bits_are_exact() {
    for _ in 0..3 {
        run(["create", "--size", "8191P", "--no-reserve"]).exits(0);
    }
    let ran = run(["prune", "--dry-run", "--json", "--older-than", "0s"]).exits(0);
    let ran = ran.says("would free 3 segments (24573 PiB, 0 bytes resident)\n");
    assert!(ran.stdout.contains("\"size\":27666738410843799552"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn the_option_that_selects_other_users_replaces_their_names() {
    oracle::set(orphan(1), NOBODY, NOBODY, 0o600);
    run(["prune", "--owner", "1"]).exits(0).says("kept 1: 1 of other owners (--any-owner instead of --owner)\n");
    run(["prune", "--mine", "--owner", "1"])
        .exits(0)
        .says("kept 1: 1 of other owners (--any-owner instead of --mine and --owner)\n");
    finish(shmadm_as(1).args(["prune", "--mine"]))
        .exits(0)
        .says("kept 1: 1 of other owners (--any-owner instead of --mine)\n");
    run(["prune"]).exits(0).says("kept 1: 1 idle for less than 10m (--older-than 0s)\n");
}
