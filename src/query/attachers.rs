//! Who has a segment attached: the processes behind nattch.
//!
//! A mapping is known by its device, its inode number, which is the segment's id, and the namespace. An id stands for
//! another segment in every IPC namespace, and processes can leave the one where they attached. With privilege the
//! file behind a mapping tells segments of one id apart, by its handle and the time of its birth; without, the
//! namespace of the process is the best guess, and nattch tells if it was wrong.

use std::collections::HashSet;
use std::sync::Arc;

use super::judge::Judge;
use super::processes::{Found, Wanted, inode_of, look_into};
use super::rights::looks_into_all;
use super::{System, segment};
use crate::error::{Error, Kind};
use crate::model::{Attachers, HiddenBy, Needs, Segment, ShmId};
use crate::procfs::{self, ProcError};

/// How often it is looked again where what was found and nattch do not agree.
const LOOKS: usize = 3;
/// Up to so many segments, their creators and last users are looked into before all others.
const FEW: usize = 16;

/// Completes segments with who has them attached, with one look at all processes.
///
/// Each is looked for in the namespace that it is from; nothing is looked at where nobody is attached.
///
/// # Errors
/// We cannot look at all, for want of descriptors or of /proc.
pub(crate) fn add_attachers(system: &System, segments: &mut [Segment]) -> Result<(), Error> {
    add(system, segments, false).map(drop)
}

/// As [`add_attachers`] for the segments of all namespaces; gives the mappings that are of none of them.
///
/// These are of segments whose namespace has no process any more, and lives by that attachment alone.
///
/// # Errors
/// As there.
pub(crate) fn add_attachers_and_find_strays(
    system: &System,
    segments: &mut [Segment],
) -> Result<Vec<(ShmId, Attachers)>, Error> {
    add(system, segments, true)
}

/// Completes segments, and finds strays if wanted.
fn add(system: &System, segments: &mut [Segment], strays: bool) -> Result<Vec<(ShmId, Attachers)>, Error> {
    let here = system.namespace();
    for segment in segments.iter_mut() {
        segment.ns = segment.ns.or(here);
        segment.attachers = Some(Arc::default());
    }
    let mut open: Vec<usize> = (0..segments.len()).filter(|index| segments[*index].nattch > 0).collect();
    if open.is_empty() && !strays {
        return Ok(Vec::new());
    }
    if !system.owns_proc() {
        let reason = if system.has_proc() { HiddenBy::PidNamespace } else { HiddenBy::Unknown };
        for index in open {
            let hidden = vec![(reason, segments[index].nattch)];
            segments[index].attachers = Some(Arc::new(Attachers { list: Vec::new(), hidden }));
        }
        return Ok(Vec::new());
    }
    let mut stray = Vec::new();
    let listed: HashSet<_> = segments.iter().filter_map(|segment| Some((segment.ns?, segment.id))).collect();
    let mut moved = HashSet::new();
    let sees_everything = looks_into_all(system);
    let hides_processes = hides_processes(system);
    for look in 1..=LOOKS {
        let chosen: Vec<&Segment> = open.iter().map(|index| &segments[*index]).collect();
        let found = find(system, &chosen, strays && look == 1)?;
        let mut judge = Judge::new(system, &found, &chosen);
        let judged: Vec<(usize, Attachers)> =
            open.iter().map(|index| (*index, judge.judge(&segments[*index]))).collect();
        if strays && look == 1 {
            stray = judge.strays(&listed);
        }
        open.clear();
        let closed = found.closed > 0 || hides_processes;
        for (index, mut attachers) in judged {
            let segment = &mut segments[index];
            let missing = segment.nattch.saturating_sub(attachers.found());
            let agrees = segment.nattch == attachers.found();
            if !agrees && look < LOOKS {
                let has_moved = refresh(system, segment);
                if has_moved {
                    moved.insert(index);
                }
                // Processes that are closed to us explain what is missing; too much is never explained by them.
                let explained = missing > 0 && closed;
                if has_moved || !explained {
                    open.push(index);
                }
            }
            if missing > 0 {
                // Whoever may look into every process meets few that are closed all the same, and these explain little.
                let reason = match moved.contains(&index) {
                    true if !closed || sees_everything => HiddenBy::InFlight,
                    _ if closed => HiddenBy::Permission,
                    _ if !system.sees_all_pids() => HiddenBy::PidNamespace,
                    _ => HiddenBy::Unknown,
                };
                attachers.hidden.push((reason, missing));
            }
            segment.attachers = Some(Arc::new(attachers));
        }
        if open.is_empty() {
            break;
        }
    }
    Ok(stray)
}

/// Looks for mappings: into the creators and last users of a few segments first, and no further if that accounts for
/// all.
fn find(system: &System, segments: &[&Segment], everything: bool) -> Result<Found, Error> {
    let failed = |error: ProcError| match error {
        ProcError::Read { error, .. } => Error::io("cannot look into processes", &error, "open"),
        ProcError::Format { .. } => Error::new(Kind::Failed, format!("cannot look into processes: {error}")),
    };
    let devices = system.segment_devices().map_err(|errno| {
        Error::new(Kind::Failed, "cannot tell which mappings are segments").os(errno, "memfd_create")
    })?;
    let mut ids: Vec<u64> = segments.iter().map(|segment| inode_of(segment.id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let wanted = Wanted { devices: &devices, ids: (!everything).then_some(ids) };
    // Only where all are of one namespace can what was found there be held against what is needed.
    let home = segments.first().and_then(|segment| segment.ns);
    let together = !everything && segments.iter().all(|segment| segment.ns == home);
    let accounted = |found: &Found| {
        let mut judge = Judge::new(system, found, segments);
        segments.iter().all(|segment| judge.judge(segment).found() == segment.nattch)
    };
    let look = |pids: &[i32], needed| look_into(system, pids, &wanted, home, needed).map_err(failed);
    if !together {
        return look(&procfs::pids(system.proc()).map_err(failed)?.collect::<Vec<_>>(), u64::MAX);
    }
    let needed = segments.iter().map(|segment| segment.nattch).sum();
    if segments.len() <= FEW {
        let mut first: Vec<i32> = segments.iter().flat_map(|segment| [segment.cpid, segment.lpid]).flatten().collect();
        first.sort_unstable();
        first.dedup();
        let mut found = look(&first, needed)?;
        found.all = false;
        if accounted(&found) {
            return Ok(found);
        }
    }
    let pids: Vec<i32> = procfs::pids(system.proc()).map_err(failed)?.collect();
    let found = look(&pids, needed)?;
    if found.all || accounted(&found) {
        return Ok(found);
    }
    // Some of what was counted is another segment's, or one memory's that two processes share.
    look(&pids, u64::MAX)
}

/// Reads a segment's record anew; gives whether its attachments have moved.
fn refresh(system: &System, old: &mut Segment) -> bool {
    if old.ns != system.namespace() {
        return false;
    }
    let Ok(now) = segment(system, old.id, Needs::empty()) else { return false };
    let (nattch, atime, dtime, lpid) =
        now.map_or((0, old.atime, old.dtime, old.lpid), |now| (now.nattch, now.atime, now.dtime, now.lpid));
    let moved = (nattch, atime, dtime, lpid) != (old.nattch, old.atime, old.dtime, old.lpid);
    (old.nattch, old.atime, old.dtime, old.lpid) = (nattch, atime, dtime, lpid);
    moved
}

/// Tells whether /proc hides processes from us (its hidepid option): even the first one, which always lives.
fn hides_processes(system: &System) -> bool {
    !system.proc().join("1").exists()
}
