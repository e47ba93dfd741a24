//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the namespace of whoever opens it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use memchr::memchr;
use memchr::memmem::Finder;

use super::ProcError;
use crate::model::{Key, Mode, Segment, ShmId, Stamp};

/// linux/shm.h, in the mode: marked for destruction.
const SHM_DEST: u32 = 0o1000;
/// linux/shm.h, in the mode: locked in memory.
const SHM_LOCKED: u32 = 0o2000;
/// How much is asked of the kernel at once; it gives a page or so.
const READ: usize = 8 << 10;
/// How much is handed from thread to thread at once; a hundred rows or so, which one thread reads alone.
const CHUNK: usize = 16 << 10;
/// How many chunks may be read ahead.
const CHUNKS_AHEAD: usize = 256;

/// Shows all segments, with resident and swapped bytes, as they are read.
///
/// Of many segments a second thread does the reading while this one understands what was read: the kernel takes as
/// long for a row as we do.
///
/// # Errors
/// The file cannot be read, is empty, or has a line that is no segment.
pub(crate) fn each_segment(root: &Path, mut show: impl FnMut(Segment)) -> Result<(), ProcError> {
    let mut source = Source::open(root)?;
    let mut chunk = Vec::new();
    let more = source.read_some(&mut chunk)?;
    let mut lines = Lines::default();
    let mut visit = |line: &[u8]| parse_line(line).map(&mut show);
    lines.feed(&source.path, &chunk, &mut visit)?;
    let mut ahead = false;
    if more {
        let path = source.path.clone();
        let reader = &mut source;
        ahead = std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
            let read = move || {
                loop {
                    let mut chunk = Vec::new();
                    let more = reader.read_some(&mut chunk);
                    let last = !matches!(more, Ok(true));
                    // The receiver goes away only if it has met an error of its own.
                    if sender.send(more.map(|_| chunk)).is_err() || last {
                        return;
                    }
                }
            };
            // Where the user may have no more threads, this one does it all.
            if Builder::new().spawn_scoped(scope, read).is_err() {
                return Ok(false);
            }
            receiver.into_iter().try_for_each(|chunk| lines.feed(&path, &chunk?, &mut visit)).map(|()| true)
        })?;
    }
    let mut more = more && !ahead;
    while more {
        chunk.clear();
        more = source.read_some(&mut chunk)?;
        lines.feed(&source.path, &chunk, &mut visit)?;
    }
    lines.end(&source.path)
}

/// Reads as far as the row of one segment; `None` if there is none with this id.
///
/// # Errors
/// The file cannot be read, is empty, or has a line that is no segment.
pub(crate) fn find_segment(root: &Path, id: ShmId) -> Result<Option<Segment>, ProcError> {
    let mut source = Source::open(root)?;
    let mut lines = Lines::default();
    let mut found = None;
    let mut buffer = [0; READ];
    // Most rows are somebody else's: one that has the number nowhere need not be understood.
    let number = id.to_string();
    let number = Finder::new(&number);
    loop {
        let count = source.read(&mut buffer)?;
        lines.feed(&source.path, &buffer[..count], &mut |line| {
            if found.is_some() || number.find(line).is_none() {
                return Ok(());
            }
            let mut fields = Fields(line);
            fields.signed("key")?;
            if fields.signed("shmid")? == i64::from(id.raw()) {
                found = Some(parse_line(line)?);
            }
            Ok(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
        if count == 0 {
            return lines.end(&source.path).map(|()| None);
        }
    }
}

/// The file, opened.
struct Source {
    /// Its path.
    path: PathBuf,
    /// It.
    file: File,
}

impl Source {
    /// Opens the file.
    fn open(root: &Path) -> Result<Self, ProcError> {
        let path = root.join("sysvipc/shm");
        let file = File::open(&path).map_err(|error| ProcError::read(&path, error))?;
        Ok(Self { path, file })
    }

    /// Reads what one call gives, a page or so of whole rows; gives how many bytes, 0 at the end.
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ProcError> {
        loop {
            match self.file.read(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| ProcError::read(&self.path, error)),
            }
        }
    }

    /// Appends what one call gives; gives how many bytes, 0 at the end.
    fn read_once(&mut self, bytes: &mut Vec<u8>) -> Result<usize, ProcError> {
        let mut buffer = [0; READ];
        let count = self.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Appends a chunk; gives whether there may be more.
    fn read_some(&mut self, bytes: &mut Vec<u8>) -> Result<bool, ProcError> {
        bytes.reserve(CHUNK + READ);
        while bytes.len() < CHUNK {
            if self.read_once(bytes)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Lines, put together from chunks that may end anywhere.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end is to come.
    rest: Vec<u8>,
    /// How many lines there were.
    count: usize,
}

impl Lines {
    /// Shows each whole line behind the headings, which have to be the kernel's.
    fn feed(
        &mut self,
        path: &Path,
        mut bytes: &[u8],
        visit: &mut impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(), ProcError> {
        while let Some(end) = memchr(b'\n', bytes) {
            self.count += 1;
            let mut line = &bytes[..end];
            if !self.rest.is_empty() {
                self.rest.extend_from_slice(line);
                line = &self.rest;
            }
            let result = if self.count == 1 { Self::headings(line) } else { visit(line) };
            self.rest.clear();
            result.map_err(|field| ProcError::Format { path: path.to_owned(), line: self.count, field })?;
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes sure that the first line is the kernel's, and not what a sandbox has put in the place of it.
    fn headings(line: &[u8]) -> Result<(), &'static str> {
        let mut names = Fields(line);
        if (names.next(), names.next()) == (b"key", b"shmid") { Ok(()) } else { Err("headings") }
    }

    /// Makes sure that there were headings and that the last line was whole.
    fn end(&self, path: &Path) -> Result<(), ProcError> {
        let wrong = |line, field| Err(ProcError::Format { path: path.to_owned(), line, field });
        match (self.count, self.rest.is_empty()) {
            // A real one has at least its headings: an empty one was put in the place of it by a sandbox.
            (0, _) => wrong(1, "headings"),
            (_, true) => Ok(()),
            (count, false) => wrong(count + 1, "end"),
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
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        self.0 = &rest[end..];
        &rest[..end]
    }

    /// Reads a whole number, or names the field that is none.
    fn unsigned(&mut self, name: &'static str) -> Result<u64, &'static str> {
        let start = self.0.iter().position(|byte| *byte != b' ').ok_or(name)?;
        let mut number = 0_u64;
        // One pass over the digits, since a listing has sixteen of these in every row.
        for (place, byte) in self.0.iter().enumerate().skip(start) {
            match byte.wrapping_sub(b'0') {
                digit @ ..=9 => {
                    number = number.checked_mul(10).and_then(|number| number.checked_add(digit.into())).ok_or(name)?;
                }
                _ if *byte == b' ' && place > start => {
                    self.0 = &self.0[place..];
                    return Ok(number);
                }
                _ => return Err(name),
            }
        }
        self.0 = &[];
        Ok(number)
    }

    /// Reads a whole number that fits its type, or names the field that is none.
    fn narrow<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, &'static str> {
        T::try_from(self.unsigned(name)?).map_err(|_| name)
    }

    /// Reads a number that may be negative, or names the field that is none.
    fn signed(&mut self, name: &'static str) -> Result<i64, &'static str> {
        let start = self.0.iter().position(|byte| *byte != b' ').ok_or(name)?;
        match self.0.get(start..).and_then(|rest| rest.strip_prefix(b"-")) {
            Some(rest) if rest.first() != Some(&b' ') => {
                self.0 = rest;
                self.unsigned(name).and_then(|number| 0_i64.checked_sub_unsigned(number).ok_or(name))
            }
            Some(_) => Err(name),
            None => self.unsigned(name).and_then(|number| i64::try_from(number).map_err(|_| name)),
        }
    }

    /// Reads a pid, of which 0 is none.
    fn pid(&mut self, name: &'static str) -> Result<Option<i32>, &'static str> {
        self.narrow(name).map(|pid| (pid != 0).then_some(pid))
    }

    /// Reads a time, of which 0 is never.
    fn time(&mut self, name: &'static str) -> Result<Option<Stamp>, &'static str> {
        self.signed(name).map(Stamp::from_kernel)
    }

    /// Reads a number that older kernels do not show.
    fn optional(&mut self, name: &'static str) -> Result<Option<u64>, &'static str> {
        match self.next() {
            [] => Ok(None),
            field => digits(field, 10).map(Some).ok_or(name),
        }
    }
}

/// Reads digits of a base of at most ten; `None` for anything else, for nothing, and beyond 64 bits.
fn digits(field: &[u8], base: u64) -> Option<u64> {
    let value = |digit: u8| Some(u64::from(digit.wrapping_sub(b'0'))).filter(|value| *value < base);
    let step = |number: u64, digit: &u8| number.checked_mul(base)?.checked_add(value(*digit)?);
    if field.is_empty() { None } else { field.iter().try_fold(0, step) }
}

/// Reads one line.
fn parse_line(line: &[u8]) -> Result<Segment, &'static str> {
    let mut fields = Fields(line);
    let key = i32::try_from(fields.signed("key")?).map_err(|_| "key")?;
    let id = ShmId::new(fields.narrow("shmid")?).ok_or("shmid")?;
    let mode = digits(fields.next(), 8).and_then(|mode| u32::try_from(mode).ok()).ok_or("perms")?;
    // Fields of a struct literal are evaluated in the order in which they stand: that of the line.
    Ok(Segment {
        id,
        key: Key::from_kernel(key),
        mode: Mode::from_kernel(mode),
        size: fields.unsigned("size")?,
        cpid: fields.pid("cpid")?,
        lpid: fields.pid("lpid")?,
        nattch: fields.unsigned("nattch")?,
        uid: fields.narrow("uid")?,
        gid: fields.narrow("gid")?,
        cuid: fields.narrow("cuid")?,
        cgid: fields.narrow("cgid")?,
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
        attachers: None,
        container: None,
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
        let all = each_segment(root.path(), |segment| segments.push(segment)).map(|()| segments);
        for segment in all.iter().flatten().step_by(500) {
            // The other way to read gives the same.
            assert_eq!(find_segment(root.path(), segment.id).unwrap().as_ref(), Some(segment));
        }
        all
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
        for wrong in ["", "no\nsuch table\n", "shmid key\n"] {
            assert!(read(wrong).unwrap_err().to_string().contains("line 1"), "{wrong:?}");
        }
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
