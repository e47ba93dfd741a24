//! The segments that a command leaked: what is new, and which processes created it.

use std::sync::Arc;
use std::time::Duration;

use super::provenance::{Baseline, CreatorEvidence};
use crate::model::{Leak, Leaks, Needs, Object};
use crate::procfs;
use crate::query::{
    ProcessStatus, QueryError, SLACK_SECONDS, System, add_attachers, commands, inventory, lookup,
    wait_for_exiting_users,
};

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
    Unrelated,
}

/// Returns whose a new segment is. Only an observed creator makes it the command's: see [`super::provenance`].
fn judge(system: &System, baseline: Option<&Baseline>, evidence: &CreatorEvidence, segment: &Object) -> Verdict {
    let running = || commands(system, segment).into_iter().next().flatten();
    let candidate = evidence.candidate(segment);
    match (evidence.creator(segment), baseline) {
        (Some(creator), _) if creator.descends => Verdict::Leaked(creator.command.clone().or_else(running)),
        (Some(_), _) => Verdict::Unrelated,
        (None, None) => Verdict::Leaked(candidate.and_then(|call| call.command.clone()).or_else(running)),
        (None, Some(_)) if evidence.traced && candidate.is_none() => Verdict::Unrelated,
        (None, Some(baseline)) if !evidence.traced && is_of_another_process(system, baseline, segment) => {
            Verdict::Unrelated
        }
        (None, Some(_)) if system.is_caller(segment.sysv().cuid) => Verdict::Unattributed,
        (None, Some(_)) => Verdict::OtherUser,
    }
}

/// Returns the segments that the command leaked, and those that it may have. There is no baseline if the command had
/// the IPC namespace to itself, so every segment in it is the command's.
pub(crate) fn leaks(
    system: &System,
    baseline: Option<&Baseline>,
    evidence: &CreatorEvidence,
) -> Result<Leaks, QueryError> {
    let mut found = Leaks::default();
    let (mut segments, mut verdicts) = (Vec::new(), Vec::new());
    for segment in inventory(system, Needs::RECORD)? {
        if baseline.is_some_and(|baseline| baseline.contains(&segment)) {
            continue;
        }
        match judge(system, baseline, evidence, &segment) {
            Verdict::Unrelated => {}
            Verdict::OtherUser => found.others += 1,
            verdict => {
                segments.push(segment);
                verdicts.push(verdict);
            }
        }
    }
    add_attachers(system, &mut segments)?;
    for (segment, verdict) in segments.into_iter().zip(verdicts) {
        let attachers = segment.attachers.clone().unwrap_or_default();
        let leak = |creator_command| Leak { segment, creator_command, attachers, outcome: None, reason: None };
        match verdict {
            Verdict::Leaked(creator_command) => found.leaked.push(leak(creator_command)),
            _ => found.unattributed.push(leak(None)),
        }
    }
    Ok(found)
}

/// The longest wait for processes that are exiting.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Waits for exiting processes that use the segments, and omits segments that were destroyed.
pub(crate) fn settle(system: &System, leaks: &mut Leaks) -> Result<(), QueryError> {
    let segments = leaks.leaked.iter().chain(&leaks.unattributed).map(|leak| &leak.segment);
    let some_have_exited = wait_for_exiting_users(system, segments, MAX_WAIT);
    let system = system.renewed();
    for list in [&mut leaks.leaked, &mut leaks.unattributed] {
        let mut segments = Vec::new();
        for leak in std::mem::take(list) {
            let now = lookup(&system, leak.segment.ident(), Needs::RECORD)?;
            // It may have lost its key since.
            if let Some(now) = now.filter(|now| now.identity() == leak.segment.identity()) {
                segments.push(now);
                list.push(leak);
            }
        }
        if some_have_exited {
            add_attachers(&system, &mut segments)?;
            list.iter_mut().zip(segments).for_each(|(leak, segment)| leak.segment = segment);
        }
    }
    Ok(())
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
        && system.effective_uid_now(pid) == Some(segment.sysv().cuid)
        && !may_descend(system, pid)
}

/// Returns whether a process may descend from this one, as far as its ancestors show.
fn may_descend(system: &System, pid: i32) -> bool {
    let own = std::process::id().cast_signed();
    // Pid reuse during the walk could form a cycle; there are at most 2^22 processes.
    let mut ancestors = std::iter::successors(Some(pid), |pid| procfs::parent(system.proc(), *pid)).take(1 << 22);
    // 0 is the parent of process 1 of the pid namespace, and of a process whose parent is outside.
    ancestors.find(|ancestor| [own, 0].contains(ancestor)) != Some(0)
}

#[cfg(test)]
mod tests {
    use super::super::provenance::{Creator, UnboundCall};
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
    fn a_call_that_was_not_observed_may_have_created_a_segment_of_its_size_and_key() {
        let system = System::new();
        let mut calls = CreatorEvidence::of_trace();
        calls.record_unbound(UnboundCall { pid: UNUSED, key: Key::PRIVATE, size: 1, command: None });
        let judge = |segment: &Object| judge(&system, Some(&Baseline::default()), &calls, segment);
        let fits = segment(UNUSED, system.uid(), 1000);
        let of_other_key = fits.clone().with(|segment| segment.key = Key::new(5));
        assert_eq!(judge(&of_other_key.clone().with(|segment| segment.dest = true)), Verdict::Unattributed);
        assert_eq!(judge(&fits), Verdict::Unattributed);
        assert_eq!(judge(&of_other_key), Verdict::Unrelated);
        assert_eq!(judge(&Object { size: 2, ..fits }), Verdict::Unrelated);
    }

    #[test]
    fn a_segment_is_the_last_creators_if_its_id_and_pid_recur() {
        let segment = segment(UNUSED, 0, 1000);
        let mut evidence = CreatorEvidence::default();
        for (descends, verdict) in [(true, Verdict::Leaked(None)), (false, Verdict::Unrelated)] {
            evidence.bind(&segment, Creator { descends, command: None });
            assert_eq!(judge(&System::new(), Some(&Baseline::default()), &evidence, &segment), verdict);
        }
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
