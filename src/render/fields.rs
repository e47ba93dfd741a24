//! The output of `stat`: one object, one field per line.

use std::io::{self, Write};

use super::human::{duration, size, time, yes_or_no};
use super::{TableStyle, escape, wrap};
use crate::model::{
    Claim, FileType, Hidden, Identification, Key, Object, ObjectKind, Posix, SegmentUser, SegmentUsers, Size, Stamp,
    State, SysV, enumerate,
};

/// Writes `name: value` lines with the names aligned to the right, and values broken to fit the width.
pub(crate) fn write_fields(out: &mut impl Write, fields: &[(&str, String)], width: Option<usize>) -> io::Result<()> {
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let value = wrap(&escape(value), widest + 2, width.unwrap_or(usize::MAX));
        writeln!(out, "{name:>widest$}: {value}")?;
    }
    Ok(())
}

/// Returns all fields of an object, each with its name.
pub(crate) fn fields(
    object: &Object,
    identity: Option<&Identification>,
    style: &TableStyle<'_>,
) -> Vec<(&'static str, String)> {
    let product = identity.map(product);
    match &object.kind {
        ObjectKind::SysV(sysv) => segment_fields(object, sysv, product, style),
        ObjectKind::Posix(posix) => file_fields(object, posix, product, style),
    }
}

/// Describes the program of an object, with the evidence.
fn product(identity: &Identification) -> String {
    let evidence = identity.evidence.iter().map(|evidence| evidence.as_str()).collect::<Vec<_>>();
    format!("{} (by its {})", identity.product, enumerate(&evidence, "and"))
}

fn segment_fields(
    object: &Object,
    sysv: &SysV,
    product: Option<String>,
    style: &TableStyle<'_>,
) -> Vec<(&'static str, String)> {
    let bytes = |bytes| exact_bytes(bytes, style);
    let time_or_never =
        |stamp: Option<Stamp>| stamp.map_or_else(|| "never".to_owned(), |stamp| time(stamp, style.time, style.now));
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
        ("Marked for destruction", yes_or_no(sysv.dest).to_owned()),
        ("Locked in memory", yes_or_no(sysv.locked).to_owned()),
        ("Resident", bytes(object.rss)),
        ("Swapped", bytes(object.swap)),
    ]);
    fields.extend(product.map(|product| ("Product", product)));
    fields.extend([
        ("State", state(object)),
        ("IPC namespace", object.ipc_namespace().map_or_else(|| "unknown".to_owned(), |number| number.to_string())),
    ]);
    fields
}

fn file_fields(
    object: &Object,
    posix: &Posix,
    product: Option<String>,
    style: &TableStyle<'_>,
) -> Vec<(&'static str, String)> {
    let bytes = |bytes| exact_bytes(bytes, style);
    let whole = |size| bytes(Some(size).filter(|_| !posix.is_partial));
    let known = |text: String| if posix.lacks_attributes { "unknown".to_owned() } else { text };
    let when = |stamp| known(time(stamp, style.time, style.now));
    let optional = |value: Option<String>, missing: &str| value.unwrap_or_else(|| missing.to_owned());
    let source = if posix.family.claim == Some(Claim::Segment) { "its segment" } else { "its name" };
    let mut fields = vec![
        ("Name", optional(posix.name.as_ref().map(ToString::to_string), "none (unlinked)")),
        ("Object", posix.file().to_string()),
        ("Type", posix.file_type.as_str().to_owned()),
        ("Size", whole(object.size)),
        ("Allocated", known(whole(posix.allocated))),
        ("Resident", bytes(object.rss)),
        ("Swapped", bytes(object.swap)),
        ("Mode", known(object.mode.to_string())),
        ("Owner", known(account(object.owner.as_deref(), object.uid))),
        ("Group", known(account(object.group.as_deref(), object.gid))),
        ("Names (links)", known(posix.stat.links.to_string())),
    ];
    if let Some(users) = &posix.users {
        let count = posix.counted_users().map(|users| users.processes().count().to_string());
        fields.push(("Processes", count.unwrap_or_else(|| "unknown".to_owned())));
        fields.extend(users.describe(usize::MAX).into_iter().map(|user| ("Used by", user)));
        if users.list.is_empty() && users.in_use() != Some(false) {
            fields.push(("Users may be missing", users.why_hidden()));
        }
    }
    if posix.file_type == FileType::Sem {
        let number = |number: Option<u32>| optional(number.map(|number| number.to_string()), "unknown");
        fields.extend([("Value", number(posix.value)), ("Waiters", number(posix.waiters))]);
    }
    if let Some(seals) = &posix.seals {
        let seals: Vec<_> = seals.iter().map(|seal| seal.as_str()).collect();
        fields.push(("Seals", if seals.is_empty() { "none".to_owned() } else { seals.join(", ") }));
    }
    fields.extend([
        ("Created", optional(posix.stat.btime.map(|time| when(time.stamp())), "unknown")),
        ("Last read", when(posix.stat.atime.stamp())),
        ("Last write", when(posix.stat.mtime.stamp())),
        ("Last change", when(posix.stat.ctime.stamp())),
        ("Idle", object.idle_seconds.map_or_else(|| "-".to_owned(), duration)),
        ("Product", optional(product, "unknown")),
        ("Created by pid", optional(posix.maker.map(|pid| format!("{pid} (by {source})")), "unknown")),
        ("State", state(object)),
        ("Mount namespace", optional(posix.mnt_ns.map(|number| number.to_string()), "unknown")),
    ]);
    let cleanup = posix.rule.cleanup.as_deref().filter(|_| object.can_be_cleaned_up(posix.rule.keep));
    fields.extend(cleanup.map(|command| ("Clean-up command", command.to_owned())));
    fields
}

fn exact_bytes(bytes: Option<u64>, style: &TableStyle<'_>) -> String {
    match bytes {
        None => "unknown".to_owned(),
        Some(bytes) if style.bytes => bytes.to_string(),
        Some(bytes) if bytes < 1000 => Size(bytes).to_string(),
        Some(bytes) => format!("{bytes} ({})", size(bytes.into())),
    }
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
fn attached_by(attachers: &SegmentUsers) -> Vec<(&'static str, String)> {
    let process = |process: &[SegmentUser]| {
        let times = if process.len() > 1 { format!(", {} times", process.len()) } else { String::new() };
        let certainty = if process.iter().all(|mapping| mapping.certain) { "" } else { ", uncertain" };
        ("Attached by pid", format!("{}{times}{certainty}", process[0].process()))
    };
    let hidden = |hidden: &Hidden| ("Not visible", format!("{}: {}", hidden.count, hidden.meaning()));
    attachers.processes().map(process).chain(attachers.hidden.iter().map(hidden)).collect()
}

fn state(object: &Object) -> String {
    let Some(state) = object.state else { return "unknown".to_owned() };
    let meaning = match (state, object.is_segment()) {
        (State::InUse, true) => "attached",
        (State::InUse, false) => "open or mapped",
        (State::Dest, _) => "marked for destruction; destroyed at the last detach",
        (State::Idle, true) => "not attached; creator or last user is running",
        (State::Idle, false) => "not in use; its creator or its program is running",
        (State::Unknown, true) => "not attached; cannot determine whether creator and last user are running",
        (State::Unknown, false) => "no user found, but not every process could be inspected",
        (State::Orphan, true) => "not attached; creator and last user have exited",
        (State::Orphan, false) => "not in use; its creator or its program has exited",
        (State::Unlinked, _) => "has no name; exists because a process has it open or mapped",
        (State::Kept, _) => "not in use; its program keeps or needs it",
        (State::Unused, _) => "not in use; nothing shows which process created it",
    };
    format!("{} ({meaning})", state.as_str())
}
