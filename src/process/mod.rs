//! Processes: those that the program starts (holder, guard, demo pair, supervised command and its trace), namespaces
//! that it enters or creates, and waits that a signal ends.
//!
//! A helper process is this program, executed again through /proc/self/exe under another name, never a fork without
//! execve. What it must know is in its arguments or comes through a pipe; there are no state files.

mod guard;
mod holder;
mod interrupts;
mod isolation;
mod launcher;
mod namespaces;
mod pair;
mod standby;
mod supervisor;
mod timeout;

use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, program};

pub(crate) use guard::{GUARD_NAME, Guard, guard_main};
pub(crate) use holder::{Hold, StartedHolder, holder_main, start_holder};
pub(crate) use interrupts::{Interrupts, WaitOutcome, caught_signal, raise_signal};
pub(crate) use isolation::{Isolate, isolate};
pub(crate) use launcher::launcher_main;
pub(crate) use namespaces::{enter_namespace, limits_through_worker, list_through_worker, visit_namespaces};
pub(crate) use pair::{Pair, Role, is_demo_child};
pub(crate) use standby::{STANDBY_NAME, standby_main};
pub(crate) use supervisor::{Supervised, supervise};
pub(crate) use timeout::with_timeout;

pub(crate) use crate::sys::stdout_is_closed;

/// Returns the error for a helper process that cannot be started.
fn start_failed(message: impl Into<String>, error: &std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if Path::new("/proc/self/exe").exists() => Error::io(message, error, "open")
            .cause("/dev/null does not exist")
            .hint("create it", program("mknod -m 666 /dev/null c 1 3")),
        Some(Errno::ENOENT) => Error::io(message, error, "execve")
            .cause("/proc is not mounted, and /proc/self/exe is needed to execute this program again")
            .hint("mount it", program("mount -t proc proc /proc")),
        Some(Errno::EAGAIN) => Error::io(message, error, "clone")
            .cause("the limit on processes of this user or control group is reached")
            .hint(
                "show the limit of the user (that of a control group is pids.max below /sys/fs/cgroup)",
                program("ulimit -u"),
            ),
        // The pipe to the helper cannot be created.
        Some(Errno::EMFILE) => Error::io(message, error, "pipe2")
            .cause("this process has reached its limit on open files")
            .hint("show the limit", program("ulimit -n")),
        Some(Errno::ENFILE) => Error::io(message, error, "pipe2")
            .cause("the system has reached its limit on open files")
            .hint("show the use and the limit", program("sysctl fs.file-nr")),
        _ => Error::io(message, error, "execve"),
    }
}
