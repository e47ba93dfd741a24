//! The writer and the reader of the demo.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use super::narrator::Narrator;
use super::{Context, DEFAULT_KEY, PaceArgs};
use crate::act::{self, Address, Attachment, Creation, Lifetime, Opened, Removal};
use crate::contents::{self, Range};
use crate::error::{Error, Exit, Kind, shmadm};
use crate::model::{Access, Key, KeySpec, Mode, Needs, Object, Outcome, ShmId};
use crate::process::{Interrupts, Role, WaitOutcome, is_demo_child};
use crate::query::lookup;

/// The bytes of the integer.
const INTEGER: u64 = 4;
/// The largest value that the writer writes.
const LARGEST: i32 = 999;

/// Runs the writer or the reader until the rounds are over or a signal asks it to end.
pub(super) fn run(role: Role, pace: &PaceArgs, context: &mut Context) -> Result<Exit, Error> {
    let interrupts = Interrupts::watch()?;
    let mut narrator = Narrator::new(role.as_str());
    let key = pace.key()?.unwrap_or(DEFAULT_KEY);
    let creation = Creation {
        key: KeySpec::Key(key),
        size: None,
        mode: Mode::PRIVATE,
        exclusive: false,
        huge: None,
        no_reserve: false,
        changing: None,
        held: true,
    };
    let (id, made) = match act::create(&context.system, &creation)? {
        Opened::Existing(id) => (id, None),
        Opened::New(made) => (made.id(), Some(made)),
    };
    let call = match &made {
        None => format!("shmget({key}, 0, 0)"),
        Some(_) => format!("shmget({key}, {}, IPC_CREAT|IPC_EXCL|0600)", context.system.page_size()),
    };
    // A half that opened an existing segment did not create one.
    let step = if made.is_some() { "create" } else { "attach" };
    narrator.call(context, step, call, id.to_string())?;

    // A segment of the whole demo must survive this detach; so must one created here, until it is removed.
    let purpose = if made.is_some() || is_demo_child() { Lifetime::Persistent } else { Lifetime::Transient };
    // An existing segment may belong to another program.
    let guarded = role == Role::Writer && made.is_none();
    let seen = find(id, context)?;
    let page = context.system.page_size();
    // Before the attachment, which would overwrite the record of the last user.
    if guarded && seen.size != page {
        let cause = format!("its size is {}, not one page ({page} bytes)", seen.size);
        return Err(refusal(id, cause, pace, context));
    }
    let mut attachment = attach(role, &seen, purpose, context, &mut narrator)?;
    let ended = match wait_for_partner(&interrupts) {
        Ok(WaitOutcome::Ready) => check(&attachment, guarded, pace, context)
            .and_then(|()| take_turns(role, pace, context, &mut narrator, &mut attachment, &interrupts)),
        ended => ended,
    };
    let ended = match ended {
        Ok(WaitOutcome::Timeout) => wait_for_partner(&interrupts),
        ended => ended,
    };
    let address = attachment.address();
    act::detach_checked(&context.system, attachment)?;
    let ended = ended?;
    narrator.call(context, "detach", format!("shmdt({address:#x})"), "0".to_owned())?;
    if let Some(made) = made {
        if let Some(seen) = lookup(&context.system, made.id(), Needs::empty())? {
            remove(&seen, context, &mut narrator)?;
        }
        made.into_id();
    }
    match ended {
        WaitOutcome::Signal(signal) => Ok(Exit::Signal(signal)),
        WaitOutcome::Terminate(_) | WaitOutcome::Timeout | WaitOutcome::Ready => Ok(Exit::Done),
    }
}

/// Reads the record of the segment.
fn find(id: ShmId, context: &Context) -> Result<Object, Error> {
    let gone = || Error::new(Kind::NotFound, format!("segment {id} was removed by another process"));
    lookup(&context.system, id, Needs::empty())?.ok_or_else(gone)
}

/// Attaches the segment and checks that it has the integer.
fn attach(
    role: Role,
    seen: &Object,
    purpose: Lifetime,
    context: &mut Context,
    narrator: &mut Narrator,
) -> Result<Attachment, Error> {
    let id = seen.sysv().id;
    let (access, flags) = match role {
        Role::Writer => (Access::ReadWrite, "0"),
        Role::Reader => (Access::ReadOnly, "SHM_RDONLY"),
    };
    let attachment = act::attach(&context.system, seen, access, Address::Any, false, purpose)?;
    let call = format!("shmat({id}, NULL, {flags})");
    narrator.call(context, "attach", call, format!("{:#x}", attachment.address()))?;
    Range::within(id, attachment.size(), 0, Some(INTEGER))?;
    Ok(attachment)
}

/// Checks that the integer is accessible. It is copied, since touching a page that cannot be allocated raises SIGBUS.
/// If the segment is guarded, the whole page must look like the demo's.
fn check(attachment: &Attachment, guarded: bool, pace: &PaceArgs, context: &Context) -> Result<(), Error> {
    let length = if guarded { None } else { Some(INTEGER) };
    let range = Range::within(attachment.id(), attachment.size(), 0, length)?;
    match difference(&contents::copy(attachment, range)?) {
        Some(cause) if guarded => Err(refusal(attachment.id(), cause, pace, context)),
        _ => Ok(()),
    }
}

/// Returns how contents differ from those that the demo writes: an integer, and zeros to the end of the page.
fn difference(contents: &[u8]) -> Option<String> {
    let (integer, rest) = contents.split_first_chunk()?;
    let value = i32::from_ne_bytes(*integer);
    if !(0..=LARGEST).contains(&value) {
        return Some(format!("the integer at offset 0 is {value}, not 0 to {LARGEST}"));
    }
    let (place, byte) = rest.iter().enumerate().find(|(_, byte)| **byte != 0)?;
    Some(format!("byte {} is {byte:#04x}, not zero", place + integer.len()))
}

/// Returns the error for a segment that may belong to another program.
fn refusal(id: ShmId, cause: String, pace: &PaceArgs, context: &Context) -> Error {
    let rounds = pace.rounds.map(|rounds| format!(" --rounds {rounds}")).unwrap_or_default();
    let interval = pace.interval.map(|interval| format!(" --interval {}ms", interval.as_millis())).unwrap_or_default();
    let json = if context.json() { " --json" } else { "" };
    let key = Key::new(fastrand::u32(1..));
    Error::new(Kind::Refused, format!("cannot write segment {id}: it does not look like the demo's"))
        .target(id.to_string())
        .cause(cause)
        .hint(
            "use another key, also for the reader",
            shmadm(format!("demo writer --key {key}{rounds}{interval}{json}")),
        )
}

/// Waits until the whole demo lets both halves continue, if it started this one: it sends a byte to standard input for
/// each step that both must have reached.
fn wait_for_partner(interrupts: &Interrupts) -> Result<WaitOutcome, Error> {
    if !is_demo_child() {
        return Ok(WaitOutcome::Ready);
    }
    let ended = interrupts.wait(None, Some(std::io::stdin().as_fd()))?;
    if ended == WaitOutcome::Ready {
        // End of file means that the whole demo has exited; the next wait then returns at once as well. Unbuffered,
        // since the bytes that follow are for the next wait.
        let word = std::io::stdin().as_fd().try_clone_to_owned();
        let _ = word.map(File::from).and_then(|mut word| word.read(&mut [0]));
    }
    Ok(ended)
}

/// Writes or reads, round after round.
fn take_turns(
    role: Role,
    pace: &PaceArgs,
    context: &mut Context,
    narrator: &mut Narrator,
    attachment: &mut Attachment,
    interrupts: &Interrupts,
) -> Result<WaitOutcome, Error> {
    let place = format!("*(int32_t *){:#x}", attachment.address());
    // Half a round apart, so that a writer and a reader that start together see each value.
    let mut wait = match role {
        Role::Writer => pace.interval() / 4,
        Role::Reader => pace.interval() * 3 / 4,
    };
    let mut round = 0;
    loop {
        match interrupts.wait(Some(wait), None)? {
            WaitOutcome::Timeout | WaitOutcome::Ready => wait = pace.interval(),
            ended => return Ok(ended),
        }
        let value = match role {
            Role::Writer => {
                let value = fastrand::i32(0..=LARGEST);
                contents::store(attachment, value)?;
                value
            }
            Role::Reader => contents::load(attachment)?,
        };
        narrator.used(context, place.clone(), value)?;
        round += 1;
        if pace.rounds == Some(round) || context.ui.is_closed() {
            return Ok(WaitOutcome::Timeout);
        }
    }
}

/// Removes the segment that this half created.
fn remove(seen: &Object, context: &mut Context, narrator: &mut Narrator) -> Result<(), Error> {
    let outcome = act::remove(&context.system, seen, Removal { force: true, ..Removal::default() })?;
    narrator.call(context, "destroy", format!("shmctl({}, IPC_RMID, NULL)", seen.sysv().id), "0".to_owned())?;
    if outcome == Outcome::Marked {
        narrator.note(
            context,
            "destroy",
            "Another process still has it attached: IPC_RMID freed its key, and its memory is freed at the last \
             detach. A program that now asks for the key gets another segment.",
        )?;
    }
    Ok(())
}
