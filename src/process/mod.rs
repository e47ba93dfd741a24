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

pub(crate) use guard::{GUARD_NAME, Guard, stand_guard};
pub(crate) use holder::{Hold, StartedHolder, serve, start_holder};
pub(crate) use in_time::in_time;
pub(crate) use interrupts::{Ended, Interrupts, end_by, interrupted_by};
pub(crate) use isolation::{Isolate, Isolation, isolate};
pub(crate) use launcher::become_command;
pub(crate) use namespaces::{enter_namespace, limits_through_worker, list_through_worker, visit};
pub(crate) use pair::{Pair, Role, starts_together};
pub(crate) use standby::{STANDBY_NAME, stand_by};
pub(crate) use supervisor::{Supervised, supervise};
