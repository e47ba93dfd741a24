//! User and group ids as they are where the caller stands, though the program has entered a user namespace.

use nix::unistd::{getegid, geteuid};

use super::System;
use crate::error::{Error, Kind};
use crate::procfs::{self, IdRange};

/// What the kernel shows for all who have no number in a user namespace, unless told otherwise.
const NOBODY: u64 = 65_534;

/// What a number is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Account {
    /// Gives the word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// Gives the option that names one.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::User => "--owner",
            Self::Group => "--group",
        }
    }

    /// Gives the file of /proc/PID with the map of its numbers.
    const fn map(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    /// Gives the setting of what stands for all who have none.
    const fn overflow(self) -> &'static str {
        match self {
            Self::User => "kernel/overflowuid",
            Self::Group => "kernel/overflowgid",
        }
    }
}

impl System {
    /// Gives the number by which the kernel knows the caller's user or group here.
    ///
    /// # Errors
    /// The user namespace has none for it, and the kernel would call it invalid.
    pub(crate) fn kernel_number(&self, account: Account, number: u32) -> Result<u32, Error> {
        let IdMaps { users, groups } = &self.ids;
        let entered = if account == Account::User { users } else { groups };
        let has = |number: &u32| {
            let map = self.own_map(account);
            map.is_none_or(|map| map.iter().any(|range| range.offset(*number).is_some()))
        };
        inside(entered, number).filter(has).ok_or_else(|| {
            let word = account.word();
            let error = Error::new(Kind::Failed, format!("{word} {number} has no number there"))
                .target(number.to_string())
                .cause(format!("the user namespace maps it to nothing: no segment there can be that {word}'s"));
            // Another one's map is not ours to be shown.
            if entered.is_empty() {
                error.hint(format!("`cat /proc/self/{}` shows which numbers there are", account.map()))
            } else {
                error
            }
        })
    }

    /// Tells whether a number that the kernel shows may stand for any user or group that has none here; one that is
    /// the caller's own is taken for that.
    pub(crate) fn may_be_anybody(&self, account: Account, number: u32) -> bool {
        let own = match account {
            Account::User => geteuid().as_raw(),
            Account::Group => getegid().as_raw(),
        };
        let overflow = || procfs::sysctl(self.proc(), account.overflow()).unwrap_or(NOBODY);
        // A map of all numbers but -1 leaves nobody out.
        let leaves_out =
            |map: Vec<IdRange>| map.iter().map(|range| u64::from(range.count)).sum::<u64>() < u32::MAX.into();
        number != own && u64::from(number) == overflow() && self.own_map(account).is_none_or(leaves_out)
    }

    /// Reads the map of the user namespace that this process is in.
    fn own_map(&self, account: Account) -> Option<Vec<IdRange>> {
        let pid = i32::try_from(std::process::id()).ok().filter(|_| self.owns_proc())?;
        procfs::id_map(self.proc(), pid, account.map())
    }
}

impl IdRange {
    /// Gives how far in the range a number inside of the namespace is.
    fn offset(&self, inside: u32) -> Option<u32> {
        inside.checked_sub(self.inside).filter(|offset| *offset < self.count)
    }
}

/// The maps of the user namespace that was entered; empty where none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMaps {
    /// Users.
    pub(crate) users: Vec<IdRange>,
    /// Groups.
    pub(crate) groups: Vec<IdRange>,
}

/// Gives the caller's id for one inside of the namespace; one that has none stays what the kernel shows for it.
pub(super) fn outside(map: &[IdRange], id: u32) -> u32 {
    let outside = |range: &IdRange| range.offset(id).map(|offset| range.outside + offset);
    map.iter().find_map(outside).unwrap_or(id)
}

/// Gives the id inside of the namespace for one of the caller's; `None` if it has none.
pub(super) fn inside(map: &[IdRange], id: u32) -> Option<u32> {
    let outside = |range: &&IdRange| id.checked_sub(range.outside).is_some_and(|offset| offset < range.count);
    if map.is_empty() { Some(id) } else { map.iter().find(outside).map(|range| range.inside + (id - range.outside)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_there_and_back() {
        let map =
            [IdRange { inside: 0, outside: 1000, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65_536 }];
        for (within, without) in [(0, 1000), (1, 100_000), (65_536, 165_535)] {
            assert_eq!((outside(&map, within), inside(&map, without)), (without, Some(within)));
        }
        assert_eq!(outside(&map, 70_000), 70_000);
        assert_eq!(inside(&map, 0), None);
        assert_eq!((outside(&[], 5), inside(&[], 5)), (5, Some(5)));
    }
}
