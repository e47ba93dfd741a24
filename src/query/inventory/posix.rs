//! The backend of POSIX objects: the files in /dev/shm, by readdir and statx(2).
//!
//! Symbolic links, FIFOs, sockets and devices are never opened. Named semaphores are opened to read their values, and
//! objects of a family to compare their first bytes with their program's magic number. Other regular files are opened
//! only while swap is in use, to distinguish resident from swapped bytes; otherwise, all allocated bytes are resident.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use super::tree::{self, open_listed};
use crate::model::{
    FileId, FileStat, FileType, Mode, Needs, Object, ObjectKind, ObjectName, Posix, Rule, SEMAPHORE_SIZE, Scope,
};
use crate::query::failure::QueryError;
use crate::query::host::{ObjectDirectory, System};
use crate::query::product::Recognized;
use crate::sys::{self, Errno, Opening};

/// Files that are not objects, with their allocated bytes.
pub(in crate::query) type OtherFiles = Vec<(FileId, u64)>;

/// Passes all objects of a directory to `show`, in the order of the directory. Returns the other files that take space:
/// the kernel keeps long symbolic links in a page of their own.
pub(super) fn each(
    system: &System,
    directory: &ObjectDirectory,
    needs: Needs,
    show: &mut dyn FnMut(Object),
) -> Result<OtherFiles, QueryError> {
    let mut others = Vec::new();
    let listed = sys::each_name(directory.as_fd(), |bytes| {
        let Some(name) = ObjectName::of_file(bytes) else { return };
        // What has vanished or is unreadable meanwhile is not there.
        let Ok(stat) = sys::stat_entry(directory.as_fd(), name.file_name()) else { return };
        if stat.file.device != directory.device {
            return;
        }
        if stat.is_regular() || stat.is_directory() {
            show(object(system, directory, name, &stat, needs, Opening::InspectUnseen));
        } else if stat.allocated > 0 {
            others.push((stat.file, stat.allocated));
        }
    });
    listed.map_err(|errno| QueryError::Directory(directory.path.clone(), errno))?;
    Ok(others)
}

/// Reads one object; `Ok(None)` if there is none with this name. For a semaphore of musl, whose file has no prefix, the
/// caller tries that name too.
///
/// Fails if the name is that of another kind of file.
pub(super) fn lookup(
    system: &System,
    directory: &ObjectDirectory,
    name: &ObjectName,
    needs: Needs,
) -> Result<Option<Object>, QueryError> {
    let stat = match sys::stat_entry(directory.as_fd(), name.file_name()) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(QueryError::File(name.clone(), errno)),
    };
    let is_expected = stat.is_regular() || (stat.is_directory() && needs.contains(Needs::DIRECTORIES));
    if is_expected && stat.file.device == directory.device {
        return Ok(Some(object(system, directory, name.clone(), &stat, needs, Opening::InspectNow)));
    }
    let noun = if is_expected { "another mount" } else { stat.kind().noun() };
    Err(QueryError::NotAnObject(name.clone(), noun))
}

/// Returns the object of a file that has a name. `how` to open a semaphore decides whether its access time may change.
fn object(
    system: &System,
    directory: &ObjectDirectory,
    name: ObjectName,
    stat: &FileStat,
    needs: Needs,
    how: Opening,
) -> Object {
    let file_type = match &name {
        _ if stat.is_directory() => FileType::Dir,
        // Also if it is empty, since it is being created or broken.
        name if name.is_semaphore() => FileType::Sem,
        _ => FileType::Shm,
    };
    let mut object = unnamed_object(Some(directory), file_type, stat);
    if needs.contains(Needs::RESIDENT) && file_type != FileType::Dir {
        let open = || open_listed(directory.as_fd(), name.file_name(), stat, Opening::InspectNow);
        (object.rss, object.swap) = residency(system, stat, open);
    }
    let ObjectKind::Posix(posix) = &mut object.kind else { return object };
    match file_type {
        FileType::Dir => {
            object.size = 0;
            let memory = add_contents(system, directory, &name, &mut object.size, posix, needs);
            (object.rss, object.swap) = memory.unzip();
        }
        FileType::Sem if needs.contains(Needs::CONTENTS) => {
            let value = semaphore(directory, &name, stat, how);
            (posix.value, posix.waiters) = (value.map(|it| it.0), value.map(|it| it.1));
        }
        _ => {}
    }
    let found = system.rules().find(&name, stat, directory.is_huge);
    if let Some(Recognized { product, maker, unit, is_lock }) = found {
        object.product = Some(product.id.clone());
        posix.maker = maker;
        let (cleanup, family) = (product.cleanup.clone(), product.family(stat.uid, unit));
        posix.family.is_proven = family.is_some() && (is_lock || begins_with(directory, &name, stat, product.magic));
        posix.rule = Rule { cleanup, keep: product.keep, family, is_lock };
    }
    posix.name = Some(name);
    object
}

/// Returns the object of a file without a name, as its attributes show it; `directory` is that of its file system, if
/// it has one.
pub(in crate::query) fn unnamed_object(
    directory: Option<&ObjectDirectory>,
    file_type: FileType,
    stat: &FileStat,
) -> Object {
    let posix = Posix {
        mnt_ns: directory.and_then(|directory| directory.mnt_ns),
        has_foreign_pids: directory.is_some_and(|directory| directory.has_foreign_pids),
        ..Posix::new(*stat, file_type, None)
    };
    Object {
        size: stat.size,
        mode: Mode::from_kernel(stat.mode),
        uid: stat.uid,
        gid: stat.gid,
        ctime: Some(stat.ctime.stamp()),
        scope: Some(Scope::Tmpfs(stat.file.device)),
        container: directory.and_then(|directory| directory.container.clone()),
        kind: ObjectKind::Posix(Box::new(posix)),
        ..Object::default()
    }
}

/// Returns the resident and the swapped bytes of a file. While swap is in use, they are unknown on hugetlbfs, for what
/// the caller may not write, and under the lease of another process.
pub(in crate::query) fn residency(
    system: &System,
    stat: &FileStat,
    open: impl FnOnce() -> Result<OwnedFd, Errno>,
) -> (Option<u64>, Option<u64>) {
    if !system.swap_is_used() {
        return (Some(stat.allocated), Some(0));
    }
    let state = open().and_then(|file| sys::cache_state(file.as_fd(), 0, 0, system.page_size()));
    state.map_or((None, None), |(rss, swap)| (Some(rss), Some(swap)))
}

/// Adds what is below a directory, a file with several names once. Returns its resident and its
/// swapped bytes, if they are needed and known. What has vanished is not there.
fn add_contents(
    system: &System,
    directory: &ObjectDirectory,
    name: &ObjectName,
    size: &mut u64,
    posix: &mut Posix,
    needs: Needs,
) -> Option<(u64, u64)> {
    let mut seen = HashSet::new();
    let mut memory = needs.contains(Needs::RESIDENT).then_some((0_u64, 0_u64));
    let is_complete =
        tree::walk(directory.as_fd(), name.file_name(), directory.device, &mut |parent, name, _, stat| {
            if stat.links > 1 {
                if !seen.insert(stat.file) {
                    return;
                }
                posix.linked.push((stat.file, stat.allocated));
            }
            posix.allocated = posix.allocated.saturating_add(stat.allocated);
            memory = memory.and_then(|(rss, swap)| {
                let (more, swapped) = residency(system, stat, || open_listed(parent, name, stat, Opening::InspectNow));
                Some((rss.saturating_add(more?), swap.saturating_add(swapped?)))
            });
            if stat.is_regular() {
                *size = size.saturating_add(stat.size);
                posix.contents.push(stat.file);
            }
        });
    posix.is_partial = !is_complete;
    memory.filter(|_| is_complete)
}

/// Returns an object as the named semaphore that its size and layout show; `None` if it is not one.
pub(crate) fn as_semaphore(system: &System, mut object: Object) -> Option<Object> {
    let (directory, name) = (system.objects().ok()?, object.posix().name.clone()?);
    let (value, waiters) = semaphore(directory, &name, &object.posix().stat, Opening::InspectNow)?;
    let posix = object.posix_mut();
    (posix.file_type, posix.value, posix.waiters) = (FileType::Sem, Some(value), Some(waiters));
    Some(object)
}

/// Returns whether an object that was listed begins with a magic number; false if the caller may not read it.
pub(in crate::query) fn begins_with(
    directory: &ObjectDirectory,
    name: &ObjectName,
    listed: &FileStat,
    magic: Option<u32>,
) -> bool {
    let head = || head::<4>(directory, name, listed, Opening::InspectUnseen).map(u32::from_ne_bytes);
    magic.is_some() && listed.is_regular() && head() == magic
}

/// Reads the first bytes of an object that was listed.
fn head<const SIZE: usize>(
    directory: &ObjectDirectory,
    name: &ObjectName,
    listed: &FileStat,
    how: Opening,
) -> Option<[u8; SIZE]> {
    let file = open_listed(directory.as_fd(), name.file_name(), listed, how).ok()?;
    let mut bytes = [0; SIZE];
    (nix::sys::uio::pread(&file, &mut bytes, 0) == Ok(SIZE)).then_some(bytes)
}

/// Reads the value and the number of waiters of a named semaphore from its file, as glibc and musl lay it out.
fn semaphore(directory: &ObjectDirectory, name: &ObjectName, listed: &FileStat, how: Opening) -> Option<(u32, u32)> {
    if listed.size != SEMAPHORE_SIZE {
        return None;
    }
    let bytes = head::<12>(directory, name, listed, how)?;
    let word = |index: usize| Some(u32::from_ne_bytes(bytes.get(4 * index..4 * index + 4)?.try_into().ok()?));
    let (value, waiters, layout) = (word(0)?, word(1)?, word(2)?);
    // The third word is 0x80 in glibc (FUTEX_PRIVATE_FLAG inverted) and 0 in musl, whose sign bit shows waiters.
    match layout {
        0x80 => Some((value, waiters)),
        0 if value == u32::MAX => Some((0, waiters)),
        0 => Some((value & !(1 << 31), waiters)),
        _ => None,
    }
}
