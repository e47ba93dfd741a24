//! The process whose failed call is explained: its user, groups, capabilities and limits decide, not those of this
//! process.

use std::path::Path;

use crate::procfs;

/// A process other than this one, which is stopped after a failed call. Ids are those of the current user namespace.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) pid: i32,
    /// The thread that made the call, below /proc.
    pub(super) thread: String,
    /// Decides about segments.
    pub(super) uid: u32,
    /// Decides about files.
    pub(super) fs_uid: u32,
    /// Decides about segments and files, with the supplementary groups.
    fs_gid: u32,
    groups: Vec<u32>,
}

impl Caller {
    /// Reads the credentials of a thread; `None` if /proc does not show them.
    pub(super) fn read(proc: &Path, pid: i32, thread: i32) -> Option<Self> {
        let thread = procfs::thread_path(pid, thread);
        let ids = |name| -> Option<Vec<u32>> {
            let line = procfs::status_line(proc, &thread, name)?;
            line.split_ascii_whitespace().map(|id| id.parse().ok()).collect()
        };
        // Real, effective, saved and file system id.
        let (uids, gids, groups) = (ids("Uid")?, ids("Gid")?, ids("Groups")?);
        let (uid, fs_uid, fs_gid) = (*uids.get(1)?, *uids.get(3)?, *gids.get(3)?);
        Some(Self { pid, thread, uid, fs_uid, fs_gid, groups })
    }

    /// Returns whether a group is the thread's, as `in_group_p` in linux/kernel/groups.c does.
    pub(super) fn is_in_group(&self, gid: u32) -> bool {
        self.fs_gid == gid || self.groups.contains(&gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn the_ids_of_a_thread_are_read() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        let proc = directory(&[("7/task/8/status", status), ("7/task/9/status", "Uid:\t1\t2\t3\t4\n")]);
        let caller = Caller::read(proc.path(), 7, 8).unwrap();
        assert_eq!((caller.uid, caller.fs_uid, &*caller.thread), (2, 4, "7/task/8"));
        assert_eq!([8, 9, 10, 6].map(|gid| caller.is_in_group(gid)), [true, true, true, false]);
        assert!(Caller::read(proc.path(), 7, 9).is_none() && Caller::read(proc.path(), 7, 7).is_none());
    }
}
