//! The write leases of POSIX objects, which show users that no scan finds.
//!
//! The kernel grants a lease only if no process has the file open or mapped. If it is refused although the scan found
//! no user, either the scan cannot see the user, or the file was opened after the scan. Therefore a second scan and a
//! second request follow, during which inotify(7) reports whether a process opens the file. Only if none does, the user
//! is one that the scan cannot see, and the reasons for that are reported.
//!
//! A file whose lease was refused stays open for the second request, since inotify would report its opening too. It is
//! open only once: a second descriptor of this process would look like another user.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::failure::QueryError;
use super::family::{Families, judge, relatives};
use super::host::System;
use super::inventory::{self, idle_seconds};
use super::objects::{NEEDS_SCAN, OpenError, open_file, scan_again, scan_users, with_users};
use super::state::state;
use super::users::{exiting_processes, some_are_in_flight};
use crate::model::{Claim, FileId, FileUsers, HiddenBy, Needs, Object, Posix};
use crate::sys::{self, Errno, FileWatch, Opening};

/// Maximum number of further looks at an object that is in use without a known user.
const MAX_LOOKS: usize = 2;
/// Number of objects that share these looks. Each has a file open.
const AT_ONCE: usize = 256;
/// Longer than a runnable process waits for a CPU, unless the machine is overloaded. One that opens the file in a loop
/// can have been interrupted where it is neither a descriptor nor a mapping.
const MOMENT: Duration = Duration::from_millis(250);

/// The files whose lease was refused, with their owners.
type Refused = HashMap<FileId, (OwnedFd, u32)>;

/// Does the same as [`with_users`], and takes the lease, which shows users that the caller cannot see.
pub(crate) fn with_all_users(system: &System, object: &Object) -> Result<Object, QueryError> {
    let mut object = with_users(system, object)?;
    probe(system, std::slice::from_mut(&mut object));
    Ok(object)
}

/// Requests a write lease on each object for which no user was found, and adds the answer to its users: the kernel
/// grants it only if no process has the file open or mapped. The lease is released at once. The same is done for their
/// families.
pub(crate) fn probe(system: &System, objects: &mut [Object]) {
    ask_leases(system, objects);
    let find_relatives = || {
        let mut relatives = relatives(system, &*objects)?;
        scan_users(system, &mut relatives, NEEDS_SCAN)?;
        ask_leases(system, &mut relatives);
        Ok::<_, QueryError>(relatives)
    };
    match find_relatives() {
        Ok(mut relatives) => judge(system, objects.iter_mut().chain(&mut relatives)),
        // Without them, it is unknown whether a family is in use.
        Err(_) => objects.iter_mut().for_each(|object| Families::default().add_to(system, object)),
    }
}

/// Returns, for each object, the object of its family that shows that the program still needs it: one that is in use,
/// whose use cannot be determined, or that an attached segment names. Returns `None` for an object that is itself in
/// use. Takes leases.
pub(crate) fn needed_by(system: &System, objects: &[&Object]) -> Result<Vec<Option<Object>>, QueryError> {
    let mut family: Vec<Object> =
        objects.iter().filter(|object| object.posix().rule.family.is_some()).copied().cloned().collect();
    family.extend(relatives(system, &family)?);
    scan_users(system, &mut family, NEEDS_SCAN)?;
    ask_leases(system, &mut family);
    judge(system, &mut family);
    let need = |object: &&Object| {
        let name = object.posix().rule.family.as_ref()?;
        let members = || family.iter().filter(|member| member.posix().rule.family.as_ref() == Some(name));
        let is_itself = |member: &&Object| member.file() == object.file();
        if members().find(is_itself)?.is_in_use() {
            return None;
        }
        // A lock file says the most about the program.
        let used = members().filter(|member| member.is_in_use()).max_by_key(|member| member.posix().rule.is_lock);
        let unknown = || members().find(|member| !is_itself(member) && member.posix().in_use().is_none());
        let is_named = |member: &&Object| member.posix().family.claim == Some(Claim::Segment);
        let named = || members().filter(is_named).max_by_key(|member| member.posix().maker);
        used.or_else(unknown).or_else(named).cloned()
    };
    Ok(objects.iter().map(need).collect())
}

fn ask_leases(system: &System, objects: &mut [Object]) {
    let reasons = LazyCell::new(|| reasons_not_found(system));
    for part in objects.chunks_mut(AT_ONCE) {
        let mut refused = Refused::new();
        let mut unexplained: Vec<&mut Object> = part.iter_mut().collect();
        unexplained.retain_mut(|object| lacks_user(system, object, &mut refused));
        for _ in 0..MAX_LOOKS {
            if unexplained.is_empty() {
                break;
            }
            look_again(system, &mut unexplained, &mut refused, &reasons);
        }
    }
}

/// Requests the lease of an object for which no user was found. Returns whether it is refused, so a user is missing.
fn lacks_user(system: &System, object: &mut Object, refused: &mut Refused) -> bool {
    let Some(posix) = object.as_posix() else { return false };
    let users = posix.users.clone();
    if posix.name.is_none() || users.as_ref().is_some_and(|users| !users.list.is_empty()) {
        return false;
    }
    let granted = match lease(system, object, refused) {
        Ok(()) => true,
        Err(Errno::EAGAIN) => false,
        Err(_) => return false,
    };
    let mut found = FileUsers { lease: Some(granted), ..users.as_deref().cloned().unwrap_or_default() };
    if granted {
        // No process that the scan could not inspect uses it either.
        found.hidden.clear();
    }
    set_users(system, object, found);
    // Without a scan, no user is expected to be known.
    !granted && users.is_some()
}

/// Looks again at objects that are in use without a known user, and adds why none was found. Keeps those that may have
/// been opened meanwhile.
fn look_again(
    system: &System,
    objects: &mut Vec<&mut Object>,
    refused: &mut Refused,
    reasons: &LazyCell<Vec<HiddenBy>, impl FnOnce() -> Vec<HiddenBy>>,
) {
    let watch = FileWatch::on(refused.iter().map(|(id, (file, _))| (*id, file.as_fd())));
    if let Ok(watch) = &watch {
        watch.wait(MOMENT);
    }
    let scanned = scan_again(system, objects, Needs::ATTACHERS);
    // The lease is released here if it is granted.
    refused.retain(|_, (file, owner)| sys::take_write_lease(file.as_fd(), *owner).is_err());
    objects.retain_mut(|object| {
        update_state(system, object);
        lacks_user(system, object, refused)
    });
    // Without a scan or a watch, it is unknown.
    let opened = scanned.ok().and(watch.ok()).map(|watch| watch.opened()).unwrap_or_default();
    objects.retain_mut(|object| {
        let posix = object.posix();
        let mut users = posix.users.as_deref().cloned().unwrap_or_default();
        let mut files = std::iter::once(posix.file()).chain(posix.contents.iter().copied());
        let was_opened = files.find(|file| refused.contains_key(file)).and_then(|file| opened.get(&file));
        match was_opened {
            Some(false) => add_reasons(&mut users, reasons),
            Some(true) => users.hidden = vec![HiddenBy::Opened],
            None => users.hidden = vec![HiddenBy::Unknown],
        }
        set_users(system, object, users);
        was_opened != Some(&false)
    });
}

fn set_users(system: &System, object: &mut Object, users: FileUsers) {
    object.posix_mut().users = Some(Arc::new(users));
    update_state(system, object);
}

/// Corrects what depends on the users.
fn update_state(system: &System, object: &mut Object) {
    object.idle_seconds = idle_seconds(system, object);
    if object.state.is_some() {
        object.state = Some(state(system, object));
    }
}

/// Returns why a user of an object may not be found even if all processes can be inspected.
pub(crate) fn reasons_not_found(system: &System) -> Vec<HiddenBy> {
    let in_flight = some_are_in_flight(system).then_some(HiddenBy::InFlight);
    let exiting = (!exiting_processes(system).is_empty()).then_some(HiddenBy::Exiting);
    in_flight.into_iter().chain(exiting).collect()
}

/// Adds why no user of an object that is in use was found.
pub(crate) fn add_reasons(users: &mut FileUsers, reasons: &[HiddenBy]) {
    users.hidden.splice(..0, reasons.iter().copied());
    if users.hidden.is_empty() {
        users.hidden.push(HiddenBy::Unknown);
    }
}

fn lease(system: &System, object: &Object, refused: &mut Refused) -> Result<(), Errno> {
    if object.is_directory() {
        return lease_below(system, object.posix(), refused);
    }
    let errno = |error| match error {
        OpenError::Call(errno) => errno,
        OpenError::Query(_) => Errno::EIO,
    };
    let stat = &object.posix().stat;
    let open = || open_file(system, object, Opening::Lease).map(OwnedFd::from).map_err(errno);
    request_lease(stat.file, stat.uid, refused, open)
}

/// Requests the lease of a file, and releases it at once. Keeps the file open if it is refused.
fn request_lease(
    id: FileId,
    owner: u32,
    refused: &mut Refused,
    open: impl FnOnce() -> Result<OwnedFd, Errno>,
) -> Result<(), Errno> {
    if refused.contains_key(&id) {
        return Err(Errno::EAGAIN);
    }
    let file = open()?;
    let taken = sys::take_write_lease(file.as_fd(), owner);
    if taken == Err(Errno::EAGAIN) {
        refused.insert(id, (file, owner));
    }
    taken
}

/// Tests each file below a directory with a lease, one after the other. The result is never a reason to remove
/// anything.
fn lease_below(system: &System, posix: &Posix, refused: &mut Refused) -> Result<(), Errno> {
    let directory = system.objects().map_err(|_| Errno::EIO)?;
    let name = posix.name.as_ref().ok_or(Errno::ENOENT)?;
    let mut result = Ok(());
    let is_complete =
        inventory::walk(directory.as_fd(), name.file_name(), posix.file().device, &mut |parent, name, _, stat| {
            if !stat.is_regular() || result == Err(Errno::EAGAIN) {
                return;
            }
            let open = || inventory::open_listed(parent, name, stat, Opening::Lease);
            match request_lease(stat.file, stat.uid, refused, open) {
                // It has vanished.
                Ok(()) | Err(Errno::ENOENT) => {}
                failed => result = failed,
            }
        });
    if is_complete { result } else { result.and(Err(Errno::EACCES)) }
}
