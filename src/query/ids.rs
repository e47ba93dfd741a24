//! User and group ids across user namespaces.
//!
//! With `--ns` the program may enter a user namespace, in which the kernel shows other ids. [`IdMaps`] are the uid_map
//! and gid_map that were read before, and convert ids to those of the caller's user namespace.
//!
//! The kernel shows an id without a mapping as the overflow id (`nobody`). IPC_SET writes owner, group and mode at
//! once, so writing back an overflow id would change the owner: [`System::may_be_unmapped`] recognises such ids.

use nix::unistd::{getegid, geteuid};

use super::System;
use crate::error::{Error, Kind};
use crate::procfs::{self, IdRange};

/// The kernel's default for ids without a mapping (DEFAULT_OVERFLOWUID).
const OVERFLOW_ID: u64 = 65_534;

/// The kind of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    User,
    Group,
}

impl Account {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// Returns the option that takes such an id.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::User => "--owner",
            Self::Group => "--group",
        }
    }

    /// Returns the file in /proc/PID with the map of such ids.
    const fn map_file(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    /// Returns the sysctl for the id that replaces unmapped ones.
    const fn overflow_sysctl(self) -> &'static str {
        match self {
            Self::User => "kernel/overflowuid",
            Self::Group => "kernel/overflowgid",
        }
    }
}

impl System {
    /// Converts one of the caller's ids to the present user namespace.
    ///
    /// # Errors
    /// The id has no mapping there; the kernel would return EINVAL.
    pub(crate) fn id_in_namespace(&self, account: Account, id: u32) -> Result<u32, Error> {
        let IdMaps { users, groups } = &self.ids;
        let entered = if account == Account::User { users } else { groups };
        let is_mapped = |id: &u32| {
            let map = self.own_map(account);
            map.is_none_or(|map| map.iter().any(|range| range.offset(*id).is_some()))
        };
        to_namespace(entered, id).filter(is_mapped).ok_or_else(|| {
            let kind = account.as_str();
            let error = Error::new(Kind::Failed, format!("cannot use {kind} {id} in this user namespace"))
                .target(id.to_string())
                .cause(format!("its {} has no mapping for this {kind}", account.map_file()));
            // The command would show the map of the caller's namespace, not of the entered one.
            if entered.is_empty() {
                error.hint(format!("show the mapped ids: `cat /proc/self/{}`", account.map_file()))
            } else {
                error
            }
        })
    }

    /// Returns whether an id shown by the kernel may replace an unmapped one. The caller's own id is assumed to be
    /// itself.
    pub(crate) fn may_be_unmapped(&self, account: Account, id: u32) -> bool {
        let own = match account {
            Account::User => geteuid().as_raw(),
            Account::Group => getegid().as_raw(),
        };
        let overflow = || procfs::sysctl(self.proc(), account.overflow_sysctl()).unwrap_or(OVERFLOW_ID);
        // A map of all ids except -1 is complete.
        let is_partial =
            |map: Vec<IdRange>| map.iter().map(|range| u64::from(range.count)).sum::<u64>() < u32::MAX.into();
        id != own && u64::from(id) == overflow() && self.own_map(account).is_none_or(is_partial)
    }

    /// Reads the id map of the present user namespace.
    fn own_map(&self, account: Account) -> Option<Vec<IdRange>> {
        let pid = i32::try_from(std::process::id()).ok().filter(|_| self.proc_shows_own_pids())?;
        procfs::id_map(self.proc(), pid, account.map_file())
    }
}

impl IdRange {
    /// Returns the offset in this range of an id inside the namespace.
    fn offset(&self, inside: u32) -> Option<u32> {
        inside.checked_sub(self.inside).filter(|offset| *offset < self.count)
    }
}

/// The id maps of the user namespace that was entered; empty if none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMaps {
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
}

/// Converts an id inside the namespace to the caller's. An id without a mapping is returned as it is.
pub(super) fn to_caller(map: &[IdRange], id: u32) -> u32 {
    let outside = |range: &IdRange| range.offset(id).map(|offset| range.outside + offset);
    map.iter().find_map(outside).unwrap_or(id)
}

/// Converts one of the caller's ids to the namespace; `None` if it has no mapping.
pub(super) fn to_namespace(map: &[IdRange], id: u32) -> Option<u32> {
    let outside = |range: &&IdRange| id.checked_sub(range.outside).is_some_and(|offset| offset < range.count);
    if map.is_empty() { Some(id) } else { map.iter().find(outside).map(|range| range.inside + (id - range.outside)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_converted_in_both_directions() {
        let map =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65_536 }];
        for (within, without) in [(0, 1000), (1, 100_000), (65_536, 165_535)] {
            assert_eq!((to_caller(&map, within), to_namespace(&map, without)), (without, Some(within)));
        }
        assert_eq!(to_caller(&map, 70_000), 70_000);
        assert_eq!(to_namespace(&map, 0), None);
        assert_eq!((to_caller(&[], 5), to_namespace(&[], 5)), (5, Some(5)));
    }
}
