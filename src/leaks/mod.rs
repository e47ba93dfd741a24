//! The segments that a command leaked: what is new, and which of its processes created it.

mod attribution;
mod descendants;
mod provenance;

pub(crate) use attribution::{leaks, settle};
pub(crate) use descendants::{Descendants, LAUNCHER_NAME};
pub(crate) use provenance::{Baseline, Evidence, UnboundCall};
