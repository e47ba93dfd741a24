//! POSIX objects with their users and states, and those without a name.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::failure::QueryError;
use super::family::{judge, relatives};
use super::host::{ObjectDirectory, System, segment_devices};
use super::inventory::{self, idle_seconds};
use super::state::state;
use super::users::{ObjectScan, ObjectSearch, UnlinkedFacts, refer_via_user, scan_objects};
use crate::model::{Device, FileId, FileStat, FileType, FileUser, Needs, Object, escape_invalid_utf8};
use crate::sys::{self, Errno, Opening};

/// The fields that require a scan of the processes.
pub(super) const NEEDS_SCAN: Needs = Needs::STATE.union(Needs::ATTACHERS);

/// Returns all objects that have a name, in the order of the directory; `needs` are the fields to read.
pub(crate) fn posix_objects(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    posix_objects_in(system, [system.objects()?], needs)
}

/// Returns all objects that have a name in some directories, with one scan of the processes.
pub(crate) fn posix_objects_in<'a>(
    system: &System,
    directories: impl IntoIterator<Item = &'a ObjectDirectory>,
    needs: Needs,
) -> Result<Vec<Object>, QueryError> {
    let mut objects = Vec::new();
    for directory in directories {
        objects.extend(inventory::posix_objects(system, directory, needs)?);
    }
    scan_users(system, &mut objects, needs)?;
    Ok(objects)
}

/// Adds users and states to those that are POSIX objects, if they are needed, with one scan of the processes. Their
/// families are scanned too.
pub(crate) fn add_users<'a>(
    system: &System,
    objects: impl IntoIterator<Item = &'a mut Object>,
    needs: Needs,
) -> Result<(), QueryError> {
    let mut objects: Vec<&mut Object> = objects.into_iter().collect();
    if needs.intersects(NEEDS_SCAN) {
        let mut relatives = relatives(system, objects.iter().map(|object| &**object))?;
        objects.extend(&mut relatives);
        return scan_users(system, objects, needs).map(drop);
    }
    Ok(())
}

/// Returns an object with the processes that use it now, if it is a POSIX object.
pub(crate) fn with_users(system: &System, object: &Object) -> Result<Object, QueryError> {
    let mut object = object.clone();
    add_users(system, [&mut object], Needs::ATTACHERS)?;
    Ok(object)
}

/// Adds users and states like [`add_users`] to objects with all their families, and returns the scan if there was one.
pub(super) fn scan_users<'a>(
    system: &System,
    objects: impl IntoIterator<Item = &'a mut Object>,
    needs: Needs,
) -> Result<Option<ObjectScan>, QueryError> {
    let mut objects: Vec<&mut Object> = objects.into_iter().filter(|object| !object.is_segment()).collect();
    if objects.is_empty() || !needs.intersects(NEEDS_SCAN) {
        return Ok(None);
    }
    let scan = scan_again(system, &mut objects, needs)?;
    judge(system, objects);
    Ok(Some(scan))
}

/// Adds users and states to POSIX objects without judging their families.
pub(super) fn scan_again(system: &System, objects: &mut [&mut Object], needs: Needs) -> Result<ObjectScan, QueryError> {
    let mut wanted: HashSet<FileId> = objects.iter().filter_map(|object| object.file()).collect();
    wanted.extend(objects.iter().flat_map(|object| &object.posix().contents));
    let search = ObjectSearch::on(wanted.iter().map(|file| file.device));
    let scan = scan_objects(system, &search, needs, |file| wanted.contains(&file))?;
    for object in objects {
        finish(system, object, &scan, needs);
    }
    Ok(scan)
}

/// Returns the objects without a name that processes have open or mapped, by device and inode.
pub(crate) fn unlinked_objects(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    unlinked_objects_in(system, &[system.objects()?], needs)
}

/// Returns the objects without a name of some directories.
pub(crate) fn unlinked_objects_in(
    system: &System,
    directories: &[&ObjectDirectory],
    needs: Needs,
) -> Result<Vec<Object>, QueryError> {
    let search = ObjectSearch::on(directories.iter().map(|directory| directory.device));
    unnamed_objects(system, &search, directories, needs)
}

/// Returns the memfds and the shared anonymous memory of all processes.
pub(crate) fn anonymous_objects(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    let internal: HashSet<Device> = segment_devices().map_err(QueryError::Devices)?.into_iter().collect();
    let search = ObjectSearch { devices: internal.clone(), internal, ..ObjectSearch::default() };
    unnamed_objects(system, &search, &[], needs)
}

/// Returns the objects without a name that a search finds.
fn unnamed_objects(
    system: &System,
    search: &ObjectSearch,
    directories: &[&ObjectDirectory],
    needs: Needs,
) -> Result<Vec<Object>, QueryError> {
    let scan = scan_objects(system, search, needs, |_| false)?;
    let mut objects: Vec<Object> = Vec::new();
    for (file, found) in &scan.unlinked {
        let directory = directories.iter().copied().find(|directory| directory.device == file.device);
        let (stat, lacks_attributes) = match found.known {
            UnlinkedFacts::Stat(stat) => (stat, false),
            UnlinkedFacts::Mapped(size) => (FileStat { file: *file, size, ..FileStat::REGULAR }, true),
        };
        let known = if lacks_attributes { Needs::empty() } else { needs };
        let mut object = inventory::unnamed_object(directory, found.file_type, &stat);
        object.posix_mut().lacks_attributes = lacks_attributes;
        if known.contains(Needs::RESIDENT) {
            (object.rss, object.swap) = residency_of_unnamed(system, &scan, &stat);
        }
        if known.contains(Needs::CONTENTS) && found.file_type == FileType::Memfd {
            let file = open_unnamed(system, &scan, *file);
            object.posix_mut().seals = file.and_then(|file| sys::seals(file.as_fd())).ok();
        }
        inventory::complete(system, &mut object, known);
        finish(system, &mut object, &scan, needs);
        objects.push(object);
    }
    objects.sort_by_key(Object::ident);
    Ok(objects)
}

/// Returns the resident and the swapped bytes of a file that a process has open or mapped.
pub(super) fn residency_of_unnamed(system: &System, scan: &ObjectScan, stat: &FileStat) -> (Option<u64>, Option<u64>) {
    inventory::residency(system, stat, || open_unnamed(system, scan, stat.file))
}

/// Returns the name that memfd_create(2) gave a memfd, as the processes that use it show it. It is not unique.
pub(crate) fn memfd_name(system: &System, object: &Object) -> Option<String> {
    let posix = object.as_posix().filter(|posix| posix.file_type == FileType::Memfd)?;
    let name = |user: &FileUser| {
        let file = match (user.fd, user.address.zip(user.size)) {
            (Some(fd), _) => format!("{}/fd/{fd}", user.pid),
            (None, mapping) => {
                let (start, size) = mapping?;
                format!("{}/map_files/{start:x}-{:x}", user.pid, start.checked_add(size)?)
            }
        };
        let link = std::fs::read_link(system.proc().join(file)).ok()?.into_os_string();
        let name = link.as_bytes().strip_prefix(b"/memfd:")?.strip_suffix(b" (deleted)")?;
        Some(escape_invalid_utf8(name))
    };
    posix.users.as_ref()?.list.iter().find_map(name)
}

/// Opens a file that a process has open or mapped.
fn open_unnamed(system: &System, scan: &ObjectScan, file: FileId) -> Result<OwnedFd, Errno> {
    sys::open_referred(refer_via_user(system, file, scan.users_found(file))?.as_fd(), Opening::InspectNow)
}

/// Reads the objects with these devices and inodes that exist: those with a name without their users, the others with
/// them.
pub(crate) fn posix_objects_by_id(
    system: &System,
    wanted: &HashSet<FileId>,
    needs: Needs,
) -> Result<HashMap<FileId, Object>, QueryError> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let own = match system.objects() {
        Ok(directory) => Some(directory),
        // The caller has no /dev/shm, but processes have memfds.
        Err(QueryError::NotSharedMemory(_) | QueryError::Directory(_, Errno::ENOENT | Errno::ENOTDIR))
            if !system.has_chosen_objects() =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    let by_id = |objects: Vec<Object>| {
        let with_id = objects.into_iter().filter_map(|object| Some((object.file()?, object)));
        with_id.filter(|(file, _)| wanted.contains(file))
    };
    let named = own.map_or(Ok(Vec::new()), |own| inventory::posix_objects(system, own, needs))?;
    let mut found: HashMap<_, _> = by_id(named).collect();
    if found.len() == wanted.len() {
        return Ok(found);
    }
    let internal = segment_devices().map_err(QueryError::Devices)?.into_iter().collect();
    let search = ObjectSearch { internal, ..ObjectSearch::on(wanted.iter().map(|file| file.device)) };
    let unnamed = by_id(unnamed_objects(system, &search, own.as_slice(), needs)?);
    // The user may have typed the device of a file system on disk.
    let is_memory = |object: &Object| {
        let file = object.posix();
        own.is_some_and(|own| own.device == file.file().device)
            || refer_via_user(system, file.file(), file.users.as_deref())
                .is_ok_and(|file| matches!(sys::file_system(file.as_fd()), Ok(Some(_))))
    };
    found.extend(unnamed.filter(|(_, object)| is_memory(object)));
    Ok(found)
}

/// Opens the file of an object: by its name, if that still leads to it, otherwise through a process that uses it.
pub(crate) fn open_file(system: &System, object: &Object, how: Opening) -> Result<File, OpenError> {
    let file = refer_to_file(system, object)?;
    sys::open_referred(file.as_fd(), how).map(File::from).map_err(OpenError::Call)
}

/// Returns a descriptor that refers to the file of an object without opening it.
pub(crate) fn refer_to_file(system: &System, object: &Object) -> Result<OwnedFd, OpenError> {
    let posix = object.posix();
    let Some(name) = &posix.name else {
        return refer_via_user(system, posix.file(), posix.users.as_deref()).map_err(OpenError::Call);
    };
    let directory = system.objects().map_err(OpenError::Query)?;
    let file = sys::refer_to(directory.as_fd(), name.file_name()).map_err(OpenError::Call)?;
    let stat = sys::stat_file(file.as_fd()).map_err(OpenError::Call)?;
    if stat.file == posix.file() { Ok(file) } else { Err(OpenError::Call(Errno::ENOENT)) }
}

/// Why the file of an object cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Query(QueryError),
    Call(Errno),
}

fn finish(system: &System, object: &mut Object, scan: &ObjectScan, needs: Needs) {
    let posix = object.posix_mut();
    posix.users = Some(match posix.file_type {
        FileType::Dir => scan.users_below(posix),
        _ => scan.users(posix.file()),
    });
    object.idle_seconds = idle_seconds(system, object);
    if needs.contains(Needs::STATE) {
        object.state = Some(state(system, object));
    }
}
