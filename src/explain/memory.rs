//! Why memory or address space is not sufficient (ENOMEM, EAGAIN).

use std::path::Path;

use nix::errno::Errno;

use super::address::{end_of_addresses, suggest_any_address};
use crate::error::{Error, Kind, again, program, sysctl};
use crate::model::Size;
use crate::procfs;
use crate::query::{Resource, System, caller_limit};
use crate::sys::{self, Address, SysError};

/// vm.overcommit_memory: never reserve more than the limit, even with SHM_NORESERVE.
const OVERCOMMIT_NEVER: u64 = 2;

/// Adds why the kernel does not reserve memory for a new segment.
pub(super) fn explain_no_memory(system: &System, error: Error, size: u64) -> Error {
    if let Some(cause) = exceeded_commit_limit(system.proc(), size) {
        return error.cause(cause);
    }
    let error = match procfs::memory_total(system.proc()) {
        Some(total) if size > total => {
            let total = in_mebibytes(total);
            error.cause(format!("the size exceeds memory and swap: {total} (vm.overcommit_memory)"))
        }
        _ => error.cause("the kernel cannot reserve this much memory now (vm.overcommit_memory)"),
    };
    if system.other_caller().is_some() {
        return error.advice("with SHM_NORESERVE, shmget reserves no memory");
    }
    // Filling or locking it would need that memory.
    error.hint("create it without allocating or reserving memory", again("--no-reserve").without(&["fill", "lock"]))
}

/// Returns the cause if the kernel accounts memory strictly.
fn exceeded_commit_limit(proc: &Path, size: u64) -> Option<String> {
    if procfs::sysctl(proc, "vm/overcommit_memory") != Some(OVERCOMMIT_NEVER) {
        return None;
    }
    let (limit, committed) = (procfs::meminfo(proc, "CommitLimit:")?, procfs::meminfo(proc, "Committed_AS:")?);
    (committed.saturating_add(size) > limit).then(|| {
        format!(
            "vm.overcommit_memory is 2: processes have reserved {} of the limit of {} (CommitLimit)",
            in_mebibytes(committed),
            in_mebibytes(limit)
        )
    })
}

/// Rounds down to MiB; an exact number of KiB is harder to read.
pub(super) fn in_mebibytes(bytes: u64) -> Size {
    Size((bytes >> 20) << 20)
}

/// Returns the error with which attaching a new segment of a size would fail, if the address space has no such range.
pub(crate) fn expected_attach_failure(system: &System, size: u64) -> Option<Error> {
    let SysError { errno, .. } = sys::try_address_space(size).err()?;
    let error = Error::new(Kind::Failed, format!("cannot attach a segment of {}", Size(size)));
    Some(explain_mapping_limit(system, error, Address::Any, size, errno))
}

/// Adds why a mapping exceeds a limit of the process (EAGAIN, ENOMEM).
pub(super) fn explain_mapping_limit(system: &System, error: Error, address: Address, size: u64, errno: Errno) -> Error {
    match errno {
        Errno::EAGAIN => {
            error.cause("mlockall(MCL_FUTURE) locks new mappings, and this one would exceed RLIMIT_MEMLOCK")
        }
        Errno::ENOMEM => explain_address_space(system, error, address, size),
        _ => error,
    }
}

/// Adds why no range of addresses is free for a mapping.
fn explain_address_space(system: &System, error: Error, address: Address, size: u64) -> Error {
    let (proc, thread) = (system.proc(), system.caller_thread());
    let size = size.checked_next_multiple_of(system.page_size()).unwrap_or(size);
    let end = end_of_addresses() as u64;
    if size >= end {
        return error.cause(format!("its size, {}, exceeds the address space of a process, {}", Size(size), Size(end)));
    }
    if let Address::Exact(address) | Address::Rounded(address) = address
        && (address as u64).saturating_add(size) > end
    {
        return error.cause("the range is outside of the address space of a process").with(suggest_any_address());
    }
    let limit = caller_limit(system, Resource::RLIMIT_AS).filter(|limit| *limit != u64::MAX);
    if let (Some(limit), Some(used)) = (limit, procfs::address_space(proc, thread))
        && used.saturating_add(size) > limit
    {
        let (size, used) = (Size(size), in_mebibytes(used));
        let cause = format!("{size} more would exceed RLIMIT_AS: {used} of {} are in use", Size(limit));
        return error.cause(cause).hint("show the limit on address space in KiB", program("ulimit -v"));
    }
    if let (Some(most), Some(count)) = (procfs::sysctl(proc, "vm/max_map_count"), procfs::mapping_count(proc, thread))
        && count > most
    {
        return error
            .cause(format!("the process has {count} mappings, and the limit is {most} (vm.max_map_count)"))
            .hint("raise the limit", sysctl("vm.max_map_count", most.saturating_mul(2)));
    }
    match address {
        Address::Exact(_) | Address::Rounded(_) => error
            .cause("the range exceeds the address space, or RLIMIT_AS or vm.max_map_count is reached")
            .with(suggest_any_address()),
        Address::Any if limit.is_none() => error.cause(format!(
            "no range of {} is free in the address space of the process, or memory is exhausted",
            Size(size)
        )),
        Address::Any => error
            .cause("the address space (RLIMIT_AS, vm.max_map_count) or memory is exhausted")
            .hint("show the limit on address space in KiB", program("ulimit -v")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn strict_accounting_names_the_limit() {
        let meminfo = "CommitLimit:    4096 kB\nCommitted_AS:   3072 kB\n";
        let cause = |mode, size| {
            let proc = directory(&[("sys/vm/overcommit_memory", mode), ("meminfo", meminfo)]);
            exceeded_commit_limit(proc.path(), size)
        };
        let expected = "vm.overcommit_memory is 2: processes have reserved 3 MiB of the limit of 4 MiB (CommitLimit)";
        assert_eq!(cause("2\n", (1 << 20) + 1).as_deref(), Some(expected));
        assert_eq!((cause("2\n", 1 << 20), cause("0\n", 1 << 30)), (None, None));
    }
}
