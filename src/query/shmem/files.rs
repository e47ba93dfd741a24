//! The files of a tmpfs, and those without a name, with their memory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::model::{FileId, FileStat, Holding, Ident, Instance, Memory, ObjectName, Posix, Source};
use crate::query::host::{DEV_SHM, MountedFileSystem, System};
use crate::query::inventory::{find_product, open_listed, residency, walk};
use crate::query::users::{ObjectScan, UnlinkedFacts, UnlinkedFile, refer_via_user};
use crate::sys::{self, Opening};

/// The files of a file system that have a name.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) list: Vec<NamedFile>,
    /// Whether all directories could be read.
    pub(super) is_complete: bool,
}

#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) id: FileId,
    /// Its name as a POSIX object.
    pub(super) name: Option<ObjectName>,
    pub(super) uid: u32,
    /// Resident and swapped bytes.
    pub(super) allocated: u64,
    pub(super) memory: Memory,
    /// The program that uses such names.
    pub(super) product: Option<Arc<str>>,
}

impl Files {
    /// Lists the files of a mounted file system; one with several names once.
    pub(super) fn below(system: &System, mounted: &MountedFileSystem) -> Self {
        let (mut list, mut seen) = (Vec::new(), HashSet::new());
        let has_objects = mounted.mount.ends_with(Path::new(DEV_SHM).strip_prefix("/").unwrap_or(Path::new("")));
        let is_complete =
            walk(mounted.root.as_fd(), OsStr::new("."), mounted.device, &mut |directory, name, depth, stat| {
                if stat.links > 1 && !seen.insert(stat.file) {
                    return;
                }
                let object = ObjectName::of_file(name.as_bytes()).filter(|_| has_objects && depth == 0);
                let product = object.as_ref().and_then(|name| Some(find_product(name)?.product.id.as_str().into()));
                let (_, swap) = residency(system, stat, || open_listed(directory, name, stat));
                list.push(NamedFile {
                    id: stat.file,
                    name: object,
                    uid: stat.uid,
                    allocated: stat.allocated,
                    memory: memory(stat, swap),
                    product,
                });
            });
        Self { list, is_complete }
    }

    /// Returns the swapped bytes of all files; `None` if those of one are unknown.
    pub(super) fn swap(&self) -> Option<u64> {
        let sum = self.list.iter().map(|file| file.memory.swap).sum::<Option<u64>>();
        sum.filter(|_| self.is_complete)
    }
}

fn memory(stat: &FileStat, swap: Option<u64>) -> Memory {
    Memory { rss: resident(stat.allocated, swap), swap, size: stat.size, count: 1 }
}

/// Returns the resident part of allocated bytes.
pub(super) fn resident(allocated: u64, swap: Option<u64>) -> u64 {
    allocated.saturating_sub(swap.unwrap_or(0))
}

/// Returns the allocated bytes of a file without a name, as far as they are known.
pub(super) fn allocated(found: &UnlinkedFile) -> u64 {
    match found.known {
        UnlinkedFacts::Stat(stat) => stat.allocated,
        UnlinkedFacts::Mapped(_) => 0,
    }
}

pub(super) fn memory_of_unlinked(system: &System, scan: &ObjectScan, file: FileId, found: &UnlinkedFile) -> Memory {
    match found.known {
        UnlinkedFacts::Stat(stat) => {
            let posix = || Posix { users: Some(scan.users(file)), ..Posix::new(stat, found.file_type, None) };
            let open = || sys::open_referred(refer_via_user(system, &posix())?.as_fd(), Opening::InspectNow);
            memory(&stat, residency(system, &stat, open).1)
        }
        UnlinkedFacts::Mapped(length) => Memory { rss: 0, swap: None, size: length, count: 1 },
    }
}

pub(super) fn holding_of_unlinked(
    scan: &ObjectScan,
    file: FileId,
    found: &UnlinkedFile,
    source: Source,
    memory: Memory,
    container: Option<Arc<str>>,
) -> Holding {
    let uid = match found.known {
        UnlinkedFacts::Stat(stat) => Some(stat.uid),
        UnlinkedFacts::Mapped(_) => None,
    };
    let instance = match source {
        Source::Memfd | Source::Anonymous => Instance::Internal,
        _ => Instance::FileSystem(file.device),
    };
    let ident = Some(Ident::File(file));
    Holding { ident, uid, pids: pids(scan, file), container, ..Holding::new(source, instance, memory) }
}

/// Returns the processes that use a file.
pub(super) fn pids(scan: &ObjectScan, file: FileId) -> Vec<i32> {
    scan.users(file).processes().map(|process| process[0].pid).collect()
}
