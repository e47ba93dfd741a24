//! From a call that failed to an error that explains: which of the errno's causes it was, and what to type next.

use nix::errno::Errno;

use super::place::{anywhere, explain_place, explain_range};
use super::rights::{CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_ADMIN, granted, has_capability};
use super::{Filter, System, inventory, is_taken, limits, segment, segment_with_key};
use crate::error::{Error, Kind};
use crate::model::{Access, Key, Limits, Needs, Segment, ShmId, Size, State};
use crate::procfs;
use crate::sys::{self, Address, CreateFlags, Subject, SysError};

/// Why there is no answer at all.
const DENIED: &str = "neither shmctl nor /proc/sysvipc/shm answers: a sandbox (seccomp, a masked /proc) forbids both";

/// The most ids that an IPC namespace can have (IPCMNI of ipc/util.h), if the kernel was not started for more.
const MOST_IDS: u64 = 1 << 15;

/// What was tried when a call failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    /// To make a segment.
    Create {
        /// Its key.
        key: Key,
        /// Its size in bytes.
        size: u64,
        /// How.
        flags: CreateFlags,
    },
    /// To find the segment of a key.
    Open {
        /// The key.
        key: Key,
        /// The size that it was to have at least.
        size: u64,
    },
    /// To attach a segment.
    Attach {
        /// The segment.
        id: ShmId,
        /// For what.
        access: Access,
        /// With the right to execute.
        exec: bool,
        /// Where.
        address: Address,
    },
    /// To look at a segment.
    Stat(ShmId),
    /// To change owner, group or mode.
    Set(ShmId),
    /// To lock a segment in memory, or to unlock it.
    Lock(ShmId),
    /// To remove a segment.
    Remove(ShmId),
    /// To ask a holder to end.
    Detach(ShmId),
    /// To list the segments.
    List,
    /// To read the limits.
    Limits,
}

impl Attempt {
    /// Says what was tried on what.
    fn says(&self) -> String {
        match self {
            Self::Create { key: Key::PRIVATE, size, .. } => format!("cannot create a segment of {}", Size(*size)),
            Self::Create { key, size, .. } => format!("cannot create a segment of {} with key {key}", Size(*size)),
            Self::Open { key, size: 0 } => format!("cannot find a segment with key {key}"),
            Self::Open { key, size } => format!("cannot open the segment with key {key} as one of {}", Size(*size)),
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
            Self::Lock(id) => format!("cannot lock or unlock segment {id}"),
            Self::Remove(id) => format!("cannot remove segment {id}"),
            Self::Detach(id) => format!("cannot end the holder of segment {id}"),
            Self::List => "cannot list the segments".to_owned(),
            Self::Limits => "cannot read the limits".to_owned(),
        }
    }

    /// Gives the segment that it was about.
    fn id(&self) -> Option<ShmId> {
        match self {
            Self::Attach { id, .. } => Some(*id),
            Self::Stat(id) | Self::Set(id) | Self::Lock(id) | Self::Remove(id) | Self::Detach(id) => Some(*id),
            Self::Create { .. } | Self::Open { .. } | Self::List | Self::Limits => None,
        }
    }
}

/// Turns a failed call into the user's error.
pub(crate) fn explain(system: &System, attempt: &Attempt, failure: SysError) -> Error {
    let kind = match failure.errno {
        Errno::EACCES | Errno::EPERM => Kind::Permission,
        Errno::ENOENT | Errno::EIDRM => Kind::NotFound,
        Errno::EEXIST => Kind::Exists,
        _ => Kind::Failed,
    };
    let error = Error::new(kind, attempt.says()).os(failure.errno, failure.call);
    let error = match failure.target {
        Subject::Id(id) => error.target(id.to_string()),
        Subject::Key(Key::PRIVATE) | Subject::Index(_) | Subject::None => error,
        Subject::Key(key) => error.target(key.to_string()),
        Subject::Pid(pid) => error.target(pid.to_string()),
    };
    match attempt {
        Attempt::Create { key, size, flags } => explain_create(system, error, *key, *size, *flags, failure.errno),
        Attempt::Open { key, size } => explain_open(system, error, *key, *size, failure.errno),
        // Nothing can be looked at any closer where looking is what was refused.
        Attempt::Stat(_) if !matches!(failure.errno, Errno::EINVAL | Errno::EIDRM) => error.cause(DENIED),
        Attempt::List | Attempt::Limits => error.cause(DENIED),
        _ => match attempt.id() {
            Some(id) => explain_segment(system, error, attempt, id, failure.errno),
            None => error,
        },
    }
}

/// Explains why a segment could not be made.
fn explain_create(system: &System, error: Error, key: Key, size: u64, flags: CreateFlags, errno: Errno) -> Error {
    let Ok(limits) = limits(system) else { return error };
    match errno {
        Errno::EINVAL if size < limits.shmmin => {
            error.cause("the size is 0: a segment has at least one byte").hint("`shmadm create` makes one of a page")
        }
        Errno::EINVAL if i64::try_from(size).is_err() => error.cause("no segment can have 8 EiB or more"),
        Errno::EINVAL if size > limits.shmmax => error
            .cause(format!("the largest segment here is {} (kernel.shmmax)", Size(limits.shmmax)))
            .hint(format!("raise the limit: `sysctl -w kernel.shmmax={size}`")),
        Errno::EINVAL if flags.huge.is_some() => {
            let sizes = super::huge::huge_page_sizes().into_iter();
            let sizes: Vec<String> = sizes.map(|size| Size(size).to_string()).collect();
            if sizes.is_empty() {
                return error.cause("this kernel has no huge pages");
            }
            error
                .cause(format!("this kernel has no huge pages of that size; it has {}", sizes.join(", ")))
                .hint("`ls /sys/kernel/mm/hugepages` shows them")
        }
        Errno::EINVAL => error.cause("no file of the kernel's tmpfs can be as large as that"),
        Errno::ENOSPC => explain_no_space(system, error, size, limits),
        Errno::ENOMEM if flags.huge.is_some() => {
            let named = flags.huge.flatten().map(|logarithm| 1_u64 << (logarithm & 63));
            let page = named.or_else(|| super::huge_page_size(system)).unwrap_or(limits.page_size);
            super::no_huge_page(error, page, Some(size))
        }
        Errno::ENOMEM => {
            let error = match procfs::memory_total(system.proc()) {
                Some(total) if size > total => {
                    error.cause(format!("memory and swap together have {} (vm.overcommit_memory)", Size(total)))
                }
                _ => error.cause("the kernel will not promise so much memory now (vm.overcommit_memory)"),
            };
            error.hint(format!("`shmadm create --size {size} --no-reserve` makes one of which nothing is promised"))
        }
        Errno::EPERM if flags.huge.is_some() => error
            .cause("huge pages take CAP_IPC_LOCK, or membership in the group that vm.hugetlb_shm_group names")
            .hint("`sysctl vm.hugetlb_shm_group` shows that group"),
        Errno::EEXIST => {
            let whose =
                segment_with_key(system, key).map(|found| format!(" {} of {}", found.id, system.user(found.uid)));
            error
                .cause(format!("segment{} has this key", whose.unwrap_or_default()))
                .hint(format!("`shmadm create --key {key}`, without --exclusive, opens the existing segment"))
                .hint("`shmadm create --key random` finds a free key")
        }
        _ => error,
    }
}

/// Tells the causes of ENOSPC apart.
fn explain_no_space(system: &System, error: Error, size: u64, limits: Limits) -> Error {
    let Ok((used, pages, _, _)) = sys::usage() else { return error };
    let wanted = size.div_ceil(limits.page_size);
    if used >= limits.shmmni {
        let error =
            error.cause(format!("all {} segment ids of this IPC namespace are taken (kernel.shmmni)", limits.shmmni));
        let oldest = || "`shmadm list --sort ctime` shows them, the oldest first".to_owned();
        let error = error.hint(orphans(system).unwrap_or_else(oldest));
        return match used.max(limits.shmmni).saturating_mul(2).min(MOST_IDS) {
            more if more > used => error.hint(format!("or raise the limit: `sysctl -w kernel.shmmni={more}`")),
            _ => error,
        };
    }
    match pages.checked_add(wanted) {
        Some(total) if total > limits.shmall => error
            .cause(format!(
                "{wanted} more pages would pass the {} that all segments may have together, of which {pages} are taken \
                 (kernel.shmall)",
                limits.shmall
            ))
            .hint("`shmadm list --sort size --reverse` shows the largest")
            .hint(format!("or raise the limit: `sysctl -w kernel.shmall={total}`")),
        Some(_) => error.cause("the last pages were taken at this moment, or the size overflows when counted in pages"),
        None => error.cause("the size overflows when counted in pages"),
    }
}

/// Advises on orphans, if there are any, with those options of prune without which it would not list them.
fn orphans(system: &System) -> Option<String> {
    let mut segments = inventory(system, Needs::STATE).ok()?;
    segments.retain(|segment| segment.state == Some(State::Orphan));
    let plain = Filter::of_prune();
    let unseen = |condition: Filter| segments.iter().any(|segment| !condition.admits(system, segment));
    let options = [
        ("--any-owner", unseen(Filter { older_than: None, ..plain.clone() })),
        ("--older-than 0s", unseen(Filter { mine: false, ..plain })),
    ];
    let options: Vec<_> = options.into_iter().filter_map(|(option, needed)| needed.then_some(option)).collect();
    let with: String = options.iter().map(|option| format!(" {option}")).collect();
    match segments.len() {
        0 => None,
        1 => Some(format!("1 of them is an orphan: `shmadm prune --dry-run{with}` lists it")),
        many => Some(format!("{many} of them are orphans: `shmadm prune --dry-run{with}` lists them")),
    }
}

/// Explains why the segment of a key could not be had.
fn explain_open(system: &System, error: Error, key: Key, size: u64, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => match segment_with_key(system, key) {
            Some(found) => error
                .cause(format!(
                    "segment {} has this key already, and only {}: a segment never grows",
                    found.id,
                    Size(found.size)
                ))
                .hint(format!("open it as it is, with --size {} or none: `shmadm create --key {key}`", found.size)),
            None => error.cause(format!("the segment with this key has less than {}", Size(size))),
        },
        Errno::ENOENT => {
            let as_id = i32::try_from(key.bits()).ok().and_then(ShmId::new);
            let error = error.cause("no segment of this IPC namespace has this key");
            match as_id.map(|id| (id, segment(system, id, Needs::empty()))) {
                Some((id, Ok(Some(_)))) => error.hint(format!("a segment with id {id} exists: write {id}")),
                _ => error.hint("`shmadm list` shows what there is"),
            }
        }
        _ => error,
    }
}

/// Explains why a call on a segment failed.
fn explain_segment(system: &System, mut error: Error, attempt: &Attempt, id: ShmId, errno: Errno) -> Error {
    // Looked at anew: what was known before the call may not be so any more.
    let found = segment(system, id, Needs::empty()).ok().flatten();
    match (errno, found) {
        (Errno::EINVAL | Errno::EIDRM, None) => {
            error.kind = Kind::NotFound;
            let error = error.cause("no segment of this IPC namespace has this id: it was removed, or never was");
            let as_key = Key::new(id.raw().cast_unsigned());
            if as_key != Key::PRIVATE && is_taken(as_key) {
                return error.hint(format!("a segment with key {} ({:#x}) exists: write key:{0}", id, as_key.bits()));
            }
            error.hint("`shmadm list` shows what there is")
        }
        (Errno::EINVAL, Some(_)) => match attempt {
            Attempt::Attach { address: Address::Exact(address), .. } => explain_place(system, error, id, *address),
            Attempt::Attach { address: Address::Rounded(address), .. } => explain_range(system, error, id, *address),
            _ => error,
        },
        (Errno::EACCES, Some(segment)) => match attempt {
            Attempt::Attach { exec: true, .. } => error
                .cause(format!(
                    "--exec takes the right to execute besides, and the segment's mode is {}: {}",
                    segment.mode,
                    granted(system, &segment)
                ))
                .hint(format!("`shmadm set {} --mode MODE` changes the mode, as in 0700", segment.id)),
            _ => explain_access(system, error, &segment),
        },
        (Errno::EPERM, _) if matches!(attempt, Attempt::Attach { .. }) => error
            .cause("nothing may be mapped at so low an address without CAP_SYS_RAWIO (vm.mmap_min_addr)")
            .hint(anywhere(id)),
        (Errno::EPERM, Some(segment)) => explain_control(system, error, attempt, &segment),
        (Errno::ENOMEM, _) => match attempt {
            Attempt::Lock(_) => error
                .cause("the segment is larger than what this user may still lock (RLIMIT_MEMLOCK)")
                .hint("`ulimit -l` shows that limit in KiB; CAP_IPC_LOCK lifts it"),
            Attempt::Attach { address: Address::Exact(_) | Address::Rounded(_), .. } => error
                .cause("that range leaves the address space, or there is no room (RLIMIT_AS, vm.max_map_count)")
                .hint(anywhere(id)),
            _ => error
                .cause("the address space has no room for it (RLIMIT_AS, vm.max_map_count), or memory is short")
                .hint("`ulimit -v` shows the limit on address space"),
        },
        _ => error,
    }
}

/// Explains why the mode kept the caller out.
fn explain_access(system: &System, error: Error, segment: &Segment) -> Error {
    let (owner, group) = (system.user(segment.uid), system.group(segment.gid));
    let error =
        error.cause(format!("its mode is {}, its owner {owner}:{group}: {}", segment.mode, granted(system, segment)));
    let command = format!("`shmadm set {} --mode MODE`", segment.id);
    if has_capability(system, CAP_IPC_OWNER) == Some(true) {
        return error.hint("your CAP_IPC_OWNER does not count here: the namespace belongs to another user namespace");
    }
    if system.uid() == segment.uid || system.uid() == segment.cuid {
        error.hint(format!("as its owner you may change the mode: {command}"))
    } else {
        error.hint(format!("{} can change the mode: {command}", or_root(&owner)))
    }
}

/// Explains why the caller may not change, lock or remove a segment.
fn explain_control(system: &System, error: Error, attempt: &Attempt, segment: &Segment) -> Error {
    let uid = system.uid();
    let owns = uid == segment.uid || uid == segment.cuid;
    let (capability, number) = match attempt {
        Attempt::Lock(_) => ("CAP_IPC_LOCK", CAP_IPC_LOCK),
        _ => ("CAP_SYS_ADMIN", CAP_SYS_ADMIN),
    };
    if owns {
        return match attempt {
            Attempt::Lock(_) => error.cause("this user may lock no memory at all (RLIMIT_MEMLOCK is 0)"),
            _ => error.cause("a security module or a sandbox forbids it"),
        };
    }
    let elsewhere = has_capability(system, number) == Some(true);
    let error = error.cause(format!(
        "user {} is neither its owner ({}) nor its creator ({}), and {} {capability}",
        system.user(uid),
        system.user(segment.uid),
        system.user(segment.cuid),
        if elsewhere { "is outside the user namespace for" } else { "lacks" },
    ));
    if elsewhere {
        return error.hint("outside of your user namespace its owner and root can do it: `sudo shmadm …`");
    }
    error.hint(format!("{} can do it: `sudo shmadm …`", or_root(&system.user(segment.uid))))
}

/// Names who has the right that the caller lacks.
fn or_root(owner: &str) -> String {
    if owner == "root" { owner.to_owned() } else { format!("{owner} or root") }
}
