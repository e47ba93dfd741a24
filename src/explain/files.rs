//! Why POSIX objects are missing or in use.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::unistd::{getegid, geteuid};

use super::access::{WRITE_SEALS, seal_cause};
use super::failure::{as_root, holders, without_proc};
use super::huge::explain_missing_huge_page;
use super::memory::explain_mapping_limit;
use super::space::{explain_file_size, explain_full_directory};
use crate::error::{Error, Hint, Kind, again, program, shmadm};
use crate::model::{Access, FileUser, FileUsers, Ident, Mode, Object, ObjectName, Size, path_text};
use crate::query::{
    ObjectDirectory, OpenError, System, add_reasons, huge_page_pool, open_file, reasons_not_found, refer_to_file,
    with_all_users, with_users,
};
use crate::sys::{self, Address, Errno, FileSystem, Opening, SysError};

/// Maximum number of processes that a message names.
const MAX_NAMED: usize = 4;

/// Returns the error for an object that does not exist.
pub(crate) fn missing_file(ident: &Ident) -> Error {
    let error = Error::new(Kind::NotFound, format!("cannot find {ident}")).target(ident.argument());
    let error = match ident {
        Ident::File(_) => error.cause("no object has this device and inode number: it was removed or never existed"),
        _ => error.os(Errno::ENOENT, "statx").cause("no object has this name: it was removed or never existed"),
    };
    error.hint("list the objects", shmadm("list --posix"))
}

/// Returns the refusal for an object that is in use, with the processes that use it. `force` is what `--force` does, if
/// that helps.
pub(crate) fn file_in_use(system: &System, object: &Object, message: String, force: Option<&'static str>) -> Error {
    let argument = object.ident().argument();
    let users = all_users_now(system, object);
    let error = Error::new(Kind::Refused, message).target(&*argument).cause(describe(system, &users));
    let Some(force) = force else { return error };
    let holders = holders(system, object).unwrap_or_default();
    let is_held = |user: &FileUser| holders.iter().any(|holder| holder.pid == user.pid);
    if !users.list.is_empty() && users.list.iter().all(is_held) {
        return error.hint("end your background attachments first", shmadm("detach").arg(object.ident().typed()));
    }
    error.hint(force, again("--force").on(object.ident().typed()))
}

/// Returns the error for a name that is in use.
pub(crate) fn file_exists(name: &ObjectName) -> Error {
    let ident = Ident::Name(name.clone());
    Error::call(format!("cannot create {ident}"), Errno::EEXIST, "linkat")
        .target(ident.argument())
        .cause("an object with this name exists")
        .hint("show it", shmadm("stat").arg(ident.typed()))
}

/// Returns the error for an object that could not be created.
pub(crate) fn cannot_create(system: &System, name: &ObjectName, size: u64, errno: Errno, call: &'static str) -> Error {
    let ident = Ident::Name(name.clone());
    let error = Error::call(format!("cannot create {ident} of {}", Size(size)), errno, call).target(ident.argument());
    let Ok(directory) = system.objects() else { return error };
    let (path, space) = (path_text(&directory.path), directory.space());
    match (errno, space) {
        (Errno::ENOSPC, Ok(FileSystem { is_huge: true, page, size: limit, used, .. }))
            if call == "fallocate" && used.is_none_or(|used| size <= limit.saturating_sub(used)) =>
        {
            explain_missing_huge_page(error, page, Some(size))
        }
        (Errno::ENOSPC, _) => explain_full_directory(system, error, directory.as_fd(), &path),
        (Errno::EOVERFLOW, _) => {
            let owner = sys::stat_file(directory.as_fd()).map(|stat| format!(", such as {}", system.user(stat.uid)));
            error.cause(format!(
                "{path} belongs to another user namespace: run the command as a user with a mapping in it{}",
                owner.unwrap_or_default()
            ))
        }
        (Errno::EPERM, _) if call == "fchown" => error.cause(NO_CHOWN).hint(
            "create it with your own owner and group",
            again(&format!("--owner {} --group {}", geteuid(), getegid())),
        ),
        (sys::NO_PROC, _) if call == "linkat" => {
            without_proc(error, "a new object gets its name through /proc/self/fd")
        }
        (Errno::EOPNOTSUPP, _) => error.cause(format!("the file system of {path} does not support O_TMPFILE")),
        (Errno::EINVAL, Ok(space)) if space.is_huge && call == "pwrite" => {
            error.cause(NO_WRITE).hint("create it without --fill; its contents are zeros", again("").without(&["fill"]))
        }
        (Errno::EINVAL | Errno::EFBIG, space) => explain_file_size(system, error, size, space.ok(), errno),
        _ => with_directory_cause(system, error, directory, errno),
    }
}

/// Why the owner of an object cannot change its owner or group.
pub(crate) const NO_CHOWN: &str = "only a privileged caller can give it to another owner or group";

/// Why opening an object requires /proc.
pub(crate) const OPENED_THROUGH_PROC: &str = "/proc/self/fd is needed to open and change objects";

/// Why nothing can be written to a file of hugetlbfs.
pub(crate) const NO_WRITE: &str =
    "hugetlbfs does not support write(2); only a process that maps the object can change its contents";

/// Adds why the size of an object cannot be changed.
pub(crate) fn with_size_cause(system: &System, error: Error, size: u64, errno: Errno) -> Error {
    let space = system.objects().and_then(|directory| directory.space());
    explain_file_size(system, error, size, space.ok(), errno)
}

/// Adds why the caller cannot create or remove a name in the directory of objects.
pub(crate) fn with_directory_cause(system: &System, error: Error, directory: &ObjectDirectory, errno: Errno) -> Error {
    let path = path_text(&directory.path);
    match (errno, sys::stat_file(directory.as_fd())) {
        (Errno::EROFS, _) => error.cause(format!("{path} is mounted read-only")),
        (Errno::EACCES, Ok(stat)) => {
            let (mode, owner) = (Mode::from_kernel(stat.mode), system.user(stat.uid));
            error.cause(format!("the mode of {path} is {mode} and its owner is {owner}"))
        }
        _ => error,
    }
}

/// Replaces the cause of EPERM if an object is immutable or append-only (chattr(1)).
pub(crate) fn with_protection(system: &System, error: Error, object: &Object) -> Error {
    let (Some(name), Ok(directory)) = (&object.posix().name, system.objects()) else { return error };
    if !object.posix().stat.is_protected {
        return error;
    }
    let command = program("chattr").arg("-i").arg("-a").arg(directory.path.join(name.file_name()));
    let error = Error { hints: Vec::new(), ..error };
    error.cause("it is immutable or append-only").hint("allow changes", as_root(command))
}

/// Adds that an object is on a file system that is mounted read-only (EROFS).
pub(crate) fn with_read_only_cause(system: &System, error: Error, object: &Object) -> Error {
    match system.objects() {
        Ok(directory) if object.posix().name.is_some() => with_directory_cause(system, error, directory, Errno::EROFS),
        _ => error,
    }
}

/// Returns the error with which opening an object for reading and writing would fail.
pub(crate) fn denied_file_access(system: &System, object: &Object) -> Option<Error> {
    let file = refer_to_file(system, object).ok()?;
    // Without /proc, that is unknown; other programs can open it.
    let errno = sys::check_file_access(file.as_fd()).err().filter(|errno| *errno != sys::NO_PROC)?;
    let message = format!("cannot open {} for reading and writing", object.ident());
    Some(Error { message, ..cannot_open(system, object, "open", OpenError::Call(errno)) })
}

/// Returns the error for an object whose file cannot be opened.
pub(crate) fn cannot_open(system: &System, object: &Object, verb: &str, error: OpenError) -> Error {
    let ident = object.ident();
    let errno = match error {
        OpenError::Query(error) => return error.into(),
        OpenError::Call(Errno::ENOENT) => return missing_file(&ident).os(Errno::ENOENT, "open"),
        OpenError::Call(errno) => errno,
    };
    let error = Error::call(format!("cannot {verb} {ident}"), errno, "open").target(ident.argument());
    match errno {
        sys::NO_PROC => without_proc(error, OPENED_THROUGH_PROC),
        Errno::EACCES => with_own_access_hint(system, error.cause(not_permitted_to_open(system, object)), object),
        Errno::EROFS => with_read_only_cause(system, error, object),
        // In /proc/PID/map_files, the only place where it can be opened.
        Errno::EPERM if object.posix().name.is_none() => error
            .cause("it is mapped, but not open, in every process that uses it, so opening it requires CAP_SYS_ADMIN")
            .with(Hint::run_as_root()),
        Errno::EPERM => with_protection(system, error, object),
        Errno::EAGAIN => {
            let error = error.cause("another process holds a lease on it");
            error.hint("show its users", shmadm("who").arg(ident.typed()))
        }
        _ => error,
    }
}

/// Adds how the owner of an object gets access to it, if that is the caller.
pub(crate) fn with_own_access_hint(system: &System, error: Error, object: &Object) -> Error {
    if !system.is_caller(object.uid) {
        return error;
    }
    let set = shmadm("set").arg(object.ident().typed()).arg("--mode").arg("0600");
    error.hint("give yourself access", set)
}

/// Returns why the caller may not open an object, as a clause.
fn not_permitted_to_open(system: &System, object: &Object) -> String {
    format!("its mode is {} and its owner is {}", object.mode, system.user(object.uid))
}

/// Opens the file of an object to map it.
pub(crate) fn open_to_map(system: &System, object: &Object, access: Access) -> Result<File, Error> {
    let how = if access == Access::ReadOnly { Opening::Inspect } else { Opening::ReadWrite };
    let may_read = || open_file(system, object, Opening::InspectNow).is_ok();
    let read_only = |error: Error| {
        let is_denied =
            matches!(error.source, Some(SysError { errno: Errno::EACCES | Errno::EPERM | Errno::EROFS, .. }));
        match is_denied && access == Access::ReadWrite && may_read() {
            true => error.hint("attach it read-only", again("--read-only")),
            false => error,
        }
    };
    open_file(system, object, how).map_err(|error| read_only(cannot_open(system, object, "attach", error)))
}

/// Returns the error for an object that cannot be mapped.
pub(crate) fn cannot_map(system: &System, object: &Object, failure: SysError) -> Error {
    let (ident, errno) = (object.ident(), failure.errno);
    let error = Error::failed_call(format!("cannot attach {ident}"), failure).target(ident.argument());
    match errno {
        Errno::EINVAL if object.size == 0 => error
            .cause("its size is 0, and an empty object cannot be mapped")
            .hint("set its size", shmadm("set").arg(ident.typed()).arg("--size").arg("4096")),
        Errno::EPERM => {
            let file = open_file(system, object, Opening::InspectNow);
            let sealed = file.ok().and_then(|file| seal_cause(file.as_fd(), WRITE_SEALS));
            error.cause(sealed.unwrap_or_else(|| "its file system is mounted with noexec".to_owned()))
        }
        Errno::ENOMEM => match lacking_huge_page(system, object) {
            Some(page) => explain_missing_huge_page(error, page, Some(object.size)),
            None => explain_mapping_limit(system, error, Address::Any, object.size, errno),
        },
        _ => explain_mapping_limit(system, error, Address::Any, object.size, errno),
    }
}

/// Returns the page size of an object on hugetlbfs if the pool has too few pages for those that it lacks.
fn lacking_huge_page(system: &System, object: &Object) -> Option<u64> {
    let space = system.objects().ok()?.space().ok().filter(|space| space.is_huge)?;
    let available = huge_page_pool(space.page)?.available().saturating_mul(space.page);
    (object.size.saturating_sub(object.posix().allocated) > available).then_some(space.page)
}

/// Describes the processes that use an object now: `mapped by pid 12 (root, cat)`.
pub(crate) fn describe_users(system: &System, object: &Object) -> String {
    describe(system, &all_users_now(system, object))
}

/// Describes the processes that use an object like [`describe_users`]; `None` if it is not in use, or that is unknown.
pub(crate) fn describe_use(system: &System, object: &Object) -> Option<String> {
    let object = with_all_users(system, object).ok().filter(Object::is_in_use)?;
    Some(describe(system, object.file_users()?))
}

/// Returns why it is unknown whether an object is in use, after a call to take its write lease has failed.
pub(crate) fn why_unknown(system: &System, object: &Object, errno: Errno, call: &str) -> String {
    let why = match (errno, call) {
        (Errno::EACCES, "open") => not_permitted_to_open(system, object),
        (sys::NO_PROC, "open") => OPENED_THROUGH_PROC.to_owned(),
        (_, "open") => "it cannot be opened".to_owned(),
        (Errno::EACCES, _) => "only its owner and a caller with CAP_LEASE can take its write lease".to_owned(),
        _ => "the kernel or a sandbox grants no write leases".to_owned(),
    };
    format!("{why}, and {}", why_hidden(system, object))
}

/// Returns why there can be users of an object that were not found, as a clause.
pub(crate) fn why_hidden(system: &System, object: &Object) -> String {
    let found = with_users(system, object).ok();
    match found.and_then(|object| Some(object.file_users()?.why_hidden())).unwrap_or_default() {
        why if why.is_empty() => {
            "a Unix socket or an io_uring may hold it even though no process has it open".to_owned()
        }
        why => why,
    }
}

/// Returns the processes that use an object now; none if they cannot be looked for. Takes the lease, so the caller must
/// not have the object open.
fn all_users_now(system: &System, object: &Object) -> Arc<FileUsers> {
    let found = with_all_users(system, object);
    found.ok().and_then(|object| object.file_users().cloned()).unwrap_or_default()
}

fn describe(system: &System, users: &FileUsers) -> String {
    if users.list.is_empty() {
        let mut users = users.clone();
        match users.lease {
            Some(true) => return "the process that used it no longer does".to_owned(),
            // The refused lease has added the reasons.
            Some(false) => {}
            None => add_reasons(&mut users, &reasons_not_found(system)),
        }
        return format!("no process that uses it was found: {}", users.why_hidden());
    }
    users.describe(MAX_NAMED).join("; ")
}
