//! The processes that have a segment attached.
//!
//! Nothing is scanned if nattch is 0. For a few segments, the creators and last users are scanned first. A scan ends
//! when the mappings found add up to nattch; processes that share a memory (CLONE_VM) are then unknown. If mappings are
//! missing and the segment's record has changed meanwhile, the scan is repeated. What is still missing is reported with
//! a reason: inaccessible processes, another pid namespace, or an attach or detach during the scan. A mapping whose
//! process would have to have left the segment's namespace is uncertain unless the file identifies it, and does not
//! count towards nattch while there are inaccessible processes.
//!
//! If /proc belongs to another pid namespace, its pids are other processes, and nothing is concluded from it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::matcher::Matcher;
use super::scan::{MappingFilter, ScanResult, inode_of, scan, scan_only};
use crate::model::{Attachers, HiddenBy, Key, Needs, Object, ShmId, SysV};
use crate::procfs::{self, ProcError};
use crate::query::failure::QueryError;
use crate::query::host::{System, can_inspect_all, page_size_on, segment_devices};
use crate::query::inventory::{inventory, lookup};

/// The most scans if the mappings found and nattch do not agree.
const MAX_SCANS: usize = 3;
/// The most segments whose creators and last users are scanned before all other processes.
const FEW_SEGMENTS: usize = 16;

/// Adds the attached processes to segments, with one scan for all of them.
pub(crate) fn add_attachers(system: &System, segments: &mut [Object]) -> Result<(), QueryError> {
    add(system, segments, false).map(drop)
}

/// Does the same as [`add_attachers`] for the segments of all namespaces, and returns the mappings that belong to none
/// of them: those of segments whose namespace has no processes left and exists only because of that attachment.
pub(crate) fn add_attachers_and_find_strays(
    system: &System,
    segments: &mut [Object],
) -> Result<Vec<(ShmId, Attachers)>, QueryError> {
    add(system, segments, true)
}

/// Adds the page sizes to segments whose attachers are known.
pub(crate) fn add_page_sizes(system: &System, segments: &mut [Object]) {
    let mut known = HashMap::new();
    for segment in segments {
        let device = segment.certain_attacher().map(|attacher| attacher.device);
        let page_size = |device| *known.entry(device).or_insert_with(|| page_size_on(device, system.page_size()));
        segment.page_size = device.and_then(page_size);
    }
}

/// Returns the segments of this namespace that are marked for destruction and had one of these keys.
pub(crate) fn removed_with_key(system: &System, keys: &[Key]) -> Result<Vec<Object>, QueryError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut segments = inventory(system, Needs::empty())?;
    segments.retain(|segment| segment.sysv().dest);
    add_attachers(system, &mut segments)?;
    segments.retain(|segment| segment.former_key().is_some_and(|key| keys.contains(&key)));
    Ok(segments)
}

/// Keeps the segments that one of these processes has attached, and adds only their attachments unless attachments are
/// known already. Only these processes are scanned. Returns those that cannot be inspected, with the reason.
pub(crate) fn retain_attached_by(
    system: &System,
    segments: &mut Vec<Object>,
    pids: &[i32],
) -> Result<Vec<(i32, ProcError)>, QueryError> {
    let here = system.scope();
    segments.iter_mut().for_each(|segment| segment.scope = segment.scope.or(here));
    let pids: BTreeSet<i32> = pids.iter().copied().collect();
    if !system.proc_shows_own_pids() {
        segments.clear();
        let foreign = || ProcError::read(system.proc(), io::Error::other("it belongs to another pid namespace"));
        return Ok(pids.into_iter().map(|pid| (pid, foreign())).collect());
    }
    let devices = segment_devices().map_err(QueryError::Devices)?;
    let (found, failed) = scan_only(system, pids, &MappingFilter { devices: &devices, inodes: None });
    let chosen: Vec<&Object> = segments.iter().collect();
    let mut matcher = Matcher::new(system, &found, &chosen);
    let assigned: Vec<Attachers> = segments.iter().map(|segment| matcher.assign(segment)).collect();
    let mut assigned = assigned.into_iter();
    segments.retain_mut(|segment| {
        let attachers = assigned.next().unwrap_or_default();
        let is_attached = !attachers.list.is_empty();
        segment.attachers.get_or_insert_with(|| Arc::new(attachers));
        is_attached
    });
    Ok(failed)
}

fn add(system: &System, segments: &mut [Object], strays: bool) -> Result<Vec<(ShmId, Attachers)>, QueryError> {
    let here = system.scope();
    for segment in segments.iter_mut() {
        segment.scope = segment.scope.or(here);
        segment.attachers = Some(Arc::default());
    }
    let mut pending: Vec<usize> = (0..segments.len()).filter(|index| segments[*index].sysv().nattch > 0).collect();
    if pending.is_empty() && !strays {
        return Ok(Vec::new());
    }
    if !system.proc_shows_own_pids() {
        let reason = if system.has_proc() { HiddenBy::PidNamespace } else { HiddenBy::Unknown };
        for index in pending {
            let hidden = vec![(reason, segments[index].sysv().nattch)];
            segments[index].attachers = Some(Arc::new(Attachers { list: Vec::new(), hidden }));
        }
        return Ok(Vec::new());
    }
    let mut stray = Vec::new();
    let listed: HashSet<_> =
        segments.iter().filter_map(|segment| Some((segment.ipc_namespace()?, segment.sysv().id))).collect();
    let mut changed = HashSet::new();
    for attempt in 1..=MAX_SCANS {
        let chosen: Vec<&Object> = pending.iter().map(|index| &segments[*index]).collect();
        let found = find(system, &chosen, strays && attempt == 1)?;
        let mut matcher = Matcher::new(system, &found, &chosen);
        let assigned: Vec<(usize, Attachers)> =
            pending.iter().map(|index| (*index, matcher.assign(&segments[*index]))).collect();
        if strays && attempt == 1 {
            stray = matcher.strays(&listed);
        }
        pending.clear();
        let some_inaccessible = found.some_inaccessible;
        for (index, mut attachers) in assigned {
            let segment = &mut segments[index];
            let missing = segment.sysv().nattch.saturating_sub(attachers.found());
            let agrees = segment.sysv().nattch == attachers.found();
            if !agrees && attempt < MAX_SCANS {
                let has_changed = refresh(system, segment);
                if has_changed {
                    changed.insert(index);
                }
                // Inaccessible processes explain missing mappings, but never too many.
                let explained = missing > 0 && some_inaccessible;
                if has_changed || !explained {
                    pending.push(index);
                }
            }
            if missing > 0 {
                // With CAP_SYS_PTRACE few processes remain inaccessible, and they are an unlikely reason.
                let reason = match changed.contains(&index) {
                    true if !some_inaccessible || can_inspect_all(system) => HiddenBy::InFlight,
                    _ if some_inaccessible => HiddenBy::Permission,
                    _ if !system.is_in_initial_pid_namespace() => HiddenBy::PidNamespace,
                    _ => HiddenBy::Unknown,
                };
                attachers.hidden.push((reason, missing));
            }
            segment.attachers = Some(Arc::new(attachers));
        }
        if pending.is_empty() {
            break;
        }
    }
    Ok(stray)
}

/// Scans for mappings: the creators and last users of a few segments first, and no other processes if that accounts for
/// all.
fn find(system: &System, segments: &[&Object], everything: bool) -> Result<ScanResult, QueryError> {
    let devices = segment_devices().map_err(QueryError::Devices)?;
    let mut inodes: Vec<u64> = segments.iter().map(|segment| inode_of(segment.sysv().id)).collect();
    inodes.sort_unstable();
    inodes.dedup();
    let filter = MappingFilter { devices: &devices, inodes: (!everything).then_some(inodes) };
    // The scan can end early only if all segments are of one namespace.
    let namespace = segments.first().and_then(|segment| segment.ipc_namespace());
    let can_end_early = !everything && segments.iter().all(|segment| segment.ipc_namespace() == namespace);
    let is_complete = |found: &ScanResult| {
        let mut matcher = Matcher::new(system, found, segments);
        segments.iter().all(|segment| matcher.assign(segment).found() == segment.sysv().nattch)
    };
    let needed = segments.iter().map(|segment| segment.sysv().nattch).sum();
    if can_end_early && segments.len() <= FEW_SEGMENTS {
        let recorded: BTreeSet<i32> = segments.iter().flat_map(|segment| segment.sysv().processes()).collect();
        let mut found = scan(system, recorded, &filter, namespace, needed).map_err(QueryError::Mappings)?;
        (found.complete, found.exhaustive) = (false, false);
        if is_complete(&found) {
            return Ok(found);
        }
    }
    let scan_all = |needed| {
        let pids = procfs::pids(system.proc()).map_err(QueryError::Mappings)?;
        scan(system, pids, &filter, namespace, needed).map_err(QueryError::Mappings)
    };
    if can_end_early {
        let found = scan_all(needed)?;
        if found.complete || found.exhaustive || is_complete(&found) {
            return Ok(found);
        }
        // Some of the mappings belong to another segment, or to a memory that two processes share.
    }
    scan_all(u64::MAX)
}

/// Reads a segment's record again; returns whether its attachments have changed.
fn refresh(system: &System, old: &mut Object) -> bool {
    if old.ipc_namespace() != system.namespace() {
        return false;
    }
    let Ok(now) = lookup(system, old.ident(), Needs::empty()) else { return false };
    let old = old.sysv_mut();
    let mut new = old.clone();
    match &now {
        Some(now) => {
            let SysV { nattch, atime, dtime, lpid, .. } = now.sysv();
            (new.nattch, new.atime, new.dtime, new.lpid) = (*nattch, *atime, *dtime, *lpid);
        }
        None => new.nattch = 0,
    }
    let changed = new != *old;
    *old = new;
    changed
}
