//! Processes that we start, and what we wait for.

mod guard;
mod holder;
mod in_time;
mod interrupts;
mod isolation;
mod launcher;
mod namespaces;
mod pair;
mod standby;
mod supervisor;

use std::path::Path;

use nix::errno::Errno;

use crate::error::Error;

pub(crate) use guard::{GUARD_NAME, Guard, guard_main};
pub(crate) use holder::{Hold, StartedHolder, holder_main, start_holder};
pub(crate) use in_time::in_time;
pub(crate) use interrupts::{Ended, Interrupts, end_by, interrupted_by};
pub(crate) use isolation::{Isolate, Isolation, isolate};
pub(crate) use launcher::become_command;
pub(crate) use namespaces::{enter_namespace, limits_through_worker, list_through_worker, visit};
pub(crate) use pair::{Pair, Role, starts_together};
pub(crate) use standby::{STANDBY_NAME, stand_by};
pub(crate) use supervisor::{Supervised, supervise};

pub(crate) use crate::sys::stdout_is_closed;

/// Makes the error of a process of ours that cannot be started.
fn start_failed(message: impl Into<String>, error: &std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if Path::new("/proc/self/exe").exists() => Error::io(message, error, "open")
            .cause("there is no /dev/null, which stands in for its standard streams")
            .hint("`mknod -m 666 /dev/null c 1 3` makes it"),
        Some(Errno::ENOENT) => Error::io(message, error, "execve")
            .cause("there is no /proc, through which this program starts itself anew")
            .hint("`mount -t proc proc /proc` mounts it"),
        Some(Errno::EAGAIN) => Error::io(message, error, "clone")
            .cause("this user, or this control group, has all the processes that it may have")
            .hint("`ulimit -u` shows the user's limit, pids.max in /sys/fs/cgroup the control group's"),
        // No pipe can be made over which to speak with it.
        Some(Errno::EMFILE) => Error::io(message, error, "pipe2")
            .cause("this process has all the files open that it may have")
            .hint("`ulimit -n` shows the limit"),
        Some(Errno::ENFILE) => Error::io(message, error, "pipe2")
            .cause("the system has all the files open that it may have")
            .hint("`sysctl fs.file-nr` shows how many there are and may be"),
        _ => Error::io(message, error, "execve"),
    }
}
