//! Why a call failed: the cause of the errno, and hints.
//!
//! One errno has many causes: ENOSPC is either the number of segments or the number of pages, EINVAL at least six
//! things.

use nix::errno::Errno;

use super::address::{explain_address, explain_rounded_address, suggest_any_address};
use super::huge::explain_missing_huge_page;
use super::space::explain_no_space;
use crate::error::{Error, Kind, again, program, shmadm, sysctl};
use crate::model::{Access, Key, Mode, Needs, Object, ShmId, Size};
use crate::procfs;
use crate::query::{
    CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_ADMIN, Capability, System, capability, find_by_key, huge_page_sizes,
    is_owner_or_creator, key_exists, limits, lockable, lookup, mode_shift,
};
use crate::sys::{Address, CreateFlags, SysError};

/// The cause if no rule of the kernel explains EPERM or EACCES.
const DENIED: &str = "denied by a security module or a seccomp filter";
/// The cause of ENOSYS.
const NOT_IMPLEMENTED: &str = "a seccomp filter denies the call, or the kernel has no System V IPC";

/// Permission bits of one class of users.
pub(super) const READ: u16 = 4;
const WRITE: u16 = 2;

/// An operation that failed, and what it was attempted on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    Create {
        key: Key,
        size: u64,
        flags: CreateFlags,
    },
    /// Find the segment with a key.
    Open {
        key: Key,
        /// The least size that was requested; 0 for any.
        size: u64,
    },
    Attach {
        id: ShmId,
        access: Access,
        exec: bool,
        address: Address,
    },
    /// Read the record of a segment.
    Stat(ShmId),
    /// Change owner, group or mode.
    Set(ShmId),
    /// Lock (true) or unlock a segment in memory.
    Lock(ShmId, bool),
    Remove(ShmId),
    /// Stop a holder.
    Detach(ShmId),
}

impl Attempt {
    fn message(&self) -> String {
        match self {
            Self::Create { key: Key::PRIVATE, size, .. } => format!("cannot create a segment of {}", Size(*size)),
            Self::Create { key, size, .. } => format!("cannot create a segment of {} with key {key}", Size(*size)),
            Self::Open { key, size: 0 } => format!("cannot find a segment with key {key}"),
            Self::Open { key, size } => format!("cannot open a segment of {} with key {key}", Size(*size)),
            Self::Attach { id, access, exec, .. } => {
                let access = match (access, exec) {
                    (Access::ReadOnly, false) => "reading",
                    (Access::ReadOnly, true) => "reading and executing",
                    (Access::ReadWrite, false) => "reading and writing",
                    (Access::ReadWrite, true) => "reading, writing and executing",
                };
                format!("cannot attach segment {id} for {access}")
            }
            Self::Stat(id) => format!("cannot find segment {id}"),
            Self::Set(id) => format!("cannot change segment {id}"),
            Self::Lock(id, true) => format!("cannot lock segment {id}"),
            Self::Lock(id, false) => format!("cannot unlock segment {id}"),
            Self::Remove(id) => format!("cannot remove segment {id}"),
            Self::Detach(id) => format!("cannot stop the holder of segment {id}"),
        }
    }
}

impl Error {
    /// Creates the error of a failed call; the errno decides the kind.
    pub(super) fn failed_call(message: impl Into<String>, failure: SysError) -> Self {
        let kind = match failure.errno {
            Errno::EACCES | Errno::EPERM => Kind::Permission,
            Errno::ENOENT | Errno::EIDRM => Kind::NotFound,
            Errno::EEXIST => Kind::Exists,
            _ => Kind::Failed,
        };
        Self::new(kind, message).os(failure.errno, failure.call)
    }
}

pub(crate) fn gone(system: &System, attempt: &Attempt) -> Error {
    let failure = SysError { errno: Errno::EINVAL, call: "shmctl IPC_STAT" };
    explain(system, attempt, failure)
}

/// Converts a failed call to the user's error, with cause and hints.
pub(crate) fn explain(system: &System, attempt: &Attempt, failure: SysError) -> Error {
    let errno = failure.errno;
    let error = Error::failed_call(attempt.message(), failure);
    match attempt {
        Attempt::Create { key, size, flags } => {
            let error = if *key == Key::PRIVATE { error } else { error.target(key.to_string()) };
            explain_create(system, error, *key, *size, *flags, errno)
        }
        Attempt::Open { key, size } => explain_open(system, error.target(key.to_string()), *key, *size, errno),
        Attempt::Attach { id, .. }
        | Attempt::Stat(id)
        | Attempt::Set(id)
        | Attempt::Lock(id, _)
        | Attempt::Remove(id)
        | Attempt::Detach(id) => explain_segment(system, error.target(id.to_string()), attempt, *id, errno),
    }
}

/// Adds why a segment could not be created.
fn explain_create(system: &System, error: Error, key: Key, size: u64, flags: CreateFlags, errno: Errno) -> Error {
    let Ok(limits) = limits(system) else { return error };
    match errno {
        Errno::EINVAL if size < limits.shmmin => error
            .cause("the size is 0; the minimum is 1 byte")
            .hint("omit --size to create a segment of one page", again("").without(&["size"])),
        Errno::EINVAL if i64::try_from(size).is_err() => error.cause("a segment must be smaller than 8 EiB"),
        Errno::EINVAL if size > limits.shmmax => error
            .cause(format!("the size exceeds the limit of {} for one segment (kernel.shmmax)", Size(limits.shmmax)))
            .hint("raise the limit", sysctl("kernel.shmmax", size)),
        Errno::EINVAL if flags.huge.is_some() => {
            let sizes = huge_page_sizes().into_iter();
            let sizes: Vec<String> = sizes.map(|size| Size(size).to_string()).collect();
            if sizes.is_empty() {
                return error.cause("huge pages are not supported by this kernel");
            }
            error
                .cause(format!(
                    "huge pages of this size are not supported by this kernel; supported: {}",
                    sizes.join(", ")
                ))
                .hint("list the supported sizes", program("ls /sys/kernel/mm/hugepages"))
        }
        Errno::EINVAL => error.cause("the size exceeds the largest file of the kernel's tmpfs"),
        Errno::ENOSPC => explain_no_space(system, error, size, limits),
        Errno::ENOMEM if flags.huge.is_some() => {
            let page = flags.huge.flatten().or_else(|| system.huge_page_size()).unwrap_or(limits.page_size);
            explain_missing_huge_page(error, page, Some(size))
        }
        Errno::ENOMEM => {
            let error = match procfs::memory_total(system.proc()) {
                Some(total) if size > total => {
                    let total = Size((total >> 20) << 20); // in MiB; an exact number of KiB is harder to read
                    error.cause(format!("the size exceeds memory and swap: {total} (vm.overcommit_memory)"))
                }
                _ => error.cause("the kernel cannot reserve this much memory now (vm.overcommit_memory)"),
            };
            // Filling it would need that memory.
            error.hint("create it without allocating or reserving memory", again("--no-reserve").without(&["fill"]))
        }
        Errno::EPERM if flags.huge.is_some() => error
            .cause("huge pages require CAP_IPC_LOCK or membership in the group vm.hugetlb_shm_group")
            .hint("show that group", program("sysctl vm.hugetlb_shm_group")),
        Errno::EEXIST => {
            let cause = match find_by_key(system, key) {
                Some(found) => format!("segment {} (owner {}) has this key", found.sysv().id, system.user(found.uid)),
                None => "another segment has this key".to_owned(),
            };
            error.cause(cause).hint("create a segment with an unused key", again("--key random"))
        }
        Errno::EPERM => error.cause(DENIED),
        Errno::ENOSYS => error.cause(NOT_IMPLEMENTED),
        _ => error,
    }
}

/// Adds why the segment with a key could not be opened.
fn explain_open(system: &System, error: Error, key: Key, size: u64, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => match find_by_key(system, key) {
            Some(found) => error
                .cause(format!(
                    "segment {} has this key and a size of {}; the size of a segment cannot change",
                    found.sysv().id,
                    Size(found.size)
                ))
                .hint("open it with its current size", again("").without(&["size"])),
            None => error.cause(format!("the segment with this key is smaller than {}", Size(size))),
        },
        Errno::ENOENT => {
            let as_id = i32::try_from(key.bits()).ok().and_then(ShmId::new);
            let error = error.cause("no segment in this IPC namespace has this key");
            match as_id.map(|id| (id, lookup(system, id, Needs::empty()))) {
                Some((id, Ok(Some(_)))) => error.advice(format!("a segment with id {id} exists: write {id}")),
                _ => error.hint("list the segments", shmadm("list")),
            }
        }
        _ => error,
    }
}

/// Adds why a call on a segment failed.
fn explain_segment(system: &System, mut error: Error, attempt: &Attempt, id: ShmId, errno: Errno) -> Error {
    // Read again: it may have changed since the call.
    let found = lookup(system, id, Needs::empty()).ok().flatten();
    match (errno, found) {
        (Errno::EINVAL | Errno::EIDRM, None) => {
            error.kind = Kind::NotFound;
            let error = error.cause("no segment in this IPC namespace has this id: it was removed or never existed");
            let as_key = Key::new(id.raw().cast_unsigned());
            if as_key != Key::PRIVATE && key_exists(as_key) {
                return error.advice(format!("a segment with key {} ({:#x}) exists: write key:{0}", id, as_key.bits()));
            }
            error.hint("list the segments", shmadm("list"))
        }
        (Errno::EINVAL, Some(_)) => match attempt {
            Attempt::Attach { address: Address::Exact(address), .. } => explain_address(system, error, *address),
            Attempt::Attach { address: Address::Rounded(address), .. } => explain_rounded_address(error, *address),
            _ => error,
        },
        (Errno::EACCES, Some(segment)) => match attempt {
            Attempt::Attach { access, exec, .. } => {
                let access = if *access == Access::ReadOnly { READ } else { READ | WRITE };
                explain_access(system, error, &segment, access | u16::from(*exec))
            }
            _ => explain_access(system, error, &segment, READ),
        },
        (Errno::EPERM, _) if matches!(attempt, Attempt::Attach { .. }) => match attempt {
            Attempt::Attach { address: Address::Exact(address) | Address::Rounded(address), .. }
                if is_below_minimum(system, *address) =>
            {
                error.cause("mapping below vm.mmap_min_addr requires CAP_SYS_RAWIO").with(suggest_any_address())
            }
            _ => error.cause(DENIED),
        },
        (Errno::ENOSYS, _) => error.cause(NOT_IMPLEMENTED),
        // Of kill(2): the rights on the segment do not matter.
        (Errno::EPERM, _) if matches!(attempt, Attempt::Detach(_)) => error,
        (Errno::EPERM, Some(segment)) => explain_control(system, error, attempt, &segment),
        (Errno::ENOMEM, _) => match attempt {
            Attempt::Lock(..) => error
                .cause("locking it would exceed RLIMIT_MEMLOCK, and the caller lacks CAP_IPC_LOCK")
                .hint("show the limit in KiB", program("ulimit -l")),
            Attempt::Attach { address: Address::Exact(_) | Address::Rounded(_), .. } => error
                .cause("the range exceeds the address space, or RLIMIT_AS or vm.max_map_count is reached")
                .with(suggest_any_address()),
            _ => error
                .cause("the address space (RLIMIT_AS, vm.max_map_count) or memory is exhausted")
                .hint("show the limit on address space in KiB", program("ulimit -v")),
        },
        _ => error,
    }
}

/// Returns whether mapping an address requires a privilege, whatever is mapped.
fn is_below_minimum(system: &System, address: usize) -> bool {
    procfs::sysctl(system.proc(), "vm/mmap_min_addr").is_some_and(|minimum| (address as u64) < minimum)
}

/// Adds why the mode denies access to the caller. `needed` are the permission bits of one class.
fn explain_access(system: &System, error: Error, segment: &Object, needed: u16) -> Error {
    let (owner, group) = (system.user(segment.uid), system.group(segment.gid));
    let (class, shift) = access_class(system, segment);
    let bits = (segment.mode.bits() >> shift) & 7;
    let granted = match bits & 6 {
        0 => "no access",
        2 => "write access only",
        4 => "read access only",
        _ => "read and write access",
    };
    let also = if needed & 1 == 1 { "; --exec also requires execute permission" } else { "" };
    let cause = format!(
        "mode {}, owner {owner}:{group}: user {} ({class}) has {granted}{also}",
        segment.mode,
        system.user(system.uid())
    );
    if bits & needed == needed {
        return error.cause(format!("{cause}; {DENIED}"));
    }
    match capability(system, CAP_IPC_OWNER) {
        Capability::Effective => return error.cause(format!("{cause}; {DENIED}")),
        Capability::Ineffective => {
            return error.cause(format!(
                "{cause}, and CAP_IPC_OWNER has no effect because the IPC namespace belongs to another user namespace"
            ));
        }
        Capability::Missing | Capability::Unknown => {}
    }
    let error = error.cause(cause);
    if is_owner_or_creator(system, segment) {
        let mode = Mode::from_kernel(u32::from(segment.mode.bits() | needed << shift));
        error.hint("change the mode", shmadm(format!("set {} --mode {mode}", segment.sysv().id)))
    } else {
        let who = if owner == "root" { owner } else { format!("{owner} can change the mode; root") };
        error.hint(format!("{who} needs no permission"), again("").sudo())
    }
}

/// Adds why the caller may not change, lock or remove a segment.
fn explain_control(system: &System, error: Error, attempt: &Attempt, segment: &Object) -> Error {
    if is_owner_or_creator(system, segment) {
        return match attempt {
            Attempt::Lock(..) if lockable() == 0 => error
                .cause("this user may not lock memory (RLIMIT_MEMLOCK is 0)")
                .hint("show the limit in KiB", program("ulimit -l")),
            _ => error.cause(DENIED),
        };
    }
    let (name, number) = match attempt {
        Attempt::Lock(..) => ("CAP_IPC_LOCK", CAP_IPC_LOCK),
        _ => ("CAP_SYS_ADMIN", CAP_SYS_ADMIN),
    };
    let owner = system.user(segment.uid);
    let cause = format!(
        "user {} is neither the owner ({owner}) nor the creator ({})",
        system.user(system.uid()),
        system.user(segment.sysv().cuid),
    );
    match capability(system, number) {
        Capability::Effective => error.cause(DENIED),
        Capability::Ineffective => error
            .cause(format!("{cause}, and {name} has no effect in the user namespace of the segment"))
            .also("the owner and root can do this outside your user namespace"),
        Capability::Missing => error
            .cause(format!("{cause}, and {name} is missing"))
            .hint(format!("{} can do this", owner_or_root(&owner)), again("").sudo().on(segment.ident().argument())),
        Capability::Unknown => error.cause(format!("{cause}, which requires {name}")),
    }
}

/// Names the owner and root.
pub(crate) fn owner_or_root(owner: &str) -> String {
    if owner == "root" { owner.to_owned() } else { format!("{owner} or root") }
}

/// Returns whether the mode or a capability grants the caller an access.
pub(super) fn may_access(system: &System, segment: &Object, needed: u16) -> bool {
    let (_, shift) = access_class(system, segment);
    (segment.mode.bits() >> shift) & needed == needed || capability(system, CAP_IPC_OWNER) == Capability::Effective
}

/// Returns the class of users whose bits of the mode apply to the caller, and the position of these bits.
fn access_class(system: &System, segment: &Object) -> (&'static str, u32) {
    match mode_shift(system, segment) {
        6 => ("owner or creator", 6),
        3 => ("in the group", 3),
        shift => ("other", shift),
    }
}
