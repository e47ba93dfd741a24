//! /proc/PID/maps: the mappings of a process as text, for kernels without PROCMAP_QUERY.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use super::{Lines, ProcError};
use crate::model::{Access, Device, FileId, FileMapping, Mapping, SEGMENT_NAME};

/// Calls `visit` for each mapping of a segment in an opened maps file. Returns whether there was any mapping at all.
///
/// `wanted` filters by device and inode. The name proves nothing, since any user can create a file called /SYSV…. Nor
/// does the inode: memfd files are on the same device and can have the same inode number. An inode of 0 can be a
/// segment: the first id in each namespace is 0.
/// Fails if the process has exited, or a line is not a mapping.
pub(crate) fn segment_mappings(
    path: &Path,
    file: &File,
    wanted: impl Fn(Device, u64) -> bool,
    mut visit: impl FnMut(Mapping),
) -> Result<bool, ProcError> {
    let mut lines = Lines::new(path, file);
    while lines.advance()? {
        let (mapping, name) = parse_line(&lines.line).ok_or_else(|| lines.invalid("mapping"))?;
        if name.starts_with(SEGMENT_NAME) && wanted(mapping.device, mapping.inode) {
            visit(mapping);
        }
    }
    Ok(lines.number > 1)
}

/// Calls `visit` for each mapping of a file on one of these devices, with its name. Returns whether there was any mapping at
/// all.
pub(crate) fn file_mappings(
    path: &Path,
    file: &File,
    devices: &HashSet<Device>,
    mut visit: impl FnMut(FileMapping, &[u8]),
) -> Result<bool, ProcError> {
    let mut lines = Lines::new(path, file);
    while lines.advance()? {
        let (mapping, name) = parse_line(&lines.line).ok_or_else(|| lines.invalid("mapping"))?;
        let Mapping { start, end, access, .. } = mapping;
        let file = FileId { device: mapping.device, inode: mapping.inode };
        if devices.contains(&file.device) {
            // `7f0000000000-7f0000001000 rw-p`
            let private = lines.line.split(|byte| *byte == b' ').nth(1).and_then(|flags| flags.get(3)) == Some(&b'p');
            visit(FileMapping { file, start, end, access, private }, name);
        }
    }
    Ok(lines.number > 1)
}

/// Parses `START-END PERMS OFFSET MAJOR:MINOR INODE [PATH]`. All numbers except the inode are hexadecimal.
fn parse_line(line: &[u8]) -> Option<(Mapping, &[u8])> {
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
    Some((mapping, name))
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
