//! /proc/PID/maps: the mappings of a process as text, for kernels without PROCMAP_QUERY.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use super::{Lines, ProcError};
use crate::model::{Access, Device, FileId, FileMapping, Mapping, SEGMENT_NAME};

/// Calls `visit` for each mapping of a segment in an opened maps file. Returns whether there was any mapping at all.
///
/// A mapping counts if its name begins with `/SYSV` and `wanted` accepts its device and inode. Neither is enough by
/// itself: any user can create a file called /SYSV…, and memfds are on the same device and can have the same inode
/// number. An inode of 0 can be a segment: the first id in each namespace is 0.
/// Fails if the process has exited, or a line is not a mapping.
pub(crate) fn segment_mappings(
    path: &Path,
    file: &File,
    wanted: impl Fn(Device, u64) -> bool,
    mut visit: impl FnMut(Mapping),
) -> Result<bool, ProcError> {
    each_mapping(path, file, |mapping, _, name| {
        if name.starts_with(SEGMENT_NAME) && wanted(mapping.device, mapping.inode) {
            visit(mapping);
        }
    })
}

/// Calls `visit` for each mapping of a file on one of these devices, with its name. Returns whether there was any
/// mapping at all.
pub(crate) fn file_mappings(
    path: &Path,
    file: &File,
    devices: &HashSet<Device>,
    mut visit: impl FnMut(FileMapping, &[u8]),
) -> Result<bool, ProcError> {
    each_mapping(path, file, |Mapping { start, end, device, inode, access, .. }, private, name| {
        if devices.contains(&device) {
            visit(FileMapping { file: FileId { device, inode }, start, end, access, private }, name);
        }
    })
}

/// Calls `visit` for each mapping, with whether it is private, and its name. Returns whether there was any.
fn each_mapping(path: &Path, file: &File, mut visit: impl FnMut(Mapping, bool, &[u8])) -> Result<bool, ProcError> {
    let mut lines = Lines::new(path, file);
    while lines.advance()? {
        let (mapping, private, name) = parse_line(&lines.line).ok_or_else(|| lines.invalid("mapping"))?;
        visit(mapping, private, name);
    }
    Ok(lines.number > 1)
}

/// Returns the first mapping of a process or thread that overlaps a range, with its name: the path, or what the kernel
/// shows in its place, which is empty for anonymous memory.
pub(crate) fn mapping_at(root: &Path, process: &str, start: u64, end: u64) -> Option<(Mapping, Vec<u8>)> {
    let path = root.join(process).join("maps");
    let mut lines = Lines::new(&path, File::open(&path).ok()?);
    while lines.advance().ok()? {
        let (mapping, _, name) = parse_line(&lines.line)?;
        if mapping.start < end && mapping.end > start {
            return Some((mapping, name.to_owned()));
        }
    }
    None
}

/// Returns how many mappings a process or thread has, as vm.max_map_count counts them.
pub(crate) fn mapping_count(root: &Path, process: &str) -> Option<u64> {
    let path = root.join(process).join("maps");
    let mut lines = Lines::new(&path, File::open(&path).ok()?);
    let mut count = 0;
    while lines.advance().ok()? {
        // This page belongs to the kernel.
        count += u64::from(!lines.line.ends_with(b"[vsyscall]"));
    }
    Some(count)
}

/// Parses `START-END PERMS OFFSET MAJOR:MINOR INODE [PATH]`: the mapping, whether it is private, and its name. All
/// numbers except the inode are hexadecimal.
fn parse_line(line: &[u8]) -> Option<(Mapping, bool, &[u8])> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = field()?.split_once('-')?;
    let (permissions, _offset) = (field()?, field()?);
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?;
    let name = fields.next().unwrap_or_default().trim_ascii_start();
    let access = if permissions.get(1..2)? == "w" { Access::ReadWrite } else { Access::ReadOnly };
    let mapping = Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        device: Device(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode: inode.parse().ok()?,
        access,
        key: Mapping::key_in(name),
    };
    Some((mapping, permissions.get(3..4) == Some("p"), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;
    use crate::procfs::directory;

    fn read(text: &str, wanted: impl Fn(Device, u64) -> bool) -> Result<Vec<Mapping>, ProcError> {
        let root = directory(&[("maps", text)]);
        let path = root.path().join("maps");
        let mut found = Vec::new();
        let any = segment_mappings(&path, &File::open(&path).unwrap(), wanted, |mapping| found.push(mapping))?;
        assert_eq!(any, !text.is_empty(), "a process without memory has exited");
        Ok(found)
    }

    #[test]
    fn the_mapping_in_a_range_is_found() {
        let text = "1000-3000 rw-p 00000000 00:00 0      [heap]\n\
                    5000-6000 rw-s 00000000 00:1f 7      /SYSV000004d2 (deleted)\n\
                    ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0      [vsyscall]\n";
        let root = directory(&[("7/task/8/maps", text)]);
        let at =
            |start, end| mapping_at(root.path(), "7/task/8", start, end).map(|(found, _)| (found.start, found.inode));
        assert_eq!([at(0, 0x1000), at(0x3000, 0x5000), at(0x6000, 0x7000)], [None; 3]);
        assert_eq!([at(0x2fff, 0x3000), at(0x3000, 0x5001)], [Some((0x1000, 0)), Some((0x5000, 7))]);
        assert_eq!(mapping_count(root.path(), "7/task/8"), Some(2));
        assert_eq!(mapping_count(root.path(), "9"), None);
    }

    #[test]
    fn a_mapping_is_a_segment_only_if_name_device_and_inode_match() {
        let text = "7f0000000000-7f0000001000 rw-s 00000000 00:1f 0      /SYSV000004d2 (deleted)\n\
                    7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 rw-s 00000000 00:1f 0      /dev/zero (deleted)\n\
                    7f0000003000-7f0000004000 rw-s 00000000 00:2a 0      /SYSV000004d2\n\
                    7f0000003000-7f0000004000 rw-s 00000000 00:1f 65538  /SYSV000004d2\n\
                    7f0000004000-7f0000005000 rw-s 00000000 00:1f 0      /memfd:\u{fffd}SYSV (deleted)\n";
        let expected = Mapping {
            start: 0x7f00_0000_0000,
            end: 0x7f00_0000_1000,
            device: Device(0, 31),
            inode: 0,
            access: Access::ReadWrite,
            key: Some(Key::new(0x4d2)),
        };
        assert_eq!(read(text, |device, inode| (device, inode) == (Device(0, 31), 0)).unwrap(), [expected]);
        assert_eq!(read("", |_, _| true).unwrap(), []);
        assert!(read("garbage\n", |_, _| true).unwrap_err().to_string().contains("line 1"));
    }
}
