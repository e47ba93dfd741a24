//! What a command leaked: segments and POSIX objects that are new, and which of them its processes created.

mod attribution;
mod creations;
mod descendants;
mod files;
mod provenance;

pub(crate) use attribution::{leaks, settle};
pub(crate) use creations::Creations;
pub(crate) use descendants::{Descendants, LAUNCHER_NAME, has_no_children};
pub(crate) use files::FileBaseline;
pub(crate) use provenance::{Baseline, CreatorEvidence, UnboundCall};
