//! `shmadm dump`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::args::SegmentArg;
use super::{Context, Manual, describe, path_argument, with_link_target};
use crate::act::{self, Address, Lifetime, NewFile};
use crate::contents::{self, ALGORITHM, Allocation, Range, Source};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::explain::resolve;
use crate::model::{Access, Ident, Needs, Object, Sidecar, SidecarChecksum, path_text};
use crate::process::Interrupts;
use crate::render::write_report;

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Dump a segment's contents and attributes to files",
    description: "Writes the contents of a segment to FILE and its attributes to FILE.json, from which `shmadm \
                  restore` recreates the segment. Untouched pages become holes in FILE. FILE.json also contains the \
                  page size, the time, the kernel release and a checksum.\n\n\
                  Existing files are not overwritten without --force. Both files have mode 0600 and appear only when \
                  they are complete, FILE.json first: if FILE exists, the dump is complete. With --output - only the \
                  contents are written, to standard output.\n\n\
                  As with read, no memory is allocated, and --peek changes no field of the segment. A segment that is \
                  written to during the dump is dumped as it was read, piece by piece; the checksum is that of the \
                  file.",
    examples: &[
        (
            "shmadm dump 0x4d2 --output segment.bin",
            "write the contents to segment.bin and the attributes to segment.bin.json",
        ),
        ("shmadm dump 0x4d2 --output - | gzip > segment.gz", "compress only the contents"),
    ],
    json: "{\"schema\":1,\"id\":5,\"file\":\"…\",\"size\":8192,\"checksum\":{\"algorithm\":\"blake3-blocks\",\
           \"value\":\"…\"}}",
    notes: "Until they are complete, the files have no name (O_TMPFILE), so they disappear whatever ends the program. \
            On file systems without such files (NFS), and for the moment in which --force replaces files, they have a \
            name that begins with .shmadm-, and so has the replaced record until the contents are replaced; a kill at \
            that time leaves these files.\n\n\
            A symbolic link is refused, and so is a path through a symbolic link of a user who is neither root nor \
            the caller.\n\n\
            The checksum is BLAKE3 over the following, for each block of 4096 bytes that is not all zero: the block's \
            offset as a 64-bit little-endian number, then the BLAKE3 (32 bytes) of the block. Holes cost nothing and \
            equal zeros.",
};

/// Arguments of `shmadm dump`.
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    one: SegmentArg,

    /// Output file (attributes: FILE.json); - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Overwrite existing files
    #[arg(short, long)]
    force: bool,

    /// Read via another process's attachment, changing no times (privileged)
    #[arg(long)]
    peek: bool,

    /// Allow reading to allocate memory for untouched pages
    #[arg(long, conflicts_with = "peek")]
    allow_allocation: bool,
}

/// Dumps a segment.
///
/// # Errors
/// The segment cannot be read, or the files cannot be written; then no file is left.
pub(crate) fn run(args: &DumpArgs, context: &mut Context) -> Result<Exit, Error> {
    let piped = args.output.as_os_str() == "-";
    if piped && context.json() {
        return Err(super::usage("--output - and --json exclude each other: --output - prints bytes, not a report"));
    }
    if piped && context.ui.is_terminal() {
        return Err(Error::new(
            Kind::Refused,
            "cannot write raw bytes to a terminal: control sequences could change its state",
        )
        .hint("write them to a file", again("").redirected("> FILE")));
    }
    let segment = resolve(&context.system, &args.one.segment, Needs::RECORD)?;
    let interrupts = Interrupts::watch()?;
    // Files first: if they cannot be created, the segment need not be read.
    let files = if piped {
        None
    } else {
        let data = NewFile::begin(&args.output, args.force);
        let data = data.map_err(|error| with_link_target(error, "--output", &args.output))?;
        Some((data, NewFile::begin(&Sidecar::path_for(&args.output), args.force)?))
    };
    let source = open(args, context, &segment)?;
    let Some((data, record)) = files else {
        let whole = Range::within(segment.sysv().id, source.size(), 0, None)?;
        let mut bar = context.ui.progress("dumping", Some(whole.length()));
        let to = context.ui.descriptor()?;
        contents::send(&context.system, &source, whole, to, &mut |bytes| bar.advance(bytes))?;
        return detach(context, source);
    };
    let mut bar = context.ui.progress("dumping", Some(source.size()));
    let value =
        contents::copy_to_file(&context.system, &source, data.file(), |error| data.failed(&error), &mut |bytes| {
            bar.advance(bytes)
        })?;
    drop(bar);
    let page = source.page(&context.system);
    let sidecar = Sidecar {
        schema: 1,
        page_size: context.system.page_size(),
        huge_page_size: Some(page).filter(|page| *page != context.system.page_size()),
        created: context.system.now(),
        kernel: context.system.kernel_release(),
        checksum: SidecarChecksum { algorithm: ALGORITHM.to_owned(), value },
        segment,
    };
    write_report(&mut record.file(), &sidecar).map_err(|error| record.failed(&error))?;
    detach(context, source)?;
    data.sync()?;
    record.sync()?;
    interrupts.check()?;
    // The record first: a complete dump has one.
    let record = record.commit_with_rollback(args.force)?;
    if let Err(error) = data.commit(args.force) {
        // The existing contents belong to the previous record.
        record.roll_back();
        return Err(error);
    }
    record.confirm();
    report(args, context, &sidecar)?;
    Ok(Exit::Done)
}

/// Opens the segment through its own attachment, or through another process's with --peek.
fn open(args: &DumpArgs, context: &mut Context, segment: &Object) -> Result<Source, Error> {
    if args.peek {
        let without = shmadm(format!("dump {} --output", segment.ident().argument())).arg(path_argument(&args.output));
        return Source::via_peer(&context.system, segment, without);
    }
    context.warn_of_lost_record(segment);
    let allocation = if args.allow_allocation { Allocation::Allowed } else { Allocation::Refused };
    let attachment = act::attach(&context.system, segment, Access::ReadOnly, Address::Any, false, Lifetime::Transient)?;
    let whole = Range::within(segment.sysv().id, attachment.size(), 0, None)?;
    Source::attached(&context.system, attachment, whole, allocation)
}

/// The report in JSON.
#[derive(Serialize)]
struct Dumped<'a> {
    #[serde(flatten)]
    id: Ident,
    file: &'a str,
    size: u64,
    checksum: &'a SidecarChecksum,
}

/// Reports the written files.
fn report(args: &DumpArgs, context: &mut Context, sidecar: &Sidecar) -> Result<(), Error> {
    let name = path_text(&args.output);
    context.ui.status(&format!("dumped {} to {name} and {name}.json", describe(&sidecar.segment)));
    if !context.json() {
        return Ok(());
    }
    context.report(&Dumped {
        id: sidecar.segment.ident(),
        file: &name,
        size: sidecar.segment.size,
        checksum: &sidecar.checksum,
    })
}

/// Detaches the attachment made for reading.
fn detach(context: &Context, source: Source) -> Result<Exit, Error> {
    if let Some(attachment) = source.into_attachment() {
        act::detach_checked(&context.system, attachment)?;
    }
    Ok(Exit::Done)
}
