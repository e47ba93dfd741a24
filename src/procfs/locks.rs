//! /proc/locks: the locks on files (proc_locks(5)).

use std::collections::HashSet;
use std::path::Path;

use crate::model::{Device, FileId};

/// Returns the files that a visible process has locked by flock(2) or fcntl(2); leases are not locks. None without the
/// file.
pub(crate) fn locked_files(root: &Path) -> HashSet<FileId> {
    let text = std::fs::read_to_string(root.join("locks")).unwrap_or_default();
    text.lines().filter_map(parse_line).collect()
}

/// Parses `1: FLOCK  ADVISORY  WRITE 4711 00:1b:4 0 EOF`. One that is waited for has an arrow before its kind.
fn parse_line(line: &str) -> Option<FileId> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if !matches!(fields.next()?, "FLOCK" | "POSIX" | "OFDLCK") {
        return None;
    }
    let mut file = fields.nth(3)?.splitn(3, ':');
    let mut device = || u32::from_str_radix(file.next()?, 16).ok();
    let device = Device(device()?, device()?);
    Some(FileId { device, inode: file.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn only_locks_that_are_held_count() {
        let locks = "1: FLOCK  ADVISORY  WRITE 4711 00:1b:4 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 4712 00:1b:4 0 EOF\n\
                     2: POSIX  ADVISORY  READ 4711 103:02:18446744073709551615 0 7\n\
                     3: LEASE  ACTIVE    WRITE 4711 00:1b:5 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 4711 00:1b:6 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 4711 <none>:0 0 EOF\n";
        let root = directory(&[("locks", locks)]);
        let expected = [(Device(0, 0x1b), 4), (Device(0x103, 2), u64::MAX)];
        assert_eq!(locked_files(root.path()), expected.map(|(device, inode)| FileId { device, inode }).into());
        assert!(locked_files("/nonexistent".as_ref()).is_empty());
    }
}
