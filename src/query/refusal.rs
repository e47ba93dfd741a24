//! The refusal to touch a segment that is attached, with the names of those who have it.

use super::liveness::{Fate, fates};
use super::{System, add_attachers, segment};
use crate::error::{Error, Kind};
use crate::model::{Attacher, Needs, Segment, ShmId};

/// How many processes a message names.
const NAMED: usize = 6;

/// Names who has a segment attached, for a message: `by pid 12 of root (command) and pid 13 of postgres (command)`.
pub(crate) fn name_attachers(system: &System, id: ShmId) -> Option<String> {
    let found = segment(system, id, Needs::empty()).ok().flatten()?;
    let mut segments = [found];
    // Whoever is refused has an error already; that nobody can be named is no other one.
    let _ = add_attachers(system, &mut segments);
    let attachers = segments[0].attachers.as_ref()?;
    let name = |process: &[Attacher]| {
        let perhaps = if process.iter().all(|mapping| mapping.certain) { "" } else { ", perhaps," };
        format!("pid {}{perhaps}", process[0].process())
    };
    let mut names: Vec<String> = attachers.processes().take(NAMED).map(name).collect();
    let more = attachers.processes().count().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    for (reason, count) in &attachers.hidden {
        let what = if names.is_empty() { "somebody who" } else { "more who" };
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        names.push(format!("{what} cannot be seen ({times}: {})", reason.meaning()));
    }
    let (last, others) = names.split_last()?;
    Some(if others.is_empty() { format!("by {last}") } else { format!("by {} and {last}", others.join(", ")) })
}

/// Makes the refusal to touch a segment that is attached, with who has it attached, made it and used it last.
pub(crate) fn attached_refusal(system: &System, segment: &Segment, message: String) -> Error {
    let process = |pid: Option<i32>, user: Option<u32>, fate: Fate| {
        let Some(pid) = pid else { return "a process outside this pid namespace".to_owned() };
        let user = user.map(|uid| format!(" of {}", system.user(uid))).unwrap_or_default();
        match fate {
            Fate::Lives(Some(command)) => format!("pid {pid}{user} ({command})"),
            Fate::Lives(None) => format!("pid {pid}{user}, which lives"),
            Fate::Gone => format!("pid {pid}{user}, which is gone"),
            Fate::Unknown => format!("pid {pid}{user}, of which nothing certain is known now"),
        }
    };
    let [creator, last] = fates(system, segment);
    let last = match segment.atime {
        Some(_) => process(segment.lpid, None, last),
        None => "nobody".to_owned(),
    };
    let creator = process(segment.cpid, Some(segment.cuid), creator);
    let times = if segment.nattch == 1 { "once".to_owned() } else { format!("{} times", segment.nattch) };
    let by = name_attachers(system, segment.id).map(|by| format!(", {by}")).unwrap_or_default();
    Error::new(Kind::Refused, message)
        .target(segment.id.to_string())
        .cause(format!("it is attached {times}{by}; created by {creator}, last used by {last}"))
}
