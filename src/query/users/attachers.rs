//! The processes that have a segment attached.
//!
//! Nothing is scanned if nattch is 0. For a few segments, the creators and last users are scanned first, and no other
//! process if their mappings add up to nattch; processes that share a memory (CLONE_VM) are then unknown.
//!
//! If mappings are missing, the segment's record is read again. Every attach and detach sets its times, to the second:
//! if both are older than the second in which the scan began, nothing has changed since, and what is missing has a
//! reason. Otherwise the scan is repeated once the second is over. It is also repeated if an accessible process can be
//! in shmat or shmdt, before other processes are given as the reason.
//!
//! A mapping of a process outside the segment's namespace is always uncertain. It does not count towards nattch if some
//! processes are inaccessible and it is unknown whether the other namespace has a segment that fits the mapping better.
//!
//! If /proc belongs to another pid namespace, its pids are other processes, and nothing is concluded from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::matcher::Matcher;
use super::scan::{MappingFilter, ScanResult, hidden_by_proc, inode_of, scan, scan_all, scan_only, some_busy};
use crate::model::{Hidden, HiddenBy, Key, Needs, Object, SegmentUsers, ShmId, Stamp, SysV};
use crate::procfs::{self, ProcError};
use crate::query::failure::QueryError;
use crate::query::host::{ProcessStatus, System, page_size_on, segment_devices, wait_for_exits};
use crate::query::inventory::{complete_again, inventory, lookup};
use crate::query::state::creator_and_last_user;
use crate::sys::{self, Errno, SysError};

/// Maximum number of scans if the mappings found and nattch do not agree.
const MAX_SCANS: usize = 3;
/// Maximum number of segments whose creators and last users are scanned before all other processes.
const FEW_SEGMENTS: usize = 16;

/// Adds the attached processes to segments, with one scan for all of them.
pub(crate) fn add_attachers(system: &System, segments: &mut [Object]) -> Result<(), QueryError> {
    add(system, segments, Search::Settled).map(drop)
}

/// Does the same as [`add_attachers`] without waiting: if mappings are missing, the reason may remain unknown.
pub(crate) fn add_attachers_at_once(system: &System, segments: &mut [Object]) -> Result<(), QueryError> {
    add(system, segments, Search::Once).map(drop)
}

/// Returns an object with the processes that have it attached now, if it is a segment.
pub(crate) fn with_attachers(system: &System, object: &Object) -> Result<Object, QueryError> {
    let mut object = object.clone();
    add_attachers(system, std::slice::from_mut(&mut object))?;
    Ok(object)
}

/// Does the same as [`add_attachers`] for the segments of all namespaces, and returns the mappings that belong to none
/// of them: those of segments whose namespace has no processes left and exists only because of that attachment.
pub(crate) fn add_attachers_and_find_strays(
    system: &System,
    segments: &mut [Object],
) -> Result<Vec<(ShmId, SegmentUsers)>, QueryError> {
    add(system, segments, Search::WithStrays)
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
pub(crate) fn removed_with_key(system: &System, keys: &[Key], needs: Needs) -> Result<Vec<Object>, QueryError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    removed_among(system, keys, &inventory(system, needs)?)
}

/// Returns those of some segments that are marked for destruction and had one of these keys.
pub(crate) fn removed_among(system: &System, keys: &[Key], segments: &[Object]) -> Result<Vec<Object>, QueryError> {
    let mut segments: Vec<Object> = segments.iter().filter(|segment| segment.is_marked()).cloned().collect();
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
    let (found, failed) = inspect(system, pids)?;
    let chosen: Vec<&Object> = segments.iter().collect();
    let mut matcher = Matcher::new(system, &found, &chosen);
    let assigned: Vec<SegmentUsers> = segments.iter().map(|segment| matcher.assign(segment)).collect();
    let mut assigned = assigned.into_iter();
    segments.retain_mut(|segment| {
        let attachers = assigned.next().unwrap_or_default();
        let is_attached = !attachers.list.is_empty();
        segment.attachers.get_or_insert_with(|| Arc::new(attachers));
        is_attached
    });
    Ok(failed)
}

/// Returns those of some processes that cannot be inspected, with the reason.
pub(crate) fn not_inspectable(system: &System, pids: &[i32]) -> Result<Vec<(i32, ProcError)>, QueryError> {
    inspect(system, pids).map(|(_, failed)| failed)
}

/// Finds the mappings of segments in some processes. Also returns those that cannot be inspected, with the reason.
fn inspect(system: &System, pids: &[i32]) -> Result<(ScanResult, Vec<(i32, ProcError)>), QueryError> {
    let pids: BTreeSet<i32> = pids.iter().copied().collect();
    if let Some(problem) = system.proc_problem() {
        let unusable = || ProcError::read(system.proc(), io::Error::other(format!("/proc {problem}")));
        return Ok((ScanResult::default(), pids.into_iter().map(|pid| (pid, unusable())).collect()));
    }
    let devices = segment_devices().map_err(QueryError::Devices)?;
    Ok(scan_only(system, pids, &MappingFilter { devices: &devices, inodes: None }))
}

/// How to search for attachments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Again, after a wait, if that can find missing ones.
    Settled,
    /// Like `Settled`, also for those of no listed segment.
    WithStrays,
    Once,
}

fn add(system: &System, segments: &mut [Object], search: Search) -> Result<Vec<(ShmId, SegmentUsers)>, QueryError> {
    let strays = search == Search::WithStrays;
    let max_scans = if search == Search::Once { 1 } else { MAX_SCANS };
    let here = system.scope();
    for segment in segments.iter_mut().filter(|segment| segment.is_segment()) {
        segment.scope = segment.scope.or(here);
        segment.attachers = Some(Arc::default());
    }
    let mut pending: Vec<usize> =
        (0..segments.len()).filter(|index| segments[*index].is_segment() && segments[*index].is_in_use()).collect();
    if pending.is_empty() && !strays {
        return Ok(Vec::new());
    }
    if let Some(reason) = hidden_by_proc(system) {
        for index in pending {
            let hidden = vec![Hidden { reason, count: segments[index].sysv().nattch, pids: None }];
            segments[index].attachers = Some(Arc::new(SegmentUsers { list: Vec::new(), hidden }));
        }
        return Ok(Vec::new());
    }
    let mut stray = Vec::new();
    let mut changed = HashSet::new();
    let mut exiting = BTreeMap::new();
    for attempt in 1..=max_scans {
        let start = now();
        let chosen: Vec<&Object> = pending.iter().map(|index| &segments[*index]).collect();
        let mut found = find(system, &chosen, strays && attempt == 1)?;
        // Numbers prove nothing if a process has attached or detached since nattch was read.
        found.exhaustive = found.exhaustive && chosen.iter().all(|segment| is_unchanged(system, segment));
        let mut matcher = Matcher::new(system, &found, &chosen);
        let assigned: Vec<(usize, SegmentUsers)> =
            pending.iter().map(|index| (*index, matcher.assign(&segments[*index]))).collect();
        if strays && attempt == 1 {
            stray = matcher.strays(&identities(segments));
        }
        pending.clear();
        let mut waits = Vec::new();
        let mut busy = HashMap::new();
        for (index, mut attachers) in assigned {
            let segment = &mut segments[index];
            for attacher in &mut attachers.list {
                let pid = attacher.pid;
                attacher.exiting = *exiting.entry(pid).or_insert_with(|| system.is_exiting(pid) == Some(true));
            }
            if segment.sysv().nattch != attachers.found() {
                let view = View::of(system, &found, segment, start);
                let missing = segment.sysv().nattch.saturating_sub(attachers.found());
                if view.has_changed == Some(true) {
                    changed.insert(index);
                }
                let ns = segment.ipc_namespace();
                let in_doubt = view.is_settled
                    && view.some_unseen()
                    && missing > 0
                    && *busy.entry(ns).or_insert_with(|| some_busy(system, ns));
                attachers.hidden = view.reasons(missing, changed.contains(&index), in_doubt);
                let wait = attempt == 1 && view.needs_time(missing);
                let unexplained = !view.is_settled && !view.has_explanation();
                let incomplete = view.has_changed == Some(true) || missing == 0 || wait || unexplained || in_doubt;
                if attempt < max_scans && incomplete {
                    pending.push(index);
                }
                waits.extend(Some(view.exiting).filter(|_| wait));
            }
            segment.attachers = Some(Arc::new(attachers));
        }
        if pending.is_empty() {
            break;
        }
        match waits.concat() {
            _ if waits.iter().any(Vec::is_empty) => std::thread::sleep(rest_of_second()),
            exiting if !exiting.is_empty() => wait_for_exits(exiting, SECOND),
            _ if busy.into_values().any(|is_busy| is_busy) => std::thread::sleep(MOMENT),
            _ => {}
        }
    }
    Ok(stray)
}

/// Returns the namespace and id of each segment.
fn identities(segments: &[Object]) -> HashSet<(u64, ShmId)> {
    let segments = segments.iter().filter(|object| object.is_segment());
    segments.filter_map(|segment| Some((segment.ipc_namespace()?, segment.sysv().id))).collect()
}

/// What is known about a segment with missing mappings.
struct View {
    /// The exiting processes that can have them.
    exiting: Vec<i32>,
    /// The exiting process that certainly has one: the last user, if its last operation was an attach.
    certain: Option<i32>,
    some_inaccessible: bool,
    /// Whether there can be processes outside this pid namespace.
    some_outside: bool,
    /// Whether the record differs from the one before the scan; `None` if it cannot be read.
    has_changed: Option<bool>,
    /// Whether no process has attached or detached the segment since the scan began.
    is_settled: bool,
}

impl View {
    /// Reads the record of a segment again.
    fn of(system: &System, found: &ScanResult, segment: &mut Object, start: Option<Stamp>) -> Self {
        let running = creator_and_last_user(system, segment).map(ProcessStatus::is_running);
        let pids = [segment.sysv().cpid, segment.sysv().lpid].into_iter().zip(running);
        let recorded: Vec<i32> = pids.filter_map(|(pid, is_running)| pid.filter(|_| is_running)).collect();
        let exiting = found.exiting(system, segment.ipc_namespace(), &recorded);
        // After the processes were inspected: one that has exited meanwhile has changed the record.
        let has_changed = refresh(system, segment);
        let SysV { lpid, atime, dtime, .. } = *segment.sysv();
        Self {
            certain: lpid.filter(|pid| running[1] && exiting.contains(pid) && atime > dtime),
            exiting,
            some_inaccessible: found.some_inaccessible(),
            some_outside: !system.is_in_initial_pid_namespace(),
            has_changed,
            is_settled: has_changed == Some(false) && atime.max(dtime) < start,
        }
    }

    /// Returns whether processes were not seen that can have the missing mappings and are not known to be exiting.
    fn some_unseen(&self) -> bool {
        self.some_inaccessible || self.some_outside
    }

    fn has_explanation(&self) -> bool {
        self.some_unseen() || !self.exiting.is_empty()
    }

    /// Returns whether a scan in the next second, or after processes have exited, can show more.
    fn needs_time(&self, missing: u64) -> bool {
        let is_ambiguous = !self.exiting.is_empty() && self.some_unseen() && (self.certain.is_none() || missing > 1);
        missing > 0 && self.has_changed.is_some() && self.has_explanation() && (!self.is_settled || is_ambiguous)
    }

    /// Returns why mappings are missing. None of the reasons is a guess: what several can explain is unknown.
    fn reasons(&self, missing: u64, has_changed: bool, in_doubt: bool) -> Vec<Hidden> {
        let candidates = || Some(self.exiting.clone()).filter(|pids| !pids.is_empty());
        let (reason, pids) = match has_changed {
            true if !self.is_settled || in_doubt => (HiddenBy::InFlight, None),
            _ if self.is_settled && !self.exiting.is_empty() && !self.some_unseen() => {
                (HiddenBy::Exiting, candidates())
            }
            _ if !self.is_settled || !self.exiting.is_empty() => (HiddenBy::Unknown, candidates()),
            _ if self.some_inaccessible => (HiddenBy::Permission, None),
            _ if self.some_outside => (HiddenBy::PidNamespace, None),
            _ => (HiddenBy::Unknown, None),
        };
        let certain = self.certain.filter(|_| self.is_settled && reason == HiddenBy::Unknown && missing > 0);
        let certain = certain.map(|pid| Hidden { reason: HiddenBy::Exiting, count: 1, pids: Some(vec![pid]) });
        let others = missing - certain.iter().map(|hidden| hidden.count).sum::<u64>();
        certain.into_iter().chain((others > 0).then_some(Hidden { reason, count: others, pids })).collect()
    }
}

/// Times of segments have this resolution.
const SECOND: Duration = Duration::from_secs(1);
/// Longer than a timer tick: the clock behind these times lags by up to one tick.
const TICK: Duration = Duration::from_millis(20);

/// Longer than a runnable process waits for a CPU, unless the machine is overloaded.
const MOMENT: Duration = Duration::from_millis(250);

/// Returns the second that an attach or detach would record now.
fn now() -> Option<Stamp> {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE).ok().map(|time| Stamp(time.tv_sec()))
}

/// Returns the time until the next second.
fn rest_of_second() -> Duration {
    let passed = clock_gettime(ClockId::CLOCK_REALTIME).ok().and_then(|time| u64::try_from(time.tv_nsec()).ok());
    SECOND.saturating_sub(Duration::from_nanos(passed.unwrap_or(0))) + TICK
}

/// Scans for mappings: the creators and last users of a few segments first, and no other processes if that accounts for
/// all.
fn find(system: &System, segments: &[&Object], everything: bool) -> Result<ScanResult, QueryError> {
    let devices = segment_devices().map_err(QueryError::Devices)?;
    let mut inodes: Vec<u64> = segments.iter().map(|segment| inode_of(segment.sysv().id)).collect();
    inodes.sort_unstable();
    inodes.dedup();
    let filter = MappingFilter { devices: &devices, inodes: (!everything).then_some(inodes) };
    let namespace = segments.first().and_then(|segment| segment.ipc_namespace());
    let are_of_one_namespace = segments.iter().all(|segment| segment.ipc_namespace() == namespace);
    if !everything && segments.len() <= FEW_SEGMENTS && are_of_one_namespace {
        let recorded: BTreeSet<i32> = segments.iter().flat_map(|segment| segment.sysv().processes()).collect();
        let recorded: Vec<i32> = recorded.into_iter().collect();
        let found = scan(system, &recorded, &filter).map_err(QueryError::Mappings)?;
        let mut matcher = Matcher::new(system, &found, segments);
        if segments.iter().all(|segment| matcher.assign(segment).found() == segment.sysv().nattch) {
            return Ok(found);
        }
    }
    scan_all(system, &filter).map_err(QueryError::Mappings)
}

/// Returns whether the record of a segment of this namespace is still the same.
fn is_unchanged(system: &System, segment: &Object) -> bool {
    let usage = |segment: &Object| (segment.identity(), segment.sysv().nattch, segment.sysv().usage());
    segment.ipc_namespace() == system.namespace()
        && lookup(system, segment.ident(), Needs::empty())
            .is_ok_and(|now| now.is_some_and(|now| usage(&now) == usage(segment)))
}

/// Reads a segment's record again; returns whether its attachments have changed, or `None` if it cannot be read.
fn refresh(system: &System, old: &mut Object) -> Option<bool> {
    let id = old.sysv().id;
    let now = match old.ipc_namespace() {
        here if here == system.namespace() => lookup(system, id, Needs::empty()).ok()?,
        there => {
            let mut pids = procfs::pids(system.proc()).ok()?;
            let namespace = pids.find_map(|pid| procfs::open_namespace(system.proc(), pid, Some(there?)).ok())?;
            match sys::in_ipc_namespace(&namespace, move || sys::stat_any(id)).ok()? {
                Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => None,
                found => found.ok()?,
            }
        }
    };
    let mut new = old.sysv().clone();
    match &now {
        Some(now) => {
            let SysV { nattch, atime, dtime, lpid, .. } = now.sysv();
            (new.nattch, new.atime, new.dtime, new.lpid) = (*nattch, *atime, *dtime, *lpid);
        }
        None => new.nattch = 0,
    }
    let changed = new != *old.sysv();
    if changed {
        *old.sysv_mut() = new;
        complete_again(system, old);
    }
    Some(changed)
}
