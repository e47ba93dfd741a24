//! The output of `stat`: one object, one field per line.

use std::io::{self, Write};

use super::TableStyle;
use super::human::{duration, size, time, yes_or_no};
use crate::model::{Attacher, Attachers, Hidden, Key, Object, ObjectKind, Size, Stamp, State, SysV};

/// Writes `name: value` lines with the names aligned to the right.
pub(crate) fn write_fields(out: &mut impl Write, fields: &[(&str, String)]) -> io::Result<()> {
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        writeln!(out, "{name:>widest$}: {}", super::escape(value))?;
    }
    Ok(())
}

pub(crate) fn segment_fields(object: &Object, style: &TableStyle<'_>) -> Vec<(&'static str, String)> {
    let bytes = |bytes: Option<u64>| match bytes {
        None => "unknown".to_owned(),
        Some(bytes) if style.bytes => bytes.to_string(),
        Some(bytes) if bytes < 1000 => Size(bytes).to_string(),
        Some(bytes) => format!("{bytes} ({})", size(bytes.into())),
    };
    let time_or_never =
        |stamp: Option<Stamp>| stamp.map_or_else(|| "never".to_owned(), |stamp| time(stamp, style.time, style.now));
    let ObjectKind::SysV(sysv) = &object.kind;
    let no_user = if sysv.atime.is_none() { "none yet" } else { OUTSIDE };
    let mut fields = vec![
        ("Id", sysv.id.to_string()),
        ("Key", key(object, sysv)),
        ("Size", bytes(Some(object.size))),
        ("Mode", object.mode.to_string()),
        ("Owner", account(object.owner.as_deref(), object.uid)),
        ("Group", account(object.group.as_deref(), object.gid)),
        ("Creator", account(sysv.creator.as_deref(), sysv.cuid)),
        ("Creator's group", account(sysv.creator_group.as_deref(), sysv.cgid)),
        ("Created by pid", process(sysv.cpid, sysv.creator_command.as_deref(), OUTSIDE)),
        ("Last used by pid", process(sysv.lpid, sysv.last_command.as_deref(), no_user)),
        ("Attached", if sysv.nattch == 1 { "once".to_owned() } else { format!("{} times", sysv.nattch) }),
    ];
    fields.extend(object.attachers.iter().flat_map(|attachers| attached_by(attachers)));
    fields.extend([
        ("Last attach", time_or_never(sysv.atime)),
        ("Last detach", time_or_never(sysv.dtime)),
        ("Last change", time_or_never(object.ctime)),
        ("Idle", object.idle_seconds.map_or_else(|| "-".to_owned(), duration)),
        ("Marked for destruction", yes_or_no(sysv.dest)),
        ("Locked in memory", yes_or_no(sysv.locked)),
        ("Resident", bytes(object.rss)),
        ("Swapped", bytes(object.swap)),
        ("State", state(object.state)),
        ("IPC namespace", object.ipc_namespace().map_or_else(|| "unknown".to_owned(), |number| number.to_string())),
    ]);
    fields
}

/// Stands in for the pid of a process that has none here.
const OUTSIDE: &str = "outside this pid namespace";

fn key(object: &Object, sysv: &SysV) -> String {
    match (sysv.key, object.former_key()) {
        (_, Some(key)) => format!("none (marked for destruction; it was {key}, {})", key.bits()),
        (Key::PRIVATE, None) if sysv.dest => "none (private, or marked for destruction)".to_owned(),
        (Key::PRIVATE, None) => "none (private)".to_owned(),
        (key, None) => format!("{key} ({})", key.bits()),
    }
}

fn account(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| number.to_string(), |name| format!("{name} ({number})"))
}

fn process(pid: Option<i32>, command: Option<&str>, missing: &str) -> String {
    match (pid, command) {
        (None, _) => missing.to_owned(),
        (Some(pid), None) => pid.to_string(),
        (Some(pid), Some(command)) => format!("{pid} ({command})"),
    }
}

/// Returns one line for each attached process, and one for each reason why some are hidden.
fn attached_by(attachers: &Attachers) -> Vec<(&'static str, String)> {
    let process = |process: &[Attacher]| {
        let times = if process.len() > 1 { format!(", {} times", process.len()) } else { String::new() };
        let certainty = if process.iter().all(|mapping| mapping.certain) { "" } else { ", uncertain" };
        ("Attached by pid", format!("{}{times}{certainty}", process[0].process()))
    };
    let hidden = |hidden: &Hidden| ("Not visible", format!("{}: {}", hidden.count, hidden.meaning()));
    attachers.processes().map(process).chain(attachers.hidden.iter().map(hidden)).collect()
}

fn state(state: Option<State>) -> String {
    let Some(state) = state else { return "unknown".to_owned() };
    let meaning = match state {
        State::InUse => "attached",
        State::Dest => "marked for destruction; destroyed at the last detach",
        State::Idle => "not attached; creator or last user is running",
        State::Unknown => "not attached; cannot determine whether creator and last user are running",
        State::Orphan => "not attached; creator and last user have exited",
    };
    format!("{} ({meaning})", state.as_str())
}
