//! Segments that a report lists to be removed.

use serde::Deserialize;

use super::Segment;

/// A report of `leakcheck`, or of `prune --dry-run --json`; of what else is JSON, neither.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    /// The form's version.
    #[serde(default)]
    pub(crate) schema: u64,
    /// What a command left behind.
    #[serde(default)]
    pub(crate) leaked: Option<Vec<Segment>>,
    /// What may be another job's.
    #[serde(default)]
    pub(crate) unattributed: Vec<Segment>,
    /// What would be removed.
    #[serde(default)]
    pub(crate) removed: Option<Vec<Segment>>,
    /// Whether that was said only.
    #[serde(default)]
    pub(crate) dry_run: bool,
}
