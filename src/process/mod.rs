//! Processes that we start, and what we wait for.

mod holder;
mod interrupts;
mod pair;

pub(crate) use holder::{Hold, StartedHolder, serve, start_holder};
pub(crate) use interrupts::{Ended, Interrupts, end_by, interrupted_by};
pub(crate) use pair::{Pair, Role, starts_together};
