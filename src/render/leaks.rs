//! Leaked objects as text lines.

use crate::model::{Leak, LeakRemoval, ObjectKind, Outcome, Size, SysV};

const MAX_NAMED: usize = 4;

/// Describes a leaked object, its creator, and the processes that use it.
pub(crate) fn leak_line(leak: &Leak) -> String {
    let object = &leak.segment;
    let (key, created) = match &object.kind {
        ObjectKind::SysV(sysv) => (sysv.key.prefix(), created(sysv, leak.creator_command.as_deref())),
    };
    let size = Size(object.size);
    let rss = match object.rss {
        None => String::new(),
        Some(0) => ", 0 B resident".to_owned(),
        Some(rss) => format!(", {} resident", Size(rss)),
    };
    let removal = match &leak.removal {
        None => String::new(),
        Some(LeakRemoval::Removed(Outcome::Destroyed)) => "; removed".to_owned(),
        Some(LeakRemoval::Removed(Outcome::Marked)) => {
            "; marked for destruction: a process attached it before the removal".to_owned()
        }
        Some(LeakRemoval::Kept(reason)) => format!("; kept: {reason}"),
    };
    format!("{} ({key}{size}{rss}), {created}, {}{removal}", object.ident(), attached(leak))
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
    let attachers = leak.segment.attachers.as_deref();
    let names = attachers.map(|attachers| attachers.describe(MAX_NAMED)).unwrap_or_default();
    format!("still attached by {}{}", names.join(", "), if dest { "; destroyed at the last detach" } else { "" })
}
