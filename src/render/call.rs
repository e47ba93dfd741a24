//! System calls of traced programs, as text and JSON.

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::escape;
use crate::error::{Error, Hint};
use crate::model::{Argument, Arguments, Call, CallResult, Flags, Stamp, serialize_arguments};

/// Returns a call as strace(1) shows it, with its result.
pub(crate) fn call_line(call: &Call) -> String {
    let mut line = call.name.as_str().to_owned();
    line.push('(');
    write_list(&mut line, &call.arguments, false);
    line.push_str(") = ");
    // Writing to a String cannot fail.
    let _ = match &call.result {
        CallResult::Number(number) => write!(line, "{number}"),
        CallResult::Address(address) => write!(line, "{address:#x}"),
        CallResult::Failed { errno, text } => write!(line, "-1 {errno} ({text})"),
        CallResult::Interrupted(name) => write!(line, "? {name}"),
        CallResult::Unknown => write!(line, "?"),
    };
    line
}

fn write_list(line: &mut String, arguments: &Arguments, named: bool) {
    for (index, (name, argument)) in arguments.iter().enumerate() {
        if index > 0 {
            line.push_str(", ");
        }
        if named {
            line.push_str(name);
            line.push('=');
        }
        write_argument(line, argument);
    }
}

fn write_argument(line: &mut String, argument: &Argument) {
    // Writing to a String cannot fail.
    let _ = match argument {
        Argument::Key(key) if key.bits() == 0 => write!(line, "IPC_PRIVATE"),
        Argument::Key(key) => write!(line, "{key}"),
        Argument::Number(number) => write!(line, "{number}"),
        Argument::Size(size) => write!(line, "{size}"),
        Argument::Time(0) => write!(line, "0"),
        Argument::Time(seconds) => write!(line, "{}", Stamp(*seconds)),
        Argument::Address(0) => write!(line, "NULL"),
        Argument::Address(address) => write!(line, "{address:#x}"),
        Argument::Word(word) => write!(line, "{word}"),
        Argument::Flags(flags) => write!(line, "{}", flags_text(flags)),
        Argument::Mode(bits) => write!(line, "{bits:04o}"),
        Argument::Text(text) => write!(line, "\"{}\"", escape(&text.replace('"', "\\\""))),
        Argument::Descriptor(number, None) => write!(line, "{number}"),
        Argument::Descriptor(number, Some(path)) => write!(line, "{number}<{}>", escape(path)),
        Argument::Structure(fields) => {
            line.push('{');
            write_list(line, fields, true);
            write!(line, "}}")
        }
    };
}

fn flags_text(flags: &Flags) -> String {
    // A mode without bits is shown only if nothing else is.
    let mode = flags.mode.filter(|mode| mode.bits() != 0 || flags.names.is_empty()).map(|mode| mode.to_string());
    let words: Vec<&str> = flags.names.iter().map(AsRef::as_ref).chain(mode.as_deref()).collect();
    if words.is_empty() { "0".to_owned() } else { words.join("|") }
}

/// A call in JSON.
#[derive(Serialize)]
pub(crate) struct CallReport<'a> {
    #[serde(serialize_with = "microseconds")]
    pub(crate) time: Timestamp,
    pub(crate) pid: i32,
    pub(crate) thread: i32,
    pub(crate) call: &'a str,
    #[serde(serialize_with = "serialize_arguments")]
    pub(crate) args: &'a Arguments,
    #[serde(serialize_with = "result")]
    pub(crate) result: &'a CallResult,
    pub(crate) errno: Option<&'a str>,
    pub(crate) cause: Option<&'a str>,
    pub(crate) hints: &'a [Hint],
}

impl<'a> CallReport<'a> {
    /// Creates the report of a call that ends now; `error` is its diagnosis.
    pub(crate) fn new(pid: i32, thread: i32, call: &'a Call, error: Option<&'a Error>) -> Self {
        let errno = match &call.result {
            CallResult::Failed { errno, .. } => Some(errno.as_str()),
            CallResult::Interrupted(name) => Some(*name),
            _ => None,
        };
        let cause = error.and_then(|error| error.cause.as_deref());
        let hints = error.map_or(&[][..], |error| &error.hints);
        let (call, args, result) = (call.name.as_str(), &call.arguments, &call.result);
        Self { time: Timestamp::now(), pid, thread, call, args, result, errno, cause, hints }
    }
}

fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn result<S: Serializer>(result: &&CallResult, serializer: S) -> Result<S::Ok, S::Error> {
    match result {
        CallResult::Number(number) => serializer.serialize_u64(*number),
        CallResult::Address(address) => serializer.collect_str(&format_args!("{address:#x}")),
        CallResult::Failed { .. } => serializer.serialize_i32(-1),
        CallResult::Interrupted(_) | CallResult::Unknown => serializer.serialize_none(),
    }
}
