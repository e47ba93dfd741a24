//! What each traced process has done.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::model::{CallName, Needs, ShmId, Stamp, counted};
use crate::process::TracedCall;
use crate::query::{System, lookup};
use crate::render::escape;

/// The calls of all processes, by pid.
#[derive(Debug, Default)]
pub(super) struct Summary(BTreeMap<i32, Process>);

/// The calls of a process.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pid: i32,
    command: Option<Arc<str>>,
    calls: BTreeMap<&'static str, Count>,
    created: Vec<ShmId>,
    /// Those that still exist; `None` if that is unknown, because they are in another IPC namespace.
    leaked: Option<Vec<ShmId>>,
    #[serde(skip)]
    is_elsewhere: bool,
    /// Whether it has executed another program since `command` was read.
    #[serde(skip)]
    is_renamed: bool,
}

#[derive(Debug, Default, Serialize)]
struct Count {
    made: u64,
    failed: u64,
}

/// The summary in JSON.
#[derive(Serialize)]
pub(super) struct SummaryReport {
    summary: Vec<Process>,
}

impl Summary {
    /// Counts a call. The process is stopped, so it can be queried.
    pub(super) fn add(&mut self, system: &System, start: Stamp, traced: &TracedCall) {
        let process = self.0.entry(traced.process).or_insert_with(|| Process {
            pid: traced.process,
            command: None,
            calls: BTreeMap::new(),
            created: Vec::new(),
            leaked: None,
            is_elsewhere: false,
            is_renamed: false,
        });
        if process.command.is_none() || process.is_renamed {
            // After the exit it has none.
            process.command = system.renewed().command(traced.process).or_else(|| process.command.take());
            process.is_renamed = false;
        }
        let count = process.calls.entry(traced.call.name.as_str()).or_default();
        count.made += 1;
        count.failed += u64::from(traced.call.has_failed());
        let Some((id, is_new)) = traced.created else { return };
        let is_here = system.namespace_of(traced.process) == system.namespace();
        process.is_elsewhere |= !is_here;
        let is_known = process.created.contains(&id);
        if !is_known && (is_new || is_here && has_created(system, traced.process, start, id)) {
            process.created.push(id);
        }
    }

    /// Records that a process executes another program.
    pub(super) fn forget_command(&mut self, process: i32) {
        if let Some(process) = self.0.get_mut(&process) {
            process.is_renamed = true;
        }
    }

    /// Determines what was leaked, in the order of the pids.
    pub(super) fn end(self, system: &System) -> SummaryReport {
        let summary = self.0.into_values().map(|mut process| {
            let remains = |id: &ShmId| created_by(system, *id) == Some(process.pid);
            process.leaked = (!process.is_elsewhere).then(|| process.created.iter().copied().filter(remains).collect());
            process
        });
        SummaryReport { summary: summary.collect() }
    }
}

/// Returns whether a process has created a segment since the start of the trace, and not only opened it.
fn has_created(system: &System, process: i32, start: Stamp, id: ShmId) -> bool {
    let found = lookup(system, id, Needs::empty()).ok().flatten();
    let found = found.filter(|segment| segment.ctime.is_some_and(|time| time >= start));
    found.and_then(|segment| segment.as_sysv()?.cpid) == Some(process)
}

fn created_by(system: &System, id: ShmId) -> Option<i32> {
    lookup(system, id, Needs::empty()).ok()??.as_sysv()?.cpid
}

impl SummaryReport {
    /// Returns a line for each process.
    pub(super) fn lines(&self) -> String {
        if self.summary.is_empty() {
            return "no shared memory calls\n".to_owned();
        }
        self.summary.iter().map(|process| process.line() + "\n").collect()
    }
}

impl Process {
    fn line(&self) -> String {
        let sum = |count: fn(&Count) -> u64| self.calls.values().map(count).sum::<u64>();
        let (made, failed) = (sum(|count| count.made), sum(|count| count.failed));
        let names = CallName::ALL.map(CallName::as_str);
        let each = names.iter().filter_map(|name| Some(format!("{name} {}", self.calls.get(name)?.made)));
        let each: Vec<String> = each.collect();
        let command = self.command.as_deref().map(|command| format!("{}: ", escape(command))).unwrap_or_default();
        let created = match (self.created.len() as u64, &self.leaked) {
            (0, _) => String::new(),
            (created, None) => format!("; created {} in another IPC namespace", counted(created, "segment")),
            (created, Some(leaked)) if leaked.is_empty() => {
                format!("; created {}, leaked none", counted(created, "segment"))
            }
            (created, Some(leaked)) => {
                let ids: Vec<String> = leaked.iter().map(ToString::to_string).collect();
                format!("; created {}, leaked {} ({})", counted(created, "segment"), ids.len(), ids.join(", "))
            }
        };
        format!("[{}] {command}{}, {failed} failed ({}){created}", self.pid, counted(made, "call"), each.join(", "))
    }
}
