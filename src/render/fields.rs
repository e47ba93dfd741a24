//! The output of `stat`: one segment, one field per line.

use std::io::{self, Write};

use super::TableStyle;
use super::human::{Look, size, time};
use crate::model::{Attacher, Attachers, HiddenBy, Key, Object, Size, Stamp, State};

/// Writes `name: value` lines with the names aligned to the right.
pub(crate) fn write_fields(out: &mut impl Write, fields: &[(&str, String)]) -> io::Result<()> {
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        writeln!(out, "{name:>widest$}: {}", super::escape(value))?;
    }
    Ok(())
}

/// Returns the names and values of all fields of a segment.
pub(crate) fn segment_fields(segment: &Object, style: &TableStyle<'_>) -> Vec<(&'static str, String)> {
    let style = Look { bytes: style.bytes, time: style.time, now: style.now };
    let bytes = |bytes: Option<u64>| match bytes {
        None => "unknown".to_owned(),
        Some(bytes) if style.bytes => bytes.to_string(),
        Some(bytes) if bytes < 1000 => Size(bytes).to_string(),
        Some(bytes) => format!("{bytes} ({})", size(bytes.into())),
    };
    let account = |name: Option<&str>, number: u32| match name {
        Some(name) => format!("{name} ({number})"),
        None => number.to_string(),
    };
    let process = |pid: Option<i32>, command: Option<&str>, missing: &str| match (pid, command) {
        (None, _) => missing.to_owned(),
        (Some(pid), None) => format!("{pid}"),
        (Some(pid), Some(command)) => format!("{pid} ({command})"),
    };
    let time_or_never = |stamp: Option<Stamp>| match stamp {
        None => "never".to_owned(),
        Some(stamp) => time(stamp, style.time, style.now),
    };
    let key = match segment.sysv().key {
        Key::PRIVATE if segment.sysv().dest => "none (private, or removed)".to_owned(),
        Key::PRIVATE => "none (private)".to_owned(),
        key => format!("{key} ({})", key.bits()),
    };
    let no_user = if segment.sysv().atime.is_none() { "none yet" } else { "outside this pid namespace" };
    let idle = segment.idle_seconds.map_or_else(|| "-".to_owned(), super::human::duration);
    let mut fields = vec![
        ("Id", segment.sysv().id.to_string()),
        ("Key", key),
        ("Size", bytes(Some(segment.size))),
        ("Mode", segment.mode.to_string()),
        ("Owner", account(segment.owner.as_deref(), segment.uid)),
        ("Group", account(segment.group.as_deref(), segment.gid)),
        ("Creator", account(segment.sysv().creator.as_deref(), segment.sysv().cuid)),
        ("Creator's group", account(segment.sysv().creator_group.as_deref(), segment.sysv().cgid)),
        (
            "Created by pid",
            process(segment.sysv().cpid, segment.sysv().creator_command.as_deref(), "outside this pid namespace"),
        ),
        ("Last used by pid", process(segment.sysv().lpid, segment.sysv().last_command.as_deref(), no_user)),
        (
            "Attached",
            if segment.sysv().nattch == 1 { "once".to_owned() } else { format!("{} times", segment.sysv().nattch) },
        ),
        ("Last attach", time_or_never(segment.sysv().atime)),
        ("Last detach", time_or_never(segment.sysv().dtime)),
        ("Last change", time_or_never(segment.ctime)),
        ("Idle", idle),
        ("Marked for destruction", yes_or_no(segment.sysv().dest)),
        ("Locked in memory", yes_or_no(segment.sysv().locked)),
        ("Resident", bytes(segment.rss)),
        ("Swapped", bytes(segment.swap)),
        ("State", state(segment.state)),
        ("IPC namespace", segment.ipc_namespace().map_or_else(|| "unknown".to_owned(), |number| number.to_string())),
    ];
    if let (Some(attachers), Some(index)) =
        (&segment.attachers, fields.iter().position(|(name, _)| *name == "Last attach"))
    {
        fields.splice(index..index, attached_by(attachers));
    }
    fields
}

/// Returns one line for each attached process, and one for each reason why some are hidden.
fn attached_by(attachers: &Attachers) -> Vec<(&'static str, String)> {
    let process = |process: &[Attacher]| {
        let times = if process.len() > 1 { format!(", {} times", process.len()) } else { String::new() };
        let certainty = if process.iter().all(|mapping| mapping.certain) { "" } else { ", uncertain" };
        ("Attached by pid", format!("{}{times}{certainty}", process[0].process()))
    };
    let hidden = |(reason, count): &(HiddenBy, u64)| ("Not visible", format!("{count}: {}", reason.meaning()));
    attachers.processes().map(process).chain(attachers.hidden.iter().map(hidden)).collect()
}

fn yes_or_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn state(state: Option<State>) -> String {
    let Some(state) = state else { return "unknown".to_owned() };
    let meaning = match state {
        State::InUse => "attached",
        State::Dest => "removed; destroyed at the last detach",
        State::Idle => "not attached; creator or last user is running",
        State::Unknown => "not attached; cannot determine whether creator and last user are running",
        State::Orphan => "not attached; creator and last user have exited",
    };
    format!("{state} ({meaning})")
}
