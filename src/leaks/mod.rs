//! What a command leaked: segments and POSIX objects that are new, and which of its processes created a segment.

mod attribution;
mod descendants;
mod files;
mod provenance;

pub(crate) use attribution::{leaks, settle};
pub(crate) use descendants::{Descendants, LAUNCHER_NAME};
pub(crate) use files::FileBaseline;
pub(crate) use provenance::{Baseline, Evidence, UnboundCall};
