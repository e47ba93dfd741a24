//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the IPC namespace of the process that
//! opened it.

use std::fs::File;
use std::path::Path;

use super::row::{Fields, parse_line};
use super::{Lines, ProcError};
use crate::model::{Object, ShmId};

/// Calls `show` for each segment, with resident and swapped bytes, as it is read.
///
/// # Errors
/// The file cannot be read, is empty, or has an invalid line.
pub(crate) fn each_segment(root: &Path, mut show: impl FnMut(Object)) -> Result<(), ProcError> {
    let path = root.join("sysvipc/shm");
    let mut lines = open(&path)?;
    while lines.advance()? {
        let segment = parse_line(&lines.line).map_err(|field| lines.invalid(field))?;
        show(segment);
    }
    Ok(())
}

/// Reads up to the row of one segment; `None` if no segment has this id.
///
/// The file has no random access: the kernel formats all rows before this one.
///
/// # Errors
/// The file cannot be read, is empty, or has an invalid line.
pub(crate) fn find_segment(root: &Path, id: ShmId) -> Result<Option<Object>, ProcError> {
    let path = root.join("sysvipc/shm");
    let mut lines = open(&path)?;
    let id = id.to_string();
    while lines.advance()? {
        // Parsing only the second field takes a third of the time.
        let mut fields = Fields(&lines.line);
        fields.next();
        if fields.next() == id.as_bytes() {
            return parse_line(&lines.line).map(Some).map_err(|field| lines.invalid(field));
        }
    }
    Ok(None)
}

/// Opens the file and checks that its headings are the kernel's, since a sandbox may put another file in its place.
fn open(path: &Path) -> Result<Lines<'_, File>, ProcError> {
    let mut lines = Lines::new(path, File::open(path).map_err(|error| ProcError::read(path, error))?);
    lines.advance()?;
    let mut names = Fields(&lines.line);
    if (names.next(), names.next()) == (b"key", b"shmid") { Ok(lines) } else { Err(lines.invalid("headings")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;
    use std::fs;

    const HEADINGS: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

    fn read(contents: &str) -> Result<Vec<Object>, ProcError> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sysvipc")).unwrap();
        fs::write(root.path().join("sysvipc/shm"), contents).unwrap();
        let mut segments = Vec::new();
        let all = each_segment(root.path(), |segment| segments.push(segment)).map(|()| segments);
        for segment in all.iter().flatten().step_by(500) {
            // The other way to read gives the same.
            assert_eq!(find_segment(root.path(), segment.sysv().id).unwrap().as_ref(), Some(segment));
        }
        all
    }

    #[test]
    fn wide_fields_negative_keys_and_flags_are_parsed() {
        let line = "-559038737 2147483647  3640  18446744073692774399 4194304     0 18446744073709551615 4294967294 100000 100000 4294967294 0 1795420800 1795420801 274877906944 8192\n";
        let segments = read(&format!("{HEADINGS}{line}")).unwrap();
        let [segment] = segments.as_slice() else { panic!("{segments:?}") };
        assert_eq!(segment.sysv().key.bits(), 0xdead_beef);
        assert_eq!(segment.sysv().id.raw(), i32::MAX);
        assert_eq!(segment.size, 18_446_744_073_692_774_399);
        assert_eq!((segment.sysv().cpid, segment.sysv().lpid), (Some(4_194_304), None));
        assert_eq!(segment.sysv().nattch, u64::MAX);
        assert_eq!(
            (segment.uid, segment.gid, segment.sysv().cuid, segment.sysv().cgid),
            (4_294_967_294, 100_000, 100_000, 4_294_967_294)
        );
        assert_eq!((segment.sysv().atime, segment.sysv().dtime), (None, Some(Stamp(1_795_420_800))));
        assert_eq!((segment.rss, segment.swap), (Some(274_877_906_944), Some(8192)));
        assert_eq!((segment.mode.bits(), segment.sysv().dest, segment.sysv().locked), (0o640, true, true));
    }

    #[test]
    fn headings_only_is_an_empty_list_and_an_empty_file_is_an_error() {
        assert_eq!(read(HEADINGS).unwrap(), []);
        for wrong in ["", "no\nsuch table\n", "shmid key\n"] {
            assert!(read(wrong).unwrap_err().to_string().contains("line 1"), "{wrong:?}");
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sysvipc")).unwrap();
        // The second is longer than a buffer, and has no end.
        for wrong in ["", &"key ".repeat(9000)] {
            fs::write(root.path().join("sysvipc/shm"), wrong).unwrap();
            let error = find_segment(root.path(), ShmId::new(2000).unwrap()).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }

    #[test]
    fn errors_name_line_and_field() {
        let error = read(&format!("{HEADINGS}1 2 600 x\n")).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("size"), "{error}");
        assert!(read(&format!("{HEADINGS}1 2 600 4096 1 1 0")).is_err(), "truncated line");
        assert!(read(&format!("{HEADINGS}1 -5 600 4096 1 1 0 0 0 0 0 0 0 0 0 0\n")).is_err());
    }

    #[test]
    fn lines_may_cross_every_boundary_of_the_buffer() {
        let lines: String = (0..3000).map(|id| format!("{id} {id} 600 {id} 1 1 0 0 0 0 0 0 0 1 0 0\n")).collect();
        let segments = read(&format!("{HEADINGS}{lines}")).unwrap();
        assert_eq!(segments.len(), 3000);
        assert!(segments.iter().enumerate().all(|(index, segment)| segment.size == index as u64));
    }
}
