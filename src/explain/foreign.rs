//! Why a call of another process failed, from the point of view of that process.

use super::diagnosis::Attempt;
use crate::error::Error;
use crate::query::System;
use crate::sys::SysError;

/// Explains a failed call of a stopped process; `None` if the cause is unknown.
pub(crate) fn explain_call_of(
    _system: &System,
    _pid: i32,
    _thread: i32,
    _attempt: &Attempt,
    _failure: SysError,
) -> Option<Error> {
    None
}
