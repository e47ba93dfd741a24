use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::args::{OwnerArgs, key};
use super::files::is_dash;
use super::new_segment::{NewSegment, create_guarded};
use super::{Context, Manual, describe, files, look_up_again, usage_error};
use crate::act::{self, Change, Creation, NewObject, Opened, PendingSegment, Requested};
use crate::contents::{self, ALGORITHM, Sink};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::model::{Ident, Key, KeySpec, Mode, Needs, Object, ObjectName, Recorded, ShmId, Sidecar, path_text};
use crate::process::{Guard, Hold, Interrupts, StartedHolder, start_holder};
use crate::query::{System, find_by_key, may_control};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Recreate a segment or POSIX object from a dump",
    description: "Recreates a segment from FILE and FILE.json, which `shmadm dump` wrote, and prints its id. Either \
                  file can be named. Key, \
                  size, mode, owner, group, huge pages and lock are as recorded unless options override them. Id, \
                  times and pids cannot be restored.\n\n\
                  The size and the checksum of the file are verified before the segment is created, and the checksum \
                  of the written bytes afterwards. An existing key is an error. The segment has mode 0600 until it is \
                  complete. If a step fails, it is removed.\n\n\
                  --hold keeps the segment attached in a background process.\n\n\
                  A POSIX object is recreated with the recorded name, size, mode, owner and group. It gets its name \
                  (--name chooses another) when its contents are complete and verified. An existing name is an error.",
    examples: &[(
        "shmadm dump 0x4d2 -o shm.bin && shmadm rm 0x4d2 && shmadm restore shm.bin",
        "remove a segment and recreate it",
    )],
    json: "{\"schema\":1,\"segment\":{…},\"holder\":null}. For a POSIX object: {\"schema\":1,\"object\":{…}}.",
    notes: "A file with holes is restored with SHM_NORESERVE, since it may be larger than memory. Zeros in a file \
            that has lost its holes allocate no memory. Huge pages are reserved from their pool, which must have \
            enough of them. The caller can give the segment to another user and remains its creator. Recorded \
            owners and groups are numbers; names are not compared.\n\n\
            If restore is killed (by SIGKILL or the OOM killer), even just after it has printed the id, a second \
            process, shmadm-guard, removes the segment. The guard creates the segment, so it is shown as the \
            creator. If both processes are killed, or the guard cannot be started (in which case restore prints a \
            warning), an incomplete segment can remain. It has the recorded key (which must be set at creation), mode 0600 and no attachments. \
            `shmadm rm KEY` removes it, and so does prune, because it is an orphan.",
};

const ONLY_CONTENTS: &str = "see how --sparse writes only the contents to an existing segment";

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// File written by dump, next to FILE.json
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[arg(help = "Key: private, random, NUMBER or ftok:PATH[:PROJ] [default: as recorded]", long, value_name = "KEY", allow_negative_numbers = true, value_parser = key(KeySpec::EXPECTED))]
    key: Option<KeySpec>,

    /// Name of the POSIX object: /NAME or sem:/NAME [default: as recorded]
    #[arg(long, value_name = "NAME", value_parser = OsStringValueParser::new().try_map(|text| ObjectName::parse(text.as_bytes())))]
    name: Option<ObjectName>,

    /// Keep the segment attached in a background process
    #[arg(long)]
    hold: bool,

    #[command(flatten)]
    owner: OwnerArgs,

    /// Permission bits in octal [default: as recorded]
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    mode: Option<Mode>,
}

pub(crate) fn run(args: &RestoreArgs, context: &mut Context) -> Result<Exit, Error> {
    if is_dash(&args.file) {
        return Err(usage_error("cannot restore from standard input: restore needs a file and its record, FILE.json")
            .hint(ONLY_CONTENTS, shmadm("help write")));
    }
    let path = dump_named(&args.file)?;
    let (owner, group) = args.owner.ids(&context.system)?;
    let interrupts = Interrupts::watch()?;
    let sidecar = read_sidecar(&path)?;
    let file = contents::open_nonblocking(&path).map_err(|error| unreadable(&path, &error, "open"))?;
    match &sidecar.recorded {
        Recorded::Segment(_) if args.name.is_some() => {
            return Err(usage_error("--name is only for POSIX objects: use --key for a segment"));
        }
        Recorded::Object(_) if args.key.is_some() || args.hold => {
            return Err(usage_error("--key and --hold are only for segments: use --name for a POSIX object"));
        }
        _ => {}
    }
    let data = verify(context, &path, &file, &sidecar)?;
    if let Recorded::Object(recorded) = &sidecar.recorded {
        let new = NewObject {
            name: new_name(args, recorded)?,
            exclusive: true,
            requested: Requested {
                size: Some(recorded.size),
                mode: Some(args.mode.unwrap_or(recorded.mode)),
                owner: Some(owner.unwrap_or(recorded.uid)),
                group: Some(group.unwrap_or(recorded.gid)),
                ..Requested::default()
            },
        };
        return restore_object(context, &new, (&path, &file), data, &sidecar, &interrupts);
    }
    let (pending, guard) = create(args, context, &sidecar, data, &interrupts)?;
    let holder = match complete(args, context, pending.id(), (&path, &file), data, &sidecar, (owner, group)) {
        Ok(holder) => holder,
        Err(error) => return Err(pending.abandon(error)),
    };
    interrupts.check()?;
    report(context, NewSegment { id: pending.id(), pending: Some(pending), guard, holder })
}

/// Returns the path of the dump that a user named by its contents or by its record.
fn dump_named(named: &Path) -> Result<Cow<'_, Path>, Error> {
    if named.is_dir() {
        let name = path_text(named);
        return Err(Error::new(Kind::Failed, format!("cannot restore {name}: it is a directory")).target(name));
    }
    let contents = named.extension().filter(|extension| *extension == "json").map(|_| named.with_extension(""));
    match contents {
        // A dump whose name ends in .json has its own record.
        Some(contents) if !Sidecar::path_for(named).exists() => match named.metadata() {
            Err(error) if !contents.exists() => Err(unreadable(named, &error, "stat")),
            _ => Ok(contents.into()),
        },
        _ => Ok(named.into()),
    }
}

/// Creates the segment with the recorded attributes; `data` is the number of bytes in the file that are not in holes.
fn create(
    args: &RestoreArgs,
    context: &mut Context,
    sidecar: &Sidecar,
    data: u64,
    interrupts: &Interrupts,
) -> Result<(PendingSegment, Option<Guard>), Error> {
    let recorded = sidecar.object();
    let recorded_key = match recorded.sysv().key {
        Key::PRIVATE => KeySpec::Private,
        key => KeySpec::Key(key),
    };
    let creation = Creation {
        key: args.key.clone().unwrap_or(recorded_key),
        size: Some(recorded.size),
        mode: Mode::PRIVATE,
        exclusive: true,
        huge: sidecar.huge_page_size.map(Some),
        // Huge pages are always reserved: touching one that the pool cannot supply raises SIGBUS.
        no_reserve: data < recorded.size && sidecar.huge_page_size.is_none(),
        held: args.hold,
        ..Creation::default()
    };
    match create_guarded(context, &creation, interrupts).map_err(|error| replace_hints(&context.system, error))? {
        (Opened::New(pending), guard) => Ok((pending, guard)),
        (Opened::Existing(_), _) => Err(Error::new(Kind::Exists, "cannot restore: a segment with this key exists")),
    }
}

/// Replaces the hints of `create` for an existing key.
fn replace_hints(system: &System, mut error: Error) -> Error {
    if error.kind != Kind::Exists {
        return error;
    }
    error.hints.clear();
    let key = error.target.clone().unwrap_or_default();
    let error = error
        .hint("use another key", again("--key random"))
        .hint("show the segment with this key", shmadm(format!("stat {key}")));
    let found = Key::parse(&key).ok().and_then(|key| find_by_key(system, key));
    let Some(found) = found.filter(|found| !found.is_in_use()) else { return error };
    let remove = shmadm(format!("rm {key}"));
    error.hint("remove it", if may_control(system, &found) == Some(false) { remove.sudo() } else { remove })
}

/// Holds, fills and changes the new segment, as recorded and requested.
fn complete(
    args: &RestoreArgs,
    context: &Context,
    id: ShmId,
    dump: (&Path, &File),
    data: u64,
    sidecar: &Sidecar,
    (owner, group): (Option<u32>, Option<u32>),
) -> Result<Option<StartedHolder>, Error> {
    let segment = look_up_again(context, id, Needs::empty())?;
    let holder = args.hold.then(|| start_holder(&context.system, &segment, Hold::plain())).transpose()?;
    fill(context, &segment, dump, data, sidecar)?;
    let recorded = sidecar.object();
    let changed = |new: u32, current: u32| (new != current).then_some(new);
    let mode = args.mode.unwrap_or(recorded.mode);
    let change = Change {
        owner: changed(owner.unwrap_or(recorded.uid), segment.uid),
        group: changed(group.unwrap_or(recorded.gid), segment.gid),
        mode: (mode != segment.mode).then_some(mode),
        lock: recorded.sysv().locked.then_some(true),
        ..Change::default()
    };
    act::set(&context.system, &segment, change)?;
    Ok(holder)
}

/// Writes the contents and checks that they are the recorded ones.
fn fill(
    context: &Context,
    segment: &Object,
    (path, file): (&Path, &File),
    data: u64,
    sidecar: &Sidecar,
) -> Result<(), Error> {
    let attachment = context.attach_new(segment)?;
    copy(context, Sink::Attachment(&attachment), (path, file), data, sidecar)?;
    act::detach_checked(&context.system, attachment)
}

/// Copies the contents and checks that they are the recorded ones.
fn copy(
    context: &Context,
    to: Sink<'_>,
    (path, file): (&Path, &File),
    data: u64,
    sidecar: &Sidecar,
) -> Result<(), Error> {
    // Zeros that were allocated are written; but a file that lost its holes must not allocate untouched pages.
    let with_zeros = sidecar.allocated().is_some_and(|allocated| data <= allocated);
    let (size, failed) = (sidecar.object().size, |error| unreadable(path, &error, "read"));
    let checksum = context.with_progress("restoring", size, |progress| {
        contents::copy_from_file(to, file, size, with_zeros, failed, progress)
    })?;
    if checksum == sidecar.checksum.value {
        return Ok(());
    }
    let name = path_text(path);
    Err(Error::new(Kind::Failed, format!("{name} changed while being restored")).target(name).cause(format!(
        "the bytes written do not match the recorded checksum; the {} was removed",
        sidecar.object().noun()
    )))
}

/// Returns the name of the object to create.
fn new_name(args: &RestoreArgs, recorded: &Object) -> Result<ObjectName, Error> {
    let name = args.name.as_ref().or(recorded.posix().name.as_ref()).cloned();
    name.ok_or_else(|| {
        usage_error("the record has no name, or one with \\x, which may replace a byte: choose one with --name")
    })
}

/// Creates a POSIX object from a dump. It gets its name when its contents are complete.
fn restore_object(
    context: &mut Context,
    new: &NewObject,
    file: (&Path, &File),
    data: u64,
    sidecar: &Sidecar,
    interrupts: &Interrupts,
) -> Result<Exit, Error> {
    #[derive(Serialize)]
    struct Restored<'a> {
        object: &'a Object,
    }
    let ident = Ident::Name(new.name.clone());
    let fill = |to: &File, _| {
        copy(context, Sink::File(to, &ident), file, data, sidecar)?;
        interrupts.check()
    };
    act::create_file(&context.system, new, fill, false).map_err(|error| match error.kind {
        Kind::Exists => Error { hints: Vec::new(), ..error }
            .hint("use another name", again("--name").arg(format!("{}-restored", new.name)))
            .hint("show the object with this name", shmadm("stat").arg(ident.typed())),
        _ => error,
    })?;
    let object = look_up_again(context, ident, context.record_needs())?;
    context.ui.status(&format!("restored {}; its inode and times are new", describe(&object)));
    if context.json() {
        context.report(&Restored { object: &object })?;
    } else {
        context.ui.print_value(&new.name.argument())?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Restored<'a> {
    segment: &'a Object,
    holder: Option<i32>,
}

fn report(context: &mut Context, new: NewSegment) -> Result<Exit, Error> {
    let segment = look_up_again(context, new.id, Needs::RECORD)?;
    context.ui.status(&format!("restored {}; its id, creator, times and pids are new", describe(&segment)));
    let report = Restored { segment: &segment, holder: new.holder_pid() };
    new.report(context, &report)
}

/// Reads the record of the dump at a path.
fn read_sidecar(dump: &Path) -> Result<Sidecar, Error> {
    let path = &*Sidecar::path_for(dump);
    let name = path_text(path);
    let mut text = Vec::new();
    let failed = |error, call| unreadable(path, &error, call).hint(ONLY_CONTENTS, shmadm("help write"));
    let file = contents::open_nonblocking(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !dump.exists() => unreadable(dump, &error, "open"),
        _ => failed(error, "open"),
    })?;
    file.take(Sidecar::MAX_SIZE).read_to_end(&mut text).map_err(|error| failed(error, "read"))?;
    parse_sidecar(&text)
        .map_err(|why| Error::new(Kind::Failed, format!("invalid dump record {name}: {why}")).target(&*name))
}

fn parse_sidecar(text: &[u8]) -> Result<Sidecar, String> {
    // A flattened enum is reported without the names of its fields.
    #[derive(Deserialize)]
    struct Fields {
        segment: Option<IgnoredAny>,
        object: Option<IgnoredAny>,
    }
    let sidecar: Sidecar = serde_json::from_slice(text).map_err(|error| match serde_json::from_slice(text) {
        Ok(Fields { segment: None, object: None }) => "missing field `segment`".to_owned(),
        _ => error.to_string(),
    })?;
    let Sidecar { schema, kind, recorded, checksum, huge_page_size, .. } = &sidecar;
    if *schema != 1 {
        return Err(format!("unsupported schema {schema}: expected 1"));
    }
    if checksum.algorithm != ALGORITHM {
        return Err(format!("unsupported checksum algorithm {:?}: expected {ALGORITHM}", checksum.algorithm));
    }
    if kind.is_some() != matches!(recorded, Recorded::Object(_)) {
        return Err("a record has either a segment, or the kind \"posix\" and an object".to_owned());
    }
    let segment = sidecar.object();
    // IPC_SET rejects -1, which is not a valid uid or gid.
    if [segment.uid, segment.gid].contains(&u32::MAX) {
        return Err(format!("{} is not a valid uid or gid", u32::MAX));
    }
    if huge_page_size.is_some_and(|size| !size.is_power_of_two() || size == 1) {
        return Err("huge_page_size is not a power of two greater than 1".to_owned());
    }
    Ok(sidecar)
}

/// Checks a file against its record; returns how many of its bytes are not in holes.
fn verify(context: &Context, path: &Path, file: &File, sidecar: &Sidecar) -> Result<u64, Error> {
    let name = path_text(path);
    let mismatch = |what: String| {
        Error::new(Kind::Failed, format!("{name} does not match its record: {what}")).target(name.as_str())
    };
    let size = sidecar.object().size;
    let failed = |error| unreadable(path, &error, "read");
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(mismatch("it is not a regular file".to_owned()));
    }
    if metadata.len() != size {
        return Err(mismatch(format!("it has {} bytes, expected {size}", metadata.len())));
    }
    let (checksum, data) = context
        .with_progress("verifying", size, |progress| contents::checksum_of_file(file, size, failed, progress))?;
    if checksum != sidecar.checksum.value {
        return Err(mismatch("its checksum differs".to_owned()));
    }
    Ok(data)
}

/// Returns the error for a file of a dump that cannot be read.
fn unreadable(path: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path_text(path);
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::new(Kind::Failed, format!("{name} was truncated while being read")).target(name);
    }
    files::unreadable(&name, error, call)
}
