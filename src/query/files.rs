//! POSIX objects with their users and states, and those without a name.

use std::collections::HashSet;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::failure::QueryError;
use super::host::System;
use super::inventory::{self, idle_seconds};
use super::state::state;
use super::users::{FileScan, UnlinkedFile, scan_files};
use crate::model::{FileId, FileStat, FileType, FileUsers, Needs, Object, ObjectKind, PosixUsage, path_text};
use crate::sys::{self, Errno, Opening};

/// Returns all objects that have a name, in the order of the directory; `needs` are the fields to read.
pub(crate) fn files(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    let mut objects = inventory::files(system, system.objects()?, needs)?;
    add_users(system, &mut objects, needs)?;
    Ok(objects)
}

/// Adds users and states, if they are needed, with one scan of the processes.
pub(crate) fn add_users(system: &System, objects: &mut [Object], needs: Needs) -> Result<(), QueryError> {
    if objects.is_empty() || !needs.intersects(Needs::STATE | Needs::ATTACHERS) {
        return Ok(());
    }
    let wanted: HashSet<FileId> = objects.iter().map(|object| object.posix().file()).collect();
    let scan = scan_files(system, system.objects()?.device, |file| wanted.contains(&file))?;
    for object in objects {
        finish(system, object, &scan, needs);
    }
    Ok(())
}

/// Returns the objects without a name that processes have open or mapped, by device and inode.
pub(crate) fn unlinked_files(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    let directory = system.objects()?;
    let scan = scan_files(system, directory.device, |_| false)?;
    let mut objects: Vec<Object> = Vec::new();
    for (file, found) in &scan.unlinked {
        let mut object = match found {
            UnlinkedFile::Stat(stat) => inventory::unlinked(system, directory, stat, needs),
            UnlinkedFile::Mapped(length) => {
                let stat = FileStat { file: *file, size: *length, ..FileStat::REGULAR };
                inventory::unlinked(system, directory, &stat, Needs::empty())
            }
        };
        finish(system, &mut object, &scan, needs);
        objects.push(object);
    }
    objects.sort_by_key(Object::ident);
    Ok(objects)
}

/// Returns how much of the file system of POSIX objects is used, and the objects in it that have a name.
pub(crate) fn posix_usage(system: &System, needs: Needs) -> Result<(PosixUsage, Vec<Object>), QueryError> {
    let directory = system.objects()?;
    let before = directory.space()?.used;
    let objects = files(system, needs)?;
    let space = directory.space()?;
    let mut seen = HashSet::new();
    let named = objects.iter().map(Object::posix).filter(|posix| seen.insert(posix.file()));
    let named: u64 = named.map(|posix| posix.allocated).sum();
    // What was created or removed during the listing must not look unlinked. Without a limit, nothing is counted.
    let unlinked = (space.size > 0).then(|| space.used.min(before).saturating_sub(named));
    let usage = PosixUsage {
        mount: path_text(&directory.path),
        dev: directory.device,
        size: space.size,
        used: space.used,
        inodes: space.inodes,
        inodes_used: space.inodes_used,
        unlinked,
        huge: space.is_huge,
    };
    Ok((usage, objects))
}

/// Reads one object; `Ok(None)` if it does not exist.
pub(crate) fn unlinked_file(system: &System, file: FileId, needs: Needs) -> Result<Option<Object>, QueryError> {
    Ok(unlinked_files(system, needs)?.into_iter().find(|object| object.posix().file() == file))
}

/// Opens the file of an object: by its name, if that still leads to it, otherwise through a process that uses it.
pub(crate) fn open_file(system: &System, object: &Object, how: Opening) -> Result<File, OpenError> {
    let posix = object.posix();
    let is_it = |file: &OwnedFd| sys::stat_file(file.as_fd()).is_ok_and(|stat| stat.file == posix.file());
    if let Some(name) = &posix.name {
        let directory = system.objects().map_err(OpenError::Query)?;
        let file = sys::refer_to(directory.as_fd(), name.file_name()).map_err(OpenError::Call)?;
        if !is_it(&file) {
            return Err(OpenError::Call(Errno::ENOENT));
        }
        return sys::open_referred(file.as_fd(), how).map(File::from).map_err(OpenError::Call);
    }
    let users = posix.users.clone().unwrap_or_default();
    let mut last = Errno::ENOENT;
    for user in &users.list {
        let path = match (user.fd, user.address, user.size) {
            (Some(fd), ..) => format!("{}/fd/{fd}", user.pid),
            (None, Some(start), Some(size)) => format!("{}/map_files/{start:x}-{:x}", user.pid, start + size),
            _ => continue,
        };
        match sys::open_link(&system.proc().join(path), how) {
            Ok(file) if is_it(&file) => return Ok(file.into()),
            Ok(_) => {}
            Err(errno) => last = errno,
        }
    }
    Err(OpenError::Call(last))
}

/// Asks for the write lease of objects of which no user was found, and adds the answer to their users: the kernel grants it
/// only if no process has the file open or mapped. The lease is released at once.
pub(crate) fn probe(system: &System, objects: &mut [Object]) {
    // Without this, a process that opens the object meanwhile would end this program.
    if sys::ignore_lease_breaks().is_err() {
        return;
    }
    for object in objects {
        let ObjectKind::Posix(posix) = &object.kind else { continue };
        let users = posix.users.clone().unwrap_or_default();
        if posix.file_type == FileType::Dir || posix.name.is_none() || !users.list.is_empty() {
            continue;
        }
        let lease = match lease(system, object) {
            Ok(()) => Some(true),
            Err(Errno::EAGAIN) => Some(false),
            Err(_) => None,
        };
        // Without a lease and a scan, nothing is known.
        if lease.is_none() && posix.users.is_none() {
            continue;
        }
        if let ObjectKind::Posix(posix) = &mut object.kind {
            posix.users = Some(Arc::new(FileUsers { lease, ..(*users).clone() }));
        }
        object.idle_seconds = idle_seconds(system, object);
        if object.state.is_some() {
            object.state = Some(state(system, object));
        }
    }
}

fn lease(system: &System, object: &Object) -> Result<(), Errno> {
    let errno = |error| match error {
        OpenError::Call(errno) => errno,
        OpenError::Query(_) => Errno::EIO,
    };
    let file = open_file(system, object, Opening::Read).or_else(|_| open_file(system, object, Opening::Write));
    let file = file.map_err(errno)?;
    sys::take_write_lease_or_as(file.as_fd(), object.posix().stat.uid)
}

/// Why the file of an object cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Query(QueryError),
    Call(Errno),
}

fn finish(system: &System, object: &mut Object, scan: &FileScan, needs: Needs) {
    if let ObjectKind::Posix(posix) = &mut object.kind {
        posix.users = (posix.file_type != FileType::Dir).then(|| scan.users(posix.file()));
    }
    object.idle_seconds = idle_seconds(system, object);
    if needs.contains(Needs::STATE) {
        object.state = Some(state(system, object));
    }
}
