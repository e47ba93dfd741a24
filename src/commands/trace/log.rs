//! Where calls are shown: standard error, a file, or standard output in JSON.

use serde::Serialize;

use super::super::Context;
use crate::act;
use crate::error::Error;
use crate::explain::explain_call_of;
use crate::process::TracedCall;
use crate::render::{CallReport, call_line, escape, escape_json, write_report};

/// A log of calls. After an error nothing is written any more, but tracing continues.
pub(super) struct Log<'a> {
    pub(super) context: &'a mut Context,
    file: Option<act::Log>,
    /// The first error.
    error: Option<Error>,
}

impl<'a> Log<'a> {
    pub(super) fn new(context: &'a mut Context, file: Option<act::Log>) -> Self {
        Self { context, file, error: None }
    }

    /// Shows a call, with the cause and hints of a failure.
    pub(super) fn show(&mut self, traced: &TracedCall) {
        let TracedCall { process, thread, call, failed, .. } = traced;
        let diagnosis = failed.as_ref().and_then(|(attempt, failure)| {
            let system = self.context.system.renewed();
            explain_call_of(&system, *process, *thread, attempt, *failure)
        });
        let diagnosis = diagnosis.map(|error| self.context.ui.with_complete_hints(error));
        if self.context.json() {
            self.report(&CallReport::new(*process, *thread, call, diagnosis.as_ref()));
            return;
        }
        let thread = if process == thread { String::new() } else { format!(":{thread}") };
        let mut lines = format!("[{process}{thread}] {}\n", call_line(call));
        for cause in diagnosis.iter().filter_map(|error| error.cause.as_deref()) {
            lines.push_str(&format!("       cause: {}\n", escape(cause)));
        }
        for hint in diagnosis.iter().flat_map(|error| &error.hints) {
            lines.push_str(&format!("       hint: {}\n", escape(&hint.to_string())));
        }
        self.write(&lines);
    }

    /// Writes a report in JSON.
    pub(super) fn report(&mut self, report: &impl Serialize) {
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = write_report(&mut text, report);
        let result = match &mut self.file {
            _ if self.error.is_some() => return,
            Some(file) if file.is_terminal() => file.append(&escape_json(&text)),
            Some(file) => file.append(&text),
            None => self.context.report(report).and_then(|()| self.context.ui.flush()),
        };
        self.error = result.err();
    }

    /// Writes lines of text, which are escaped already.
    pub(super) fn write(&mut self, lines: &str) {
        match &mut self.file {
            _ if self.error.is_some() => {}
            Some(file) => self.error = file.append(lines.as_bytes()).err(),
            None => self.error = self.context.ui.log(lines).err(),
        }
    }

    /// Returns the first error.
    pub(super) fn end(self) -> Result<(), Error> {
        self.error.map_or(Ok(()), Err)
    }
}
