//! The whole demo: the guard creates the segment, two other processes attach, use and detach it, and this process
//! destroys it.

use super::narrator::Narrator;
use super::{Context, DEFAULT_KEY, PaceArgs, creation};
use crate::act::{Opened, PendingSegment};
use crate::commands::new_segment::create_guarded;
use crate::error::{Error, Exit, Hint, Kind, again, shmadm, sysctl};
use crate::model::{Key, Needs, Outcome, ShmId};
use crate::process::{Guard, Interrupts, Pair};
use crate::query::{call_stat, lookup, rmid_forced};

const DEFAULT_ROUNDS: u64 = 5;

pub(super) fn run(pace: &PaceArgs, keep: bool, context: &mut Context) -> Result<Exit, Error> {
    if keep && rmid_forced(&context.system) == Some(true) {
        return Err(Error::new(Kind::Refused, "cannot keep the segment: it would be destroyed at the last detach")
            .cause("kernel.shm_rmid_forced is 1")
            .hint("disable the setting", sysctl("kernel.shm_rmid_forced", 0))
            .hint("run without --keep", again("").without(&["keep"])));
    }
    let interrupts = Interrupts::watch()?;
    let mut narrator = Narrator::new(context, "demo");
    let (pending, key, guard) = create(pace, &mut narrator, &interrupts)?;
    let id = pending.id();
    if let Err(error) = attach_use_detach(pace, key, id, &mut narrator, &interrupts) {
        if let Kind::Interrupted(_) = error.kind {
            drop(pending);
            narrator.context.ui.status(&format!("interrupted: segment {id} was removed"));
            return Err(error);
        }
        return Err(pending.abandon(error));
    }
    narrator.step = "detach";
    if lookup(&narrator.context.system, id, Needs::empty())?.is_none() {
        report_destroyed(pending, &mut narrator)?;
        return Ok(Exit::Done);
    }
    narrator.stat(id)?;
    narrator.note(
        "The last detach has not destroyed the segment: it and its contents still exist. They would be gone only \
         if it had already been marked for destruction, or if kernel.shm_rmid_forced were 1.",
    )?;
    narrator.step = "destroy";
    if keep {
        guard.map_or(Ok(()), Guard::release)?;
        let id = pending.commit()?;
        let hint = Hint::new("To destroy it, run", shmadm(format!("rm {id}")));
        let hint = narrator.context.ui.complete(hint).map(|hint| format!(" {hint}.")).unwrap_or_default();
        narrator.note(&format!("The segment is kept (--keep).{hint}"))?;
        return Ok(Exit::Done);
    }
    destroy(pending, &mut narrator)?;
    interrupts.check()?;
    Ok(Exit::Done)
}

/// Creates the segment with the requested key, the default one, or a random one.
///
/// A guard creates it, so that it does not remain if the demo is killed.
fn create(
    pace: &PaceArgs,
    narrator: &mut Narrator<'_>,
    interrupts: &Interrupts,
) -> Result<(PendingSegment, Key, Option<Guard>), Error> {
    let requested = pace.key()?;
    let mut key = requested.unwrap_or(DEFAULT_KEY);
    let size = narrator.context.system.page_size();
    let (pending, guard) = loop {
        let call = format!("shmget({key}, {size}, IPC_CREAT|IPC_EXCL|0600)");
        match create_guarded(narrator.context, &creation(key, true), interrupts) {
            Ok((Opened::New(pending), guard)) => {
                narrator.call(call, pending.id())?;
                break (pending, guard);
            }
            Ok((Opened::Existing(_), _)) => {}
            Err(error) if error.kind == Kind::Exists && requested.is_none() => {
                narrator.call(call, "-1 EEXIST")?;
                narrator.note(&format!(
                    "A segment with key {key} exists. It is left unchanged, and the demo uses another key."
                ))?;
                key = Key::new(fastrand::u32(1..));
            }
            Err(mut error) => {
                if error.kind == Kind::Exists {
                    error.hints = vec![Hint::new("let the demo choose an unused key", again("").without(&["key"]))];
                }
                return Err(error);
            }
        }
    };
    narrator.stat(pending.id())?;
    let creator = match guard {
        Some(_) => " Its creator (cpid) is a helper process of the demo, which removes it if the demo is killed.",
        None => "",
    };
    narrator.note(&format!(
        "The segment now exists, even though it is not attached. It has a size but no memory yet (rss 0): the \
         kernel allocates a page when it is first touched.{creator}"
    ))?;
    Ok((pending, key, guard))
}

/// Runs the pair, whose processes attach, use and detach the segment, and prints their events.
fn attach_use_detach(
    pace: &PaceArgs,
    key: Key,
    id: ShmId,
    narrator: &mut Narrator<'_>,
    interrupts: &Interrupts,
) -> Result<(), Error> {
    interrupts.check()?;
    let rounds = pace.rounds.unwrap_or(DEFAULT_ROUNDS);
    let mut pair = Pair::start(key, rounds, pace.interval())?;
    let (mut attaches, mut accesses) = (0, 0_u64);
    while let Some(line) = pair.next_line(interrupts)? {
        let event = narrator.forward(&line)?;
        if event.event == "call" && event.call.is_some_and(|call| call.starts_with("shmat")) {
            attaches += 1;
            if attaches == 2 {
                narrator.step = "attach";
                narrator.stat(id)?;
                narrator.note(
                    "Two processes have found the segment by its key and mapped the same memory, each at its own \
                     address. nattch counts mappings, not processes.",
                )?;
                pair.begin();
            }
        } else if event.event == "use" {
            accesses += 1;
            if accesses == 2 {
                narrator.step = "use";
                narrator.note(
                    "Neither access enters the kernel: this is plain memory. Nothing synchronizes the two processes: \
                     the reader sees whatever the memory contains at that moment.",
                )?;
            }
            if accesses == rounds.saturating_mul(2) {
                pair.end();
            }
        }
    }
    interrupts.check()?;
    pair.finish()
}

/// Explains why the segment no longer exists after the last detach.
fn report_destroyed(pending: PendingSegment, narrator: &mut Narrator<'_>) -> Result<(), Error> {
    // Nothing is left to remove.
    let id = pending.commit()?;
    narrator.note(if rmid_forced(&narrator.context.system) == Some(true) {
        "kernel.shm_rmid_forced is 1, so the last detach has destroyed the segment. With the default, 0, it would \
         exist until it is removed."
    } else {
        "Another process has removed the segment."
    })?;
    narrator.step = "destroy";
    call_ipc_stat(id, narrator)
}

/// Removes the segment and shows that it no longer exists.
fn destroy(pending: PendingSegment, narrator: &mut Narrator<'_>) -> Result<(), Error> {
    let outcome = narrator.remove(pending.id())?;
    let id = pending.into_id();
    let Some(outcome) = outcome else { return narrator.note("Another process has removed the segment.") };
    call_ipc_stat(id, narrator)?;
    narrator.note(match outcome {
        Outcome::Destroyed => {
            "IPC_RMID has destroyed the segment at once, because it was not attached. An attached segment only loses \
             its key; its memory is freed at the last detach."
        }
        Outcome::Marked | Outcome::Unlinked => {
            "Another process has the segment attached: its key is freed now, the memory at the last detach."
        }
    })
}

fn call_ipc_stat(id: ShmId, narrator: &mut Narrator<'_>) -> Result<(), Error> {
    let result = match call_stat(id) {
        Ok(_) => "0".to_owned(),
        Err(error) => format!("-1 {} ({})", error.name(), error.text()),
    };
    narrator.call(format!("shmctl({id}, IPC_STAT, &ds)"), result)
}
