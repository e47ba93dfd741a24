//! Leaked segments as text lines, and the JSON report of `leakcheck`.

use std::io::{self, Write};

use super::attachers::write_attachments;
use super::{Attachments, JsonObject, RECORD, SEGMENT, column, write_string};
use crate::model::{Attacher, Key, Leak, LeakCheck, LeakRemoval, Size, SysV};

/// How many attached processes a line names.
const MAX_NAMED: usize = 4;

/// Describes a leaked segment, its creator, and the processes that have it attached.
pub(crate) fn leak_line(leak: &Leak) -> String {
    let segment = &leak.segment;
    let key = if segment.sysv().key == Key::PRIVATE { String::new() } else { format!("key {}, ", segment.sysv().key) };
    let rss = match segment.rss {
        None => String::new(),
        Some(0) => ", 0 B resident".to_owned(),
        Some(rss) => format!(", {} resident", Size(rss)),
    };
    let creator = match (segment.sysv().cpid, &leak.creator_command) {
        (Some(pid), Some(command)) => format!("pid {pid} ({command})"),
        (Some(pid), None) => format!("pid {pid} (command unknown)"),
        (None, _) => "a process outside this pid namespace".to_owned(),
    };
    let removal = match &leak.removal {
        None => String::new(),
        Some(LeakRemoval::Removed("destroyed")) => "; removed".to_owned(),
        Some(LeakRemoval::Removed(_)) => {
            "; marked for destruction: a process attached it before the removal".to_owned()
        }
        Some(LeakRemoval::Kept(reason)) => format!("; kept: {reason}"),
    };
    format!(
        "segment {} ({key}{}{rss}), created by {creator}, {}{removal}",
        segment.sysv().id,
        Size(segment.size),
        attached(leak)
    )
}

/// Describes the processes that have a segment attached.
fn attached(leak: &Leak) -> String {
    let segment = &leak.segment;
    if segment.sysv().nattch == 0 {
        return "not attached".to_owned();
    }
    let Some(attachers) = &segment.attachers else { return format!("attached {} times", segment.sysv().nattch) };
    let name = |process: &[Attacher]| format!("pid {}", process[0].process());
    let mut names: Vec<String> = attachers.processes().take(MAX_NAMED).map(name).collect();
    let more = attachers.processes().count().saturating_sub(MAX_NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.extend(
        attachers.hidden.iter().map(|(reason, _)| format!("processes that cannot be inspected: {}", reason.meaning())),
    );
    let dest = if segment.sysv().dest { "; destroyed at the last detach" } else { "" };
    format!("still attached by {}{dest}", names.join(", "))
}

/// Writes the report of `leakcheck` as JSON.
pub(crate) fn write_leaks_json(out: &mut impl Write, check: &LeakCheck) -> io::Result<()> {
    let record = column::by_names(SEGMENT, RECORD);
    let mut object = JsonObject::schema(out)?;
    object.list("command", &check.command, |out, argument| write_string(out, argument))?;
    object.number("exit_code", check.exit_code)?;
    object.text("isolation", check.isolation)?;
    for (key, leaks) in [("leaked", &check.leaks.leaked), ("unattributed", &check.leaks.unattributed)] {
        object.list(key, leaks, |out, leak| {
            let mut object = JsonObject::open(out)?;
            object.row(&record, &leak.segment)?;
            object.text("creator_command", leak.creator_command.as_deref())?;
            let SysV { id, nattch, .. } = *leak.segment.sysv();
            let ns = leak.segment.ipc_namespace();
            let attachers = leak.segment.attachers.clone().unwrap_or_default();
            write_attachments(&mut object, &Attachments { id, ns, nattch: Some(nattch), container: None, attachers })?;
            let (outcome, reason) = match &leak.removal {
                None => (None, None),
                Some(LeakRemoval::Removed(outcome)) => (Some(*outcome), None),
                Some(LeakRemoval::Kept(reason)) => (Some("kept"), Some(reason.as_str())),
            };
            object.text("outcome", outcome)?;
            object.text("reason", reason)?;
            object.close()
        })?;
    }
    object.end()
}
