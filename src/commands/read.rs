use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::{ObjectArg, word};
use super::contents::SourceArgs;
use super::{Context, Manual, usage_error};
use crate::contents::{self, Decoder, Piece, Range, Source, ValueType};
use crate::error::{Error, Exit, again};
use crate::model::{Ident, Needs, TextDecoder, parse_count, parse_duration, parse_size};
use crate::process::{Interrupts, WaitOutcome};
use crate::render::{HexDump, begin_report, escape_lines, write_hex, write_within_string};
use crate::ui::Out;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Print the contents of a segment or POSIX object",
    description: "Prints the contents of a segment or POSIX object as a hex dump, text up to the first NUL byte \
                  (--text), numbers (--type) or raw bytes (--raw). A range that exceeds the segment or object is \
                  an error. Raw bytes are not written to a terminal.\n\n\
                  read attaches the segment read-only, which updates its attach and detach times and its last user. \
                  --peek reads through the attachment of another process, so atime, dtime, lpid and nattch do not \
                  change. It requires CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and also works for segments marked \
                  for destruction.\n\n\
                  Untouched pages read as zeros, and reading does not allocate them: with privilege, holes are \
                  found in the file behind the segment, otherwise with mincore(2). Where neither works, because \
                  pages may be swapped or are huge, read fails unless --allow-allocation is given.\n\n\
                  An object is read from its file: that allocates no memory, and updates no timestamp if the caller \
                  owns the object or has CAP_FOWNER.",
    examples: &[
        ("shmadm read 0x4d2 --length 64", "dump the first 64 bytes"),
        ("shmadm read 0x4d2 --raw > segment.bin", "copy the contents to a file"),
        ("shmadm read 0x4d2 --raw --sparse > segment.bin", "the same, with holes for untouched pages"),
        ("shmadm read 0x4d2 --type i32 --every 1s --rounds 2", "print the integer at offset 0, twice"),
        ("shmadm read 0x4d2 --text", "print the text up to the first NUL"),
        ("shmadm read /psm_1a2b3c4d --length 64", "dump the first 64 bytes of a POSIX object"),
    ],
    json: "{\"schema\":1,\"id\":5,\"offset\":0,\"hex\":\"…\"}. With --type: \
           {\"schema\":1,\"id\":5,\"offset\":0,\"type\":\"i32\",\"values\":[523]}, where NaN and infinities are \
           strings. With --text: {\"schema\":1,\"id\":5,\"offset\":0,\"text\":\"…\"}. For a POSIX object, \"name\" replaces \"id\". --every prints one line of JSON each time.",
    notes: "read does not synchronize with other processes: the output can contain a partial write.",
};

#[derive(Args, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// Offset of the first byte
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    offset: u64,

    /// Number of bytes [default: to the end]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "count")]
    length: Option<u64>,

    /// Print a hex dump (default)
    #[arg(long, group = "form")]
    hex: bool,

    /// Print the bytes unchanged
    #[arg(long, group = "form")]
    raw: bool,

    /// Print text up to the first NUL byte
    #[arg(long, group = "form")]
    text: bool,

    /// Print numbers of TYPE in native byte order
    #[arg(long, value_name = "TYPE", group = "form", value_parser = word(ValueType::ALL))]
    r#type: Option<ValueType>,

    /// Number of values [default: 1]
    #[arg(long, value_name = "N", requires = "type", value_parser = parse_count)]
    count: Option<u64>,

    /// Write untouched pages as holes (--raw to a file)
    #[arg(long)]
    sparse: bool,

    #[command(flatten)]
    source: SourceArgs,

    /// Repeat every DURATION until Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    every: Option<Duration>,

    /// Stop after printing N times
    #[arg(long, value_name = "N", requires = "every", value_parser = parse_count)]
    rounds: Option<u64>,
}

impl ReadArgs {
    /// Rejects what clap cannot: it knows no --json, and `requires` only if no third option conflicts.
    fn check(&self, context: &Context) -> Result<(), Error> {
        if self.raw && context.json() {
            return Err(usage_error("--raw and --json cannot be combined: --raw prints bytes, not a report"));
        }
        if self.sparse && !self.raw {
            return Err(usage_error("--sparse requires --raw"));
        }
        if self.count.is_some() && self.r#type.is_none() {
            return Err(usage_error("--count requires --type"));
        }
        match self.r#type.zip(self.length) {
            Some((kind, length)) if length % kind.size() as u64 != 0 => {
                let (size, name) = (kind.size(), kind.name());
                Err(usage_error(format!("invalid length {length}: not a multiple of {size}, the size of {name}")))
            }
            _ => Ok(()),
        }
    }

    fn length(&self) -> Option<u64> {
        match self.r#type {
            Some(kind) if self.length.is_none() => Some(self.count.unwrap_or(1).saturating_mul(kind.size() as u64)),
            _ => self.length,
        }
    }
}

pub(crate) fn run(args: &ReadArgs, context: &mut Context) -> Result<Exit, Error> {
    args.check(context)?;
    let object = args.segment.resolve(context, Needs::empty())?;
    Range::within(object.ident(), object.size, args.offset, args.length())?;
    if args.raw {
        context
            .check_not_terminal()
            .map_err(|error| error.hint("print a hex dump", again("--hex").without(&["raw", "sparse"])))?;
    }
    // A long operation must leave the terminal clean when it is interrupted.
    let interrupts = (args.every.is_some() || args.raw).then(Interrupts::watch).transpose()?;
    let mut source = context.open_to_read(&object, &args.source, args.offset, args.length())?;
    let range = Range::within(source.ident().clone(), source.size(), args.offset, args.length())?;
    let mut rounds = 0;
    let exit = loop {
        print(args, context, &source, range)?;
        rounds += 1;
        let (Some(every), Some(interrupts)) = (args.every, &interrupts) else { break Exit::Done };
        if args.rounds == Some(rounds) || context.ui.is_closed() {
            break Exit::Done;
        }
        context.ui.flush()?;
        match interrupts.wait(Some(every), None)? {
            WaitOutcome::Terminate(signal) | WaitOutcome::Signal(signal) => break Exit::Signal(signal),
            _ => {}
        }
        source.refresh(&context.system, range, args.source.allocation())?;
    };
    context.close(source)?;
    Ok(exit)
}

fn print(args: &ReadArgs, context: &mut Context, source: &Source, range: Range) -> Result<(), Error> {
    match args.r#type {
        _ if args.raw => context.send(source, range, args.sparse, "reading"),
        _ if context.json() => print_json(args, context, source, range),
        Some(kind) => print_values(context, source, range, kind),
        None if args.text => print_text(context, source, range),
        None => print_hex(context, source, range),
    }
}

fn print_hex(context: &mut Context, source: &Source, range: Range) -> Result<(), Error> {
    let mut dump = HexDump::default();
    contents::for_each_piece(source, range, |offset, piece| {
        context.ui.write(|out| match piece {
            Piece::Bytes(bytes) => dump.write(out, offset, bytes),
            Piece::Hole(length) => dump.write_zeros(out, offset, length),
        })?;
        Ok(!context.ui.is_closed())
    })?;
    context.ui.write(|out| dump.finish(out, range.end))
}

/// Prints text, escaped on a terminal, with a newline at the end.
fn print_text(context: &mut Context, source: &Source, range: Range) -> Result<(), Error> {
    let mut last = 0;
    let mut decoder = context.ui.is_terminal().then(TextDecoder::default);
    stream(context, source, range, true, |out, bytes| {
        last = bytes.last().copied().unwrap_or(last);
        match &mut decoder {
            Some(decoder) => out.write_all(escape_lines(&decoder.feed(bytes)).as_bytes()),
            None => out.write_all(bytes),
        }
    })?;
    let rest = decoder.map(TextDecoder::end).unwrap_or_default();
    let newline = if last == b'\n' { "" } else { "\n" };
    context.ui.write(|out| write!(out, "{rest}{newline}"))
}

fn print_values(context: &mut Context, source: &Source, range: Range, kind: ValueType) -> Result<(), Error> {
    let mut decoder = Decoder::new(kind);
    stream(context, source, range, false, |out, bytes| {
        decoder.feed(bytes).into_iter().try_for_each(|value| writeln!(out, "{value}"))
    })
}

/// Prints a report whose last field is written piece by piece.
fn print_json(args: &ReadArgs, context: &mut Context, source: &Source, range: Range) -> Result<(), Error> {
    let (name, opening, closing) = match args.r#type {
        Some(_) => ("values", "[", "]}\n"),
        None if args.text => ("text", "\"", "\"}\n"),
        None => ("hex", "\"", "\"}\n"),
    };
    let fields =
        Contents { id: source.ident().clone(), offset: range.offset, r#type: args.r#type.map(ValueType::name) };
    // Together with the first bytes: if none can be read, only the error is printed.
    let mut is_begun = false;
    let mut begin = |out: &mut Out| {
        if std::mem::replace(&mut is_begun, true) {
            return Ok(());
        }
        begin_report(out, &fields, name)?;
        out.write_all(opening.as_bytes())
    };
    let (mut numbers, mut text, mut comma) = (args.r#type.map(Decoder::new), TextDecoder::default(), "");
    stream(context, source, range, args.text, |out, bytes| {
        begin(out)?;
        match &mut numbers {
            Some(decoder) => decoder.feed(bytes).into_iter().try_for_each(|value| {
                out.write_all(std::mem::replace(&mut comma, ",").as_bytes())?;
                value.write_json(out)
            }),
            None if args.text => write_within_string(out, &text.feed(bytes)),
            None => write_hex(out, bytes),
        }
    })?;
    context.ui.write(|out| {
        begin(out)?;
        write_within_string(out, &text.end())?;
        out.write_all(closing.as_bytes())
    })
}

/// The report in JSON, without the contents.
#[derive(Serialize)]
struct Contents {
    #[serde(flatten)]
    id: Ident,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
}

/// Prints a range piece by piece, so that a large object is not held in memory, until stdout is closed or, of a text,
/// up to the first NUL.
fn stream(
    context: &mut Context,
    source: &Source,
    range: Range,
    is_text: bool,
    mut write: impl FnMut(&mut Out, &[u8]) -> io::Result<()>,
) -> Result<(), Error> {
    contents::for_each_chunk(source, range, |bytes| {
        let end = if is_text { bytes.iter().position(|byte| *byte == 0) } else { None };
        context.ui.write(|out| write(out, &bytes[..end.unwrap_or(bytes.len())]))?;
        Ok(end.is_none() && !context.ui.is_closed())
    })
}
