//! What the mode, and the rules of the kernel about owners and capabilities, deny the caller.

use std::os::fd::BorrowedFd;

use crate::error::{Error, again, program, shmadm};
use crate::model::{Mode, Object, Seal, Size, enumerate};
use crate::query::{
    Account, CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_ADMIN, Capability, System, capability, is_in_initial_user_namespace,
    is_owner_or_creator, lockable, mode_shift,
};
use crate::sys;

/// The cause if no rule of the kernel explains EPERM or EACCES.
pub(crate) const DENIED: &str = "denied by a security module or a seccomp filter";
/// The cause of ENOSYS.
pub(super) const NOT_IMPLEMENTED: &str = "a seccomp filter denies the call, or the kernel has no System V IPC";
/// The cause of ENFILE.
pub(super) const TOO_MANY_FILES: &str = "the system-wide limit on open files is reached (fs.file-max)";

/// Permission bits of one class of users.
pub(super) const READ: u16 = 4;
pub(super) const WRITE: u16 = 2;

/// Names the access that permission bits of one class grant.
pub(super) fn name_access(bits: u16) -> &'static str {
    match bits & (READ | WRITE) {
        0 => "no access",
        WRITE => "write access only",
        READ => "read access only",
        _ => "read and write access",
    }
}

/// Returns whether the mode certainly denies access to the caller, and no capability grants it.
pub(super) fn is_denied(system: &System, segment: &Object, needed: u16) -> bool {
    let (_, shift) = access_class(system, segment);
    (segment.mode.bits() >> shift) & needed != needed
        && !is_class_unknown(system, segment)
        && matches!(capability(system, CAP_IPC_OWNER), Capability::Missing | Capability::Ineffective)
}

/// Adds why the mode denies access to the caller. `needed` are the permission bits of one class.
pub(super) fn explain_access(system: &System, error: Error, segment: &Object, needed: u16) -> Error {
    let (owner, group) = (system.user(segment.uid), system.group(segment.gid));
    let (class, shift) = access_class(system, segment);
    let bits = (segment.mode.bits() >> shift) & 7;
    let also = match needed & 1 {
        0 => "",
        _ if system.other_caller().is_some() => "; SHM_EXEC also requires execute permission",
        _ => "; --exec also requires execute permission",
    };
    let (mode, user) = (segment.mode, system.user(system.uid()));
    let is_unknown = is_class_unknown(system, segment);
    let has = match is_unknown {
        true => {
            format!("which permissions user {user} has is unknown, since this user namespace does not map these ids")
        }
        false => format!("user {user} ({class}) has {}", name_access(bits)),
    };
    let cause = format!("mode {mode}, owner {owner}:{group}: {has}{also}");
    if bits & needed == needed && !is_unknown {
        return error.also(&format!("{cause}; {DENIED}"));
    }
    match capability(system, CAP_IPC_OWNER) {
        Capability::Effective => return error.also(&format!("{cause}; {DENIED}")),
        Capability::Ineffective => {
            return error.also(&format!(
                "{cause}, and CAP_IPC_OWNER has no effect because the IPC namespace belongs to another user namespace"
            ));
        }
        Capability::Missing | Capability::Unknown => {}
    }
    let error = error.also(&cause);
    if system.other_caller().is_none() && is_owner_or_creator(system, segment) {
        error.hint(
            "change the mode",
            shmadm(format!("set {} --mode {}", segment.sysv().id, widened(segment, needed << shift))),
        )
    } else {
        let who = if owner == "root" { String::new() } else { format!("{owner} can change the mode; or ") };
        error.hint(format!("{who}run as root, which bypasses the permission bits"), again("").sudo())
    }
}

/// Returns the mode of a segment with more permissions.
pub(super) fn widened(segment: &Object, bits: u16) -> Mode {
    Mode::from_kernel(u32::from(segment.mode.bits() | bits))
}

/// Adds why the caller may not change or remove a segment.
pub(crate) fn explain_control(system: &System, error: Error, segment: &Object) -> Error {
    if is_owner_or_creator(system, segment) {
        return error.cause(DENIED);
    }
    explain_ownership(system, error, segment, "CAP_SYS_ADMIN", CAP_SYS_ADMIN)
}

/// Adds why the caller may not lock a segment, or unlock it (EPERM).
pub(super) fn explain_lock(system: &System, error: Error, segment: &Object) -> Error {
    if !is_owner_or_creator(system, segment) {
        return explain_ownership(system, error, segment, "CAP_IPC_LOCK", CAP_IPC_LOCK);
    }
    let who = if system.other_caller().is_some() { "the process" } else { "this user" };
    match lockable(system) {
        0 => error
            .cause(format!("{who} may not lock memory (RLIMIT_MEMLOCK is 0)"))
            .hint("show the limit in KiB", program("ulimit -l")),
        _ => error.cause(DENIED),
    }
}

/// Adds why locking a segment fails with ENOMEM.
pub(crate) fn explain_lock_limit(system: &System, error: Error, size: Option<u64>) -> Error {
    let it = size.map_or_else(|| "it".to_owned(), |size| Size(size).to_string());
    let limit = match lockable(system) {
        u64::MAX => String::new(),
        limit => format!(" ({} for each user)", Size(limit)),
    };
    let scope = match is_in_initial_user_namespace(system) {
        Some(false) => " in the initial user namespace",
        _ => "",
    };
    error
        .cause(format!("locking {it} would exceed RLIMIT_MEMLOCK{limit}, and the caller lacks CAP_IPC_LOCK{scope}"))
        .hint("show the limit in KiB", program("ulimit -l"))
}

/// Who has the rights to something that belongs to a user without a mapping.
pub(crate) const OUTSIDE: &str = "the owner and root can do this outside your user namespace";

/// Adds that the caller is not the owner and lacks a capability instead.
fn explain_ownership(system: &System, error: Error, segment: &Object, name: &str, number: u32) -> Error {
    let owner = system.user(segment.uid);
    let creator = segment.sysv().cuid;
    let note = overflow_note(system, &[segment.uid, creator]);
    let cause = match &note {
        Some(note) => format!("the caller is neither the owner nor the creator{note}"),
        None => format!(
            "user {} is neither the owner ({owner}) nor the creator ({})",
            system.user(system.uid()),
            system.user(creator)
        ),
    };
    let is_outside = note.is_some() || system.may_be_unmapped(Account::User, segment.uid);
    match capability(system, number) {
        Capability::Effective => error.cause(DENIED),
        Capability::Ineffective => error
            .cause(format!(
                "{cause}, and {name} has no effect because the IPC namespace belongs to another user namespace"
            ))
            .also(OUTSIDE),
        Capability::Missing if is_outside => error.cause(format!("{cause}, and {name} is missing")).also(OUTSIDE),
        Capability::Missing => error
            .cause(format!("{cause}, and {name} is missing"))
            .hint(format!("{} can do this", owner_or_root(&owner)), again("").sudo().on(segment.ident().argument())),
        Capability::Unknown => error.cause(format!("{cause}, which requires {name}")),
    }
}

/// Explains users that appear as the caller, because its user namespace maps neither; `None` if there are none.
fn overflow_note(system: &System, uids: &[u32]) -> Option<String> {
    let appears = system.is_unmapped_caller() && uids.contains(&system.uid());
    let name = system.user(system.uid());
    appears.then(|| format!(" (ids that are not mapped in this user namespace appear as {name})"))
}

/// Names the owner and root.
pub(crate) fn owner_or_root(owner: &str) -> String {
    if owner == "root" { owner.to_owned() } else { format!("{owner} or root") }
}

/// Returns whether the user namespace hides which permission bits apply to the caller: it may be the owner, or in the
/// group, but these ids are not mapped.
fn is_class_unknown(system: &System, segment: &Object) -> bool {
    let is_group_unknown = |gid| system.is_in_group(gid) && system.is_overflow(Account::Group, gid);
    let may_be_owner = [segment.uid, segment.sysv().cuid].contains(&system.uid()) && system.is_unmapped_caller();
    may_be_owner
        || !is_owner_or_creator(system, segment) && [segment.gid, segment.sysv().cgid].into_iter().any(is_group_unknown)
}

/// Returns whether the mode or a capability grants the caller an access.
pub(super) fn may_access(system: &System, segment: &Object, needed: u16) -> bool {
    let (_, shift) = access_class(system, segment);
    (segment.mode.bits() >> shift) & needed == needed || capability(system, CAP_IPC_OWNER) == Capability::Effective
}

/// Returns the class of users whose bits of the mode apply to the caller, and the position of these bits.
pub(super) fn access_class(system: &System, segment: &Object) -> (&'static str, u32) {
    match mode_shift(system, segment) {
        6 => ("owner or creator", 6),
        3 => ("in the group", 3),
        shift => ("other", shift),
    }
}

/// The seals that forbid changes of the contents.
pub(crate) const WRITE_SEALS: &[Seal] = &[Seal::Write, Seal::FutureWrite];

/// Returns that seals of a file forbid a call that failed with EPERM, if it has one of those that forbid it.
pub(crate) fn seal_cause(file: BorrowedFd<'_>, forbidding: &[Seal]) -> Option<String> {
    let seals = sys::seals(file).ok()?.into_iter().filter(|seal| forbidding.contains(seal));
    let seals: Vec<String> = seals.map(Seal::constant).collect();
    match seals.as_slice() {
        [] => None,
        [one] => Some(format!("its seal {one} forbids it")),
        several => Some(format!("its seals {} forbid it", enumerate(several, "and"))),
    }
}
