//! Why a call failed: the cause of the errno, and hints.
//!
//! One errno has many causes: ENOSPC is either the number of segments or the number of pages, EINVAL at least six
//! things.

use nix::errno::Errno;
use nix::libc;

use super::access::{
    DENIED, NOT_IMPLEMENTED, READ, TOO_MANY_FILES, explain_access, explain_control, explain_lock, explain_lock_limit,
    is_denied,
};
use super::address::{explain_address, explain_detach, explain_rounded_address, suggest_any_address};
use super::attempt::Attempt;
use super::huge::{explain_huge_privilege, explain_missing_huge_page};
use super::key::{explain_existing, explain_missing_key};
use super::memory::{explain_mapping_limit, explain_no_memory};
use super::open::explain_file;
use super::space::{add_full_limits, explain_no_space};
use crate::error::{Error, Hint, Kind, again, program, shmadm, sysctl};
use crate::model::{Key, Limits, Needs, ShmId, Size};
use crate::procfs;
use crate::query::{System, huge_page_sizes, key_exists, limits, lookup, memory_errnos};
use crate::sys::{self, Address, CreateFlags, IPC_INFO, SHM_STAT, SHM_STAT_ANY, SysError};

/// The cause of EFAULT.
const BAD_POINTER: &str = "the address of the structure is not in the memory of the process";

pub(crate) fn gone(system: &System, attempt: &Attempt) -> Error {
    let failure = SysError { errno: Errno::EINVAL, call: "shmctl IPC_STAT" };
    explain(system, attempt, failure)
}

/// Converts a failed call to the user's error, with cause and hints.
pub(crate) fn explain(system: &System, attempt: &Attempt, failure: SysError) -> Error {
    let errno = failure.errno;
    let error = Error::failed_call(attempt.message(), failure);
    match attempt {
        Attempt::Create { key: Key::PRIVATE, size, flags } => explain_create(system, error, *size, *flags, errno),
        Attempt::Create { key, size, flags } => {
            let error = error.target(key.to_string());
            explain_existing(system, &error, attempt, *key, *size, errno)
                .unwrap_or_else(|| explain_create(system, error, *size, *flags, errno))
        }
        Attempt::Open { key, size, .. } => {
            let error = error.target(key.to_string());
            explain_existing(system, &error, attempt, *key, *size, errno)
                .unwrap_or_else(|| explain_missing_key(system, error, *key, *size, errno))
        }
        Attempt::Attach { id, .. }
        | Attempt::Stat(id)
        | Attempt::Set(id)
        | Attempt::Lock(id, _)
        | Attempt::Remove(id)
        | Attempt::Detach(id) => explain_segment(system, error.target(id.to_string()), attempt, *id, errno),
        Attempt::Control { id, command } => explain_index(system, error.target(id.to_string()), *id, *command, errno),
        Attempt::DetachAddress(address) => explain_detach(system, error, *address, errno),
        Attempt::NegativeId(-1) => error.cause("-1 is not an id; shmget returns it when it fails"),
        Attempt::NegativeId(id) => error.cause(format!("{id} is not an id: ids are not negative")),
        Attempt::File(attempt) => explain_file(system, error, attempt, errno),
    }
}

/// Adds why a segment could not be created: the cause of the errno, and then what else would have failed.
fn explain_create(system: &System, error: Error, size: u64, flags: CreateFlags, errno: Errno) -> Error {
    let Ok(limits) = limits(system) else { return error };
    let mut error = explain_creation(system, error, size, flags, errno, limits);
    let is_out_of_range = errno == Errno::EINVAL && (size < limits.shmmin || size > limits.shmmax);
    // A segment of size 0 cannot exist, so the hint is to create a larger one.
    let size = size.max(limits.shmmin);
    let is_denied = errno == Errno::EPERM && flags.huge.is_some();
    if is_out_of_range || errno == Errno::ENOSPC || is_denied {
        for other in memory_errnos(system, size, flags).into_iter().filter(|other| *other != errno) {
            let apart = Error { cause: None, hints: Vec::new(), ..error.clone() };
            let apart = explain_creation(system, apart, size, flags, other, limits);
            error = apart.cause.iter().fold(error, |error, cause| error.also(cause));
            error = apart.hints.into_iter().fold(error, Error::with);
        }
    }
    // Another caller can be in another IPC namespace.
    let knows_limits = errno != Errno::ENOSPC && system.other_caller().is_none();
    if is_out_of_range || (knows_limits && (errno == Errno::ENOMEM || is_denied)) {
        return add_full_limits(system, error, size, limits);
    }
    error
}

/// Adds the cause of an errno of shmget(2).
fn explain_creation(
    system: &System,
    error: Error,
    size: u64,
    flags: CreateFlags,
    errno: Errno,
    limits: Limits,
) -> Error {
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
        Errno::EINVAL => error.cause("the size exceeds the maximum file size of the kernel's tmpfs"),
        Errno::ENOSPC => explain_no_space(system, error, size, limits),
        Errno::ENOMEM if flags.huge.is_some() => {
            let page = flags.huge.flatten().or_else(|| system.huge_page_size()).unwrap_or(limits.page_size);
            explain_missing_huge_page(error, page, Some(size))
        }
        Errno::ENOMEM => explain_no_memory(system, error, size),
        Errno::EPERM if flags.huge.is_some() => explain_huge_privilege(system, error),
        Errno::EEXIST => error
            .cause("another segment has this key")
            .hint("create a segment with an unused key", again("--key random")),
        Errno::EPERM | Errno::EACCES => error.cause(DENIED),
        Errno::ENFILE => error.cause(TOO_MANY_FILES),
        Errno::ENOSYS => error.cause(NOT_IMPLEMENTED),
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
            if as_key != Key::PRIVATE && key_exists(as_key) && system.other_caller().is_some() {
                let advice = format!("a segment with key {id} ({:#x}) exists: shmget returns its id", as_key.bits());
                return error.advice(advice);
            }
            if as_key != Key::PRIVATE && key_exists(as_key) {
                return error.with(suggest_key(as_key));
            }
            error.hint("list the segments", shmadm("list"))
        }
        (Errno::EINVAL, Some(segment)) => {
            let mut error = match attempt {
                Attempt::Attach { address: Address::Any, remap: true, .. } => {
                    error.cause("SHM_REMAP requires an address, but the address is NULL")
                }
                Attempt::Attach { address: Address::Exact(address), .. } => {
                    explain_address(system, error, *address, segment.size)
                }
                Attempt::Attach { address: Address::Rounded(address), .. } => {
                    explain_rounded_address(system, error, *address, segment.size)
                }
                Attempt::Set(_) => {
                    error.cause("the new owner or group has no mapping in the user namespace of the caller")
                }
                _ => error,
            };
            let needed = attempt.needed_access();
            if matches!(attempt, Attempt::Attach { .. }) && is_denied(system, &segment, needed) {
                // With another address, the call would still fail, for this reason.
                error = explain_access(system, error, &segment, needed);
                error.hints.clear();
            }
            error
        }
        (Errno::EACCES, Some(segment)) => explain_access(system, error, &segment, attempt.needed_access()),
        (Errno::EFAULT, _) => error.cause(BAD_POINTER),
        (Errno::ENFILE, _) => error.cause(TOO_MANY_FILES),
        (Errno::EPERM, _) if matches!(attempt, Attempt::Attach { .. }) => match attempt {
            Attempt::Attach { address: Address::Exact(address) | Address::Rounded(address), .. }
                if is_below_minimum(system, *address) =>
            {
                error.cause("mapping below vm.mmap_min_addr requires CAP_SYS_RAWIO").with(suggest_any_address())
            }
            _ => error.cause(DENIED),
        },
        (Errno::ENOSYS, _) => error.cause(NOT_IMPLEMENTED),
        (Errno::EPERM, Some(segment)) if matches!(attempt, Attempt::Lock(..)) => explain_lock(system, error, &segment),
        (Errno::EPERM, Some(segment)) => explain_control(system, error, &segment),
        (_, segment) => match attempt {
            Attempt::Lock(..) if errno == Errno::ENOMEM => {
                explain_lock_limit(system, error, segment.map(|segment| segment.size))
            }
            Attempt::Attach { address, .. } => {
                explain_mapping_limit(system, error, *address, segment.map_or(0, |segment| segment.size), errno)
            }
            _ => error,
        },
    }
}

/// Returns the hint for a key in decimal that was taken for an id.
pub(crate) fn suggest_key(key: Key) -> Hint {
    Hint::text(format!("a segment with key {0} ({0:#x}) exists: write key:{0}", key.bits()))
}

/// Adds why a command of shmctl(2) failed that takes an index (SHM_STAT, SHM_STAT_ANY), or that does not exist.
fn explain_index(system: &System, error: Error, index: ShmId, command: i32, errno: Errno) -> Error {
    let takes_index = matches!(command, SHM_STAT | SHM_STAT_ANY);
    // IPC_RMID, IPC_SET, IPC_STAT and IPC_INFO have numbers in a row, and so have SHM_LOCK, SHM_UNLOCK, SHM_STAT,
    // SHM_INFO and SHM_STAT_ANY.
    let is_known = (libc::IPC_RMID..=IPC_INFO).contains(&command) || (libc::SHM_LOCK..=SHM_STAT_ANY).contains(&command);
    match (errno, sys::stat_index(index.raw())) {
        (Errno::EFAULT, _) => error.cause(BAD_POINTER),
        (Errno::EACCES, Ok(segment)) if takes_index => explain_access(system, error, &segment, READ),
        (Errno::EINVAL | Errno::EIDRM, _) if takes_index => {
            error.cause("no segment has this index: the command takes an index of the kernel's table, not an id")
        }
        (Errno::EINVAL, _) if !is_known => error.cause(format!("{command:#x} is not a command of shmctl")),
        (Errno::EPERM | Errno::EACCES, _) => error.cause(DENIED),
        (Errno::ENOSYS, _) => error.cause(NOT_IMPLEMENTED),
        _ => error,
    }
}

/// Returns whether mapping an address requires a privilege, regardless of what is mapped.
fn is_below_minimum(system: &System, address: usize) -> bool {
    procfs::sysctl(system.proc(), "vm/mmap_min_addr").is_some_and(|minimum| (address as u64) < minimum)
}
