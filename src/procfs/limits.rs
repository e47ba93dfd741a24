//! /proc/PID/limits.

use std::fs;
use std::path::Path;

/// Returns a soft limit of a process or thread (proc_pid_limits(5)), such as `Max locked memory`; `u64::MAX` if it is
/// unlimited.
pub(crate) fn soft_limit(root: &Path, process: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(root.join(process).join("limits")).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn limits_are_parsed() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max locked memory         8388608              8388608              bytes     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        let root = directory(&[("7/task/8/limits", limits)]);
        let limit = |name| soft_limit(root.path(), "7/task/8", name);
        let names = ["Max locked memory", "Max address space", "Max open files"];
        assert_eq!(names.map(limit), [Some(8 << 20), Some(u64::MAX), None]);
    }
}
