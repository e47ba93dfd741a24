//! /proc/PID/mountinfo: file systems in memory, and the bind mounts that keep namespaces alive.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ProcError;
use crate::model::Device;

/// What processes see of the mounts: those of their mount namespace that are below their root directory.
#[derive(Debug, Default)]
pub(crate) struct MountViews {
    /// A process for each view, with the number of its mount namespace.
    pub(crate) distinct: Vec<(i32, u64)>,
    /// The number of processes that the caller may not inspect.
    pub(crate) inaccessible: u64,
}

impl MountViews {
    /// Reads those of all processes. One that exits meanwhile has none.
    pub(crate) fn read(root: &Path) -> Result<Self, ProcError> {
        let mut views = Self::default();
        // The number of each mount namespace, with the device and inode of a root directory in it.
        let mut seen = HashSet::new();
        for pid in super::pids(root)? {
            let stat = |name| std::fs::metadata(root.join(format!("{pid}/{name}")));
            match stat("ns/mnt").and_then(|namespace| Ok((namespace.ino(), stat("root")?))) {
                Ok((namespace, top)) if seen.insert((namespace, top.dev(), top.ino())) => {
                    views.distinct.push((pid, namespace));
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => views.inaccessible += 1,
                _ => {}
            }
        }
        Ok(views)
    }
}

/// A mount in the mount namespace of a process (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    /// The mount that it is on.
    parent: u64,
    pub(crate) device: Device,
    /// The directory or file of the file system that is mounted; that of a namespace is `ipc:[NUMBER]`.
    root: Vec<u8>,
    /// Below the root directory of the process.
    pub(crate) point: PathBuf,
    /// The type of the file system.
    pub(crate) kind: String,
    /// The options of the file system, separated by commas.
    options: String,
}

impl Mount {
    /// Returns whether it shows all of its file system: it is not a bind mount of a directory or file in it.
    pub(crate) fn is_whole(&self) -> bool {
        self.root == b"/"
    }

    /// Returns whether one of `mounts`, those of the same process, covers a file of it.
    pub(crate) fn is_covered(&self, mounts: &[Self]) -> bool {
        // The root mount can be its own parent.
        mounts.iter().any(|mount| mount.parent == self.id && mount.id != self.id)
    }

    /// Returns the value of an option of the file system.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Returns the mounts that a process sees, in the order in which they were mounted.
pub(crate) fn mounts(root: &Path, process: &str) -> Result<Vec<Mount>, ProcError> {
    let path = root.join(process).join("mountinfo");
    let text = std::fs::read(&path).map_err(|error| ProcError::read(&path, error))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
}

/// Returns the number and the mount point of each IPC namespace that a process sees mounted.
pub(crate) fn mounted_namespaces(root: &Path, pid: i32) -> Result<Vec<(u64, PathBuf)>, ProcError> {
    let namespace = |mount: Mount| {
        let number = std::str::from_utf8(&mount.root).ok()?.strip_prefix("ipc:[")?.strip_suffix(']')?;
        (mount.kind == "nsfs").then_some((number.parse().ok()?, mount.point))
    };
    Ok(mounts(root, &pid.to_string())?.into_iter().filter_map(namespace).collect())
}

/// Parses `ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS… - TYPE SOURCE OPTIONS`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (id, parent) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let (major, minor) = text()?.split_once(':')?;
    let device = Device(major.parse().ok()?, minor.parse().ok()?);
    let (root, point) = (fields.next()?.to_owned(), unescape(fields.next()?));
    fields.find(|field| *field == b"-")?;
    let mut text = |index| fields.nth(index).map(|field| String::from_utf8_lossy(field).into_owned());
    let (kind, options) = (text(0)?, text(1).unwrap_or_default());
    Some(Mount { id, parent, device, root, point, kind, options })
}

/// Replaces `\040` and the other octal numbers by which the kernel escapes white space and backslashes.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipc_namespaces_are_mounted_namespaces() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("7")).unwrap();
        let lines = "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                     40 22 0:4 ipc:[4026532190] /run/a\\040b\\134 rw shared:5 master:2 - nsfs nsfs rw\n\
                     41 22 0:4 net:[4026532191] /run/net rw - nsfs nsfs rw\n\
                     42 22 0:40 ipc:[4026532192] /run/fake rw - tmpfs tmpfs rw,size=4k,huge=always\n";
        std::fs::write(root.path().join("7/mountinfo"), lines).unwrap();
        let found = mounted_namespaces(root.path(), 7).unwrap();
        assert_eq!(found, [(4_026_532_190, PathBuf::from("/run/a b\\"))]);
        let mounts = mounts(root.path(), "7").unwrap();
        assert_eq!([0, 1].map(|index: usize| mounts[index].is_covered(&mounts)), [true, false]);
        assert_eq!((mounts[0].device, &*mounts[0].kind, mounts.len()), (Device(259, 1), "ext4", 4));
        let huge: Vec<_> = mounts.iter().map(|mount| mount.option("huge")).collect();
        assert_eq!(huge, [None, None, None, Some("always")]);
        assert!(mounted_namespaces(root.path(), 8).is_err());
    }
}
