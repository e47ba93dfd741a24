//! One half of the demo: the writer or the reader.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use super::narrator::Narrator;
use super::{Context, DEFAULT_KEY, PaceArgs, creation};
use crate::act::{self, Address, Attachment, Lifetime, Opened, PendingSegment};
use crate::commands::{exit_after, look_up_again};
use crate::contents::{self, Range};
use crate::error::{Error, Exit, Kind, again};
use crate::explain::attached_by;
use crate::model::{Access, Key, Needs, Object, Outcome, ShmId};
use crate::process::{Interrupts, Role, WaitOutcome, is_demo_child};
use crate::query::{System, with_attachers};

const INTEGER: u64 = 4;
const MAX_VALUE: i32 = 999;

struct Half<'a> {
    role: Role,
    pace: &'a PaceArgs,
    narrator: Narrator<'a>,
    interrupts: Interrupts,
    /// Whether the segment must look like the demo's: the writer must not change one of another program.
    is_checked: bool,
}

/// Runs the writer or the reader until the rounds are over or a signal arrives.
pub(super) fn run(role: Role, pace: &PaceArgs, context: &mut Context) -> Result<Exit, Error> {
    let interrupts = Interrupts::watch()?;
    let narrator = Narrator::new(context, role.as_str());
    let mut half = Half { role, pace, narrator, interrupts, is_checked: false };
    let (id, pending) = half.open()?;
    half.is_checked = role == Role::Writer && pending.is_none();
    let outcome = half.attach_use_detach(id, pending.is_some());
    let Some(pending) = pending else { return outcome.map(exit_after) };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return Err(pending.abandon(error)),
    };
    if half.narrator.remove(id)? == Some(Outcome::Marked) {
        half.narrator.note(
            "Another process still has it attached: IPC_RMID freed its key, and its memory is freed at the last \
             detach. A program that now asks for the key gets another segment.",
        )?;
    }
    pending.into_id();
    Ok(exit_after(outcome))
}

impl Half<'_> {
    fn open(&mut self) -> Result<(ShmId, Option<PendingSegment>), Error> {
        let key = self.pace.key()?.unwrap_or(DEFAULT_KEY);
        let system = &self.narrator.context.system;
        let (id, pending, arguments) = match act::create(system, &creation(key, false))? {
            Opened::Existing(id) => (id, None, "0, 0".to_owned()),
            Opened::New(pending) => {
                let arguments = format!("{}, IPC_CREAT|IPC_EXCL|0600", system.page_size());
                (pending.id(), Some(pending), arguments)
            }
        };
        // A half that opened an existing segment did not create one.
        self.narrator.step = if pending.is_some() { "create" } else { "attach" };
        self.narrator.call(format!("shmget({key}, {arguments})"), id)?;
        Ok((id, pending))
    }

    fn attach_use_detach(&mut self, id: ShmId, is_new: bool) -> Result<WaitOutcome, Error> {
        let mut attachment = self.attach(id, is_new)?;
        let outcome = self.use_memory(&mut attachment);
        let address = attachment.address();
        act::detach_checked(&self.narrator.context.system, attachment)?;
        let outcome = outcome?;
        self.narrator.step = "detach";
        self.narrator.call(format!("shmdt({address:#x})"), 0)?;
        Ok(outcome)
    }

    fn attach(&mut self, id: ShmId, is_new: bool) -> Result<Attachment, Error> {
        let segment = look_up_again(self.narrator.context, id, Needs::empty())?;
        let page = self.narrator.context.system.page_size();
        // Before the attachment, which would overwrite the record of the last user.
        if self.is_checked && segment.size != page {
            return Err(self.refusal(id, format!("its size is {}, not one page ({page} bytes)", segment.size)));
        }
        if self.is_checked
            && !is_demo_child()
            && let Some(cause) = used_by_others(&self.narrator.context.system, &segment)?
        {
            return Err(self.refusal(id, cause));
        }
        let (access, flags) = match self.role {
            Role::Writer => (Access::ReadWrite, "0"),
            Role::Reader => (Access::ReadOnly, "SHM_RDONLY"),
        };
        // A segment of the whole demo must survive this detach; so must one created here, until it is removed.
        let lifetime = if is_new || is_demo_child() { Lifetime::Persistent } else { Lifetime::Transient };
        let attachment = act::attach(&self.narrator.context.system, &segment, access, Address::Any, false, lifetime)?;
        self.narrator.step = "attach";
        self.narrator.call(format!("shmat({id}, NULL, {flags})"), format!("{:#x}", attachment.address()))?;
        Range::within(id, attachment.size(), 0, Some(INTEGER))?;
        Ok(attachment)
    }

    /// Writes or reads, round after round, between the two waits for the whole demo.
    fn use_memory(&mut self, attachment: &mut Attachment) -> Result<WaitOutcome, Error> {
        match self.wait_for_partner()? {
            WaitOutcome::Ready => self.check(attachment)?,
            outcome => return Ok(outcome),
        }
        match self.take_turns(attachment)? {
            WaitOutcome::Timeout => self.wait_for_partner(),
            outcome => Ok(outcome),
        }
    }

    /// Waits until the whole demo lets both halves continue, if it started this one: it sends a byte to standard input
    /// for each step that both must have reached.
    fn wait_for_partner(&self) -> Result<WaitOutcome, Error> {
        if !is_demo_child() {
            return Ok(WaitOutcome::Ready);
        }
        let outcome = self.interrupts.wait(None, Some(std::io::stdin().as_fd()))?;
        if outcome == WaitOutcome::Ready {
            // End of file means that the whole demo has exited; the next wait then returns at once as well. Unbuffered,
            // since the bytes that follow are for the next wait.
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            let _ = stdin.map(File::from).and_then(|mut stdin| stdin.read(&mut [0]));
        }
        Ok(outcome)
    }

    /// Checks that the integer is accessible. It is copied, since touching a page that cannot be allocated raises
    /// SIGBUS. If the segment itself is to be checked, the whole page must look like the demo's.
    fn check(&self, attachment: &Attachment) -> Result<(), Error> {
        let id = attachment.id();
        let length = if self.is_checked { None } else { Some(INTEGER) };
        let contents = contents::copy(attachment, Range::within(id, attachment.size(), 0, length)?)?;
        match difference(&contents).filter(|_| self.is_checked) {
            Some(cause) => Err(self.refusal(id, cause)),
            None => Ok(()),
        }
    }

    fn take_turns(&mut self, attachment: &mut Attachment) -> Result<WaitOutcome, Error> {
        let location = format!("*(int32_t *){:#x}", attachment.address());
        let interval = self.pace.interval();
        // Half a round apart, so that a writer and a reader that start together see each value.
        let mut wait = if self.role == Role::Writer { interval / 4 } else { interval * 3 / 4 };
        let mut rounds = 0;
        self.narrator.step = "use";
        loop {
            match self.interrupts.wait(Some(wait), None)? {
                WaitOutcome::Timeout | WaitOutcome::Ready => wait = interval,
                outcome => return Ok(outcome),
            }
            let value = match self.role {
                Role::Writer => {
                    let value = fastrand::i32(0..=MAX_VALUE);
                    contents::store(attachment, value)?;
                    value
                }
                Role::Reader => contents::load(attachment)?,
            };
            self.narrator.access(&location, value)?;
            rounds += 1;
            if self.pace.rounds == Some(rounds) || self.narrator.context.ui.is_closed() {
                return Ok(WaitOutcome::Timeout);
            }
        }
    }

    /// Returns the error for a segment that may belong to another program.
    fn refusal(&self, id: ShmId, cause: String) -> Error {
        let command = again(&format!("--key {}", Key::new(fastrand::u32(1..))));
        Error::new(Kind::Refused, format!("cannot write segment {id}: it does not look like the demo's"))
            .target(id.to_string())
            .cause(cause)
            .hint("use another key for writer and reader", command)
    }
}

/// Describes the processes of other users that have, or may have, a segment attached: zeros do not prove that it is the
/// demo's.
fn used_by_others(system: &System, segment: &Object) -> Result<Option<String>, Error> {
    let Some(mut users) = with_attachers(system, segment)?.attachers.as_deref().cloned() else { return Ok(None) };
    users.list.retain(|user| user.uid != Some(system.uid()));
    Ok(attached_by(system, &users).map(|by| format!("attached {by}")))
}

/// Returns how contents differ from those that the demo writes: an integer, and zeros to the end of the page.
fn difference(contents: &[u8]) -> Option<String> {
    let (integer, rest) = contents.split_first_chunk()?;
    let value = i32::from_ne_bytes(*integer);
    if !(0..=MAX_VALUE).contains(&value) {
        return Some(format!("the integer at offset 0 is {value}, not 0 to {MAX_VALUE}"));
    }
    let (index, byte) = rest.iter().enumerate().find(|(_, byte)| **byte != 0)?;
    Some(format!("byte {} is {byte:#04x}, not zero", index + integer.len()))
}
