//! Leaked objects as text lines.

use crate::model::{Leak, LeakOutcome, Object, Size, SysV};

const MAX_NAMED: usize = 4;

/// Describes a leaked object, its creator, and the processes that use it.
pub(crate) fn leak_line(leak: &Leak) -> String {
    let object = &leak.segment;
    let sysv = object.sysv();
    let (key, created) = (sysv.key.prefix(), created(sysv, leak.creator_command.as_deref()));
    let size = Size(object.size);
    let rss = match object.rss {
        None => String::new(),
        Some(0) => ", 0 B resident".to_owned(),
        Some(rss) => format!(", {} resident", Size(rss)),
    };
    let removal = match leak.outcome {
        None => String::new(),
        Some(LeakOutcome::Destroyed) => "; removed".to_owned(),
        Some(LeakOutcome::Marked) => "; marked for destruction: a process attached it before the removal".to_owned(),
        Some(LeakOutcome::Kept) => format!("; kept: {}", leak.reason.as_deref().unwrap_or_default()),
    };
    format!("{} ({key}{size}{rss}), {created}, {}{removal}", object.ident(), attached(leak))
}

/// Describes a leaked POSIX object, and the processes that use it.
pub(crate) fn object_leak_line(object: &Object) -> String {
    let posix = object.posix();
    let users = posix.users.clone().unwrap_or_default();
    let processes = users.describe(MAX_NAMED);
    let used = if processes.is_empty() { "no process that uses it was found".to_owned() } else { processes.join(", ") };
    let unlinked = if posix.name.is_none() { ", unlinked" } else { "" };
    let names = match posix.stat.links {
        links @ 2.. if !object.is_directory() => format!(", {links} names"),
        _ => String::new(),
    };
    format!("{} ({}, {} allocated{unlinked}{names}), {used}", object.ident(), Size(object.size), Size(posix.allocated))
}

fn created(sysv: &SysV, command: Option<&str>) -> String {
    match (sysv.cpid, command) {
        (Some(pid), Some(command)) => format!("created by pid {pid} ({command})"),
        (Some(pid), None) => format!("created by pid {pid} (command unknown)"),
        (None, _) => "created by a process outside this pid namespace".to_owned(),
    }
}

/// Describes the processes that have it attached.
fn attached(leak: &Leak) -> String {
    let SysV { nattch, dest, .. } = *leak.segment.sysv();
    if nattch == 0 {
        return "not attached".to_owned();
    }
    let names = leak.attachers.describe(MAX_NAMED).join(", ");
    format!("still attached by {names}{}", if dest { "; destroyed at the last detach" } else { "" })
}
