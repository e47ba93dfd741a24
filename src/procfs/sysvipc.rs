//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the namespace of whoever opens it.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memchr;

use super::ProcError;
use crate::model::{Key, Mode, Segment, ShmId, Stamp};

/// linux/shm.h, in the mode: marked for destruction.
const SHM_DEST: u32 = 0o1000;
/// linux/shm.h, in the mode: locked in memory.
const SHM_LOCKED: u32 = 0o2000;
/// How much is asked of the kernel at once; it gives a page or so.
const CHUNK: usize = 64 << 10;

/// Reads the segments one by one, with resident and swapped bytes, until `visit` breaks off.
///
/// # Errors
/// The file cannot be read, is empty, or has a line that is no segment.
pub(crate) fn for_each_segment(
    root: &Path,
    mut visit: impl FnMut(Segment) -> ControlFlow<()>,
) -> Result<(), ProcError> {
    let path = root.join("sysvipc/shm");
    let mut file = File::open(&path).map_err(|error| ProcError::read(&path, error))?;
    let mut buffer = vec![0; CHUNK];
    let (mut filled, mut line_number) = (0, 0);
    loop {
        let count = match file.read(&mut buffer[filled..]) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ProcError::read(&path, error)),
        };
        let wrong = |line, field| ProcError::Format { path: path.clone(), line, field };
        if count == 0 {
            // A real one has at least its headings: an empty one was put in the place of it by a sandbox.
            return match (line_number, filled) {
                (0, _) => Err(wrong(1, "headings")),
                (_, 0) => Ok(()),
                _ => Err(wrong(line_number + 1, "end")),
            };
        }
        filled += count;
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &buffer[start..filled]) {
            line_number += 1;
            if line_number > 1 {
                let segment = parse_line(&buffer[start..start + length]).map_err(|field| wrong(line_number, field))?;
                if visit(segment).is_break() {
                    return Ok(());
                }
            }
            start += length + 1;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            return Err(wrong(line_number + 1, "length"));
        }
    }
}

/// The fields of a line, split at spaces, since wide numbers overflow their columns.
///
/// Digits are read as bytes: of many segments, going through text would cost as much as all the rest.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Gives the next field; empty behind the last.
    fn next(&mut self) -> &'a [u8] {
        let start = self.0.iter().position(|byte| *byte != b' ').unwrap_or(self.0.len());
        let rest = &self.0[start..];
        let end = memchr(b' ', rest).unwrap_or(rest.len());
        self.0 = &rest[end..];
        &rest[..end]
    }

    /// Reads a whole number in a base of at most ten that fits its type, or names the field that is none.
    fn number<T: TryFrom<i128>>(&mut self, radix: i128, name: &'static str) -> Result<T, &'static str> {
        let field = self.next();
        let (digits, sign) = field.strip_prefix(b"-").map_or((field, 1), |digits| (digits, -1));
        // Twenty digits hold 64 bits, and cannot overflow twice as many.
        if digits.is_empty() || digits.len() > 20 {
            return Err(name);
        }
        let mut number: i128 = 0;
        for digit in digits {
            let value = i128::from(digit.wrapping_sub(b'0'));
            if value >= radix {
                return Err(name);
            }
            number = number * radix + value;
        }
        T::try_from(sign * number).map_err(|_| name)
    }

    /// Reads a pid, of which 0 is none.
    fn pid(&mut self, name: &'static str) -> Result<Option<i32>, &'static str> {
        self.number(10, name).map(|pid| (pid != 0).then_some(pid))
    }

    /// Reads a time, of which 0 is never.
    fn time(&mut self, name: &'static str) -> Result<Option<Stamp>, &'static str> {
        self.number(10, name).map(Stamp::from_kernel)
    }

    /// Reads a number that older kernels do not show.
    fn optional(&mut self, name: &'static str) -> Result<Option<u64>, &'static str> {
        if self.0.iter().all(|byte| *byte == b' ') { Ok(None) } else { self.number(10, name).map(Some) }
    }
}

/// Reads one line.
fn parse_line(line: &[u8]) -> Result<Segment, &'static str> {
    let mut fields = Fields(line);
    let key = Key::from_kernel(fields.number(10, "key")?);
    let id = ShmId::new(fields.number(10, "shmid")?).ok_or("shmid")?;
    let mode: u32 = fields.number(8, "perms")?;
    // Fields of a struct literal are evaluated in the order in which they stand: that of the line.
    Ok(Segment {
        id,
        key,
        mode: Mode::from_kernel(mode),
        size: fields.number(10, "size")?,
        cpid: fields.pid("cpid")?,
        lpid: fields.pid("lpid")?,
        nattch: fields.number(10, "nattch")?,
        uid: fields.number(10, "uid")?,
        gid: fields.number(10, "gid")?,
        cuid: fields.number(10, "cuid")?,
        cgid: fields.number(10, "cgid")?,
        atime: fields.time("atime")?,
        dtime: fields.time("dtime")?,
        ctime: fields.time("ctime")?,
        // Kernels before 2.6.34 had no columns for these.
        rss: fields.optional("rss")?,
        swap: fields.optional("swap")?,
        owner: None,
        group: None,
        creator: None,
        creator_group: None,
        idle_seconds: None,
        dest: mode & SHM_DEST != 0,
        locked: mode & SHM_LOCKED != 0,
        state: None,
        ns: None,
        creator_command: None,
        last_command: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HEADINGS: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

    /// Reads a made-up file.
    fn read(contents: &str) -> Result<Vec<Segment>, ProcError> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sysvipc")).unwrap();
        fs::write(root.path().join("sysvipc/shm"), contents).unwrap();
        let mut segments = Vec::new();
        for_each_segment(root.path(), |segment| {
            segments.push(segment);
            ControlFlow::Continue(())
        })?;
        Ok(segments)
    }

    #[test]
    fn wide_fields_negative_keys_and_flags_are_read() {
        let line = "-559038737 2147483647  3640  18446744073692774399 4194304     0 18446744073709551615 4294967294 100000 100000 4294967294 0 1795420800 1795420801 274877906944 8192\n";
        let segments = read(&format!("{HEADINGS}{line}")).unwrap();
        let [segment] = segments.as_slice() else { panic!("{segments:?}") };
        assert_eq!(segment.key.bits(), 0xdead_beef);
        assert_eq!(segment.id.raw(), i32::MAX);
        assert_eq!(segment.size, 18_446_744_073_692_774_399);
        assert_eq!((segment.cpid, segment.lpid), (Some(4_194_304), None));
        assert_eq!(segment.nattch, u64::MAX);
        assert_eq!(
            (segment.uid, segment.gid, segment.cuid, segment.cgid),
            (4_294_967_294, 100_000, 100_000, 4_294_967_294)
        );
        assert_eq!((segment.atime, segment.dtime), (None, Some(Stamp(1_795_420_800))));
        assert_eq!((segment.rss, segment.swap), (Some(274_877_906_944), Some(8192)));
        assert_eq!((segment.mode.bits(), segment.dest, segment.locked), (0o640, true, true));
    }

    #[test]
    fn headings_alone_are_no_segments_and_nothing_at_all_is_an_error() {
        assert_eq!(read(HEADINGS).unwrap(), []);
        assert!(read("").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn errors_name_line_and_field() {
        let error = read(&format!("{HEADINGS}1 2 600 x\n")).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("size"), "{error}");
        assert!(read(&format!("{HEADINGS}1 2 600 4096 1 1 0")).is_err(), "a line that was cut off is no segment");
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
