//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the IPC namespace of the process that
//! opened it.

use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use super::{Lines, ProcError};
use crate::model::{Key, Mode, Object, ObjectKind, ShmId, Stamp, SysV};

/// Calls `show` for each segment, with resident and swapped bytes, as it is read.
/// Fails if the file cannot be read, is empty, or has an invalid line.
pub(crate) fn each_segment(root: &Path, mut show: impl FnMut(Object)) -> Result<(), ProcError> {
    let path = root.join("sysvipc/shm");
    let mut lines = open(&path)?;
    while lines.advance()? {
        show(parse_row(&lines.line).ok_or_else(|| lines.invalid("row"))?);
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
            return parse_row(&lines.line).map(Some).ok_or_else(|| lines.invalid("row"));
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
fn fields(line: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = std::str::from_utf8(line).unwrap_or_default();
    // Half of a row are spaces, which str::split_ascii_whitespace() would turn into empty fields first.
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let (field, others) = rest.split_at(rest.bytes().position(|byte| byte == b' ').unwrap_or(rest.len()));
        rest = others;
        (!field.is_empty()).then_some(field)
    })
}

fn parse_row(line: &[u8]) -> Option<Object> {
    fn next<'a, T: FromStr>(fields: &mut impl Iterator<Item = &'a str>) -> Option<T> {
        fields.next()?.parse().ok()
    }
    // 0 means no process, or one outside this pid namespace.
    let pid = |pid: i32| (pid != 0).then_some(pid);
    let fields = &mut fields(line);
    let (key, id) = (next(fields)?, next(fields)?);
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (size, cpid, lpid) = (next(fields)?, pid(next(fields)?), pid(next(fields)?));
    let (nattch, uid, gid, cuid, cgid) = (next(fields)?, next(fields)?, next(fields)?, next(fields)?, next(fields)?);
    let mut time = || next(fields).map(Stamp::from_kernel);
    let (atime, dtime, ctime) = (time()?, time()?, time()?);
    let (rss, swap) = (Some(next(fields)?), Some(next(fields)?));
    let (id, key) = (ShmId::new(id)?, Key::from_kernel(key));
    let (dest, locked) = (Mode::is_marked(mode), Mode::is_locked(mode));
    let sysv = SysV { id, key, cuid, cgid, cpid, lpid, nattch, atime, dtime, dest, locked, ..SysV::default() };
    let (mode, kind) = (Mode::from_kernel(mode), ObjectKind::SysV(sysv));
    Some(Object { size, mode, uid, gid, ctime, rss, swap, kind, ..Object::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    const HEADINGS: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

    fn read(contents: &str) -> Result<Vec<Object>, ProcError> {
        let root = directory(&[("sysvipc/shm", contents)]);
        let mut segments = Vec::new();
        each_segment(root.path(), |segment| segments.push(segment)).map(|()| segments)
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
    fn errors_name_the_line() {
        for (contents, expected) in [
            ("", "line 1: invalid headings"),
            ("no\nsuch table\n", "line 1: invalid headings"),
            // Longer than a buffer, and without an end.
            (&"key ".repeat(9000), "line 1: invalid end"),
            (&format!("{HEADINGS}1 2 600 x\n"), "line 2: invalid row"),
            (&format!("{HEADINGS}1 2 600 4096 1 1 0"), "line 2: invalid end"),
            (&format!("{HEADINGS}1 -5 600 4096 1 1 0 0 0 0 0 0 0 0 0 0\n"), "line 2: invalid row"),
        ] {
            let error = read(contents).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        assert_eq!(read(HEADINGS).unwrap(), []);
    }
}
