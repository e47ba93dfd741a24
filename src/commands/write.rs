use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{ObjectArg, word};
use super::files::{is_dash, unreadable};
use super::{Context, Manual, usage_error};
use crate::contents::{self, Allocation, Range, Received, Sink, Source, ValueType};
use crate::error::{Errno, Error, Exit, Kind, SysError, again, shmadm};
use crate::explain::explain_full_directory;
use crate::model::{
    Ident, Needs, Object, counted, escape_invalid_utf8, parse_byte, parse_hex, parse_integer, parse_size, path_text,
};
use crate::process::Interrupts;
use crate::query::size_errno;
use crate::ui::Progress;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Write to a segment or POSIX object",
    description: "Writes to a segment or POSIX object: TEXT, numbers with --type, bytes with --hex, one repeated \
                  byte with --fill, a file with --input, or else standard input. Nothing is appended, not even a \
                  newline or NUL byte. TEXT that begins with - must follow --.\n\n\
                  A range that exceeds the segment or object is an error, and nothing is written: write never \
                  enlarges either (`shmadm set --size` enlarges an object). If standard input of unknown length is \
                  too long, write fills the segment or object, then fails and reports the number of bytes written.",
    examples: &[
        ("shmadm write 0x4d2 'hello'", "write five bytes and nothing after them"),
        ("shmadm write 0x4d2 --type i32 523 -1 --offset 8", "write two integers at offset 8"),
        ("shmadm write 0x4d2 --fill 0 --length 16", "write sixteen zeros"),
        ("head -c 4096 /dev/zero | shmadm write 0x4d2", "write standard input"),
        (
            "head -c 4096 /dev/zero | shmadm write 0x4d2 --sparse",
            "the same, but keep zeros as holes that use no memory",
        ),
    ],
    json: "{\"schema\":1,\"id\":5,\"offset\":0,\"written\":12}; \"name\" or \"object\" instead of \"id\" for a POSIX object",
    notes: "write does not synchronize with other processes: a reader can see a partial write.",
};

#[derive(Args, Debug)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// Text, or numbers with --type [default: standard input]
    #[arg(value_name = "TEXT", allow_negative_numbers = true)]
    values: Vec<OsString>,

    /// Write the contents of FILE; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "values")]
    input: Option<PathBuf>,

    /// Write bytes given as pairs of hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with_all = ["values", "input"], value_parser = parse_hex)]
    hex: Option<HexBytes>,

    /// Fill the range with BYTE (0 to 255, or 0x00 to 0xff)
    #[arg(long, value_name = "BYTE", conflicts_with_all = ["values", "input", "hex"], value_parser = parse_byte)]
    fill: Option<u8>,

    /// Number of bytes to fill [default: to the end]
    #[arg(long, value_name = "SIZE", requires = "fill", value_parser = parse_size)]
    length: Option<u64>,

    /// Write numbers of TYPE in native byte order
    #[arg(long, value_name = "TYPE", conflicts_with_all = ["input", "hex", "fill"], value_parser = word(ValueType::ALL))]
    r#type: Option<ValueType>,

    /// Keep untouched pages as holes where the input is zero
    #[arg(long, conflicts_with_all = ["values", "hex", "fill", "type"])]
    sparse: bool,

    /// Offset of the first byte
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    offset: u64,
}

/// Bytes of one option: clap would parse a field that is named `Vec` value by value.
type HexBytes = Vec<u8>;

enum Input {
    Bytes(Vec<u8>),
    /// One byte, repeated to a length or to the end of the segment.
    Fill(u8, Option<u64>),
    /// A file, or a stream without a known length.
    File(OwnedFd, Option<u64>),
}

impl Input {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Fill(_, length) | Self::File(_, length) => *length,
        }
    }
}

pub(crate) fn run(args: &WriteArgs, context: &mut Context) -> Result<Exit, Error> {
    let input = input(args, context)?;
    let object = args.segment.resolve(context, Needs::empty())?;
    let range = |context: &Context, size| {
        Range::within(object.ident(), size, args.offset, input.length()).map_err(|error| {
            let end = input.length().and_then(|length| args.offset.checked_add(length));
            match end.filter(|end| *end > size && !object.is_segment()) {
                Some(end) => with_enlargement(context, error, &object, end),
                None => error,
            }
        })
    };
    range(context, object.size)?;
    let mut target = context.open_to_write(&object)?;
    let range = range(context, target.size())?;
    // A long operation must leave the terminal clean when it is interrupted.
    let interrupts = Interrupts::watch()?;
    if args.sparse {
        target.refresh(&context.system, range, Allocation::Allowed)?;
    }
    let received =
        write(args, context, &target, range, &input).map_err(|error| with_full_cause(context, error, &target))?;
    context.close(target)?;
    // An interrupted input is incomplete.
    interrupts.check()?;
    report(context, &object, range, received, required_size(&input, range))
}

/// Returns the size that an object must have for an input that is longer than the range, after one more byte was read;
/// `None` if the length of the input is unknown.
fn required_size(input: &Input, range: Range) -> Option<u64> {
    let Input::File(file, _) = input else { return None };
    let mut file = File::from(file.try_clone().ok()?);
    let size = file.metadata().ok().filter(Metadata::is_file)?.len();
    let rest = size.checked_sub(file.stream_position().ok()?)?;
    range.end.checked_add(1)?.checked_add(rest)
}

/// Adds what takes the space, if the file system of a POSIX object is full.
fn with_full_cause(context: &Context, error: Error, target: &Source) -> Error {
    let (Some(SysError { errno: Errno::ENOSPC, .. }), Sink::File(file, _)) = (&error.source, target.sink()) else {
        return error;
    };
    explain_full_directory(&context.system, error, file.as_fd(), "its file system")
        .also("what was written before this offset remains")
}

/// Adds the command that enlarges a POSIX object, if it can have the size.
fn with_enlargement(context: &Context, error: Error, object: &Object, size: u64) -> Error {
    if size_errno(&context.system, size).is_some() {
        return error;
    }
    error.hint("enlarge it", shmadm("set").arg(object.ident().typed()).arg("--size").arg(size.to_string()))
}

/// Writes an input. With --sparse, its zeros are kept as holes; if untouched pages cannot be determined, zeros are
/// written like other bytes.
fn write(args: &WriteArgs, context: &Context, target: &Source, range: Range, input: &Input) -> Result<Received, Error> {
    let mut line = progress(context, input, range);
    let mut progress = |bytes| line.advance(bytes);
    let (to, system) = (target.sink(), &context.system);
    match input {
        Input::File(file, _) if args.sparse => {
            return contents::receive_sparse(system, target, range, file.as_fd(), &mut progress);
        }
        _ if args.sparse => return Err(usage_error("--sparse requires a file or standard input")),
        Input::Bytes(bytes) => contents::copy_in(to, range.offset, bytes)?,
        Input::Fill(byte, _) => contents::fill(to, range, *byte, &mut progress)?,
        Input::File(file, _) => return contents::receive(to, range, file.as_fd(), &mut progress),
    }
    Ok(Received { written: range.length(), more: false })
}

/// Starts a progress line; none for input typed on a terminal.
fn progress(context: &Context, input: &Input, range: Range) -> Progress {
    let total = match input {
        Input::File(file, None) if file.is_terminal() => return Progress::hidden(),
        Input::File(_, None) => None,
        _ => Some(range.length()),
    };
    context.ui.progress("writing", total)
}

#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    id: Ident,
    offset: u64,
    written: u64,
}

/// Reports the bytes written, or an input that was too long.
fn report(
    context: &mut Context,
    object: &Object,
    range: Range,
    received: Received,
    required: Option<u64>,
) -> Result<Exit, Error> {
    let (ident, offset, Received { written, more }) = (object.ident(), range.offset, received);
    if more {
        let message = format!("the input exceeds {ident}: {written} bytes were written");
        let error = Error::new(Kind::Failed, message)
            .target(ident.argument())
            .cause(format!("{ident} ends at offset {}", range.end));
        let error = if object.is_segment() { error.also("a segment cannot grow") } else { error };
        return Err(match required {
            Some(size) if object.is_segment() => {
                error.hint("create a larger segment", shmadm(format!("create --size {size}")))
            }
            Some(size) => with_enlargement(context, error, object, size),
            None => error,
        });
    }
    context.ui.status(&format!("wrote {} to {ident} at offset {offset}", counted(written, "byte")));
    if context.json() {
        context.report(&Written { id: ident, offset, written })?;
    }
    Ok(Exit::Done)
}

/// The minus sign of numbers that clap would take for options.
const MINUS: char = '\u{2212}';

/// Replaces the `-` of negative numbers after `--type` that clap does not recognize: `-.5`, `-0x80`, `-inf`.
pub(crate) fn mark_negative_numbers(arguments: &[OsString]) -> Vec<OsString> {
    let mut arguments = arguments.to_vec();
    let is_command = |word: &OsString| word == "write" || word == "attach-and-write";
    let is_type = |word: &OsString| word == "--type" || word.as_bytes().starts_with(b"--type=");
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let options = &mut arguments[..end];
    if options.iter().any(is_command) && options.iter().any(is_type) {
        for word in options {
            let number = word.to_str().and_then(|word| word.strip_prefix('-'));
            if let Some(number) = number.filter(|number| !number.starts_with(['-', '+']) && is_number(number)) {
                *word = format!("{MINUS}{number}").into();
            }
        }
    }
    arguments
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok() || parse_integer(text).is_ok()
}

fn input(args: &WriteArgs, context: &Context) -> Result<Input, Error> {
    if args.length.is_some() && args.fill.is_none() {
        // clap does not enforce `requires` if a third option conflicts with the required one.
        return Err(usage_error("--length requires --fill"));
    }
    if let Some(bytes) = &args.hex {
        return Ok(Input::Bytes(bytes.clone()));
    }
    if let Some(byte) = args.fill {
        return Ok(Input::Fill(byte, args.length));
    }
    if let Some(kind) = args.r#type {
        return numbers(kind, &args.values).map(Input::Bytes);
    }
    match args.values.as_slice() {
        [] => {}
        // To clap, `-` and numbers are ordinary values.
        [text] if text.as_bytes().starts_with(b"-") && !context.arguments.iter().any(|argument| argument == "--") => {
            let shown = escape_invalid_utf8(text.as_bytes());
            let error = usage_error(format!("invalid text \"{shown}\": put text that starts with - after --"));
            if text != "-" {
                return Err(error);
            }
            // Other programs read standard input.
            return Err(error.hint("write standard input", again("--input -").without(&["-"])));
        }
        [text] => return Ok(Input::Bytes(text.as_bytes().to_vec())),
        _ => return Err(usage_error("more than one TEXT: quote the text, or use --type to write numbers")),
    }
    let failed = |error, call| Error::io("cannot read standard input", &error, call);
    match &args.input {
        Some(path) if !is_dash(path) => open(path),
        _ if contents::stdin_is_closed() => {
            Err(failed(io::Error::from(Errno::EBADF), "read").cause("standard input is closed"))
        }
        _ => io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map(|file| Input::File(file, None))
            .map_err(|error| failed(error, "dup")),
    }
}

fn numbers(kind: ValueType, values: &[OsString]) -> Result<Vec<u8>, Error> {
    if values.is_empty() {
        return Err(usage_error("--type requires at least one number"));
    }
    let mut bytes = Vec::new();
    for value in values {
        let number = value.to_str().ok_or_else(|| {
            usage_error(format!("invalid number \"{}\": invalid UTF-8", escape_invalid_utf8(value.as_bytes())))
        })?;
        contents::encode(kind, &number.replace(MINUS, "-"), &mut bytes).map_err(usage_error)?;
    }
    Ok(bytes)
}

fn open(path: &Path) -> Result<Input, Error> {
    let failed = |error: io::Error, call| unreadable(&path_text(path), &error, call);
    let file = File::open(path).map_err(|error| failed(error, "open"))?;
    let metadata = file.metadata().map_err(|error| failed(error, "fstat"))?;
    if metadata.is_dir() {
        return Err(failed(io::Error::from(Errno::EISDIR), "read"));
    }
    // Files of /proc and /sys have size 0 but are not empty: read them as streams.
    let has_length = metadata.is_file() && metadata.len() > 0;
    Ok(Input::File(file.into(), has_length.then_some(metadata.len())))
}
