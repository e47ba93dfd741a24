//! One segment in full, a field to a line.

use std::io::{self, Write};

use super::TableStyle;
use super::human::{Look, moment, size};
use crate::model::{Attacher, Attachers, HiddenBy, Key, Segment, Size, Stamp, State};

/// Writes names and values, the values under each other.
///
/// # Errors
/// The writer's.
pub(crate) fn write_fields(out: &mut impl Write, fields: &[(&str, String)]) -> io::Result<()> {
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        writeln!(out, "{name:>widest$}: {}", super::escape(value))?;
    }
    Ok(())
}

/// Tells all about a segment, in words.
pub(crate) fn segment_fields(segment: &Segment, style: &TableStyle<'_>) -> Vec<(&'static str, String)> {
    let look = Look { bytes: style.bytes, time: style.time, now: style.now };
    let bytes = |bytes: Option<u64>| match bytes {
        None => "unknown".to_owned(),
        Some(bytes) if look.bytes => bytes.to_string(),
        Some(bytes) if bytes < 1000 => Size(bytes).to_string(),
        Some(bytes) => format!("{bytes} ({})", size(bytes.into())),
    };
    let account = |name: Option<&str>, number: u32| match name {
        Some(name) => format!("{name} ({number})"),
        None => number.to_string(),
    };
    let process = |pid: Option<i32>, command: Option<&str>, nobody: &str| match (pid, command) {
        (None, _) => nobody.to_owned(),
        (Some(pid), None) => format!("{pid}"),
        (Some(pid), Some(command)) => format!("{pid} ({command})"),
    };
    let time = |stamp: Option<Stamp>| match stamp {
        None => "never".to_owned(),
        Some(stamp) => moment(stamp, look.time, look.now),
    };
    let key = match segment.key {
        Key::PRIVATE if segment.dest => "none (private, or lost at the removal)".to_owned(),
        Key::PRIVATE => "none (private)".to_owned(),
        key => format!("{key} ({})", key.bits()),
    };
    let nobody = if segment.atime.is_none() { "none yet" } else { "outside this pid namespace" };
    let idle = segment.idle_seconds.map_or_else(|| "-".to_owned(), super::human::idle);
    let mut fields = vec![
        ("Id", segment.id.to_string()),
        ("Key", key),
        ("Size", bytes(Some(segment.size))),
        ("Mode", segment.mode.to_string()),
        ("Owner", account(segment.owner.as_deref(), segment.uid)),
        ("Group", account(segment.group.as_deref(), segment.gid)),
        ("Creator", account(segment.creator.as_deref(), segment.cuid)),
        ("Creator's group", account(segment.creator_group.as_deref(), segment.cgid)),
        ("Created by pid", process(segment.cpid, segment.creator_command.as_deref(), "outside this pid namespace")),
        ("Last used by pid", process(segment.lpid, segment.last_command.as_deref(), nobody)),
        ("Attached", if segment.nattch == 1 { "once".to_owned() } else { format!("{} times", segment.nattch) }),
        ("Last attach", time(segment.atime)),
        ("Last detach", time(segment.dtime)),
        ("Last change", time(segment.ctime)),
        ("Idle", idle),
        ("Marked for destruction", yes(segment.dest)),
        ("Locked in memory", yes(segment.locked)),
        ("In memory", bytes(segment.rss)),
        ("In swap", bytes(segment.swap)),
        ("State", state(segment.state)),
        ("IPC namespace", segment.ns.map_or_else(|| "unknown".to_owned(), |number| number.to_string())),
    ];
    if let (Some(attachers), Some(place)) =
        (&segment.attachers, fields.iter().position(|(name, _)| *name == "Last attach"))
    {
        fields.splice(place..place, attached_by(attachers));
    }
    fields
}

/// Names those attached, a line each.
fn attached_by(attachers: &Attachers) -> Vec<(&'static str, String)> {
    let process = |process: &[Attacher]| {
        let times = if process.len() > 1 { format!(", {} times", process.len()) } else { String::new() };
        let doubt = if process.iter().all(|mapping| mapping.certain) { "" } else { ", perhaps" };
        ("Attached by pid", format!("{}{times}{doubt}", process[0].process()))
    };
    let hidden = |(reason, count): &(HiddenBy, u64)| ("Not visible", format!("{count}: {}", reason.meaning()));
    attachers.processes().map(process).chain(attachers.hidden.iter().map(hidden)).collect()
}

/// Gives the word for a flag.
fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

/// Says what a state means.
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
