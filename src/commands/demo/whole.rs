//! The whole demo: this process creates and destroys, two others attach, use and detach.

use std::time::Duration;

use super::narrator::Narrator;
use super::{Context, DEFAULT_KEY, PaceArgs};
use crate::act::{self, Creation, Opened, PendingSegment, Removal};
use crate::error::{Error, Exit, Hint, Kind, OsError, program, shmadm};
use crate::model::{Key, KeySpec, Mode, Needs, Outcome, ShmId};
use crate::process::{Interrupts, Pair, WaitOutcome};
use crate::query::{call_stat, lookup, rmid_forced};

/// Time without an event after which the pair is checked.
const LOOK: Duration = Duration::from_secs(1);
/// Default number of rounds.
const ROUNDS: u64 = 5;

/// Runs the demo.
pub(super) fn run(pace: &PaceArgs, keep: bool, context: &mut Context) -> Result<Exit, Error> {
    if keep && rmid_forced(&context.system) == Some(true) {
        return Err(Error::new(Kind::Refused, "cannot keep the segment: it would be destroyed at the last detach")
            .cause("kernel.shm_rmid_forced is 1")
            .hint("turn it off", program("sysctl -w kernel.shm_rmid_forced=0"))
            .hint("run without --keep", shmadm("demo")));
    }
    let interrupts = Interrupts::watch()?;
    let mut narrator = Narrator::new("demo");
    let (made, key) = create(pace, context, &mut narrator)?;
    let id = made.id();
    narrator.stat(context, "create", id)?;
    narrator.note(
        context,
        "create",
        "The segment now exists, attached or not. It has a size but no memory yet (rss 0): the kernel allocates a \
         page when it is first touched.",
    )?;

    let result = attach_use_detach(pace, key, id, context, &mut narrator, &interrupts);
    if let Err(error) = result {
        if let Kind::Interrupted(_) = error.kind {
            drop(made);
            context.ui.status(&format!("interrupted: segment {id} was removed"));
        }
        return Err(error);
    }
    if lookup(&context.system, id, Needs::empty())?.is_none() {
        return report_destroyed(made, id, context, &mut narrator);
    }
    narrator.stat(context, "detach", id)?;
    narrator.note(
        context,
        "detach",
        "The last detach has not destroyed the segment: it and its contents still exist. They would be gone only \
         if the segment had been removed before, or if kernel.shm_rmid_forced were 1.",
    )?;
    if keep {
        let id = made.commit()?;
        narrator.note(
            context,
            "destroy",
            &format!("The segment is kept (--keep). To destroy it, run `shmadm rm {id}`."),
        )?;
        return Ok(Exit::Done);
    }
    destroy(made, context, &mut narrator)?;
    interrupts.check()?;
    Ok(Exit::Done)
}

/// Creates the segment with the requested key, the default one, or a random one.
fn create(pace: &PaceArgs, context: &mut Context, narrator: &mut Narrator) -> Result<(PendingSegment, Key), Error> {
    let asked = pace.key()?;
    let creation = |key| Creation {
        key: KeySpec::Key(key),
        size: None,
        mode: Mode::PRIVATE,
        exclusive: true,
        huge: None,
        no_reserve: false,
        changing: None,
        // This process runs to the end, so the segment survives even if kernel.shm_rmid_forced is 1.
        held: true,
    };
    let mut key = asked.unwrap_or(DEFAULT_KEY);
    loop {
        let size = context.system.page_size();
        let call = format!("shmget({key}, {size}, IPC_CREAT|IPC_EXCL|0600)");
        match act::create(&context.system, &creation(key)) {
            Ok(Opened::New(made)) => {
                narrator.call(context, "create", call, made.id().to_string())?;
                return Ok((made, key));
            }
            Ok(Opened::Existing(_)) => {}
            Err(error) if error.kind == Kind::Exists && asked.is_none() => {
                narrator.call(context, "create", call, "-1 EEXIST".to_owned())?;
                narrator.note(
                    context,
                    "create",
                    &format!("A segment with key {key} exists. It is left unchanged, and the demo uses another key."),
                )?;
                key = Key::new(fastrand::u32(1..));
            }
            Err(mut error) => {
                if error.kind == Kind::Exists {
                    error.hints = vec![Hint::new("let the demo choose an unused key", shmadm("demo"))];
                }
                return Err(error);
            }
        }
    }
}

/// Lets the pair attach, use and detach the segment, and prints their events.
fn attach_use_detach(
    pace: &PaceArgs,
    key: Key,
    id: ShmId,
    context: &mut Context,
    narrator: &mut Narrator,
    interrupts: &Interrupts,
) -> Result<(), Error> {
    interrupts.check()?;
    let rounds = pace.rounds.unwrap_or(ROUNDS);
    let mut pair = Pair::start(key, rounds, pace.interval())?;
    let (mut attached, mut used) = (0, 0_u64);
    loop {
        if !pair.has_line() {
            match interrupts.wait(Some(LOOK), Some(pair.descriptor()))? {
                WaitOutcome::Ready => {}
                WaitOutcome::Timeout => {
                    pair.check()?;
                    continue;
                }
                WaitOutcome::Terminate(_) | WaitOutcome::Signal(_) => break,
            }
        }
        let Some(line) = pair.line()? else { break };
        let event = narrator.forward(context, &line)?;
        if event.event == "call" && event.call.as_deref().is_some_and(|call| call.starts_with("shmat")) {
            attached += 1;
            if attached == 2 {
                narrator.stat(context, "attach", id)?;
                narrator.note(
                    context,
                    "attach",
                    "Two processes have found the segment by its key and mapped the same memory, each at its own \
                     address. nattch counts mappings, not processes.",
                )?;
                pair.begin();
            }
        }
        if event.event != "use" {
            continue;
        }
        used += 1;
        if used == 2 {
            narrator.note(
                context,
                "use",
                "Neither access enters the kernel: this is plain memory. Nothing synchronizes the two processes: the \
                 reader sees whatever the memory contains at that moment.",
            )?;
        }
        if used == rounds.saturating_mul(2) {
            pair.end();
        }
    }
    interrupts.check()?;
    pair.finish()
}

/// Explains why the segment no longer exists after the last detach.
fn report_destroyed(
    made: PendingSegment,
    id: ShmId,
    context: &mut Context,
    narrator: &mut Narrator,
) -> Result<Exit, Error> {
    // Nothing is left to remove.
    let _ = made.commit()?;
    let why = if rmid_forced(&context.system) == Some(true) {
        "kernel.shm_rmid_forced is 1, so the last detach has destroyed the segment. With the default, 0, it would \
         exist until it is removed."
    } else {
        "Another process has removed the segment."
    };
    narrator.note(context, "detach", why)?;
    narrator.call(context, "destroy", format!("shmctl({id}, IPC_STAT, &ds)"), stat_result(id))?;
    Ok(Exit::Done)
}

/// Removes the segment and shows that it no longer exists.
fn destroy(made: PendingSegment, context: &mut Context, narrator: &mut Narrator) -> Result<(), Error> {
    let Some(seen) = lookup(&context.system, made.id(), Needs::empty())? else {
        made.into_id();
        return narrator.note(context, "destroy", "Another process has removed the segment.");
    };
    let outcome = act::remove(&context.system, &seen, Removal { force: true, ..Removal::default() })?;
    let id = made.into_id();
    narrator.call(context, "destroy", format!("shmctl({id}, IPC_RMID, NULL)"), "0".to_owned())?;
    narrator.call(context, "destroy", format!("shmctl({id}, IPC_STAT, &ds)"), stat_result(id))?;
    narrator.note(
        context,
        "destroy",
        match outcome {
            Outcome::Destroyed => {
                "IPC_RMID has destroyed the segment at once, because it was not attached. An attached segment only \
                 loses its key; its memory is freed at the last detach."
            }
            Outcome::Marked => {
                "Another process has the segment attached: its key is freed now, the memory at the last detach."
            }
        },
    )
}

/// Calls IPC_STAT and returns its result as text.
fn stat_result(id: ShmId) -> String {
    match call_stat(id) {
        Ok(_) => "0".to_owned(),
        Err(error) => {
            let error = OsError::from(error);
            format!("-1 {} ({})", error.name(), error.text())
        }
    }
}
