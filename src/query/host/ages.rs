//! Which processes can have created a file, by their age or their pid in another namespace.

use std::collections::BTreeMap;

use super::id_map::{to_caller, to_namespace};
use super::process::{self, ProcessStatus, SLACK_SECONDS};
use super::system::System;
use crate::model::Stamp;
use crate::procfs;

impl System {
    /// Returns whether a process of a user, by any of its uids, has been running since before `stamp`; `None` if not
    /// every process is visible, or a user namespace was entered that has no mapping for the user: the kernel shows all
    /// such users as one there.
    pub(in crate::query) fn has_process_older_than(&self, uid: u32, stamp: Stamp) -> Option<bool> {
        to_namespace(&self.ids.users, uid)?;
        let oldest = self.cache.oldest.get_or_init(|| self.oldest_processes()).as_ref()?.get(&uid);
        Some(oldest.is_some_and(|start| start.0 <= stamp.0.saturating_add(SLACK_SECONDS)))
    }

    /// Returns the start of the oldest process of each user; `None` if /proc does not show that of every process.
    fn oldest_processes(&self) -> Option<BTreeMap<u32, Stamp>> {
        if !self.is_in_initial_pid_namespace() || self.hides_processes() {
            return None;
        }
        let mut oldest: BTreeMap<u32, Stamp> = BTreeMap::new();
        for pid in procfs::pids(self.proc()).ok()? {
            let facts = process::start(self.proc(), pid).zip(procfs::uids(self.proc(), pid));
            let Some((start, uids)) = facts else {
                // A zombie, or with hidepid=1 a process of another user or one that is not dumpable: it is listed, but
                // not readable.
                if self.process_status_now(pid) == ProcessStatus::Exited { continue } else { return None }
            };
            for uid in uids {
                let uid = to_caller(&self.ids.users, uid);
                oldest.entry(uid).and_modify(|oldest| *oldest = start.min(*oldest)).or_insert(start);
            }
        }
        Some(oldest)
    }

    /// Returns whether a file in memory is older than the last boot by the present clock: the clock was set since, so
    /// the times of files and the start times of processes cannot be compared.
    pub(in crate::query) fn is_before_boot(&self, stamp: Stamp) -> bool {
        process::boot().is_none_or(|boot| stamp.0.saturating_add(SLACK_SECONDS) < boot.0)
    }

    /// Returns whether a user's process in a pid namespace below this one has a pid there, which its program may have
    /// put into a name.
    pub(in crate::query) fn has_inner_pid(&self, uid: u32, pid: i32) -> bool {
        let inner = self.cache.inner_pids.get_or_init(|| {
            let pids = procfs::pids(self.proc()).into_iter().flatten();
            pids.flat_map(|pid| procfs::inner_pids(self.proc(), pid).into_iter().map(move |inner| (inner, pid)))
                .collect()
        });
        inner.iter().any(|(inner, outer)| *inner == pid && self.effective_uid(*outer) == Some(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_boot_show_that_the_clock_was_set() {
        let system = System::new();
        assert!(system.is_before_boot(Stamp(1)));
        assert!(!system.is_before_boot(system.now()));
    }
}
