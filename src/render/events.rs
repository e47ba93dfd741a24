//! The events of `demo --json`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One step of the demo, printed as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) schema: u8,
    /// The kind of event: `call`, `use`, `stat` or `note`.
    pub(crate) event: String,
    /// The stage of the segment's life: `create`, `attach`, `use`, `detach` or `destroy`.
    pub(crate) step: String,
    /// The reporting process: `demo`, `writer` or `reader`.
    pub(crate) role: String,
    /// The pid of the reporting process.
    pub(crate) pid: u32,
    /// The system call with its arguments, in C syntax.
    pub(crate) call: Option<String>,
    /// The return value.
    pub(crate) result: Option<String>,
    /// The integer that was written or read.
    pub(crate) value: Option<i32>,
    /// The explanation.
    pub(crate) text: Option<String>,
    /// The segment's record.
    pub(crate) segment: Option<Box<RawValue>>,
}
