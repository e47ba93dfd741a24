//! /proc/sysvipc/shm (linux/ipc/shm.c, `sysvipc_shm_proc_show`): all segments of the namespace of whoever opens it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use memchr::arch::all::memchr::One;

use super::ProcError;
use super::row::{Fields, parse_line};
use crate::model::{Segment, ShmId};

/// How much is asked of the kernel at once; it gives a page or so.
const READ: usize = 8 << 10;
/// How much is asked of it to learn how wide its rows are: the headings, behind which it makes one row more and no page.
const HEADINGS: usize = 256;
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

/// Reads as far as the row of one segment, which stands behind so many others as far as the caller can tell; `None` if
/// there is none with this id.
///
/// The kernel has to make every row on the way; but those that are passed over take one call, and need not be looked at.
/// If the caller was wrong, all are read.
///
/// # Errors
/// The file cannot be read, is empty, or has a line that is no segment.
pub(crate) fn find_segment(root: &Path, id: ShmId, behind: usize) -> Result<Option<Segment>, ProcError> {
    let mut source = Source::open(root)?;
    let mut lines = Lines::default();
    let number = id.to_string();
    let mut buffer = [0; READ];
    let (mut behind, mut jumped) = (behind, false);
    loop {
        let most = if behind > lines.count { HEADINGS } else { READ };
        let count = source.read(&mut buffer[..most])?;
        let mut found = None;
        lines.feed(&source.path, &buffer[..count], &mut |line| {
            let mut fields = Fields(line);
            fields.next();
            // Most rows are somebody else's, and need not be understood.
            if fields.next() == number.as_bytes() {
                found = Some(parse_line(line)?);
            }
            Ok(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
        if lines.count > 0 && behind > lines.count {
            let (place, beyond) = lines.beyond(behind);
            if source.seek(place).is_ok() {
                (lines, jumped) = (beyond, true);
            }
            behind = 0;
        } else if count == 0 && jumped {
            source.seek(0)?;
            (lines, jumped) = (Lines::default(), false);
        } else if count == 0 {
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

    /// Goes to another place in the file.
    fn seek(&mut self, place: u64) -> Result<(), ProcError> {
        self.file.seek(SeekFrom::Start(place)).map(drop).map_err(|error| ProcError::read(&self.path, error))
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
    /// Bytes of the headings with their end, which are as wide as a row at the least.
    width: usize,
    /// Whether what comes first is the end of a line that was passed over.
    within: bool,
}

impl Lines {
    /// Shows each whole line behind the headings, which have to be the kernel's.
    fn feed(
        &mut self,
        path: &Path,
        mut bytes: &[u8],
        visit: &mut impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(), ProcError> {
        // Not the search that first asks what the processor can do: where that is a virtual one, the answers take as long
        // as hundreds of rows.
        let newline = One::new(b'\n');
        while let Some(end) = newline.find(bytes) {
            let mut line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if !self.rest.is_empty() {
                self.rest.extend_from_slice(line);
                line = &self.rest;
            }
            let passed_over = std::mem::take(&mut self.within);
            self.count += usize::from(!passed_over);
            let result = match self.count {
                _ if passed_over => Ok(()),
                1 => {
                    self.width = line.len() + 1;
                    Self::headings(line)
                }
                _ => visit(line),
            };
            self.rest.clear();
            result.map_err(|field| ProcError::Format { path: path.to_owned(), line: self.count, field })?;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Gives the place where the last of so many rows ends, or one before it where rows are wider than the headings; and
    /// what is to be fed from there on.
    fn beyond(&self, rows: usize) -> (u64, Self) {
        let count = rows + 1;
        ((self.width * count - 1) as u64, Self { count, width: self.width, within: true, rest: Vec::new() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;
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
            assert_eq!(find_segment(root.path(), segment.id, 0).unwrap().as_ref(), Some(segment));
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
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sysvipc")).unwrap();
        // Longer than what is asked for at first, and without an end.
        for wrong in ["", &"key ".repeat(9000)] {
            fs::write(root.path().join("sysvipc/shm"), wrong).unwrap();
            let error = find_segment(root.path(), ShmId::new(2000).unwrap(), 1000).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
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
    fn rows_that_are_told_to_stand_before_are_passed_over_and_no_row_is_missed() {
        // As wide as the headings, as the kernel makes them, and wider.
        for wide in [0, 7] {
            let width = HEADINGS.len() - 1 + wide;
            let row =
                |id: u32, size: usize| format!("{:<width$}\n", format!("0 {id} 600 {size}{}", " 2000".repeat(12)));
            // The row is there twice, which tells from where on it was looked for.
            let rows = (0..3000).map(|id| row(if id == 500 { 2000 } else { id }, id as usize));
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("sysvipc")).unwrap();
            fs::write(root.path().join("sysvipc/shm"), format!("{HEADINGS}{}", rows.collect::<String>())).unwrap();
            let size = |id, behind| {
                find_segment(root.path(), ShmId::new(id).unwrap(), behind).unwrap().map(|segment| segment.size)
            };
            for (behind, found) in [(0, 500), (10, 500), (400, 500), (500, 500), (800, 2000), (2000, 2000)] {
                assert_eq!(size(2000, behind), Some(found), "{behind} rows of {width} bytes");
            }
            // Told wrongly, it is found all the same.
            for behind in [1000, 2900, 3000, 5000] {
                assert_eq!(size(700, behind), Some(700), "{behind} rows of {width} bytes");
            }
            assert_eq!(size(500, 400), None);
        }
    }

    #[test]
    fn lines_may_cross_every_boundary_of_the_buffer() {
        let lines: String = (0..3000).map(|id| format!("{id} {id} 600 {id} 1 1 0 0 0 0 0 0 0 1 0 0\n")).collect();
        let segments = read(&format!("{HEADINGS}{lines}")).unwrap();
        assert_eq!(segments.len(), 3000);
        assert!(segments.iter().enumerate().all(|(index, segment)| segment.size == index as u64));
    }
}
