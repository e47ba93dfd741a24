//! Prints the events of the demo.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::Context;
use crate::error::{Error, Kind};
use crate::model::{Needs, Object, ShmId};
use crate::query::lookup;

/// The steps of a segment's life.
const STEPS: [&str; 5] = ["create", "attach", "use", "detach", "destroy"];

/// One step of the demo; with --json, one line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    schema: u8,
    /// The kind of event: `call`, `use`, `stat` or `note`.
    pub(super) event: String,
    /// The stage of the segment's life.
    step: String,
    /// The reporting process: `demo`, `writer` or `reader`.
    role: String,
    pid: u32,
    /// The system call with its arguments, in C syntax.
    pub(super) call: Option<String>,
    result: Option<String>,
    /// The integer that was written or read.
    pub(super) value: Option<i32>,
    text: Option<String>,
    segment: Option<Box<RawValue>>,
}

/// Prints events in the name of a role.
pub(super) struct Narrator {
    /// `demo`, `writer` or `reader`.
    role: &'static str,
    /// Number of steps announced.
    announced: usize,
}

impl Narrator {
    /// Returns a narrator for a role.
    pub(super) fn new(role: &'static str) -> Self {
        Self { role, announced: 0 }
    }

    /// Returns an event without details.
    fn event(&self, event: &str, step: &str) -> Event {
        Event {
            schema: 1,
            event: event.to_owned(),
            step: step.to_owned(),
            role: self.role.to_owned(),
            pid: std::process::id(),
            call: None,
            result: None,
            value: None,
            text: None,
            segment: None,
        }
    }

    /// Prints a system call with its arguments and result.
    pub(super) fn call(
        &mut self,
        context: &mut Context,
        step: &str,
        call: String,
        result: String,
    ) -> Result<(), Error> {
        let event = Event { call: Some(call), result: Some(result), ..self.event("call", step) };
        self.print(context, &event)
    }

    /// Prints an access to the memory.
    pub(super) fn used(&mut self, context: &mut Context, call: String, value: i32) -> Result<(), Error> {
        let event = Event { call: Some(call), value: Some(value), ..self.event("use", "use") };
        self.print(context, &event)
    }

    /// Prints an explanation.
    pub(super) fn note(&mut self, context: &mut Context, step: &str, text: &str) -> Result<(), Error> {
        let event = Event { text: Some(text.to_owned()), ..self.event("note", step) };
        self.print(context, &event)
    }

    /// Prints the current segment and returns it; `None` if it does not exist.
    pub(super) fn stat(&mut self, context: &mut Context, step: &str, id: ShmId) -> Result<Option<Object>, Error> {
        let Some(found) = lookup(&context.system, id, Needs::RECORD)? else { return Ok(None) };
        let event =
            Event { segment: to_raw_value(&found).ok(), text: Some(describe(&found)), ..self.event("stat", step) };
        self.print(context, &event)?;
        Ok(Some(found))
    }

    /// Prints an event that a process of the pair has sent, and returns it.
    pub(super) fn forward(&mut self, context: &mut Context, line: &str) -> Result<Event, Error> {
        let event: Event = serde_json::from_str(line)
            .map_err(|error| Error::new(Kind::Failed, format!("cannot parse an event of the demo: {error}")))?;
        self.print(context, &event)?;
        Ok(event)
    }

    /// Prints an event in the chosen format and flushes it.
    fn print(&mut self, context: &mut Context, event: &Event) -> Result<(), Error> {
        if context.json() {
            let line = serde_json::to_string(event).unwrap_or_default();
            context.ui.print(&line)?;
            return context.ui.flush();
        }
        if let Some(step) = STEPS.iter().position(|step| *step == event.step)
            && step >= self.announced
        {
            if self.announced > 0 {
                context.ui.print("")?;
            }
            self.announced = step + 1;
            context.ui.print(&format!("{}. {}", step + 1, event.step))?;
        }
        let who = format!("{} {}", event.role, event.pid);
        let line = match (&event.call, &event.result, event.value) {
            (Some(call), Some(result), _) => format!("   {who:<16} {call} = {result}"),
            (Some(call), None, Some(value)) if event.role == Role::Writer.as_str() => {
                format!("   {who:<16} {call} = {value}")
            }
            (Some(call), None, Some(value)) => format!("   {who:<16} {call} is {value}"),
            _ if event.event == "stat" => {
                format!("   {:<16} {}", "IPC_STAT", event.text.as_deref().unwrap_or_default())
            }
            _ => wrapped(event.text.as_deref().unwrap_or_default(), context.ui.width().unwrap_or(80)),
        };
        context.ui.print(&line)?;
        context.ui.flush()
    }
}

use crate::process::Role;

/// Describes the fields that change during the demo.
fn describe(segment: &Object) -> String {
    let pid = |pid: Option<i32>| pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    format!(
        "nattch {}, cpid {}, lpid {}, rss {}{}",
        segment.sysv().nattch,
        pid(segment.sysv().cpid),
        pid(segment.sysv().lpid),
        segment.rss.map_or_else(|| "-".to_owned(), |rss| rss.to_string()),
        if segment.sysv().dest { ", dest" } else { "" }
    )
}

/// Breaks a text into lines that are indented and fit.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::from("  ")];
    for word in text.split_whitespace() {
        let fits = lines.last().is_some_and(|line| line.len() + 1 + word.len() <= width.clamp(20, 100));
        if !fits {
            lines.push(String::from("  "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}
