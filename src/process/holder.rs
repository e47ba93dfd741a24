//! The holder: a background process that keeps a segment attached.
//!
//! It is this program, executed again under the name `shmadm-hold`. It closes inherited descriptors, starts a session
//! of its own with `/` as working directory, attaches, and writes the address or the errno to a pipe. It then closes
//! the pipe and waits for a signal. There are no state files: if it is killed, the kernel detaches the segment.
//!
//! `query::holders` recognises a holder by its properties: the name, the user, the IPC namespace, and a mapping whose
//! inode is the segment's id on a device on which the kernel keeps segments. `act::detach` opens a pidfd before it
//! checks them, and signals and waits through the pidfd, so that no other process is signalled if the pid is reused.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;

use super::{Interrupts, start_failed};
use crate::error::{Error, Kind};
use crate::explain::{Attempt, explain};
use crate::model::{Access, Attached, Object, ShmId};
use crate::query::{HOLDER_NAME, System};
use crate::sys::{self, Address, Attachment, Subject, SysError};

/// How a holder attaches a segment, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) access: Access,
    pub(crate) exec: bool,
    pub(crate) address: Address,
    /// `None` holds until SIGTERM.
    pub(crate) duration: Option<Duration>,
}

/// A running holder. Unless it is kept, dropping this terminates it.
#[derive(Debug)]
pub(crate) struct StartedHolder {
    attached: Attached,
    /// Not reaped while this exists, so that its pid is not reused.
    child: Child,
    /// `None` if a sandbox or an old kernel has no pidfd_open.
    pidfd: Option<OwnedFd>,
    /// Whether it keeps running after the drop.
    kept: bool,
}

impl StartedHolder {
    pub(crate) fn pid(&self) -> i32 {
        self.attached.pid
    }

    pub(crate) fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Keeps the holder running after this process exits.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StartedHolder {
    fn drop(&mut self) {
        // A failure means that it has exited.
        match &self.pidfd {
            _ if self.kept => {}
            Some(pidfd) => drop(sys::terminate(pidfd, self.attached.pid)),
            None => drop(self.child.kill()),
        }
    }
}

/// Starts a holder, and returns once it has attached the segment.
///
/// # Errors
/// The holder cannot be started, or cannot attach.
pub(crate) fn start_holder(system: &System, segment: &Object, hold: Hold) -> Result<StartedHolder, Error> {
    let id = segment.sysv().id;
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
            // It may have attached the segment.
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
            let failure = SysError { errno, call: "shmat", target: Subject::Id(id) };
            Err(explain(
                system,
                &Attempt::Attach { id, access: hold.access, exec: hold.exec, address: hold.address },
                failure,
            ))
        }
        _ => {
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Error::new(
                Kind::Failed,
                format!("cannot attach segment {id}: the holder exited before it attached: {status}"),
            ))
        }
    }
}

impl Hold {
    /// Read-write, at an address that the kernel chooses, until SIGTERM.
    pub(crate) const fn plain() -> Self {
        Self { access: Access::ReadWrite, exec: false, address: Address::Any, duration: None }
    }

    /// Returns the holder's arguments, which `ps` shows.
    fn arguments(&self, id: ShmId) -> Vec<String> {
        let mut arguments = vec![format!("id={id}"), format!("access={}", self.access.as_str())];
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

    fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<(ShmId, Self)> {
        let mut id = None;
        let mut hold = Self::plain();
        for argument in arguments {
            match argument.split_once('=') {
                Some(("id", number)) => id = ShmId::new(number.parse().ok()?),
                Some(("access", "ro")) => hold.access = Access::ReadOnly,
                Some(("access", "rw")) => hold.access = Access::ReadWrite,
                Some(("address", address)) => hold.address = Address::Exact(address.parse().ok()?),
                Some(("round", address)) => hold.address = Address::Rounded(address.parse().ok()?),
                Some(("milliseconds", number)) => hold.duration = Some(Duration::from_millis(number.parse().ok()?)),
                None if argument == "exec" => hold.exec = true,
                _ => return None,
            }
        }
        Some((id?, hold))
    }
}

/// Runs as the holder: attaches, reports that to the parent, closes the pipe, and waits for SIGTERM.
///
/// # Errors
/// It was not started by [`start_holder`], or cannot attach.
pub(crate) fn holder_main(arguments: impl Iterator<Item = String>) -> Result<(), Error> {
    let unusable =
        || Error::new(Kind::Usage, "shmadm-hold is started only by shmadm itself (`attach --background`, `--hold`)");
    let (id, hold) = Hold::from_arguments(arguments).ok_or_else(unusable)?;
    sys::close_inherited();
    sys::set_name(HOLDER_NAME);
    // setsid(2) fails only for a process group leader, which a process started by `start_holder` is not.
    let _ = nix::unistd::setsid();
    attach_and_wait(id, hold)
}

fn attach_and_wait(id: ShmId, hold: Hold) -> Result<(), Error> {
    let attached = Interrupts::watch_always()
        .map_err(|errno| SysError { errno, call: "sigaction", target: Subject::Id(id) })
        .and_then(|interrupts| Ok((interrupts, Attachment::new(id, hold.access, hold.exec, hold.address)?)));
    let (interrupts, attachment) = match attached {
        Ok(attached) => attached,
        Err(error) => {
            sys::answer_and_close_stdout(format!("failed {}\n", error.errno as i32).as_bytes());
            return Err(Error::new(Kind::Failed, "cannot attach the segment"));
        }
    };
    let answer = format!("attached {} {}\n", attachment.address(), attachment.size());
    if sys::answer_and_close_stdout(answer.as_bytes()) {
        interrupts.wait(hold.duration, None)?;
    }
    drop(attachment);
    Ok(())
}
