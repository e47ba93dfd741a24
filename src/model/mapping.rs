//! Mappings of segments in processes.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Key, ShmId, describe_process, named};

/// The prefix of the names of segments' mappings. The key at creation follows, even after IPC_RMID has set the key to 0.
pub(crate) const SEGMENT_NAME: &[u8] = b"/SYSV";

named! {
    pub(crate) enum Access {
        /// SHM_RDONLY.
        ReadOnly = "ro",
        ReadWrite = "rw",
    }
}

/// An attachment as `attach` reports it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Attached {
    pub(crate) id: ShmId,
    pub(crate) pid: i32,
    #[serde(serialize_with = "hexadecimal")]
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) access: Access,
    pub(crate) exec: bool,
}

/// A mapping that has the name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    /// The address after the last byte.
    pub(crate) end: u64,
    /// Device of the file, major and minor.
    pub(crate) device: (u32, u32),
    /// Inode number of the file. For a segment it is the id, which can be 0.
    pub(crate) inode: u64,
    pub(crate) access: Access,
    pub(crate) key: Option<Key>,
}

impl Mapping {
    /// Parses the key in a name such as `/SYSV000004d2 (deleted)`.
    pub(crate) fn key_in(name: &[u8]) -> Option<Key> {
        let digits = name.strip_prefix(SEGMENT_NAME)?.get(..8)?;
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok().map(Key::new)
    }
}

/// An attachment of a segment: one mapping in a process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Attacher {
    pub(crate) pid: i32,
    pub(crate) uid: Option<u32>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) command: Option<Arc<str>>,
    #[serde(serialize_with = "hexadecimal")]
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) access: Access,
    /// The current IPC namespace of the process, which can differ from the segment's.
    pub(crate) ns: Option<u64>,
    /// Whether the mapping certainly belongs to this segment, not to one with the same id in another namespace.
    pub(crate) certain: bool,
    /// Whether nattch includes this mapping. If not, the mapping may belong to another segment.
    #[serde(skip)]
    pub(crate) counts: bool,
    /// The key of the segment when it was created, in the name of the mapping.
    #[serde(skip)]
    pub(crate) key: Option<Key>,
    /// The device of the mapped file, which has one page size.
    #[serde(skip)]
    pub(crate) device: (u32, u32),
    /// Other processes that share the memory (CLONE_VM), which nattch does not count. `None` if not every process was
    /// inspected.
    pub(crate) shared_with: Option<Vec<i32>>,
}

impl Attacher {
    /// Describes the process: `12 (root, command)`.
    pub(crate) fn process(&self) -> String {
        let uid = self.uid.map(|uid| uid.to_string());
        describe_process(self.pid, self.user.as_deref().or(uid.as_deref()), self.command.as_deref())
    }
}

named! {
    /// Why attachments were not found.
    pub(crate) enum HiddenBy {
        Permission = "permission",
        PidNamespace = "pid-namespace",
        InFlight = "in-flight",
        Unknown = "unknown",
    }
}

impl HiddenBy {
    /// Describes the processes of attachments that were not found. nattch counts attachments, so the number of processes is
    /// known only if one attachment is missing.
    pub(crate) fn describe(self, attachments: u64) -> String {
        let (one, several) = match self {
            Self::Permission => {
                ("process that you are not permitted to inspect", "processes that you are not permitted to inspect")
            }
            Self::PidNamespace => ("process outside this pid namespace", "processes outside this pid namespace"),
            Self::InFlight => {
                ("process that attached or detached meanwhile", "processes that attached or detached meanwhile")
            }
            Self::Unknown => ("process that was not found", "processes that were not found"),
        };
        if attachments == 1 { format!("1 {one}") } else { format!("{several} ({attachments} attachments)") }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Permission => "you are not permitted to inspect some processes",
            Self::PidNamespace => "processes outside this pid namespace are not visible",
            Self::InFlight => "a process attached or detached during the search",
            Self::Unknown => "no visible process has it mapped",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Default, Serialize)]
pub(crate) struct Attachers {
    /// The mappings that were found, sorted by pid and address.
    #[serde(rename = "attachments")]
    pub(crate) list: Vec<Attacher>,
    /// The number of attachments that were not found, by reason.
    #[serde(serialize_with = "by_reason")]
    pub(crate) hidden: Vec<(HiddenBy, u64)>,
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// Serialises numbers of hidden attachments as `[{"reason":…,"count":…}]`.
fn by_reason<S: Serializer>(hidden: &[(HiddenBy, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Hidden {
        reason: HiddenBy,
        count: u64,
    }
    serializer.collect_seq(hidden.iter().map(|&(reason, count)| Hidden { reason, count }))
}

impl Attachers {
    /// Describes each process, of at most `max` of them, and those of attachments that were not found.
    pub(crate) fn describe(&self, max: usize) -> Vec<String> {
        let name = |process: &[Attacher]| {
            let possibly = if process.iter().all(|mapping| mapping.certain) { "" } else { "possibly " };
            format!("{possibly}pid {}", process[0].process())
        };
        let mut names: Vec<String> = self.processes().take(max).map(name).collect();
        let more = self.processes().count().saturating_sub(max);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.extend(self.hidden.iter().map(|(reason, count)| reason.describe(*count)));
        names
    }

    /// Returns how many of the attachments that nattch counts were found.
    pub(crate) fn found(&self) -> u64 {
        self.list.iter().filter(|attacher| attacher.counts).count() as u64
    }

    /// Returns one mapping of each process that has it attached, or `None` if no process was found but some are hidden.
    pub(crate) fn known(&self) -> Option<impl Iterator<Item = &Attacher>> {
        let known = || self.processes().filter_map(|process| process.iter().find(|attacher| attacher.counts));
        (known().next().is_some() || self.hidden.is_empty()).then(known)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &[Attacher]> {
        self.list.chunk_by(|one, next| one.pid == next.pid)
    }
}
