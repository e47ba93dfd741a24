//! Users and groups of the current user namespace.
//!
//! The kernel shows an id without a mapping as the overflow id (`nobody`). IPC_SET writes owner, group and mode at
//! once, so writing back an overflow id would change the owner: [`System::may_be_unmapped`] recognizes such ids.

use nix::unistd::{Group, User, getegid, geteuid};

use super::id_map::{IdMaps, to_caller, to_namespace};
use super::system::System;
use crate::model::{is_decimal, named};
use crate::procfs::{self, IdRange};

/// The kernel's default for ids without a mapping (DEFAULT_OVERFLOWUID).
const OVERFLOW_ID: u64 = 65_534;

named! {
    pub(crate) enum Account {
        User = "user",
        Group = "group",
    }
}

/// Returns the uid of a user given by name or uid; `None` if there is no such user.
pub(crate) fn find_user(text: &str) -> Option<u32> {
    parse_id(text).unwrap_or_else(|| User::from_name(text).ok().flatten().map(|user| user.uid.as_raw()))
}

/// Returns the gid of a group given by name or gid; `None` if there is no such group.
pub(crate) fn find_group(text: &str) -> Option<u32> {
    parse_id(text).unwrap_or_else(|| Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw()))
}

/// Parses an id; `None` for a name, `Some(None)` for a number that is not an id.
fn parse_id(text: &str) -> Option<Option<u32>> {
    // The largest id is -1, which chown(2) and IPC_SET take as "unchanged" or invalid.
    is_decimal(text).then(|| text.parse().ok().filter(|id| *id != u32::MAX))
}

impl Account {
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::User => "--owner",
            Self::Group => "--group",
        }
    }

    /// Returns the file in /proc/PID with the map of such ids.
    pub(crate) const fn map_file(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    const fn overflow_sysctl(self) -> &'static str {
        match self {
            Self::User => "kernel/overflowuid",
            Self::Group => "kernel/overflowgid",
        }
    }
}

impl System {
    /// Returns the caller's effective uid in the caller's user namespace.
    pub(crate) fn uid(&self) -> u32 {
        to_caller(&self.ids.users, self.effective_uid_here())
    }

    /// Returns the caller's effective uid in the current user namespace.
    fn effective_uid_here(&self) -> u32 {
        self.caller.as_ref().map_or_else(|| geteuid().as_raw(), |caller| caller.uid)
    }

    /// Returns the uid of the caller that decides about files, in the caller's user namespace.
    pub(crate) fn file_uid(&self) -> u32 {
        self.caller.as_ref().map_or_else(|| self.uid(), |caller| to_caller(&self.ids.users, caller.fs_uid))
    }

    /// Converts one of the caller's ids to the current user namespace; `None` if it has no mapping there, for which the
    /// kernel would return EINVAL.
    pub(crate) fn id_in_namespace(&self, account: Account, id: u32) -> Option<u32> {
        let IdMaps { users, groups } = &self.ids;
        let entered = if account == Account::User { users } else { groups };
        let is_mapped = |id: &u32| {
            let map = self.own_map(account);
            map.is_none_or(|map| map.iter().any(|range| range.offset(*id).is_some()))
        };
        to_namespace(entered, id).filter(is_mapped)
    }

    /// Returns the name of a user or group, or its number without one.
    pub(crate) fn account_name(&self, account: Account, id: u32) -> String {
        match account {
            Account::User => self.user(id),
            Account::Group => self.group(id),
        }
    }

    /// Returns whether an id shown by the kernel may replace an unmapped one. The caller's own id is assumed to be
    /// itself.
    pub(crate) fn may_be_unmapped(&self, account: Account, id: u32) -> bool {
        let own = match account {
            Account::User => geteuid().as_raw(),
            Account::Group => getegid().as_raw(),
        };
        id != own && self.is_overflow(account, id)
    }

    /// Returns whether the kernel shows unmapped ids as this one.
    pub(crate) fn is_overflow(&self, account: Account, id: u32) -> bool {
        let overflow = procfs::sysctl(self.proc(), account.overflow_sysctl()).unwrap_or(OVERFLOW_ID);
        // A map of all ids except -1 is complete.
        let is_partial =
            |map: Vec<IdRange>| map.iter().map(|range| u64::from(range.count)).sum::<u64>() < u32::MAX.into();
        u64::from(id) == overflow && self.own_map(account).is_none_or(is_partial)
    }

    /// Returns whether a uid shown by the kernel is the caller's. The overflow uid may be another user's.
    pub(crate) fn is_caller(&self, uid: u32) -> bool {
        uid == self.uid() && !self.is_unmapped_caller()
    }

    /// Returns whether the caller's own uid may be shown instead of an unmapped one.
    pub(crate) fn is_unmapped_caller(&self) -> bool {
        *self.cache.unmapped_caller.get_or_init(|| self.is_overflow(Account::User, self.effective_uid_here()))
    }

    fn own_map(&self, account: Account) -> Option<Vec<IdRange>> {
        let pid = i32::try_from(std::process::id()).ok().filter(|_| self.proc_shows_own_pids())?;
        procfs::id_map(self.proc(), pid, account.map_file())
    }
}
