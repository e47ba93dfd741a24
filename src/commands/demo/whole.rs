//! The whole demo: this process creates and destroys, two others attach, use and detach.

use std::time::Duration;

use super::teller::Teller;
use super::{Context, PaceArgs, USUAL_KEY};
use crate::act::{self, Creation, Opened, Outcome, PendingSegment, Removal};
use crate::error::{Error, Exit, Kind};
use crate::model::{Key, KeySpec, Mode, Needs, ShmId};
use crate::process::{Interrupts, Pair, WaitOutcome};
use crate::query::{call_stat, rmid_forced, segment};

/// How long the pair may be silent before a look whether it is there still.
const LOOK: Duration = Duration::from_secs(1);
/// How often the pair writes and reads unless told otherwise.
const ROUNDS: u64 = 5;

/// Runs the demo.
///
/// # Errors
/// A call fails, the key that was asked for is taken (Exists), or a signal came; the segment is removed.
pub(super) fn run(pace: &PaceArgs, keep: bool, context: &mut Context) -> Result<Exit, Error> {
    if keep && rmid_forced(&context.system) == Some(true) {
        return Err(Error::new(Kind::Refused, "cannot keep the segment: it would be destroyed at the last detach")
            .cause("kernel.shm_rmid_forced is 1")
            .hint("turn it off: `sysctl -w kernel.shm_rmid_forced=0`")
            .hint("run without --keep: `shmadm demo`"));
    }
    let interrupts = Interrupts::watch()?;
    let mut teller = Teller::new("demo");
    let (made, key) = create(pace, context, &mut teller)?;
    let id = made.id();
    teller.stat(context, "create", id)?;
    teller.note(
        context,
        "create",
        "The segment now exists, attached or not. It has a size but no memory yet (rss 0): the kernel allocates a \
         page when it is first touched.",
    )?;

    let told = attach_use_detach(pace, key, id, context, &mut teller, &interrupts);
    if let Err(error) = told {
        if let Kind::Interrupted(_) = error.kind {
            drop(made);
            context.ui.status(&format!("interrupted: segment {id} was removed"));
        }
        return Err(error);
    }
    if segment(&context.system, id, Needs::empty())?.is_none() {
        return gone(made, id, context, &mut teller);
    }
    teller.stat(context, "detach", id)?;
    teller.note(
        context,
        "detach",
        "The last detach has not destroyed the segment: it and its contents still exist. They would be gone only \
         if the segment had been removed before, or if kernel.shm_rmid_forced were 1.",
    )?;
    if keep {
        let id = made.commit()?;
        teller.note(
            context,
            "destroy",
            &format!("The segment is kept (--keep). To destroy it, run `shmadm rm {id}`."),
        )?;
        return Ok(Exit::Done);
    }
    destroy(made, context, &mut teller)?;
    interrupts.check()?;
    Ok(Exit::Done)
}

/// Makes the segment: with the key that was asked for, the usual one, or a random one.
fn create(pace: &PaceArgs, context: &mut Context, teller: &mut Teller) -> Result<(PendingSegment, Key), Error> {
    let asked = pace.key()?;
    let creation = |key| Creation {
        key: KeySpec::Key(key),
        size: None,
        mode: Mode::PRIVATE,
        exclusive: true,
        huge: None,
        no_reserve: false,
        changing: None,
        // We stay until it is over, and so the segment does even where it would die with its creator.
        held: true,
    };
    let mut key = asked.unwrap_or(USUAL_KEY);
    loop {
        let size = context.system.page_size();
        let call = format!("shmget({key}, {size}, IPC_CREAT|IPC_EXCL|0600)");
        match act::create(&context.system, &creation(key)) {
            Ok(Opened::New(made)) => {
                teller.call(context, "create", call, made.id().to_string())?;
                return Ok((made, key));
            }
            Ok(Opened::Existing(_)) => {}
            Err(error) if error.kind == Kind::Exists && asked.is_none() => {
                teller.call(context, "create", call, "-1 EEXIST".to_owned())?;
                teller.note(
                    context,
                    "create",
                    &format!("A segment with key {key} exists. It is left unchanged, and the demo uses another key."),
                )?;
                key = Key::new(fastrand::u32(1..));
            }
            Err(mut error) => {
                if error.kind == Kind::Exists {
                    error.hints = vec!["without --key the demo finds an unused key: `shmadm demo`".to_owned()];
                }
                return Err(error);
            }
        }
    }
}

/// Has the pair attach, use and detach the segment, and hands on what they tell.
fn attach_use_detach(
    pace: &PaceArgs,
    key: Key,
    id: ShmId,
    context: &mut Context,
    teller: &mut Teller,
    interrupts: &Interrupts,
) -> Result<(), Error> {
    interrupts.check()?;
    let rounds = pace.rounds.unwrap_or(ROUNDS);
    let mut pair = Pair::start(key, rounds, pace.interval())?;
    let (mut attached, mut used) = (0, 0_u64);
    loop {
        if !pair.has_line() {
            match interrupts.wait(Some(LOOK), pair.descriptor())? {
                WaitOutcome::Ready => {}
                WaitOutcome::Timeout => {
                    pair.check()?;
                    continue;
                }
                WaitOutcome::Terminate(_) | WaitOutcome::Signal(_) => break,
            }
        }
        let Some(line) = pair.line()? else { break };
        let event = teller.hand_on(context, &line)?;
        if event.event == "call" && event.call.as_deref().is_some_and(|call| call.starts_with("shmat")) {
            attached += 1;
            if attached == 2 {
                teller.stat(context, "attach", id)?;
                teller.note(
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
            teller.note(
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

/// Tells that the last detach has destroyed the segment, which it does under one setting alone.
fn gone(made: PendingSegment, id: ShmId, context: &mut Context, teller: &mut Teller) -> Result<Exit, Error> {
    // There is nothing left that could be removed.
    let _ = made.commit()?;
    let why = if rmid_forced(&context.system) == Some(true) {
        "kernel.shm_rmid_forced is 1, so the last detach has destroyed the segment. With the default, 0, it would \
         exist until it is removed."
    } else {
        "Another process has removed the segment."
    };
    teller.note(context, "detach", why)?;
    teller.call(context, "destroy", format!("shmctl({id}, IPC_STAT, &ds)"), stat_result(id))?;
    Ok(Exit::Done)
}

/// Removes the segment, and shows that it is gone.
fn destroy(made: PendingSegment, context: &mut Context, teller: &mut Teller) -> Result<(), Error> {
    let Some(seen) = segment(&context.system, made.id(), Needs::empty())? else {
        made.into_id();
        return teller.note(context, "destroy", "Another process has removed the segment.");
    };
    let outcome = act::remove(&context.system, &seen, Removal { force: true, ..Removal::default() })?;
    let id = made.into_id();
    teller.call(context, "destroy", format!("shmctl({id}, IPC_RMID, NULL)"), "0".to_owned())?;
    teller.call(context, "destroy", format!("shmctl({id}, IPC_STAT, &ds)"), stat_result(id))?;
    teller.note(
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

/// Looks at a segment once more, and gives what the call returned.
fn stat_result(id: ShmId) -> String {
    match call_stat(id) {
        Ok(_) => "0".to_owned(),
        Err(error) => format!("-1 {} ({})", error.name(), error.text()),
    }
}
