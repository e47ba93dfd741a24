//! A mapping of a segment in a process, and what is concluded from it.

use std::sync::Arc;

use super::{Access, Key};

/// What the names of segments' mappings begin with; the key they were made with follows, also after they have lost it.
pub(crate) const SEGMENT_NAME: &[u8] = b"/SYSV";

/// A mapping of a file that has a segment's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// Address behind the last.
    pub(crate) end: u64,
    /// Device of the file, major and minor.
    pub(crate) device: (u32, u32),
    /// Inode number of the file; of a segment, its id, which may be 0.
    pub(crate) inode: u64,
    /// What may be done with it.
    pub(crate) access: Access,
    /// The key that is in its name.
    pub(crate) key: Option<Key>,
}

impl Mapping {
    /// Reads the key in a name such as `/SYSV000004d2 (deleted)`.
    pub(crate) fn key_in(name: &[u8]) -> Option<Key> {
        let digits = name.strip_prefix(SEGMENT_NAME)?.get(..8)?;
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok().map(Key::new)
    }
}

/// An attachment of a segment: a mapping in a process, as nattch counts them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attacher {
    /// The process.
    pub(crate) pid: i32,
    /// Its effective user id.
    pub(crate) uid: Option<u32>,
    /// That user's name.
    pub(crate) user: Option<Arc<str>>,
    /// Its command line.
    pub(crate) command: Option<Arc<str>>,
    /// Where the mapping begins.
    pub(crate) address: u64,
    /// Its bytes.
    pub(crate) size: u64,
    /// What may be done with it.
    pub(crate) access: Access,
    /// The IPC namespace that the process is in now, which need not be the segment's.
    pub(crate) ns: Option<u64>,
    /// Whether it is beyond doubt that the mapping is of this segment and not of another with its id.
    pub(crate) certain: bool,
    /// Whether it counts as one of those that the kernel counts; one that does not is no more than possible.
    pub(crate) counts: bool,
    /// Other processes with the very same memory (CLONE_VM), which nattch does not count; `None` if not every process
    /// was looked into.
    pub(crate) shared_with: Option<Vec<i32>>,
}

impl Attacher {
    /// Describes the process: `12 (root, command)`.
    pub(crate) fn process(&self) -> String {
        let user = self.user.as_ref().map(ToString::to_string).or_else(|| self.uid.map(|uid| uid.to_string()));
        let command = self.command.as_ref().map(ToString::to_string);
        let details = user.into_iter().chain(command).collect::<Vec<_>>().join(", ");
        if details.is_empty() { self.pid.to_string() } else { format!("{} ({details})", self.pid) }
    }
}

/// Why attachments are out of sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenBy {
    /// Processes whose mappings, or whose existence, are not ours to see.
    Permission,
    /// Processes of a pid namespace above or beside ours may have them.
    PidNamespace,
    /// They came or went while we looked.
    InFlight,
    /// Nothing of these explains it.
    Unknown,
}

impl HiddenBy {
    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::PidNamespace => "pid-namespace",
            Self::InFlight => "in-flight",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the reason as a clause.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Permission => "you are not permitted to inspect some processes",
            Self::PidNamespace => "processes outside this pid namespace are not visible",
            Self::InFlight => "attached or detached during the search",
            Self::Unknown => "not found in any visible process",
        }
    }
}

/// Who has a segment attached, and how much of it is out of sight.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Attachers {
    /// What was found, a mapping each, by pid and address.
    pub(crate) list: Vec<Attacher>,
    /// What was not found, and why.
    pub(crate) hidden: Vec<(HiddenBy, u64)>,
}

impl Attachers {
    /// Tells how many of those that the kernel counts were found.
    pub(crate) fn found(&self) -> u64 {
        self.list.iter().filter(|attacher| attacher.counts).count() as u64
    }

    /// Gives the processes that have it, one mapping each; `None` if nothing is known of them.
    pub(crate) fn known(&self) -> Option<impl Iterator<Item = &Attacher>> {
        let known = || self.processes().filter_map(|process| process.iter().find(|attacher| attacher.counts));
        (known().next().is_some() || self.hidden.is_empty()).then(known)
    }

    /// Gives the mappings of each process in turn.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &[Attacher]> {
        self.list.chunk_by(|one, next| one.pid == next.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_in_the_name() {
        assert_eq!(Mapping::key_in(b"/SYSVdeadbeef (deleted)"), Some(Key::new(0xdead_beef)));
        assert_eq!(Mapping::key_in(b"/SYSV00000000"), Some(Key::PRIVATE));
        for other in [b"/SYSV12".as_slice(), b"/SYSV000004dg (deleted)", b"/dev/zero (deleted)", b"/SYSV"] {
            assert_eq!(Mapping::key_in(other), None);
        }
    }
}
