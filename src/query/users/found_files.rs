//! What a scan for files has found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::model::{Device, FileId, FileStat, FileType, FileUsers, HiddenBy, Posix};

/// What a scan has found.
#[derive(Debug, Default)]
pub(crate) struct ObjectScan {
    pub(super) users: HashMap<FileId, FileUsers>,
    /// Files without a name, with what is known of them.
    pub(crate) unlinked: HashMap<FileId, UnlinkedFile>,
    /// The tmpfs and hugetlbfs that are not on [`super::ObjectSearch::devices`].
    pub(crate) other_file_systems: HashMap<Device, OpenFileSystem>,
    pub(super) hidden: Vec<HiddenBy>,
    /// The number of processes that the caller may not inspect.
    pub(crate) inaccessible: u64,
    /// The number of descriptors that can hold files that no process has open, if
    /// [`super::ObjectSearch::finds_file_systems`].
    pub(crate) in_flight: u64,
}

/// A file system on which processes have files open.
#[derive(Debug)]
pub(crate) struct OpenFileSystem {
    /// Refers to one of the files.
    pub(crate) file: OwnedFd,
    pub(crate) pids: Vec<i32>,
}

/// A file without a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnlinkedFile {
    pub(crate) file_type: FileType,
    pub(crate) known: UnlinkedFacts,
}

/// What is known of a file without a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UnlinkedFacts {
    Stat(FileStat),
    /// Only mapped, by a process whose map_files the caller may not read: the length of the mapping.
    Mapped(u64),
}

impl ObjectScan {
    /// Adds what another part of a scan has found, except the users.
    pub(super) fn add(&mut self, part: Self) {
        for (file, found) in part.unlinked {
            let known = self.unlinked.entry(file).or_insert(found);
            if let UnlinkedFacts::Stat(_) = found.known {
                *known = found;
            }
        }
        for (device, found) in part.other_file_systems {
            match self.other_file_systems.entry(device) {
                Entry::Occupied(mut known) => known.get_mut().pids.extend(found.pids),
                Entry::Vacant(free) => drop(free.insert(found)),
            }
        }
        self.inaccessible += part.inaccessible;
        self.in_flight += part.in_flight;
    }

    /// Returns the number of files without a name on a device, and the allocated bytes of those whose attributes are
    /// known.
    pub(crate) fn count_unlinked(&self, device: Device) -> (u64, u64) {
        let files = self.unlinked.iter().filter(|(file, _)| file.device == device);
        files.fold((0, 0), |(count, bytes), (_, file)| match file.known {
            UnlinkedFacts::Stat(stat) => (count + 1, bytes + stat.allocated),
            UnlinkedFacts::Mapped(_) => (count + 1, bytes),
        })
    }

    /// Returns the users of the files below a directory.
    pub(crate) fn users_below(&self, directory: &Posix) -> Arc<FileUsers> {
        let mut all = FileUsers::default();
        for users in directory.contents.iter().filter_map(|file| self.users.get(file)) {
            all.list.extend(users.list.iter().cloned());
            all.mappings += users.mappings;
            all.descriptors += users.descriptors;
        }
        all.list.sort_by_key(|user| user.pid);
        if all.list.is_empty() {
            all.hidden.clone_from(&self.hidden);
            if directory.is_partial && !all.hidden.contains(&HiddenBy::Permission) {
                all.hidden.push(HiddenBy::Permission);
            }
        }
        Arc::new(all)
    }

    /// Returns the users of a file that were found.
    pub(crate) fn users_found(&self, file: FileId) -> Option<&FileUsers> {
        self.users.get(&file)
    }

    /// Returns the users of a file.
    pub(crate) fn users(&self, file: FileId) -> Arc<FileUsers> {
        let mut users = self.users.get(&file).cloned().unwrap_or_default();
        if users.list.is_empty() {
            users.hidden.clone_from(&self.hidden);
        }
        Arc::new(users)
    }
}
