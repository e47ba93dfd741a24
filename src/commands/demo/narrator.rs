//! Prints the events of the demo.

use std::fmt::Display;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::Context;
use crate::act::{self, Removal};
use crate::error::{Errno, Error, Kind, SysError};
use crate::model::{Needs, Object, Outcome, ShmId};
use crate::process::Role;
use crate::query::lookup;
use crate::render::wrap;

/// The largest errno (MAX_ERRNO of linux/err.h).
const MAX_ERRNO: i32 = 4095;

const STEPS: [&str; 5] = ["create", "attach", "use", "detach", "destroy"];

/// One step of the demo; with --json, one line.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Event {
    schema: u8,
    /// The kind of event: `call`, `use`, `stat` or `note`.
    pub(super) event: String,
    step: String,
    /// The reporting process: `demo`, `writer` or `reader`.
    role: String,
    pid: u32,
    /// The system call with its arguments, in C syntax.
    pub(super) call: Option<String>,
    result: Option<String>,
    pub(super) value: Option<i32>,
    text: Option<String>,
    segment: Option<Box<RawValue>>,
}

/// Prints the events of one process, and those that it forwards.
pub(super) struct Narrator<'a> {
    pub(super) context: &'a mut Context,
    /// `demo`, `writer` or `reader`.
    role: &'static str,
    /// The step to which the next events belong.
    pub(super) step: &'static str,
    /// Number of steps whose heading was printed.
    headings: usize,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(context: &'a mut Context, role: &'static str) -> Self {
        Self { context, role, step: "create", headings: 0 }
    }

    fn event(&self, event: &str) -> Event {
        let (event, step, role) = (event.to_owned(), self.step.to_owned(), self.role.to_owned());
        Event { schema: 1, event, step, role, pid: std::process::id(), ..Event::default() }
    }

    pub(super) fn call(&mut self, call: impl Into<String>, result: impl Display) -> Result<(), Error> {
        self.print(&Event { call: Some(call.into()), result: Some(result.to_string()), ..self.event("call") })
    }

    pub(super) fn access(&mut self, location: &str, value: i32) -> Result<(), Error> {
        self.print(&Event { call: Some(location.to_owned()), value: Some(value), ..self.event("use") })
    }

    pub(super) fn note(&mut self, text: &str) -> Result<(), Error> {
        self.print(&Event { text: Some(text.to_owned()), ..self.event("note") })
    }

    /// Prints the record of the segment, if it exists.
    pub(super) fn stat(&mut self, id: ShmId) -> Result<(), Error> {
        let Some(segment) = lookup(&self.context.system, id, Needs::RECORD)? else { return Ok(()) };
        let (text, segment) = (Some(describe(&segment)), to_raw_value(&segment).ok());
        self.print(&Event { segment, text, ..self.event("stat") })
    }

    /// Removes the segment, even if it is attached, and prints the call; `None` if it does not exist.
    pub(super) fn remove(&mut self, id: ShmId) -> Result<Option<Outcome>, Error> {
        let system = &self.context.system;
        let Some(segment) = lookup(system, id, Needs::empty())? else { return Ok(None) };
        let removed = act::remove(system, &segment, Removal { force: true, ..Removal::default() })?;
        self.step = "destroy";
        self.call(format!("shmctl({id}, IPC_RMID, NULL)"), 0)?;
        Ok(Some(removed.outcome))
    }

    /// Prints an event that the writer or the reader has sent, and returns it.
    pub(super) fn forward(&mut self, line: &str) -> Result<Event, Error> {
        let event: Event = serde_json::from_str(line).map_err(|error| {
            let unknown = || Error::new(Kind::Failed, format!("cannot parse an event of the demo: {error}"));
            reported_error(line).unwrap_or_else(unknown)
        })?;
        self.print(&event)?;
        Ok(event)
    }

    fn print(&mut self, event: &Event) -> Result<(), Error> {
        let line = if self.context.json() {
            serde_json::to_string(event).unwrap_or_default()
        } else {
            let width = self.context.ui.width();
            format!("{}{}", self.heading(&event.step), line(event, width))
        };
        self.context.ui.write(|out| writeln!(out, "{line}"))?;
        self.context.ui.flush()
    }

    /// Returns the heading of a step before its first event.
    fn heading(&mut self, step: &str) -> String {
        let index = STEPS.iter().position(|name| *name == step);
        let Some(index) = index.filter(|index| *index >= self.headings) else { return String::new() };
        let gap = if self.headings > 0 { "\n" } else { "" };
        self.headings = index + 1;
        format!("{gap}{}. {step}\n", self.headings)
    }
}

/// Parses the error of a writer or reader that failed.
fn reported_error(line: &str) -> Option<Error> {
    #[derive(Deserialize)]
    struct Failed {
        error: Report,
    }
    #[derive(Deserialize)]
    struct Report {
        kind: String,
        errno: Option<String>,
        call: Option<String>,
        target: Option<String>,
        message: String,
        cause: Option<String>,
    }
    let Report { kind, errno, call, target, message, cause } = serde_json::from_str::<Failed>(line).ok()?.error;
    let kinds = [Kind::NotFound, Kind::Permission, Kind::Refused, Kind::Exists];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind).unwrap_or(Kind::Failed);
    let errno = errno.and_then(|name| (1..=MAX_ERRNO).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name));
    // The program ends with this error, so the name of the call is leaked only once.
    let source = errno.zip(call).map(|(errno, call)| SysError { errno, call: call.leak() });
    let message = match source {
        Some(source) => message.strip_suffix(&format!(": {source}")).unwrap_or(&message),
        None => &message,
    };
    let (target, cause) = (target.map(String::into_boxed_str), cause.map(String::into_boxed_str));
    Some(Error { source, target, cause, ..Error::new(kind, message) })
}

/// Returns an event as text.
fn line(event: &Event, width: Option<usize>) -> String {
    let [call, result, text] =
        [&event.call, &event.result, &event.text].map(|text| text.as_deref().unwrap_or_default());
    let value = event.value.unwrap_or_default();
    let who = format!("{} {}", event.role, event.pid);
    let entry = |who: &str, what: &str| format!("   {who:<16} {}", wrap(what, 20, width.unwrap_or(usize::MAX)));
    match event.event.as_str() {
        "call" => entry(&who, &format!("{call} = {result}")),
        "use" if event.role == Role::Writer.as_str() => entry(&who, &format!("{call} = {value}")),
        "use" => entry(&who, &format!("{call} is {value}")),
        "stat" => entry("IPC_STAT", text),
        _ => format!("   {}", wrap(text, 3, width.unwrap_or(80).clamp(20, 100))),
    }
}

/// Describes the fields that change during the demo.
fn describe(segment: &Object) -> String {
    let sysv = segment.sysv();
    let pid = |pid: Option<i32>| pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let rss = segment.rss.map_or_else(|| "-".to_owned(), |rss| rss.to_string());
    let dest = if sysv.dest { ", dest" } else { "" };
    format!("nattch {}, cpid {}, lpid {}, rss {rss}{dest}", sysv.nattch, pid(sysv.cpid), pid(sysv.lpid))
}
