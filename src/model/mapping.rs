//! Mappings of segments in processes.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Device, Ident, Key, describe_process, first_names, named};

/// The prefix of the names of segments' mappings. The key at creation follows, even after IPC_RMID has set the key to
/// 0.
pub(crate) const SEGMENT_NAME: &[u8] = b"/SYSV";

/// The end of the name of a mapping whose file has no name any more.
pub(crate) const DELETED: &[u8] = b" (deleted)";

named! {
    pub(crate) enum Access {
        /// SHM_RDONLY.
        ReadOnly = "ro",
        ReadWrite = "rw",
    }
}

/// An attachment that `attach` has made, as it reports it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewAttachment {
    #[serde(flatten)]
    pub(crate) ident: Ident,
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
    /// Device of the file.
    pub(crate) device: Device,
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

/// A process that has a segment attached: by one mapping.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SegmentUser {
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
    pub(crate) device: Device,
    /// Whether the process is exiting, which ends its attachments.
    #[serde(skip)]
    pub(crate) exiting: bool,
    /// Other processes that share the memory (CLONE_VM), which nattch does not count. `None` if not every process was
    /// inspected.
    pub(crate) shared_with: Option<Vec<i32>>,
}

impl SegmentUser {
    /// Describes the process: `12 (root, command, exiting)`.
    pub(crate) fn process(&self) -> String {
        let uid = self.uid.map(|uid| uid.to_string());
        let user = self.user.as_deref().or(uid.as_deref());
        describe_process(self.pid, [user, self.command.as_deref(), self.exiting.then_some("exiting")])
    }
}

named! {
    /// Why attachments were not found.
    pub(crate) enum HiddenBy {
        Permission = "permission",
        PidNamespace = "pid-namespace",
        InFlight = "in-flight",
        /// Only for an object: a process opened it between two looks that found no user.
        Opened = "in-flight",
        /// Their processes are exiting: they are being killed, or have released their memory maps.
        Exiting = "exiting",
        Unknown = "unknown",
        /// /proc is not mounted, so no processes were inspected.
        NoProc = "unknown",
        /// /proc belongs to another pid namespace, so it is unknown where their processes are.
        ForeignProc = "unknown",
    }
}

/// Attachments that were not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hidden {
    pub(crate) reason: HiddenBy,
    /// The number of attachments.
    pub(crate) count: u64,
    /// The exiting processes that have them, or, if the reason is unknown, may have them.
    pub(crate) pids: Option<Vec<i32>>,
}

impl Hidden {
    /// Describes their processes. nattch counts attachments, so the number of processes is known only if one attachment
    /// is missing.
    pub(crate) fn describe(&self) -> String {
        let which = match self.reason {
            HiddenBy::Permission => "that you are not permitted to inspect",
            HiddenBy::PidNamespace => "outside this pid namespace",
            HiddenBy::ForeignProc => "that cannot be found (/proc belongs to another pid namespace)",
            HiddenBy::InFlight | HiddenBy::Opened => "that attached or detached meanwhile",
            HiddenBy::Exiting => return format!("{} (exiting)", self.pids()),
            HiddenBy::NoProc | HiddenBy::Unknown if self.count == 1 => "that was not found",
            HiddenBy::NoProc | HiddenBy::Unknown => "that were not found",
        };
        match self.count {
            1 => format!("a process {which}"),
            count => format!("processes {which} ({count} attachments)"),
        }
    }

    /// Returns the reason as a clause.
    pub(crate) fn meaning(&self) -> String {
        let clause = match self.reason {
            HiddenBy::Permission => "you are not permitted to inspect some processes",
            HiddenBy::PidNamespace => "processes outside this pid namespace are not visible",
            HiddenBy::ForeignProc => "/proc belongs to another pid namespace",
            HiddenBy::InFlight | HiddenBy::Opened => "a process attached or detached during the search",
            HiddenBy::Exiting => return self.exiting(),
            HiddenBy::NoProc => "/proc is not mounted",
            HiddenBy::Unknown if self.pids.is_some() => {
                return format!("no visible process has it mapped; {} and may have it attached", self.exiting());
            }
            HiddenBy::Unknown => "no visible process has it mapped",
        };
        clause.to_owned()
    }

    fn exiting(&self) -> String {
        let are = if self.pids.as_ref().is_some_and(|pids| pids.len() > 1) { "are" } else { "is" };
        format!("{} {are} exiting", self.pids())
    }

    fn pids(&self) -> String {
        let pids: Vec<String> = self.pids.iter().flatten().map(|pid| format!("pid {pid}")).collect();
        pids.join(", ")
    }
}

/// The processes that have a segment attached.
#[derive(Clone, Debug, PartialEq, Default, Serialize)]
pub(crate) struct SegmentUsers {
    /// The mappings that were found, sorted by pid and address.
    #[serde(rename = "attachments")]
    pub(crate) list: Vec<SegmentUser>,
    /// The attachments that were not found, by reason.
    pub(crate) hidden: Vec<Hidden>,
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// Serializes the address of what is mapped, else null.
pub(super) fn optional_address<S: Serializer>(address: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => hexadecimal(address, serializer),
        None => serializer.serialize_none(),
    }
}

impl SegmentUsers {
    /// Describes each process, of at most `max` of them, and those of attachments that were not found.
    pub(crate) fn describe(&self, max: usize) -> Vec<String> {
        let name = |process: &[SegmentUser]| {
            let possibly = if process.iter().all(|mapping| mapping.certain) { "" } else { "possibly " };
            format!("{possibly}pid {}", process[0].process())
        };
        let mut names = first_names(max, self.processes().map(name));
        names.extend(self.hidden.iter().map(Hidden::describe));
        names
    }

    /// Returns a short name of each process that has one of several segments attached, and a description of the
    /// processes whose attachments were not found: these may be several.
    pub(crate) fn names_of(all: &[&Self]) -> Vec<String> {
        let name = |process: &[SegmentUser]| {
            format!("pid {}{}", process[0].pid, if process[0].exiting { " (exiting)" } else { "" })
        };
        let mut names: Vec<String> = all.iter().flat_map(|attachers| attachers.processes()).map(name).collect();
        let mut hidden: Vec<Hidden> = Vec::new();
        for one in all.iter().flat_map(|attachers| &attachers.hidden) {
            match hidden.iter_mut().find(|other| (other.reason, &other.pids) == (one.reason, &one.pids)) {
                Some(same) => same.count += one.count,
                None => hidden.push(one.clone()),
            }
        }
        names.extend(hidden.iter().map(Hidden::describe));
        names
    }

    /// Returns how many of the attachments that nattch counts were found.
    pub(crate) fn found(&self) -> u64 {
        self.list.iter().filter(|attacher| attacher.counts).count() as u64
    }

    /// Returns one mapping of each process that has it attached, or `None` if no process was found but some are hidden.
    pub(crate) fn known(&self) -> Option<impl Iterator<Item = &SegmentUser>> {
        let known = || self.processes().filter_map(|process| process.iter().find(|attacher| attacher.counts));
        (known().next().is_some() || self.hidden.is_empty()).then(known)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &[SegmentUser]> {
        self.list.chunk_by(|one, next| one.pid == next.pid)
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.processes().map(|process| process[0].pid)
    }
}
