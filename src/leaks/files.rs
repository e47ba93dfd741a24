//! The POSIX objects that a command leaked: those that are new. The kernel does not record who created a file, so an object
//! is certainly the command's only in a /dev/shm of its own.

use std::collections::HashSet;

use crate::model::{Device, FileId, FileTime, Needs, Object, Posix};
use crate::query::{QueryError, System, add_users, posix_objects, unlinked_objects};

/// The objects that existed before a command.
#[derive(Debug, Default)]
pub(crate) struct FileBaseline {
    /// The file system; `None` without a /dev/shm.
    device: Option<Device>,
    files: HashSet<(FileId, Option<FileTime>)>,
}

fn identity(posix: &Posix) -> (FileId, Option<FileTime>) {
    (posix.file(), posix.stat.btime)
}

impl FileBaseline {
    pub(crate) fn record(system: &System) -> Self {
        let Ok(objects) = posix_objects(system, Needs::empty()) else { return Self::default() };
        let device = system.objects().ok().map(|directory| directory.device);
        Self { device, files: objects.iter().map(|object| identity(object.posix())).collect() }
    }

    /// Returns the objects that the command leaked, and those of the caller's user that it may have leaked. In a /dev/shm of
    /// its own these include objects without a name, which processes that it left running hold.
    pub(crate) fn leaked(&self, system: &System) -> Result<[Vec<Object>; 2], QueryError> {
        let Ok(directory) = system.objects() else { return Ok([Vec::new(), Vec::new()]) };
        let needs = Needs::RECORD | Needs::ATTACHERS | Needs::CONTENTS;
        if self.device != Some(directory.device) {
            let is_held = |object: &Object| {
                let users = object.file_users().into_iter().flat_map(|users| &users.list);
                users.into_iter().any(|user| system.is_exiting(user.pid) != Some(true))
            };
            let mut found = posix_objects(system, needs)?;
            found.extend(unlinked_objects(system, needs)?.into_iter().filter(is_held));
            return Ok([found, Vec::new()]);
        }
        // The processes are scanned only if there are new objects.
        let mut found = posix_objects(system, needs.difference(Needs::STATE | Needs::ATTACHERS))?;
        found.retain(|object| !self.files.contains(&identity(object.posix())) && system.is_caller(object.uid));
        add_users(system, &mut found, needs)?;
        Ok([Vec::new(), found])
    }
}
