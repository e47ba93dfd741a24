//! The segments that a command leaked: what is new, and which processes created it.

use std::sync::Arc;

use super::descendants::Descendants;
use super::provenance::{Baseline, Calls, Creator};
use crate::model::{Leak, Leaks, Needs, Object};
use crate::procfs;
use crate::query::{ProcessStatus, QueryError, SLACK_SECONDS, System, add_attachers, commands, inventory};

#[derive(Debug)]
pub(crate) struct Evidence {
    /// Whether the command had the IPC namespace to itself, so that every segment in it is the command's.
    isolated: bool,
    observed: Observed,
}

#[derive(Debug)]
enum Observed {
    /// By observing its descendants every few milliseconds.
    Descendants(Descendants),
    /// By its traced shmget calls.
    Calls(Calls),
}

/// Whose a new segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The command's, created by a process with this command line.
    Leaked(Option<Arc<str>>),
    /// The caller's; it may be the command's.
    Unattributed,
    /// Another user's; it may be the command's.
    OtherUser,
    /// Not the command's.
    Foreign,
}

impl Evidence {
    pub(crate) fn of_descendants(isolated: bool, descendants: Descendants) -> Self {
        Self { isolated, observed: Observed::Descendants(descendants) }
    }

    pub(crate) fn of_calls(isolated: bool, calls: Calls) -> Self {
        Self { isolated, observed: Observed::Calls(calls) }
    }

    /// Returns whose a new segment is. Only an observed creator makes it the command's: see [`super::provenance`].
    fn judge(&self, system: &System, baseline: &Baseline, segment: &Object) -> Verdict {
        let provenance = match &self.observed {
            Observed::Descendants(descendants) => descendants.provenance(),
            Observed::Calls(calls) => &calls.provenance,
        };
        match provenance.creator(segment) {
            Some(Creator { descends: true, command }) => return Verdict::Leaked(command.clone()),
            Some(_) => return Verdict::Foreign,
            None => {}
        }
        if self.isolated {
            let candidate = match &self.observed {
                Observed::Calls(calls) => calls.candidate(segment).cloned().flatten(),
                Observed::Descendants(_) => None,
            };
            return Verdict::Leaked(candidate.or_else(|| commands(system, segment).into_iter().next().flatten()));
        }
        let foreign = match &self.observed {
            Observed::Calls(calls) => calls.candidate(segment).is_none(),
            Observed::Descendants(_) => is_of_another_process(system, baseline, segment),
        };
        match foreign {
            true => Verdict::Foreign,
            false if segment.sysv().cuid == system.uid() => Verdict::Unattributed,
            false => Verdict::OtherUser,
        }
    }
}

/// Returns the segments that the command leaked, and those that it may have.
pub(crate) fn leaks(system: &System, baseline: &Baseline, evidence: &Evidence) -> Result<Leaks, QueryError> {
    let new = inventory(system, Needs::RECORD)?.into_iter().filter(|segment| !baseline.contains(segment));
    let mut found = Leaks::default();
    let (mut segments, verdicts): (Vec<Object>, Vec<Verdict>) = new
        .filter_map(|segment| match evidence.judge(system, baseline, &segment) {
            Verdict::Foreign => None,
            Verdict::OtherUser => {
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

/// Returns whether a segment was certainly created by a process that does not descend from this one.
fn is_of_another_process(system: &System, baseline: &Baseline, segment: &Object) -> bool {
    // All descendants are inside this pid namespace.
    let Some(pid) = segment.sysv().cpid else { return true };
    let (ProcessStatus::Running(Some(start)), Some(created)) = (system.process_status_now(pid), segment.ctime) else {
        return false;
    };
    // A process that is much older than the segment created it. A younger one may have reused the creator's pid, unless
    // too few tasks were created meanwhile for that. Both times are rounded to seconds, of two clocks.
    let older = start.0.saturating_add(SLACK_SECONDS) <= created.0;
    let as_old = start.0 <= created.0.saturating_add(SLACK_SECONDS);
    (older || (as_old && !baseline.pids_may_be_reused(system)))
        && procfs::effective_uid(system.proc(), pid) == Some(segment.sysv().cuid)
        && !may_descend(system, pid)
}

/// Returns whether a process may descend from this one, as far as its ancestors show.
fn may_descend(system: &System, pid: i32) -> bool {
    let own = std::process::id().cast_signed();
    let mut pid = pid;
    // Pid reuse during the walk could form a cycle; there are at most 2^22 processes.
    for _ in 0..1 << 22 {
        match procfs::parent(system.proc(), pid) {
            Some(parent) if parent == own => return true,
            // Process 1 of the pid namespace, or a process whose parent is outside.
            Some(0) => return false,
            Some(parent) => pid = parent,
            None => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Stamp};

    /// A pid that no process has.
    const UNUSED: i32 = i32::MAX;

    fn segment(cpid: i32, cuid: u32, ctime: i64) -> Object {
        Object { size: 1, ctime: Some(Stamp(ctime)), ..Object::default() }.with(|segment| {
            segment.cpid = Some(cpid);
            segment.cuid = cuid;
        })
    }

    #[test]
    fn a_traced_segment_without_an_observed_call_is_never_leaked_unless_isolated() {
        let system = System::new();
        let uid = system.uid();
        let verdict = |isolated, calls, segment: &Object| {
            Evidence::of_calls(isolated, calls).judge(&system, &Baseline::default(), segment)
        };
        let again = || {
            let mut calls = Calls::default();
            calls.record_unbound(UNUSED, Key::PRIVATE, 1, Some("it"));
            calls
        };
        assert_eq!(verdict(false, again(), &segment(UNUSED, uid, 1000)), Verdict::Unattributed);
        assert_eq!(verdict(false, again(), &segment(UNUSED, uid + 1, 1000)), Verdict::OtherUser);
        assert_eq!(verdict(true, again(), &segment(UNUSED, uid, 1000)), Verdict::Leaked(Some("it".into())));
        // No traced process made a call that fits.
        let other = Object { size: 2, ..segment(UNUSED, uid, 1000) };
        assert_eq!(verdict(false, again(), &other), Verdict::Foreign);
        assert_eq!(verdict(true, again(), &other), Verdict::Leaked(None));
        let marked = segment(UNUSED, uid, 1000).with(|segment| {
            segment.dest = true;
            segment.key = Key::new(5);
        });
        assert_eq!(verdict(false, again(), &marked), Verdict::Unattributed, "it had another key before");
    }

    #[test]
    fn a_running_process_is_the_creator_if_its_pid_was_not_reused() {
        let system = System::new();
        // The parent is older than this process and not its descendant.
        let parent = nix::unistd::getppid().as_raw();
        let uid = procfs::effective_uid(system.proc(), parent).unwrap();
        let now = system.now().0;
        let recent = Baseline::record(&system).unwrap();
        let unknown = Baseline::default();
        assert!(is_of_another_process(&system, &unknown, &segment(parent, uid, now + 1000)), "it is much older");
        assert!(!is_of_another_process(&system, &unknown, &segment(parent, uid + 1, now + 1000)), "another user's");
        assert!(!is_of_another_process(&system, &recent, &segment(parent, uid, 1000)), "it is younger");
        assert!(!is_of_another_process(&system, &recent, &segment(UNUSED, uid, now)), "it has exited");
        let own = std::process::id().cast_signed();
        assert!(is_of_another_process(&system, &recent, &segment(own, uid, now).with(|segment| segment.cpid = None)));
    }
}
