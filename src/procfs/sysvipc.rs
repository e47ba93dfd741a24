//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the IPC namespace of the process that
//! opened it.

use std::fs::File;
use std::path::Path;
use std::str::{FromStr, SplitAsciiWhitespace};

use super::{Lines, ProcError};
use crate::model::{Key, Mode, Object, ObjectKind, ShmId, Stamp, SysV};

/// Calls `show` for each segment, with resident and swapped bytes, as it is read.
/// Fails if the file cannot be read, is empty, or has an invalid line.
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
/// Fails if the file cannot be read, is empty, or has an invalid line.
pub(crate) fn find_segment(root: &Path, id: ShmId) -> Result<Option<Object>, ProcError> {
    let path = root.join("sysvipc/shm");
    let mut lines = open(&path)?;
    let id = id.to_string();
    while lines.advance()? {
        // Parsing only the second field takes a third of the time.
        if fields(&lines.line).nth(1) == Some(&*id) {
            return parse_line(&lines.line).map(Some).map_err(|field| lines.invalid(field));
        }
    }
    Ok(None)
}

/// Opens the file and checks that its headings are the kernel's, since a sandbox may put another file in its place.
fn open(path: &Path) -> Result<Lines<'_, File>, ProcError> {
    let mut lines = Lines::new(path, File::open(path).map_err(|error| ProcError::read(path, error))?);
    lines.advance()?;
    if fields(&lines.line).take(2).eq(["key", "shmid"]) { Ok(lines) } else { Err(lines.invalid("headings")) }
}

/// Returns the fields of a row, separated by spaces: wide numbers overflow their columns. The kernel writes only ASCII.
fn fields(line: &[u8]) -> SplitAsciiWhitespace<'_> {
    std::str::from_utf8(line).unwrap_or_default().split_ascii_whitespace()
}

/// Parses one row. The error is the name of the field.
fn parse_line(line: &[u8]) -> Result<Object, &'static str> {
    fn next<T: FromStr>(fields: &mut SplitAsciiWhitespace<'_>, name: &'static str) -> Result<T, &'static str> {
        fields.next().and_then(|field| field.parse().ok()).ok_or(name)
    }
    let fields = &mut fields(line);
    let (key, id) = (next(fields, "key")?, next(fields, "shmid")?);
    let mode = fields.next().and_then(|mode| u32::from_str_radix(mode, 8).ok()).ok_or("perms")?;
    let (size, cpid, lpid): (_, i32, i32) = (next(fields, "size")?, next(fields, "cpid")?, next(fields, "lpid")?);
    let (nattch, uid, gid) = (next(fields, "nattch")?, next(fields, "uid")?, next(fields, "gid")?);
    let (cuid, cgid) = (next(fields, "cuid")?, next(fields, "cgid")?);
    let mut time = |name| next(fields, name).map(Stamp::from_kernel);
    let (atime, dtime, ctime) = (time("atime")?, time("dtime")?, time("ctime")?);
    // Kernels before 2.6.34 lack these columns.
    let mut optional = |name| fields.next().map(|field| field.parse().map_err(|_| name)).transpose();
    let (rss, swap) = (optional("rss")?, optional("swap")?);
    // 0 is no process, or one outside this pid namespace.
    let pid = |pid: i32| (pid != 0).then_some(pid);
    let sysv = SysV {
        id: ShmId::new(id).ok_or("shmid")?,
        key: Key::from_kernel(key),
        cuid,
        cgid,
        cpid: pid(cpid),
        lpid: pid(lpid),
        nattch,
        atime,
        dtime,
        dest: Mode::is_marked(mode),
        locked: Mode::is_locked(mode),
        ..SysV::default()
    };
    let (mode, kind) = (Mode::from_kernel(mode), ObjectKind::SysV(sysv));
    Ok(Object { size, mode, uid, gid, ctime, rss, swap, kind, ..Object::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

    fn read(contents: &str) -> Result<Vec<Object>, ProcError> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("sysvipc")).unwrap();
        std::fs::write(root.path().join("sysvipc/shm"), contents).unwrap();
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
        let sysv = SysV {
            id: ShmId::new(i32::MAX).unwrap(),
            key: Key::new(0xdead_beef),
            cuid: 100_000,
            cgid: 4_294_967_294,
            cpid: Some(4_194_304),
            nattch: u64::MAX,
            dtime: Some(Stamp(1_795_420_800)),
            dest: true,
            locked: true,
            ..SysV::default()
        };
        let expected = Object {
            size: 18_446_744_073_692_774_399,
            mode: Mode::parse("640").unwrap(),
            uid: 4_294_967_294,
            gid: 100_000,
            ctime: Some(Stamp(1_795_420_801)),
            rss: Some(274_877_906_944),
            swap: Some(8192),
            kind: ObjectKind::SysV(sysv),
            ..Object::default()
        };
        assert_eq!(read(&format!("{HEADINGS}{line}")).unwrap(), [expected]);
    }

    #[test]
    fn errors_name_line_and_field() {
        for (contents, line, field) in [
            ("", "line 1", "headings"),
            ("no\nsuch table\n", "line 1", "headings"),
            // Longer than a buffer, and without an end.
            (&"key ".repeat(9000), "line 1", "end"),
            (&format!("{HEADINGS}1 2 600 x\n"), "line 2", "size"),
            (&format!("{HEADINGS}1 2 600 4096 1 1 0"), "line 2", "end"),
            (&format!("{HEADINGS}1 -5 600 4096 1 1 0 0 0 0 0 0 0 0 0 0\n"), "line 2", "shmid"),
        ] {
            let error = read(contents).unwrap_err().to_string();
            assert!(error.contains(line) && error.ends_with(field), "{error}");
        }
    }

    #[test]
    fn lines_may_cross_every_boundary_of_the_buffer() {
        let lines: String = (0..3000).map(|id| format!("{id} {id} 600 {id} 1 1 0 0 0 0 0 0 0 1 0 0\n")).collect();
        let segments = read(&format!("{HEADINGS}{lines}")).unwrap();
        assert!(segments.iter().map(|segment| segment.size).eq(0..3000));
        assert_eq!(read(HEADINGS).unwrap(), []);
    }
}
