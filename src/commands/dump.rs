use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::ObjectArg;
use super::contents::SourceArgs;
use super::files::{is_dash, with_output_target};
use super::{Context, Manual, describe, usage_error};
use crate::act::NewFile;
use crate::contents::{self, ALGORITHM, Range};
use crate::error::{Error, Exit};
use crate::model::{DumpKind, Ident, Needs, Object, Sidecar, SidecarChecksum, path_text};
use crate::process::Interrupts;
use crate::render::write_report;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Dump a segment or POSIX object to files",
    description: "Writes the contents of a segment or POSIX object to FILE and its attributes to FILE.json, from \
                  which `shmadm restore` recreates it. Untouched pages become holes in FILE. FILE.json also \
                  contains the page size, the time, the kernel release and a checksum.\n\n\
                  Existing files are not overwritten without --force, except for a FILE.json without FILE, left by \
                  a killed dump. Both files have mode 0600 and appear only when they are complete, FILE.json first: \
                  if FILE exists, the dump is complete. If FILE is -, only the contents are written, to standard \
                  output. FILE can also be given with --output.\n\n\
                  As with read, no memory is allocated, and --peek changes no field of the segment. If the contents \
                  change during the dump, each piece is dumped as it was when it was read; the checksum is that of \
                  the file.\n\n\
                  An object that no longer has a name is given by its device and inode (obj:0:27:4), as `shmadm \
                  list --unlinked` shows them. This requires permission to inspect a process that has it open or \
                  mapped.",
    examples: &[
        (
            "shmadm dump 0x4d2 --output segment.bin",
            "write the contents to segment.bin and the attributes to segment.bin.json",
        ),
        ("shmadm dump /psm_1a2b3c4d object.bin", "write the contents and attributes of a POSIX object"),
        ("shmadm dump 0x4d2 --output - | gzip > segment.gz", "compress only the contents"),
    ],
    json: "{\"schema\":1,\"id\":5,\"file\":\"…\",\"size\":8192,\"checksum\":{\"algorithm\":\"blake3-blocks\",\
           \"value\":\"…\"}}; \"name\" or \"object\" instead of \"id\" for a POSIX object",
    notes: "Until they are complete, the files have no name (O_TMPFILE), so they disappear however the program \
            ends. On file systems that do not support this (NFS), and for a moment while --force replaces each of \
            them, their names begin with .shmadm-new-. If dump is killed by SIGKILL at that time, such a file remains; \
            the next dump to the same directory deletes it.\n\n\
            dump refuses to write to a symbolic link, or through a symbolic link of a user who is neither root nor \
            the caller.\n\n\
            The checksum is BLAKE3 over the following, for each block of 4096 bytes that is not all zero: the \
            block's offset as a 64-bit little-endian number, then the BLAKE3 (32 bytes) of the block. Holes are not \
            read, and hash like zeros.",
};

#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// Output file, as with --output
    #[arg(value_name = "FILE", required_unless_present = "output", conflicts_with = "output")]
    file: Option<PathBuf>,

    /// Output file (attributes: FILE.json); - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Overwrite existing files
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    source: SourceArgs,
}

impl DumpArgs {
    fn path(&self) -> &Path {
        // clap requires one of them.
        self.file.as_deref().or(self.output.as_deref()).unwrap_or(Path::new("-"))
    }
}

pub(crate) fn run(args: &DumpArgs, context: &mut Context) -> Result<Exit, Error> {
    let is_piped = is_dash(args.path());
    if is_piped && context.json() {
        return Err(usage_error("--output - and --json cannot be combined: --output - prints bytes, not a report"));
    }
    if is_piped {
        context.check_not_terminal()?;
    }
    let interrupts = Interrupts::watch()?;
    // If the files cannot be created, the segment is not even looked for.
    let files = if is_piped { None } else { Some(Files::begin(args)?) };
    let object = args.segment.resolve(context, Needs::RECORD | Needs::CONTENTS)?;
    if let Some(files) = files {
        let sidecar = files.write(args, context, object, &interrupts)?;
        report(args, context, &sidecar)?;
    } else {
        let source = context.open_to_read(&object, &args.source, 0, None)?;
        let whole = Range::within(source.ident().clone(), source.size(), 0, None)?;
        context.send(&source, whole, false, "dumping")?;
        context.close(source)?;
    }
    Ok(Exit::Done)
}

/// The files of a dump, which appear when both are complete.
struct Files {
    data: NewFile,
    record: NewFile,
    replaces_record: bool,
}

impl Files {
    fn begin(args: &DumpArgs) -> Result<Self, Error> {
        let path = args.path();
        let data = NewFile::begin(path, args.force).map_err(|error| with_output_target(error, path))?;
        let record = Sidecar::path_for(path);
        let replaces_record = args.force || is_leftover(path, &record);
        Ok(Self { data, record: NewFile::begin(&record, replaces_record)?, replaces_record })
    }

    fn write(
        self,
        args: &DumpArgs,
        context: &mut Context,
        mut object: Object,
        interrupts: &Interrupts,
    ) -> Result<Sidecar, Error> {
        let Self { data, record, replaces_record } = self;
        let source = context.open_to_read(&object, &args.source, 0, None)?;
        // A POSIX object may have been resized meanwhile.
        object.size = source.size();
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
            kind: (!object.is_segment()).then_some(DumpKind::Posix),
            recorded: object.into(),
        };
        write_report(&mut record.file(), &sidecar).map_err(|error| record.failed(&error))?;
        context.close(source)?;
        data.sync()?;
        record.sync()?;
        interrupts.check()?;
        // The record first: a complete dump has one.
        let record = record.commit_with_rollback(replaces_record)?;
        if let Err(error) = data.commit(args.force) {
            // The existing contents belong to the previous record.
            record.roll_back();
            return Err(error);
        }
        Ok(sidecar)
    }
}

/// Returns whether a dump was killed after it had written this record and before it had written the contents.
fn is_leftover(contents: &Path, record: &Path) -> bool {
    let read = || std::io::read_to_string(contents::open_nonblocking(record).ok()?.take(Sidecar::MAX_SIZE)).ok();
    contents.symlink_metadata().is_err() && read().is_some_and(|text| serde_json::from_str::<Sidecar>(&text).is_ok())
}

#[derive(Serialize)]
struct Dumped<'a> {
    #[serde(flatten)]
    id: Ident,
    file: &'a str,
    size: u64,
    checksum: &'a SidecarChecksum,
}

fn report(args: &DumpArgs, context: &mut Context, sidecar: &Sidecar) -> Result<(), Error> {
    let name = path_text(args.path());
    context.ui.status(&format!("dumped {} to {name} and {name}.json", describe(sidecar.object())));
    if !context.json() {
        return Ok(());
    }
    context.report(&Dumped {
        id: sidecar.object().ident(),
        file: &name,
        size: sidecar.object().size,
        checksum: &sidecar.checksum,
    })
}
