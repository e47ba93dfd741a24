//! How much of the file systems of POSIX objects is used, and by what.

use std::collections::HashSet;

use super::failure::QueryError;
use super::host::{ObjectDirectory, System};
use super::inventory;
use super::objects::scan_users;
use crate::model::{FileId, Needs, Object, PosixUsage, path_text};
use crate::sys::FileSystem;

/// Returns how much of the file system of POSIX objects is used, and the objects in it that have a name.
pub(crate) fn posix_usage(system: &System, needs: Needs) -> Result<(PosixUsage, Vec<Object>), QueryError> {
    let (mut usages, objects) = posix_usage_in(system, &[system.objects()?], needs)?;
    Ok((usages.remove(0), objects))
}

/// Returns how much of each of some file systems is used, and the objects in them that have a name.
pub(crate) fn posix_usage_in(
    system: &System,
    directories: &[&ObjectDirectory],
    needs: Needs,
) -> Result<(Vec<PosixUsage>, Vec<Object>), QueryError> {
    let before = directories.iter().map(|directory| directory.space()).collect::<Result<Vec<_>, _>>()?;
    let (mut objects, mut others) = (Vec::new(), Vec::new());
    for directory in directories {
        let (files, rest) = inventory::posix_files(system, directory, needs)?;
        objects.extend(files);
        others.extend(rest);
    }
    let scan = scan_users(system, &mut objects, needs)?;
    let usage = |(directory, before): (&&ObjectDirectory, FileSystem)| {
        let usage = usage_of(system, directory, before, &objects, &others)?;
        let found = scan.as_ref().map(|scan| scan.count_unlinked(directory.device));
        // The kernel's sum includes objects held by processes that cannot be inspected.
        let found = found.filter(|(_, bytes)| usage.unlinked == Some(*bytes));
        Ok(PosixUsage { unlinked_files: found.map(|(count, _)| count), ..usage })
    };
    let usages = directories.iter().zip(before).map(usage).collect::<Result<_, QueryError>>()?;
    Ok((usages, objects))
}

/// Returns how much of a file system is used; `named` are the objects that have a name, and `others` the other files
/// that take space, perhaps with those of more file systems.
///
/// What is used beyond them belongs to objects without a name, or is unknown if this directory does not show all of the
/// file system or a directory in it cannot be read. Nothing is known if the file system counts nothing (size=0).
fn usage_of(
    system: &System,
    directory: &ObjectDirectory,
    before: FileSystem,
    named: &[Object],
    others: &[(FileId, u64)],
) -> Result<PosixUsage, QueryError> {
    let mut seen = HashSet::new();
    let named = named.iter().map(Object::posix).filter(|posix| posix.file().device == directory.device);
    let named: Vec<_> = named.filter(|posix| seen.insert(posix.file())).collect();
    let others = others.iter().filter(|(file, _)| file.device == directory.device && seen.insert(*file));
    let of_others: u64 = others.map(|(_, bytes)| bytes).sum();
    // A file below a directory can have another name (hard link), even as an object.
    let linked = named.iter().flat_map(|posix| &posix.linked).filter(|(file, _)| !seen.insert(*file));
    let counted_again: u64 = linked.map(|(_, bytes)| bytes).sum();
    let allocated = named.iter().map(|posix| posix.allocated).sum::<u64>() + of_others - counted_again;
    let space = directory.space()?;
    // What was created or removed during the listing must not look unlinked.
    let used = space.used.zip(before.used).map(|(now, before)| now.min(before));
    let beyond = used.map(|used| used.saturating_sub(allocated));
    let is_complete = || !named.iter().any(|posix| posix.is_partial) && directory.is_whole(system.proc());
    Ok(PosixUsage {
        mount: path_text(&directory.path),
        dev: directory.device,
        size: space.size,
        used: space.used,
        inodes: space.inodes,
        inodes_used: space.inodes_used,
        unlinked: beyond.filter(|bytes| *bytes == 0 || is_complete()),
        unlinked_files: None,
        huge: space.is_huge,
    })
}
