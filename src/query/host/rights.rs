//! What the caller may do: with a segment by the rules of `ipcperms` in linux/ipc/util.c, with a file by those of
//! capabilities(7).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
pub(crate) use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::unistd::geteuid;

use super::accounts::Account;
use super::system::System;
use crate::model::{FileStat, Object, ObjectKind};
use crate::procfs;
use crate::sys::{self, SysError};

/// What /proc/PID/ns/user links to in the initial user namespace (PROC_USER_INIT_INO of linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Give files to other users and groups. These numbers are those of linux/capability.h.
pub(crate) const CAP_CHOWN: u32 = 0;
/// Bypass the permission bits of files.
pub(crate) const CAP_DAC_OVERRIDE: u32 = 1;
/// Change and remove the files of other users.
pub(crate) const CAP_FOWNER: u32 = 3;
/// Lock memory.
pub(crate) const CAP_IPC_LOCK: u32 = 14;
/// Bypass the permission bits of segments.
pub(crate) const CAP_IPC_OWNER: u32 = 15;
/// Inspect the processes of other users.
const CAP_SYS_PTRACE: u32 = 19;
/// Change and remove the segments of other users.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
/// Map uid 0 of the parent into a new user namespace (required since Linux 5.12).
const CAP_SETFCAP: u32 = 31;

/// Returns whether the caller has a capability in its own user namespace; `None` if /proc does not show it.
pub(crate) fn has_capability(system: &System, capability: u32) -> Option<bool> {
    let bits = u64::from_str_radix(&procfs::status_line(system.proc(), system.caller_thread(), "CapEff")?, 16).ok()?;
    Some(bits >> capability & 1 == 1)
}

/// What a capability of the caller allows in its IPC namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Effective,
    /// The caller has it, but the user namespace that owns the IPC namespace is neither its own nor a descendant.
    Ineffective,
    Missing,
    /// /proc does not show it.
    Unknown,
}

pub(crate) fn capability(system: &System, number: u32) -> Capability {
    match has_capability(system, number) {
        None => Capability::Unknown,
        Some(false) => Capability::Missing,
        Some(true) => match is_above_ipc_namespace(system) {
            Some(true) => Capability::Effective,
            Some(false) => Capability::Ineffective,
            None => Capability::Unknown,
        },
    }
}

/// Returns whether the caller's user namespace is the one that owns its IPC namespace, or an ancestor of it.
fn is_above_ipc_namespace(system: &System) -> Option<bool> {
    let directory = system.proc().join(system.caller_thread());
    let namespace = File::open(directory.join("ns/ipc")).ok()?;
    let outside = |error: SysError| (error.errno == Errno::EPERM).then_some(false);
    // Fails with EPERM for what is neither this process's user namespace nor a descendant.
    let mut above = match sys::owning_user_namespace(namespace.as_fd()) {
        Ok(_) if system.other_caller().is_none() => return Some(true),
        owner => owner.map(File::from),
    };
    let own = procfs::user_namespace_of(system.proc(), system.caller_thread())?;
    loop {
        match above {
            Ok(found) if found.metadata().ok()?.ino() == own => return Some(true),
            Ok(found) => above = sys::parent_user_namespace(found.as_fd()).map(File::from),
            Err(error) => return outside(error),
        }
    }
}

/// Returns how many bytes the caller may lock (RLIMIT_MEMLOCK).
pub(crate) fn lockable(system: &System) -> u64 {
    caller_limit(system, Resource::RLIMIT_MEMLOCK).unwrap_or(u64::MAX)
}

/// Returns whether the caller may lock more: with CAP_IPC_LOCK, but not that of another user namespace than the initial
/// one. What /proc does not show is taken to be sufficient.
pub(crate) fn may_exceed_lock_limit(system: &System) -> bool {
    has_capability(system, CAP_IPC_LOCK) != Some(false) && is_in_initial_user_namespace(system) != Some(false)
}

/// Returns a soft limit of the caller (getrlimit(2)); `u64::MAX` if there is none, `None` if it is unknown.
pub(crate) fn caller_limit(system: &System, resource: Resource) -> Option<u64> {
    if system.other_caller().is_none() {
        return getrlimit(resource).ok().map(|(soft, _)| soft);
    }
    let name = match resource {
        Resource::RLIMIT_AS => "Max address space",
        Resource::RLIMIT_FSIZE => "Max file size",
        Resource::RLIMIT_MEMLOCK => "Max locked memory",
        Resource::RLIMIT_NOFILE => "Max open files",
        _ => return None,
    };
    procfs::soft_limit(system.proc(), system.caller_thread(), name)
}

/// Returns whether the caller may create segments with huge pages. What /proc does not show is taken to be sufficient.
///
/// Before Linux 5.16, a sufficient RLIMIT_MEMLOCK replaced the capability.
pub(crate) fn may_use_huge_pages(system: &System) -> bool {
    let is_in_group = || {
        let group = procfs::sysctl(system.proc(), "vm/hugetlb_shm_group").and_then(|gid| u32::try_from(gid).ok())?;
        // It is a group of the initial user namespace.
        let pid = system.other_caller().unwrap_or_else(|| std::process::id().cast_signed());
        let map = procfs::id_map(system.proc(), pid, Account::Group.map_file())?;
        Some(map.iter().filter_map(|range| range.inside_of(group)).any(|gid| system.is_in_group(gid)))
    };
    may_exceed_lock_limit(system) || is_in_group() == Some(true)
}

/// Returns whether the caller is in the initial user namespace.
pub(crate) fn is_in_initial_user_namespace(system: &System) -> Option<bool> {
    let link = std::fs::read_link(system.proc().join(system.caller_thread()).join("ns/user"));
    link.ok().map(|link| link == Path::new(INITIAL_USER_NAMESPACE))
}

/// Returns whether the caller's user namespace maps the owner and the group of a file, which its capabilities over the
/// file require.
fn maps_file(system: &System, uid: u32, gid: u32) -> Option<bool> {
    let proc = system.proc();
    let namespace = |thread| procfs::user_namespace_of(proc, thread);
    let is_other = namespace(system.caller_thread()) != namespace("thread-self");
    let has = |account: Account, id| match system.other_caller().filter(|_| is_other) {
        Some(pid) => {
            let map = procfs::id_map(proc, pid, account.map_file())?;
            Some(map.iter().any(|range| range.inside_of(id).is_some()))
        }
        // The maps of a process in the same user namespace show the ids outside of it.
        None => Some(!system.is_overflow(account, id)),
    };
    Some(has(Account::User, uid)? && has(Account::Group, gid)?)
}

/// Returns whether the caller has a capability over a file: its user namespace must map the owner and the group of the
/// file. `None` if /proc does not show it.
pub(crate) fn has_capability_over(system: &System, stat: &FileStat, capability: u32) -> Option<bool> {
    Some(has_capability(system, capability)? && maps_file(system, stat.uid, stat.gid)?)
}

/// Returns whether the caller may inspect the processes of other users (CAP_SYS_PTRACE), also outside of its user
/// namespace.
pub(crate) fn can_inspect_all(system: &System) -> bool {
    has_capability(system, CAP_SYS_PTRACE) == Some(true) && is_in_initial_user_namespace(system) != Some(false)
}

/// Returns whether a setuid program can make the caller root: not if it is root, or if its user namespace does not map
/// root.
pub(crate) fn can_become_root() -> bool {
    let map = procfs::id_map(Path::new("/proc"), std::process::id().cast_signed(), Account::User.map_file());
    !geteuid().is_root() && map.is_none_or(|map| map.iter().any(|range| range.inside == 0))
}

/// Returns whether the caller's capabilities let it map its own uid into a new user namespace.
pub(crate) fn can_create_user_namespace(system: &System) -> bool {
    system.uid() != 0 || has_capability(system, CAP_SETFCAP) != Some(false)
}

/// Returns whether the caller is the owner of an object, or the creator of a segment.
pub(crate) fn is_owner_or_creator(system: &System, object: &Object) -> bool {
    let creator = match &object.kind {
        ObjectKind::SysV(sysv) => sysv.cuid,
        ObjectKind::Posix(_) => object.uid,
    };
    system.is_caller(object.uid) || system.is_caller(creator)
}

/// Returns where the bits that apply to the caller begin in an object's mode: 6 (owner or creator), 3 (group) or 0.
pub(crate) fn mode_shift(system: &System, object: &Object) -> u32 {
    let creator_group = match &object.kind {
        ObjectKind::SysV(sysv) => sysv.cgid,
        ObjectKind::Posix(_) => object.gid,
    };
    if is_owner_or_creator(system, object) {
        6
    } else if system.is_in_group(object.gid) || system.is_in_group(creator_group) {
        3
    } else {
        0
    }
}

/// Returns whether the caller may change or remove a segment; `None` if its capabilities are unknown.
pub(crate) fn may_control(system: &System, segment: &Object) -> Option<bool> {
    if is_owner_or_creator(system, segment) {
        return Some(true);
    }
    match capability(system, CAP_SYS_ADMIN) {
        Capability::Effective => Some(true),
        // An owner without a mapping may be the caller.
        Capability::Missing | Capability::Ineffective if !system.is_unmapped_caller() => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn a_user_namespace_maps_the_files_of_its_own_ids_only() {
        let own = std::process::id().to_string();
        let status = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\n";
        let map = "0 1000 1\n";
        let maps = ["uid_map", "gid_map"].map(|name| [format!("{own}/{name}"), format!("7/{name}")]);
        let mut files: Vec<(&str, &str)> = maps.as_flattened().iter().map(|path| (path.as_str(), map)).collect();
        files.push(("7/task/7/status", status));
        let proc = directory(&files);
        std::os::unix::fs::symlink(&own, proc.path().join("self")).unwrap();
        let system = System::at(proc.path().to_owned()).of_caller(7, 7).unwrap();
        let maps = |id| maps_file(&system, id, id);
        assert_eq!([0, 65_534].map(maps), [Some(true), Some(false)], "in the same user namespace");
        for thread in ["7/task/7", "thread-self"] {
            std::fs::create_dir_all(proc.path().join(thread).join("ns")).unwrap();
            std::fs::write(proc.path().join(thread).join("ns/user"), "").unwrap();
        }
        assert_eq!([1000, 0].map(maps), [Some(true), Some(false)], "in a descendant");
    }
}
