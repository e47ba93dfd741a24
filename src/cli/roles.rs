//! Internal roles: the program executes itself under another name for its background processes.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{report, ui};
use crate::error::{Error, Exit, ExitCodes};
use crate::leaks::LAUNCHER_NAME;
use crate::process::{FailureFormat, GUARD_NAME, STANDBY_NAME, guard_main, holder_main, launcher_main, standby_main};
use crate::query::HOLDER_NAME;
use crate::ui::Color;

pub(super) fn run_internal_role(name: &OsStr, arguments: &[OsString]) -> Option<Exit> {
    let failed = |error: Error| {
        ui(false, Color::Auto).error(&error);
        Exit::Failed(error.kind)
    };
    let words = || arguments.iter().filter_map(|argument| argument.clone().into_string().ok());
    let is = |other: &CStr| name.as_bytes() == other.to_bytes();
    let result = if is(HOLDER_NAME) {
        holder_main(words())
    } else if is(GUARD_NAME) {
        guard_main()
    } else if is(STANDBY_NAME) {
        standby_main()
    } else if name == LAUNCHER_NAME {
        let (error, format, code) = launcher_main(arguments.iter().cloned());
        let json = format == FailureFormat::Json;
        report(ui(false, Color::Auto).with_json(json), error, json, ExitCodes::Wrapper);
        return Some(Exit::Verdict(code));
    } else {
        return None;
    };
    Some(result.map_or_else(failed, |()| Exit::Done))
}
