//! The POSIX objects that a command leaked: those that are new. An object is certainly the command's in a /dev/shm of
//! its own, and elsewhere if it was observed to create it.

use std::collections::HashSet;
use std::os::fd::AsFd;

use super::creations::Creations;
use crate::model::{Device, FileId, FileTime, Needs, Object, Posix, PosixUsage};
use crate::query::{
    OpenError, QueryError, System, add_users, posix_objects, posix_usage, refer_to_file, unlinked_objects,
};
use crate::sys::Errno;

/// The objects that existed before a command; the default, for a private /dev/shm, is none.
#[derive(Debug, Default)]
pub(crate) struct FileBaseline {
    /// The file system; `None` without a /dev/shm that the command shares.
    device: Option<Device>,
    files: HashSet<(FileId, Option<FileTime>)>,
    /// Those without a name; `None` if their users are not known.
    unlinked: Option<HashSet<(FileId, Option<FileTime>)>>,
}

fn identity(posix: &Posix) -> (FileId, Option<FileTime>) {
    (posix.file(), posix.stat.btime)
}

impl FileBaseline {
    pub(crate) fn record(system: &System) -> Result<Self, QueryError> {
        let Ok(directory) = system.objects() else { return Ok(Self::default()) };
        let (usage, objects) = posix_usage(system, Needs::empty())?;
        let identities = |objects: &[Object]| objects.iter().map(|object| identity(object.posix())).collect();
        let unlinked = unlinked(system, &usage, Needs::empty()).ok();
        Ok(Self {
            device: Some(directory.device),
            files: identities(&objects),
            unlinked: unlinked.map(|objects| identities(&objects)),
        })
    }

    /// Returns whether the command shares the directory with other processes.
    pub(crate) fn is_shared(&self) -> bool {
        self.device.is_some()
    }

    /// Returns the objects that the command leaked, and those of the caller's user that it may have leaked.
    /// Objects without a name are included if a running process holds them.
    pub(crate) fn leaked(&self, system: &System, creations: &mut Creations) -> Result<[Vec<Object>; 2], QueryError> {
        let Ok(directory) = system.objects() else { return Ok([Vec::new(), Vec::new()]) };
        let is_held = |object: &Object| {
            let users = object.posix().users.clone().unwrap_or_default();
            users.list.iter().any(|user| system.is_exiting(user.pid) != Some(true))
        };
        let needs = Needs::RECORD | Needs::ATTACHERS | Needs::CONTENTS;
        if self.device != Some(directory.device) {
            let mut found = posix_objects(system, needs)?;
            found.extend(unlinked_objects(system, needs)?.into_iter().filter(is_held));
            return Ok([found, Vec::new()]);
        }
        // The processes are scanned only if there are new objects, or unlinked ones.
        let (usage, mut found) = posix_usage(system, needs.difference(Needs::STATE | Needs::ATTACHERS))?;
        found.retain(|object| !self.files.contains(&identity(object.posix())));
        add_users(system, &mut found, needs)?;
        if let Some(before) = &self.unlinked {
            let is_new = |object: &Object| {
                let known = identity(object.posix());
                !before.contains(&known) && !self.files.contains(&known)
            };
            let held = unlinked(system, &usage, needs)?.into_iter().filter(is_held);
            found.extend(held.filter(is_new));
        }
        // Those that were listed were created before this.
        creations.record(system);
        let (mut leaked, mut unattributed) = (Vec::new(), Vec::new());
        for object in found {
            match refer_to_file(system, &object) {
                Ok(file) if creations.contain(file.as_fd()) => leaked.push(object),
                // It has been removed meanwhile.
                Err(OpenError::Call(Errno::ENOENT)) if object.posix().name.is_some() => {}
                _ if system.is_caller(object.uid) => unattributed.push(object),
                _ => {}
            }
        }
        Ok([leaked, unattributed])
    }
}

/// Returns the objects without a name, which are looked for only if they hold memory.
fn unlinked(system: &System, usage: &PosixUsage, needs: Needs) -> Result<Vec<Object>, QueryError> {
    if usage.unlinked == Some(0) { Ok(Vec::new()) } else { unlinked_objects(system, needs) }
}
