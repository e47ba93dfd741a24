//! What the demo tells, for people and for programs.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One thing that happened in the demo, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    /// The version of this form.
    pub(crate) schema: u8,
    /// What it is: `call`, `use`, `stat` or `note`.
    pub(crate) event: String,
    /// The step of a segment's life: `create`, `attach`, `use`, `detach` or `destroy`.
    pub(crate) step: String,
    /// Who tells: `demo`, `writer` or `reader`.
    pub(crate) role: String,
    /// The process that tells.
    pub(crate) pid: u32,
    /// The call with its arguments, as C has it.
    pub(crate) call: Option<String>,
    /// What it returned.
    pub(crate) result: Option<String>,
    /// The integer that was written or read.
    pub(crate) value: Option<i32>,
    /// What it means.
    pub(crate) text: Option<String>,
    /// The segment's record.
    pub(crate) segment: Option<Box<RawValue>>,
}
