use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::args::{SegmentArg, SourceArgs};
use super::{Context, Manual, check_not_terminal, describe, is_dash, path_argument, usage, with_link_target};
use crate::act::NewFile;
use crate::contents::{self, ALGORITHM, Range, Source};
use crate::error::{Error, Exit, shmadm};
use crate::model::{Ident, Needs, Object, Sidecar, SidecarChecksum, path_text};
use crate::process::Interrupts;
use crate::render::write_report;

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

#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    segment: SegmentArg,

    /// Output file (attributes: FILE.json); - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Overwrite existing files
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) fn run(args: &DumpArgs, context: &mut Context) -> Result<Exit, Error> {
    let is_piped = is_dash(&args.output);
    if is_piped && context.json() {
        return Err(usage("--output - and --json exclude each other: --output - prints bytes, not a report"));
    }
    if is_piped {
        check_not_terminal(context)?;
    }
    let object = args.segment.resolve(context, Needs::RECORD)?;
    let interrupts = Interrupts::watch()?;
    if is_piped {
        let source = open(args, context, &object)?;
        send(context, &source)?;
        context.detach(source.into_attachment())?;
    } else {
        let sidecar = write_files(args, context, object, &interrupts)?;
        report(args, context, &sidecar)?;
    }
    Ok(Exit::Done)
}

fn open(args: &DumpArgs, context: &mut Context, object: &Object) -> Result<Source, Error> {
    let command = shmadm(format!("dump {} --output", object.ident().argument())).arg(path_argument(&args.output));
    args.source.open(context, object, 0, None, command)
}

/// Writes the contents to standard output.
fn send(context: &mut Context, source: &Source) -> Result<(), Error> {
    let whole = Range::within(source.id(), source.size(), 0, None)?;
    let mut bar = context.ui.progress("dumping", Some(whole.length()));
    let stdout = context.ui.descriptor()?;
    contents::send(&context.system, source, whole, stdout, &mut |bytes| bar.advance(bytes)).map(drop)
}

/// Writes both files, which appear when both are complete.
fn write_files(
    args: &DumpArgs,
    context: &mut Context,
    object: Object,
    interrupts: &Interrupts,
) -> Result<Sidecar, Error> {
    // If the files cannot be created, the object is not attached.
    let data = NewFile::begin(&args.output, args.force);
    let data = data.map_err(|error| with_link_target(error, "--output", &args.output))?;
    let record = NewFile::begin(&Sidecar::path_for(&args.output), args.force)?;
    let source = open(args, context, &object)?;
    let value = context.with_progress("dumping", source.size(), |progress| {
        contents::copy_to_file(&context.system, &source, data.file(), |error| data.failed(&error), progress)
    })?;
    let (page_size, page) = (context.system.page_size(), source.page(&context.system));
    let sidecar = Sidecar {
        schema: 1,
        page_size,
        huge_page_size: Some(page).filter(|page| *page != page_size),
        created: context.system.now(),
        kernel: context.system.kernel_release(),
        checksum: SidecarChecksum { algorithm: ALGORITHM.to_owned(), value },
        segment: object,
    };
    write_report(&mut record.file(), &sidecar).map_err(|error| record.failed(&error))?;
    context.detach(source.into_attachment())?;
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
    Ok(sidecar)
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
