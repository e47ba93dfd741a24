//! /proc/PID/maps: what a process has mapped.

use std::fs;
use std::path::Path;

use super::ProcError;

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// Address behind the last.
    pub(crate) end: u64,
    /// Device of the file, major and minor.
    pub(crate) device: (u32, u32),
    /// Inode number of the file; of a segment, its id.
    pub(crate) inode: u64,
    /// Path or pseudo path, with its escapes.
    pub(crate) path: String,
}

/// Reads the file mappings of a process. An inode number tells no file from none: that of a segment may be 0.
///
/// # Errors
/// The process is gone, closed to us, or shows a line that is no mapping.
pub(crate) fn mappings(root: &Path, pid: i32) -> Result<Vec<Mapping>, ProcError> {
    let path = root.join(pid.to_string()).join("maps");
    let text = fs::read(&path).map_err(|error| ProcError::read(&path, error))?;
    let mut found = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        match parse_line(&String::from_utf8_lossy(line)) {
            Some(mapping) if mapping.path.starts_with('/') => found.push(mapping),
            Some(_) => {}
            None => return Err(ProcError::Format { path, line: number + 1, field: "mapping" }),
        }
    }
    Ok(found)
}

/// Reads `START-END PERMS OFFSET MAJOR:MINOR INODE [PATH]`; all but the inode is hexadecimal.
fn parse_line(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let (_permissions, _offset) = (words.next()?, words.next()?);
    let (major, minor) = words.next()?.split_once(':')?;
    let inode = words.next()?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode: inode.parse().ok()?,
        path: words.next().unwrap_or_default().trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_hexadecimal_devices_and_paths_with_spaces() {
        assert_eq!(
            parse_line("7f0000000000-7f0000001000 rw-s 00000000 00:1f 65538      /SYSV000004d2 (deleted)"),
            Some(Mapping {
                start: 0x7f00_0000_0000,
                end: 0x7f00_0000_1000,
                device: (0, 31),
                inode: 65538,
                path: "/SYSV000004d2 (deleted)".to_owned(),
            })
        );
        assert_eq!(parse_line("00400000-00401000 r-xp 00000000 00:00 0 ").unwrap().path, "");
        assert_eq!(parse_line("garbage"), None);
    }

    #[test]
    fn a_segment_with_id_0_is_a_file_and_unnamed_memory_is_none() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("7")).unwrap();
        let text = "7f0000000000-7f0000001000 rw-s 00000000 00:01 0      /SYSV000004d2 (deleted)\n\
                    7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 rw-p 00000000 00:00 0      [heap]\n";
        fs::write(root.path().join("7/maps"), text).unwrap();
        let found = mappings(root.path(), 7).unwrap();
        assert_eq!(found.iter().map(|mapping| (mapping.inode, mapping.device)).collect::<Vec<_>>(), [(0, (0, 1))]);
    }
}
