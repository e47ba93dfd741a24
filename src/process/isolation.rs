//! An IPC namespace of a command's own.

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use crate::error::{Error, Kind};
use crate::procfs;
use crate::query::{System, words};
use crate::sys::{self, SysError};

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
    let limit = |name: &str| procfs::sysctl(system.proc(), name);
    let outer = LIMITS.map(limit);
    let isolation = match (sys::leave_ipc(), how) {
        (Ok(()), _) => Isolation::Ipc,
        (Err(error), Isolate::Auto | Isolate::Never) => {
            let reason = match error.errno {
                Errno::EPERM => "it takes CAP_SYS_ADMIN".to_owned(),
                errno => format!("unshare: {}", errno.desc()),
            };
            let note = format!(
                "not isolated ({reason}): what is left behind is told by its creators; `--isolate always` makes a user \
                 namespace for it"
            );
            return Ok((Isolation::None, vec![note]));
        }
        (Err(_), Isolate::Always) => {
            enter_own_user_namespace()?;
            Isolation::UserAndIpc
        }
    };
    let mut notes = Vec::new();
    for (name, outer) in LIMITS.iter().zip(outer) {
        let Some(outer) = outer.filter(|outer| limit(name) != Some(*outer)) else { continue };
        if let Err(error) = std::fs::write(system.proc().join("sys").join(name), outer.to_string()) {
            let name = name.replace('/', ".");
            notes
                .push(format!("the new namespace has another {name} than {outer}, which cannot be set there: {error}"));
        }
    }
    Ok((isolation, notes))
}

/// Makes a user namespace in which nobody but the user himself is known, and an IPC namespace in it.
fn enter_own_user_namespace() -> Result<(), Error> {
    let (uid, gid) = (geteuid(), getegid());
    sys::leave_user_and_ipc().map_err(|error| refused(error, cause_of(error.errno)))?;
    // Without this, which kernels before 3.19 lack, a user may not say which group he is in.
    let _ = std::fs::write("/proc/self/setgroups", "deny");
    for (name, id) in [("uid_map", uid.as_raw()), ("gid_map", gid.as_raw())] {
        std::fs::write(format!("/proc/self/{name}"), format!("{id} {id} 1")).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            let error = SysError { errno, call: "write", target: sys::On::Nothing };
            refused(error, format!("a user namespace was made, but its {name} may not be written: {RESTRICTED}"))
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
        .system(words(error.errno, error.call))
        .cause(cause)
        .hint("`--isolate never` runs it in this IPC namespace, and tells what is left by its creators")
}
