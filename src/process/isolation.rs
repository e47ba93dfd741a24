//! Private IPC namespaces for commands: everything that exists in one at the end was created by the command.
//!
//! Creating an IPC namespace requires CAP_SYS_ADMIN. Without it, `--isolate always` creates a user namespace that
//! contains only the caller's user and group. No separate process tests whether the system permits that: if it fails,
//! the supervisor exits before the command has started.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Kind, again, strerror};
use crate::model::Isolation;
use crate::procfs;
use crate::query::{System, can_create_user_namespace};
use crate::sys::{self, CloneFlags, SysError};

/// Limits of an IPC namespace that a new one does not inherit (/proc/sys).
const LIMITS: [&str; 4] = ["kernel/shmmni", "kernel/shmmax", "kernel/shmall", "kernel/shm_rmid_forced"];

type Limit = (&'static str, u64);

/// Moves this process to a new mount namespace with an empty /dev/shm of the same size and mode. Returns a note if that
/// is not possible; without a /dev/shm there is nothing to do.
pub(crate) fn isolate_objects(system: &System) -> Option<String> {
    let directory = system.objects().ok()?;
    let (space, root) = (directory.space().ok()?, sys::stat_file(directory.as_fd()).ok()?);
    let path = directory.path.to_str()?;
    let isolated = sys::unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| sys::mount_private_tmpfs(path, space.size, space.inodes, root.mode & 0o7777));
    let error = isolated.err()?;
    let reason = strerror(error.errno);
    Some(format!("cannot give the command its own {path} ({}: {reason}): new objects may be unattributed", error.call))
}

/// Moves this process, which must be single-threaded, to a new IPC namespace, in a new user namespace if that is
/// necessary and `always` is set. Returns what was created, and notes for the user.
/// Fails if `always` is set, and the system forbids it (Permission).
pub(crate) fn isolate(system: &System, always: bool) -> Result<(Isolation, Vec<String>), Error> {
    let limit = |name| Some((name, procfs::sysctl(system.proc(), name)?));
    let wanted: Vec<Limit> = LIMITS.into_iter().filter_map(limit).collect();
    match sys::unshare(CloneFlags::CLONE_NEWIPC) {
        Ok(()) => Ok((Isolation::Ipc, copy_limits(system, &wanted))),
        Err(_) if always => Ok((Isolation::UserAndIpc, enter_own_user_namespace(system, &wanted)?)),
        Err(error) => {
            let reason = match error.errno {
                Errno::EPERM => "requires CAP_SYS_ADMIN".to_owned(),
                errno => format!("unshare: {}", strerror(errno)),
            };
            let note = format!(
                "not isolated ({reason}): leaks are attributed by the creating process; `--isolate always` runs the \
                 command in a user namespace"
            );
            Ok((Isolation::None, vec![note]))
        }
    }
}

fn differs(system: &System, (name, value): &Limit) -> bool {
    procfs::sysctl(system.proc(), name) != Some(*value)
}

/// Sets limits in the current namespace. Returns a note for each that cannot be set.
fn copy_limits(system: &System, wanted: &[Limit]) -> Vec<String> {
    let set = |(name, value): &Limit| {
        let error = std::fs::write(system.proc().join("sys").join(name), value.to_string()).err()?;
        let errno = sys::errno_of(&error);
        let name = name.replace('/', ".");
        Some(format!("cannot set {name} to {value} in the command's IPC namespace: {}", strerror(errno)))
    };
    wanted.iter().filter(|limit| differs(system, limit)).filter_map(set).collect()
}

/// Creates a user namespace that contains only the caller, and an IPC namespace with these limits.
///
/// Only root of the user namespace that owns an IPC namespace can set its limits. To set some, the caller is mapped
/// to root at first, and to itself in a second user namespace below.
fn enter_own_user_namespace(system: &System, wanted: &[Limit]) -> Result<Vec<String>, Error> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let is_unmapped = std::fs::read(system.proc().join("self/uid_map")).is_ok_and(|map| map.is_empty());
    let may_map = can_create_user_namespace(system);
    let failed = |error: SysError| {
        let cause = match error.errno {
            Errno::EPERM if is_unmapped => "your uid is not mapped in the current user namespace".to_owned(),
            Errno::EPERM if !may_map => "mapping root into a user namespace requires CAP_SETFCAP".to_owned(),
            Errno::EPERM => format!("this process is in a chroot, or {RESTRICTED}"),
            Errno::ENOSPC => "the limit on user or IPC namespaces, which may be 0, is reached \
                              (user.max_user_namespaces, user.max_ipc_namespaces)"
                .to_owned(),
            Errno::EUSERS => "user namespaces are nested too deeply".to_owned(),
            _ => RESTRICTED.to_owned(),
        };
        Error::new(Kind::Permission, "cannot isolate the command")
            .os(error.errno, error.call)
            .cause(cause)
            .hint("run it in this IPC namespace", again("--isolate never"))
    };
    sys::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC).map_err(failed)?;
    if uid == 0 || !wanted.iter().any(|limit| differs(system, limit)) {
        write_id_maps([(uid, uid), (gid, gid)]).map_err(failed)?;
        return Ok(copy_limits(system, wanted));
    }
    write_id_maps([(0, uid), (0, gid)]).map_err(failed)?;
    let notes = copy_limits(system, wanted);
    sys::unshare(CloneFlags::CLONE_NEWUSER).map_err(failed)?;
    write_id_maps([(uid, 0), (gid, 0)]).map_err(failed)?;
    Ok(notes)
}

/// Writes the id maps of a new user namespace: one user and one group, each as the id inside and the id outside.
fn write_id_maps(ids: [(u32, u32); 2]) -> Result<(), SysError> {
    // Required for gid_map without privilege. Kernels before 3.19 lack the file.
    let _ = std::fs::write("/proc/self/setgroups", "deny");
    for (name, (inside, outside)) in ["uid_map", "gid_map"].into_iter().zip(ids) {
        std::fs::write(format!("/proc/self/{name}"), format!("{inside} {outside} 1")).map_err(|error| SysError {
            errno: sys::errno_of(&error),
            call: if name == "uid_map" { "write uid_map" } else { "write gid_map" },
        })?;
    }
    Ok(())
}

/// What usually forbids user namespaces.
const RESTRICTED: &str = "user namespaces are restricted by AppArmor \
                          (kernel.apparmor_restrict_unprivileged_userns), a sandbox or a container";
