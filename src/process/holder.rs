//! The holder: a background process that keeps a segment attached.
//!
//! It is this program executed anew under the name `shmadm-hold`, with a session of its own, `/` as its directory, and
//! nothing of its caller's open. There is no file about it: it is found by what it is, and gone when it is killed.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;

use super::{Interrupts, start_failed};
use crate::error::{Error, Kind};
use crate::model::{Access, Attached, Segment, ShmId};
use crate::query::{Attempt, HOLDER_NAME, System, explain};
use crate::sys::{self, Attachment, On, Place, SysError};

/// What a holder shall hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// For what.
    pub(crate) access: Access,
    /// With the right to execute.
    pub(crate) exec: bool,
    /// Where.
    pub(crate) place: Place,
    /// How long; until it is asked to end if `None`.
    pub(crate) duration: Option<Duration>,
}

/// A holder at work: dropped before it is kept, it is asked to end.
#[derive(Debug)]
pub(crate) struct StartedHolder {
    /// What it holds.
    attached: Attached,
    /// It; nobody has waited for it, so that its pid is its own.
    child: Child,
    /// It as well; `None` where a sandbox or an old kernel has no such descriptors.
    pidfd: Option<OwnedFd>,
    /// Whether it outlives us.
    kept: bool,
}

impl StartedHolder {
    /// Gives its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.attached.pid
    }

    /// Tells what it holds.
    pub(crate) fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Lets the holder outlive this process.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StartedHolder {
    fn drop(&mut self) {
        // If it cannot be ended it is gone already.
        match &self.pidfd {
            _ if self.kept => {}
            Some(pidfd) => drop(sys::ask_to_end(pidfd, self.attached.pid)),
            None => drop(self.child.kill()),
        }
    }
}

/// Starts a holder, and returns once it has the segment attached.
///
/// # Errors
/// The holder cannot be started, or cannot attach.
pub(crate) fn start_holder(system: &System, segment: &Segment, hold: Hold) -> Result<StartedHolder, Error> {
    let id = segment.id;
    let failed = |error: &std::io::Error| start_failed(format!("cannot start a holder of segment {id}"), error);
    let mut child = Command::new("/proc/self/exe")
        .arg0(HOLDER_NAME.to_string_lossy().as_ref())
        .args(hold.arguments(id))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let pidfd = sys::open_pidfd(pid).ok();
    let mut answer = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut answer).map_err(|error| {
            // It may have attached, and nobody would know.
            let _ = child.kill();
            failed(&error)
        })?;
    }
    match answer.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["attached", address, size] => {
            let number = |text: &str| text.parse().unwrap_or_default();
            let attached = Attached { id, pid, address: number(address), size: number(size), access: hold.access };
            Ok(StartedHolder { attached, child, pidfd, kept: false })
        }
        ["failed", errno] => {
            let _ = child.wait();
            let errno = Errno::from_raw(errno.parse().unwrap_or_default());
            let failure = SysError { errno, call: "shmat", target: On::Id(id) };
            Err(explain(
                system,
                &Attempt::Attach { id, access: hold.access, exec: hold.exec, place: hold.place },
                failure,
            ))
        }
        _ => {
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Error::new(Kind::Failed, format!("the holder of segment {id} ended before it attached: {status}")))
        }
    }
}

impl Hold {
    /// Holds for reading and writing, wherever there is room, until it is asked to end.
    pub(crate) const fn plain() -> Self {
        Self { access: Access::ReadWrite, exec: false, place: Place::Any, duration: None }
    }

    /// Gives the holder's arguments, which `ps` shows.
    fn arguments(&self, id: ShmId) -> Vec<String> {
        let mut arguments = vec![format!("id={id}"), format!("access={}", self.access.word())];
        if self.exec {
            arguments.push("exec".to_owned());
        }
        match self.place {
            Place::Any => {}
            Place::Exact(address) => arguments.push(format!("address={address}")),
            Place::Rounded(address) => arguments.push(format!("round={address}")),
        }
        if let Some(duration) = self.duration {
            arguments.push(format!("milliseconds={}", duration.as_millis()));
        }
        arguments
    }

    /// Reads them back.
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<(ShmId, Self)> {
        let mut id = None;
        let mut hold = Self::plain();
        for argument in arguments {
            match argument.split_once('=') {
                Some(("id", number)) => id = ShmId::new(number.parse().ok()?),
                Some(("access", "ro")) => hold.access = Access::ReadOnly,
                Some(("access", "rw")) => hold.access = Access::ReadWrite,
                Some(("address", address)) => hold.place = Place::Exact(address.parse().ok()?),
                Some(("round", address)) => hold.place = Place::Rounded(address.parse().ok()?),
                Some(("milliseconds", number)) => hold.duration = Some(Duration::from_millis(number.parse().ok()?)),
                None if argument == "exec" => hold.exec = true,
                _ => return None,
            }
        }
        Some((id?, hold))
    }
}

/// Is the holder: attaches, says so, lets go of its caller, and waits to be asked to end.
///
/// # Errors
/// It was not started by [`start_holder`], or cannot attach.
pub(crate) fn holder_main(arguments: impl Iterator<Item = String>) -> Result<(), Error> {
    let unusable = || Error::new(Kind::Usage, "shmadm-hold is started by `shmadm attach --background` alone");
    let (id, hold) = Hold::from_arguments(arguments).ok_or_else(unusable)?;
    sys::close_inherited();
    sys::set_name(HOLDER_NAME);
    // It fails for the leader of a process group alone, which one that was started by `start_holder` is not.
    let _ = nix::unistd::setsid();
    serve_attached(id, hold)
}

/// Attaches and waits.
fn serve_attached(id: ShmId, hold: Hold) -> Result<(), Error> {
    let attached = Interrupts::note_always()
        .map_err(|errno| SysError { errno, call: "sigaction", target: On::Id(id) })
        .and_then(|interrupts| Ok((interrupts, Attachment::new(id, hold.access, hold.exec, hold.place)?)));
    let (interrupts, attachment) = match attached {
        Ok(attached) => attached,
        Err(error) => {
            sys::answer_and_let_go(format!("failed {}\n", error.errno as i32).as_bytes());
            return Err(Error::new(Kind::Failed, "cannot attach"));
        }
    };
    let answer = format!("attached {} {}\n", attachment.address(), attachment.size());
    if sys::answer_and_let_go(answer.as_bytes()) {
        interrupts.wait(hold.duration, None)?;
    }
    drop(attachment);
    Ok(())
}
