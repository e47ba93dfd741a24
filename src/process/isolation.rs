//! An IPC namespace of a command's own.

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Kind, strerror};
use crate::procfs;
use crate::query::{System, may_map_itself};
use crate::sys::{self, On, SysError};

/// Whether a command shall have an IPC namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolate {
    /// Where that takes no user namespace.
    Auto,
    /// In any case.
    Always,
    /// No.
    Never,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// An IPC namespace.
    Ipc,
    /// A user namespace, in which the user stays who he is, and an IPC namespace in it.
    UserAndIpc,
    /// None.
    None,
}

impl Isolation {
    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::UserAndIpc => "user+ipc",
            Self::None => "none",
        }
    }
}

/// Limits of a namespace that a new one does not take over by itself (/proc/sys).
const LIMITS: [&str; 4] = ["kernel/shmmni", "kernel/shmmax", "kernel/shmall", "kernel/shm_rmid_forced"];

/// Leaves the IPC namespace for a new one, with this process, which must have one thread; gives what came of it, and what
/// the user should know about it.
///
/// # Errors
/// `how` is always, and the system forbids it (Permission).
pub(crate) fn isolate(system: &System, how: Isolate) -> Result<(Isolation, Vec<String>), Error> {
    if how == Isolate::Never {
        return Ok((Isolation::None, Vec::new()));
    }
    let wanted: Vec<Limit> =
        LIMITS.iter().filter_map(|name| Some((*name, procfs::sysctl(system.proc(), name)?))).collect();
    match (sys::leave_ipc(), how) {
        (Ok(()), _) => Ok((Isolation::Ipc, carry(system, &wanted))),
        (Err(error), Isolate::Auto | Isolate::Never) => {
            let reason = match error.errno {
                Errno::EPERM => "it takes CAP_SYS_ADMIN".to_owned(),
                errno => format!("unshare: {}", strerror(errno)),
            };
            let note = format!(
                "not isolated ({reason}): what is left behind is told by its creators; `--isolate always` makes a user \
                 namespace for it"
            );
            Ok((Isolation::None, vec![note]))
        }
        (Err(_), Isolate::Always) => Ok((Isolation::UserAndIpc, enter_own_user_namespace(system, &wanted)?)),
    }
}

/// A limit, and its value.
type Limit = (&'static str, u64);

/// Gives those limits that the namespace that we are in has not.
fn missing<'a>(system: &System, wanted: &'a [Limit]) -> impl Iterator<Item = &'a Limit> {
    let proc = system.proc().to_owned();
    wanted.iter().filter(move |(name, value)| procfs::sysctl(&proc, name) != Some(*value))
}

/// Carries limits into the namespace that we are in; gives what the user should know of those that it cannot have.
fn carry(system: &System, wanted: &[Limit]) -> Vec<String> {
    let set = |(name, value): &Limit| {
        let error = std::fs::write(system.proc().join("sys").join(name), value.to_string()).err()?;
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        let name = name.replace('/', ".");
        Some(format!(
            "the command has another {name} than the {value} here, which cannot be set for it: {}",
            strerror(errno)
        ))
    };
    missing(system, wanted).filter_map(set).collect()
}

/// Makes a user namespace in which nobody but the user himself is known, and an IPC namespace with these limits.
///
/// Limits belong to the root of the namespace that the IPC namespace was made in. Where some are to be set, the user is
/// that at first, and then himself in another user namespace below.
fn enter_own_user_namespace(system: &System, wanted: &[Limit]) -> Result<Vec<String>, Error> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let is_nobody = std::fs::read(system.proc().join("self/uid_map")).is_ok_and(|map| map.is_empty());
    let may_map = may_map_itself(system);
    let cause = |errno| match errno {
        Errno::EPERM if is_nobody => "this user has no number in the present user namespace".to_owned(),
        Errno::EPERM if !may_map => "root is known in a user namespace if whoever makes it has CAP_SETFCAP".to_owned(),
        errno => cause_of(errno),
    };
    let failed = |error: SysError| refused(error, cause(error.errno));
    sys::leave_user_and_ipc().map_err(failed)?;
    if uid == 0 || missing(system, wanted).next().is_none() {
        map([(uid, uid), (gid, gid)]).map_err(failed)?;
        return Ok(carry(system, wanted));
    }
    map([(0, uid), (0, gid)]).map_err(failed)?;
    let notes = carry(system, wanted);
    sys::leave_user().map_err(failed)?;
    map([(uid, 0), (gid, 0)]).map_err(failed)?;
    Ok(notes)
}

/// Says who is who in a new user namespace: for a user and for a group, the number inside and that outside.
fn map(ids: [(u32, u32); 2]) -> Result<(), SysError> {
    // Without this, which kernels before 3.19 lack, a user may not say which group he is in.
    let _ = std::fs::write("/proc/self/setgroups", "deny");
    for (name, (inside, outside)) in ["uid_map", "gid_map"].into_iter().zip(ids) {
        std::fs::write(format!("/proc/self/{name}"), format!("{inside} {outside} 1")).map_err(|error| SysError {
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
            call: if name == "uid_map" { "write uid_map" } else { "write gid_map" },
            target: On::Nothing,
        })?;
    }
    Ok(())
}

/// What is known to forbid user namespaces.
const RESTRICTED: &str = "AppArmor (kernel.apparmor_restrict_unprivileged_userns), a sandbox or a container's profile \
                          restricts those of unprivileged users";

/// Says why there is no user namespace to be had.
fn cause_of(errno: Errno) -> String {
    match errno {
        Errno::ENOSPC => "there are as many user or IPC namespaces as there may be, which can be none at all \
                          (user.max_user_namespaces, user.max_ipc_namespaces)"
            .to_owned(),
        Errno::EUSERS => "user namespaces are nested as deep as they may be".to_owned(),
        Errno::EPERM => format!("this process is in a chroot, or {RESTRICTED}"),
        _ => RESTRICTED.to_owned(),
    }
}

/// Makes the error of a system that allows no isolation.
fn refused(error: SysError, cause: String) -> Error {
    Error::new(Kind::Permission, "cannot isolate the command")
        .os(error.errno, error.call)
        .cause(cause)
        .hint("`--isolate never` runs it in this IPC namespace, and tells what is left by its creators")
}
