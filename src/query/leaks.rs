//! Segments that a command left behind, and who made them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::descendants::{Creator, Descendants};
use super::{System, add_attachers, inventory};
use crate::error::Error;
use crate::model::{Key, Leak, Leaks, Needs, Segment, ShmId};

/// What a segment keeps from its creation to its end; its id comes back for another one only after millions.
type Identity = (ShmId, Option<i32>, u32, u32, u64);

/// The segments that there were before.
#[derive(Debug, Default)]
pub(crate) struct Before(HashSet<Identity>);

/// Calls of shmget(2) with the command lines of those who made them, as they were then; of calls that ask for the same,
/// the last one's.
#[derive(Debug, Default)]
pub(crate) struct Calls(HashMap<(i32, Key, u64), Option<Arc<str>>>);

impl Calls {
    /// Takes note of a call by a process, which asked for a key and a size in bytes.
    pub(crate) fn note(&mut self, pid: i32, key: Key, size: u64, command: Option<&str>) {
        let known = self.0.entry((pid, key, size)).or_default();
        if known.as_deref() != command {
            *known = command.map(Arc::from);
        }
    }

    /// Gives the command line by which a segment was made, if it was one of these calls.
    fn creator(&self, segment: &Segment) -> Option<Option<Arc<str>>> {
        let (pid, size) = (segment.cpid?, segment.size);
        if !segment.dest {
            return self.0.get(&(pid, segment.key, size)).cloned();
        }
        // One that is marked for destruction has lost its key.
        self.0.iter().find(|(call, _)| (call.0, call.2) == (pid, size)).map(|(_, command)| command.clone())
    }
}

/// By what the creators of segments are told.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Whether nobody else could make segments in this namespace.
    pub(crate) alone: bool,
    /// Who descended from us, as far as it was seen.
    pub(crate) descendants: Descendants,
    /// Every call of shmget of them, if these were traced.
    pub(crate) calls: Option<Calls>,
}

/// Whose a new segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The command's, made by this command line.
    Leaked(Option<Arc<str>>),
    /// It cannot be told.
    Unattributed,
    /// Another user's, and it cannot be told either.
    Unknown,
    /// Somebody else's.
    Foreign,
}

impl Before {
    /// Takes note of the segments that there are.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) fn look(system: &System) -> Result<Self, Error> {
        inventory(system, Needs::empty()).map(|segments| Self(segments.iter().map(identity).collect()))
    }
}

/// Gives what tells a segment from all others.
fn identity(segment: &Segment) -> Identity {
    (segment.id, segment.cpid, segment.cuid, segment.cgid, segment.size)
}

impl Evidence {
    /// Judges whose a new segment is.
    fn judge(&self, system: &System, segment: &Segment) -> Verdict {
        if let Some(calls) = &self.calls {
            return match calls.creator(segment) {
                Some(command) => Verdict::Leaked(command),
                None if self.alone => Verdict::Leaked(None),
                None => Verdict::Foreign,
            };
        }
        match self.descendants.creator(system, segment) {
            Creator::Ours(command) => Verdict::Leaked(command),
            _ if self.alone => Verdict::Leaked(None),
            Creator::Unknown if segment.cuid == system.uid() => Verdict::Unattributed,
            Creator::Unknown => Verdict::Unknown,
            Creator::Stranger => Verdict::Foreign,
        }
    }
}

/// Finds what is new, and tells whose it is.
///
/// # Errors
/// The segments cannot be listed, or nobody can be asked who has them attached.
pub(crate) fn leaks(system: &System, before: &Before, evidence: &Evidence) -> Result<Leaks, Error> {
    let new = inventory(system, Needs::RECORD)?.into_iter().filter(|segment| !before.0.contains(&identity(segment)));
    let mut found = Leaks::default();
    let (mut segments, verdicts): (Vec<Segment>, Vec<Verdict>) = new
        .filter_map(|segment| match evidence.judge(system, &segment) {
            Verdict::Foreign => None,
            Verdict::Unknown => {
                found.others += 1;
                None
            }
            verdict => Some((segment, verdict)),
        })
        .unzip();
    add_attachers(system, &mut segments)?;
    for (segment, verdict) in segments.into_iter().zip(verdicts) {
        let leak = |creator_command| Leak { segment, creator_command, removal: None };
        match verdict {
            Verdict::Leaked(creator_command) => found.leaked.push(leak(creator_command)),
            _ => found.unattributed.push(leak(None)),
        }
    }
    Ok(found)
}
