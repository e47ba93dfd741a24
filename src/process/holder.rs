//! The holder: a background process that keeps a segment attached or a POSIX object mapped.
//!
//! It attaches, writes the address or the errno to a pipe, closes the pipe, and waits for a signal. If it is killed,
//! the kernel detaches the segment, and no state file is left. The file of an object is opened by its parent, and is
//! its standard input until it is mapped.
//!
//! `query::holders` recognizes a holder by its properties: the name, the user, the IPC namespace, and a mapping whose
//! inode is the segment's id on a device on which the kernel keeps segments, or of the object's file. `act::detach`
//! opens a pidfd before it checks them, and signals and waits through the pidfd, so that no other process is signalled
//! if the pid is reused.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::Interrupts;
use super::helper::{become_helper, exited, format_answer, helper, read_answer, start_failed};
use crate::error::{Error, Kind};
use crate::explain::{Attempt, cannot_map, explain, open_to_map};
use crate::model::{Access, Ident, NewAttachment, Object, ShmId};
use crate::query::{HOLDER_NAME, System};
use crate::sys::{self, Address, Attachment, Errno, Held, MappedFile, SysError};

/// How a holder attaches a segment, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) access: Access,
    pub(crate) exec: bool,
    pub(crate) address: Address,
    /// `None` holds until SIGTERM.
    pub(crate) duration: Option<Duration>,
}

/// A running holder. Unless it is kept, dropping this kills it, and the kernel detaches the segment.
#[derive(Debug)]
pub(crate) struct StartedHolder {
    attached: NewAttachment,
    /// Not reaped while this exists, so that its pid is not reused.
    child: Child,
    kept: bool,
}

impl StartedHolder {
    pub(crate) fn pid(&self) -> i32 {
        self.attached.pid
    }

    pub(crate) fn attached(&self) -> &NewAttachment {
        &self.attached
    }

    /// Keeps the holder running after this process exits.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StartedHolder {
    fn drop(&mut self) {
        if !self.kept {
            // A failure means that it has exited.
            let _ = self.child.kill();
        }
    }
}

/// Starts a holder, and returns once it has attached the segment.
pub(crate) fn start_holder(system: &System, object: &Object, hold: Hold) -> Result<StartedHolder, Error> {
    let ident = object.ident();
    let input = if object.is_segment() { Stdio::null() } else { open_to_map(system, object, hold.access)?.into() };
    let mut command = helper(HOLDER_NAME);
    command.args(hold.arguments(&ident)).stdin(input).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| start_failed(format!("cannot start a holder of {ident}"), &error))?;
    match child.stdout.take().and_then(read_answer) {
        Some(Ok([address, size])) => {
            let pid = child.id().cast_signed();
            let attached = NewAttachment { ident, pid, address, size, access: hold.access, exec: hold.exec };
            Ok(StartedHolder { attached, child, kept: false })
        }
        Some(Err(errno)) => {
            let _ = child.wait();
            let Ident::Id(id) = ident else { return Err(cannot_map(system, object, SysError { errno, call: "mmap" })) };
            let attempt =
                Attempt::Attach { id, access: hold.access, exec: hold.exec, address: hold.address, remap: false };
            // A sandbox can deny the call that reads the size of the attached segment.
            let denied = sys::stat(id)
                .err()
                .filter(|error| error.errno == errno && matches!(errno, Errno::EPERM | Errno::ENOSYS));
            Err(explain(system, &attempt, denied.unwrap_or(SysError { errno, call: "shmat" })))
        }
        None => Err(exited(&format!("cannot attach {ident}: the holder exited before it attached"), &mut child)),
    }
}

impl Hold {
    /// Read-write, at an address that the kernel chooses, until SIGTERM.
    pub(crate) const fn plain() -> Self {
        Self { access: Access::ReadWrite, exec: false, address: Address::Any, duration: None }
    }

    /// Returns the holder's arguments, which `ps` shows.
    fn arguments(&self, ident: &Ident) -> Vec<String> {
        let held = match ident {
            Ident::Id(id) => format!("id={id}"),
            Ident::Name(_) | Ident::File(_) => format!("object={}", ident.argument()),
        };
        let mut arguments = vec![held, format!("access={}", self.access.as_str())];
        if self.exec {
            arguments.push("exec".to_owned());
        }
        match self.address {
            Address::Any => {}
            Address::Exact(address) => arguments.push(format!("address={address}")),
            Address::Rounded(address) => arguments.push(format!("round={address}")),
        }
        if let Some(duration) = self.duration {
            arguments.push(format!("milliseconds={}", duration.as_millis()));
        }
        arguments
    }

    /// Returns the segment, or `None` for the object on standard input, and how to hold it.
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<(Option<ShmId>, Self)> {
        let mut held = None;
        let mut hold = Self::plain();
        for argument in arguments {
            match argument.split_once('=') {
                Some(("id", number)) => held = Some(Some(ShmId::new(number.parse().ok()?)?)),
                Some(("object", _)) => held = Some(None),
                Some(("access", access)) => hold.access = Access::from_name(access)?,
                Some(("address", address)) => hold.address = Address::Exact(address.parse().ok()?),
                Some(("round", address)) => hold.address = Address::Rounded(address.parse().ok()?),
                Some(("milliseconds", number)) => hold.duration = Some(Duration::from_millis(number.parse().ok()?)),
                None if argument == "exec" => hold.exec = true,
                _ => return None,
            }
        }
        Some((held?, hold))
    }

    /// Attaches the segment, or maps the object on standard input.
    fn start(&self, id: Option<ShmId>) -> Result<Held, SysError> {
        let (input, _) = sys::standard_input_and_output();
        match id {
            Some(id) => Attachment::new(id, self.access, self.exec, self.address).map(Held::Segment),
            None => MappedFile::new(input, self.access, self.exec).map(Held::Object),
        }
    }
}

/// Runs as the holder: attaches, reports that to the parent, closes the pipe, and waits for SIGTERM.
pub(crate) fn holder_main(arguments: impl Iterator<Item = String>) -> Result<(), Error> {
    let unusable =
        || Error::new(Kind::Usage, "shmadm-hold is started only by shmadm itself (`attach --background`, `--hold`)");
    let (id, hold) = Hold::from_arguments(arguments).ok_or_else(unusable)?;
    // Without its name, `detach` would not find it.
    let named = become_helper(HOLDER_NAME);
    let attached = named
        .and_then(|()| Interrupts::watch_always())
        .and_then(|interrupts| hold.start(id).map(|held| (interrupts, held)).map_err(|error| error.errno));
    let numbers = |(_, held): &(_, Held)| [held.address(), held.size()];
    let answered =
        sys::answer_and_close(format_answer(attached.as_ref().map(numbers).map_err(|errno| *errno)).as_bytes());
    match attached {
        // Detaches at the end.
        Ok((interrupts, _held)) if answered => interrupts.wait(hold.duration, None).map(drop),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(Kind::Failed, "cannot attach it")),
    }
}
