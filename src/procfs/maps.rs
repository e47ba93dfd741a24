//! /proc/PID/maps: what a process has mapped, in the words that every kernel has for it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::ProcError;
use crate::model::{Access, Mapping, SEGMENT_NAME};

/// How much is read at once; the kernel gives a page or so.
const READ: usize = 16 << 10;

/// Shows the mappings of segments among those of a process, of which the file has been opened.
///
/// An inode number tells no file from none: that of a segment may be 0. A name alone proves nothing, since anybody can
/// have a file of that name: `wanted` looks at device and inode.
///
/// # Errors
/// The process is gone, or shows a line that is no mapping. Gives whether there was any mapping at all.
pub(crate) fn segment_mappings(
    path: &Path,
    file: &File,
    wanted: impl Fn((u32, u32), u64) -> bool,
    mut show: impl FnMut(Mapping),
) -> Result<bool, ProcError> {
    let mut reader = BufReader::with_capacity(READ, file);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| ProcError::read(path, error))? == 0 {
            return Ok(number > 0);
        }
        number += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match parse_line(text) {
            Some((mapping, name)) if name.starts_with(SEGMENT_NAME) => {
                if wanted(mapping.device, mapping.inode) {
                    show(mapping);
                }
            }
            Some(_) => {}
            None => return Err(ProcError::Format { path: path.to_owned(), line: number, field: "mapping" }),
        }
    }
}

/// Reads `START-END PERMS OFFSET MAJOR:MINOR INODE [PATH]`; all but the inode is hexadecimal.
fn parse_line(line: &[u8]) -> Option<(Mapping, &[u8])> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (start, end) = word()?.split_once('-')?;
    let (permissions, _offset) = (word()?, word()?);
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?;
    let name = words.next().unwrap_or_default().trim_ascii_start();
    let access = if permissions.get(1..2)? == "w" { Access::ReadWrite } else { Access::ReadOnly };
    let mapping = Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
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

    /// Reads made-up lines.
    fn read(text: &str, wanted: impl Fn((u32, u32), u64) -> bool) -> Result<Vec<Mapping>, ProcError> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("maps");
        std::fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        let any = segment_mappings(&path, &File::open(&path).unwrap(), wanted, |mapping| found.push(mapping))?;
        assert_eq!(any, !text.is_empty());
        Ok(found)
    }

    #[test]
    fn lines_are_read_with_hexadecimal_devices_and_decimal_inodes() {
        let text = "7f0000000000-7f0000001000 rw-s 00000000 00:1f 65538      /SYSV000004d2 (deleted)\n";
        let expected = Mapping {
            start: 0x7f00_0000_0000,
            end: 0x7f00_0000_1000,
            device: (0, 31),
            inode: 65538,
            access: Access::ReadWrite,
            key: Some(Key::new(0x4d2)),
        };
        assert_eq!(read(text, |_, _| true).unwrap(), [expected]);
        assert_eq!(read("00400000-00401000 r-xp 00000000 00:00 0 \n", |_, _| true).unwrap(), []);
        assert!(read("garbage\n", |_, _| true).unwrap_err().to_string().contains("line 1"));
        assert_eq!(read("", |_, _| true).unwrap(), [], "a process without memory");
    }

    #[test]
    fn a_segment_with_id_0_is_a_file_and_unnamed_memory_is_none() {
        let text = "7f0000000000-7f0000001000 r--s 00000000 00:01 0      /SYSV000004d2 (deleted)\n\
                    7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 rw-s 00000000 00:01 0      /dev/zero (deleted)\n\
                    7f0000003000-7f0000004000 rw-s 00000000 00:2a 0      /SYSV000004d2\n\
                    7f0000004000-7f0000005000 rw-s 00000000 00:01 0      /memfd:\u{fffd}SYSV (deleted)\n\
                    7f0000005000-7f0000006000 rw-p 00000000 00:00 0      [heap]\n";
        let found = read(text, |device, inode| device == (0, 1) && inode == 0).unwrap();
        assert_eq!(
            found.iter().map(|mapping| (mapping.start, mapping.access)).collect::<Vec<_>>(),
            [(0x7f00_0000_0000, Access::ReadOnly)]
        );
    }
}
