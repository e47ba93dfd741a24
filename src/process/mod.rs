//! Processes: those that the program starts (holder, guard, demo pair, supervised command and its trace), namespaces
//! that it enters or creates, and waits that a signal ends.
//!
//! A helper process is this program, executed again through /proc/self/exe, never a fork without execve. What it must
//! know is in its arguments or comes through a pipe, never in state files.

mod guard;
mod helper;
mod holder;
mod interrupts;
mod isolation;
mod launcher;
mod namespaces;
mod pair;
mod standby;
mod supervisor;
mod timeout;
mod tracer;

pub(crate) use guard::{GUARD_NAME, Guard, guard_main};
pub(crate) use helper::check_helpers;
pub(crate) use holder::{Hold, StartedHolder, holder_main, start_holder};
pub(crate) use interrupts::Interrupts;
pub(crate) use isolation::{isolate, isolate_objects};
pub(crate) use launcher::{FailureFormat, launcher_main};
pub(crate) use namespaces::{
    enter_namespace, enterable_namespaces, limits_through_worker, list_through_worker, name_for_nsenter, pid_of,
    visit_namespaces,
};
pub(crate) use pair::{Pair, Role, is_demo_child};
pub(crate) use standby::{STANDBY_NAME, standby_main};
pub(crate) use supervisor::{Supervised, supervise};
pub(crate) use timeout::with_timeout;
pub(crate) use tracer::{Observed, TracedCall, trace_command, trace_process};

pub(crate) use crate::sys::{
    WaitOutcome, caught as caught_signal, raise as raise_signal, stdout_is_closed, survive_file_size_limit,
};
