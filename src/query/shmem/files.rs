//! The files of a tmpfs, and those without a name, with their memory.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::model::{FileId, FileStat, FileUsers, Holding, Ident, Instance, Memory, ObjectName, Source};
use crate::query::host::{MountedFileSystem, System};
use crate::query::inventory::{open_listed, residency, walk};
use crate::query::objects::residency_of_unnamed;
use crate::query::users::{ObjectScan, UnlinkedFacts, UnlinkedFile};
use crate::sys::Opening;

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
    pub(super) memory: Memory,
    /// The program that uses such names.
    pub(super) product: Option<Arc<str>>,
}

impl Files {
    /// Lists the files of a mounted file system; one with several names once. `has_objects` says whether those in its
    /// root are objects.
    pub(super) fn below(system: &System, mounted: &MountedFileSystem, has_objects: bool) -> Self {
        let (mut list, mut seen) = (Vec::new(), HashSet::new());
        let is_complete =
            walk(mounted.root.as_fd(), OsStr::new("."), mounted.device, &mut |directory, name, depth, stat| {
                if stat.links > 1 && !seen.insert(stat.file) {
                    return;
                }
                let object = ObjectName::of_file(name.as_bytes()).filter(|_| has_objects && depth == 0);
                // Only a tmpfs has holdings.
                let find = |name| Some(system.rules().find(name, stat, false)?.product.id.clone());
                let product = object.as_ref().and_then(find);
                let (_, swap) = residency(system, stat, || open_listed(directory, name, stat, Opening::InspectNow));
                list.push(NamedFile {
                    id: stat.file,
                    name: object,
                    uid: stat.uid,
                    memory: memory(stat, swap),
                    product,
                });
            });
        Self { list, is_complete }
    }
}

fn memory(stat: &FileStat, swap: Option<u64>) -> Memory {
    Memory { swap, size: stat.size, ..Memory::NONE }.with_allocated(stat.allocated).of_one()
}

/// Returns a file without a name as a holding.
pub(super) fn holding_of_unlinked(
    system: &System,
    scan: &ObjectScan,
    file: FileId,
    found: &UnlinkedFile,
    source: Source,
) -> Holding {
    let (uid, memory) = match found.known {
        UnlinkedFacts::Stat(stat) => (Some(stat.uid), memory(&stat, residency_of_unnamed(system, scan, &stat).1)),
        UnlinkedFacts::Mapped(length) => (None, Memory { size: length, count: Some(1), ..Memory::NONE }),
    };
    let instance = match source {
        Source::Memfd | Source::Anonymous => Instance::Internal,
        _ => Instance::FileSystem(file.device),
    };
    let ident = Some(Ident::File(file));
    Holding { ident, uid, pids: pids(scan, file), ..Holding::new(source, instance, memory) }
}

/// Returns the processes that use a file.
pub(super) fn pids(scan: &ObjectScan, file: FileId) -> Vec<i32> {
    scan.users_found(file).into_iter().flat_map(FileUsers::pids).collect()
}
