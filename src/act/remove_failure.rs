//! Why objects are not removed.

use nix::errno::Errno;

use super::remove::KeepReason;
use super::remove_file::{check_directory, may_unlink};
use crate::error::{Error, Kind, again, program, shmadm};
use crate::explain::{
    OUTSIDE, describe_use, describe_users, file_in_use, missing_file, owner_or_root, why_unknown, with_directory_cause,
    with_own_access_hint, with_protection,
};
use crate::model::Object;
use crate::query::{CAP_FOWNER, System, has_capability};
use crate::sys::NO_PROC;

/// Why an object was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Gone,
    /// Its name is now that of another file.
    Replaced,
    Changed,
    /// It has no name that could be removed.
    Unnamed,
    /// It has several names.
    Linked(u64),
    InUse,
    /// Its program uses others of its family.
    Needed,
    /// A process opened it during the removal.
    BeingOpened,
    /// It was renamed but then not removed because of `why`, and its name could not be restored.
    LeftAside {
        aside: String,
        errno: Errno,
        why: Box<Failure>,
    },
    /// It cannot be opened or the lease cannot be taken, which says nothing about use.
    NoLease(Errno, &'static str),
    Call(Errno, &'static str),
}

const REPLACED: &str = "its name now belongs to another file";

impl Failure {
    /// Returns the reason, for one object or several.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Gone | Self::Unnamed => KeepReason::AlreadyRemoved.reason(),
            Self::Replaced => REPLACED.to_owned(),
            Self::Changed => KeepReason::Changed.reason(),
            Self::Linked(links) => format!("{links} names (hard links)"),
            Self::InUse => "in use".to_owned(),
            Self::Needed => "kept while other objects of the same program are in use".to_owned(),
            Self::BeingOpened => "being opened by another process".to_owned(),
            Self::LeftAside { aside, why, .. } => format!("{}, and now named {aside}", why.reason()),
            Self::NoLease(errno, call) => format!("cannot determine whether in use ({errno:?}, {call})"),
            Self::Call(errno, call) => format!("{} ({errno:?}, {call})", errno.desc()),
        }
    }

    pub(super) fn explain(self, system: &System, object: &Object) -> Error {
        let ident = object.ident();
        let argument = ident.argument();
        let message = |reason: &str| format!("cannot remove {ident}: {reason}");
        let refused = |reason: &str| Error::new(Kind::Refused, message(reason)).target(&*argument);
        match self {
            Self::Gone => missing_file(&ident),
            Self::Unnamed => refused("it has no name; its memory is freed when the last process closes and unmaps it")
                .cause(describe_users(system, object)),
            Self::Replaced => refused(REPLACED),
            Self::Changed => {
                refused("it has changed since the lookup").hint("show it again", shmadm("stat").arg(ident.typed()))
            }
            Self::InUse => {
                let in_use = |force| file_in_use(system, object, message("it is in use"), force);
                match check_directory(system, object) {
                    Err(Error { cause: Some(cause), .. }) => in_use(None).also(&cause),
                    _ => in_use(Some(
                        "remove the name now; the memory is freed when the last process closes and unmaps it",
                    )),
                }
            }
            Self::Linked(links) => {
                let error = refused(&format!("it has {links} names (hard links)"))
                    .cause("shmadm removes only the last name of an object (rm(1) removes the others)");
                let error = match describe_use(system, object) {
                    Some(users) => error.also(&format!("it is in use: {users}")),
                    None => error,
                };
                let Ok(directory) = system.objects() else { return error };
                let find = program("find").arg(&directory.path).arg("-xdev").arg("-inum");
                error.hint("find its other names", find.arg(object.posix().file().inode.to_string()))
            }
            Self::LeftAside { aside, errno, why } => {
                let now = format!("its name is now {aside} and could not be restored ({errno:?}, renameat2)");
                Error { kind: Kind::Failed, ..why.explain(system, object) }.also(&now)
            }
            Self::Needed => refused("it is kept while other objects of the same program are in use"),
            Self::BeingOpened => refused("it is being opened by another process"),
            Self::NoLease(errno, call) => {
                let error = refused("cannot determine whether it is in use").os(errno, call);
                let error = error.cause(why_unknown(system, object, errno, call));
                let error = match (errno, call) {
                    (NO_PROC, "open") => Error { source: None, ..error },
                    (Errno::EACCES, "open") => with_own_access_hint(system, error, object),
                    _ => error,
                };
                match check_directory(system, object) {
                    Ok(()) => error.hint("remove the name anyway", again("--force").on(ident.typed())),
                    // Whether it is in use does not matter.
                    Err(denied) if errno == Errno::EACCES && denied.kind == Kind::Permission => {
                        Error { message: format!("cannot remove {ident}"), ..denied.os(errno, call) }
                    }
                    Err(_) => error,
                }
            }
            Self::Call(errno, call) => {
                let error = Error::call(format!("cannot remove {ident}"), errno, call).target(&*argument);
                match system.objects() {
                    Ok(directory) if errno == Errno::EPERM && !may_unlink(directory, object.posix(), system) => {
                        let cause = "only its owner, the owner of the directory and a privileged user can remove it";
                        // The user namespace of the caller does not map the owner or group.
                        if has_capability(system, CAP_FOWNER) == Some(true) {
                            return error
                                .cause(format!("{cause}; CAP_FOWNER has no effect on it in your user namespace"))
                                .also(OUTSIDE);
                        }
                        let who = owner_or_root(&system.user(object.uid));
                        error.cause(cause).hint(format!("{who} can do this"), again("").sudo().on(ident.typed()))
                    }
                    Ok(_) if errno == Errno::EPERM => with_protection(system, error, object),
                    Ok(directory) => with_directory_cause(system, error, directory, errno),
                    Err(_) => error,
                }
            }
        }
    }
}
