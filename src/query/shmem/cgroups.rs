//! The shared memory that the kernel charges to each control group (memory.stat).
//!
//! A page is charged to the group of the process that touched it first, and stays so after that has exited.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Memory, path_text};
use crate::procfs;
use crate::query::host::System;

/// How deep control groups are searched.
const MAX_DEPTH: u32 = 32;

/// Returns the bytes charged to each control group, by its path, without those of the groups below it. `None` without
/// the memory controller.
pub(crate) fn charged_to_control_groups(system: &System) -> Option<BTreeMap<String, Memory>> {
    let mounts = procfs::mounts(system.proc(), "thread-self").ok()?;
    let mut hierarchies = mounts.into_iter().filter(|mount| mount.kind.starts_with("cgroup")).map(|mount| mount.point);
    // Only one hierarchy has the controller.
    let top = hierarchies.find(|point| point.join("memory.stat").exists())?;
    let mut groups = BTreeMap::new();
    add(&top, "/", 0, &mut groups);
    Some(groups)
}

/// Adds a group and those below it; returns the bytes of all of them.
fn add(directory: &Path, name: &str, depth: u32, groups: &mut BTreeMap<String, Memory>) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| depth < MAX_DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let below = below.map(|entry| {
        let path = format!("{}/{}", name.trim_end_matches('/'), path_text(entry.file_name().as_ref()));
        add(&entry.path(), &path, depth + 1, groups)
    });
    let below: u64 = below.sum();
    let text = std::fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    let value = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    // Version 1 counts each group separately, version 2 includes the groups below it.
    let own = match (value("shmem "), value("total_shmem ")) {
        (Some(own), Some(_)) => own,
        (Some(all), None) => all.saturating_sub(below),
        _ => 0,
    };
    groups.insert(name.to_owned(), Memory { rss: own, swap: None, size: 0, count: Some(1) });
    own + below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn groups_of_both_versions_are_counted_without_those_below_them() {
        let first = directory(&[
            ("memory.stat", "shmem 5\ntotal_shmem 12\n"),
            ("a/memory.stat", "cache 1\nshmem 7\ntotal_shmem 7\n"),
        ]);
        let second = directory(&[("memory.stat", "file 1\nshmem 12\n"), ("a/memory.stat", "shmem 7\n")]);
        for top in [first, second] {
            let mut groups = BTreeMap::new();
            add(top.path(), "/", 0, &mut groups);
            let rss: Vec<_> = groups.iter().map(|(name, memory)| (name.as_str(), memory.rss)).collect();
            assert_eq!(rss, [("/", 5), ("/a", 7)]);
        }
    }
}
