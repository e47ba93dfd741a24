//! The requested attributes that an existing segment or object lacks: `create` never changes one.

use crate::error::{Error, Invocation, Kind, again, shmadm};
use crate::model::{Key, Mode, Object, Size, enumerate};
use crate::query::{Account, System};

/// Attributes that the user asked for. `create` gives them to a new segment or object only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requested {
    /// The exact size in bytes. A segment is opened if it is larger.
    pub(crate) size: Option<u64>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) mode: Option<Mode>,
    pub(crate) fill: Option<u8>,
    pub(crate) lock: bool,
    /// Allocate the memory now.
    pub(crate) reserve: bool,
}

/// An option that an existing segment or object does not satisfy.
pub(super) struct Conflict {
    /// Without its dashes.
    pub(super) option: &'static str,
    pub(super) reason: String,
    /// Its arguments for `shmadm set`; empty if that cannot apply it.
    change: Vec<String>,
}

impl Conflict {
    fn attribute(option: &'static str, [requested, current]: [String; 2], value: String) -> Self {
        let reason = format!("--{option} {requested} differs from its {option}, {current}");
        Self { option, reason, change: vec![format!("--{option}"), value] }
    }

    /// Returns the conflict of an option that is only for something new.
    pub(super) fn only_new(option: &'static str, effect: &str) -> Self {
        Self { option, reason: format!("--{option} {effect}"), change: Vec::new() }
    }
}

pub(super) fn conflicts(system: &System, existing: &Object, requested: &Requested) -> Vec<Conflict> {
    let Requested { size, owner, group, mode, fill, lock, reserve } = *requested;
    let mut conflicts = Vec::new();
    if let Some(size) = size.filter(|size| *size != existing.size) {
        let sizes = [size, existing.size].map(|size| Size(size).to_string());
        conflicts.push(Conflict::attribute("size", sizes, size.to_string()));
    }
    for (account, requested, current) in [(Account::User, owner, existing.uid), (Account::Group, group, existing.gid)] {
        let option = account.option().trim_start_matches('-');
        let name = |id| system.account_name(account, id);
        match requested {
            Some(id) if id != current => {
                conflicts.push(Conflict::attribute(option, [name(id), name(current)], name(id)));
            }
            Some(id) if system.may_be_unmapped(account, current) => {
                let effect = format!("may differ from its {option}: ids that are not mapped appear as {current}");
                let change = vec![format!("--{option}"), id.to_string()];
                conflicts.push(Conflict { change, ..Conflict::only_new(option, &effect) });
            }
            _ => {}
        }
    }
    if let Some(mode) = mode.filter(|mode| *mode != existing.mode) {
        let modes = [mode, existing.mode].map(|mode| mode.to_string());
        conflicts.push(Conflict::attribute("mode", modes, mode.to_string()));
    }
    if fill.is_some() {
        conflicts.push(Conflict::only_new("fill", "would overwrite its contents"));
    }
    if reserve {
        conflicts.push(Conflict::only_new("reserve", "would allocate its memory"));
    }
    if lock && existing.as_sysv().is_some_and(|segment| segment.locked) {
        conflicts.push(Conflict::only_new("lock", "is for a new segment, and this one is locked already"));
    } else if lock {
        let change = vec!["--lock".to_owned()];
        conflicts.push(Conflict { change, ..Conflict::only_new("lock", "would lock it in memory") });
    }
    conflicts
}

/// What the caller may do with what exists, as far as is known.
pub(super) struct Rights {
    pub(super) may_change: bool,
    pub(super) may_write: bool,
}

/// Returns the refusal to change what exists, with the commands that change it, if the caller may use them.
pub(super) fn refusal(
    existing: &Object,
    requested: &Requested,
    conflicts: &[Conflict],
    Rights { may_change, may_write }: Rights,
) -> Error {
    let (ident, noun) = (existing.ident(), existing.noun());
    let options = options(conflicts);
    let listed: Vec<String> = options.iter().map(|option| format!("--{option}")).collect();
    let reasons: Vec<&str> = conflicts.iter().map(|conflict| conflict.reason.as_str()).collect();
    let with_key = existing.key().map(|key| format!(" with key {key}")).unwrap_or_default();
    let message = format!("cannot apply {}: {ident}{with_key} already exists", enumerate(&listed, "and"));
    let target = existing.key().as_ref().map_or_else(|| ident.argument(), Key::to_string);
    let mut error = Error::new(Kind::Refused, message).target(target).cause(reasons.join("; "));
    let mut changes = conflicts.iter().flat_map(|conflict| &conflict.change).peekable();
    if changes.peek().is_some() && may_change {
        let set = changes.fold(shmadm("set").arg(ident.typed()), Invocation::arg);
        error = error.hint(format!("change the existing {noun}"), set);
    }
    if let Some(byte) = requested.fill
        && may_write
    {
        let write = shmadm("write").arg(ident.typed()).arg("--fill").arg(byte.to_string());
        error = error.hint(format!("fill the existing {noun}"), write);
    }
    error.hint("open it unchanged", again("").without(&options))
}

/// Returns the options in conflict, without their dashes.
pub(super) fn options(conflicts: &[Conflict]) -> Vec<&'static str> {
    conflicts.iter().map(|conflict| conflict.option).collect()
}
