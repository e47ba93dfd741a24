//! `shmadm restore`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{OwnerArgs, key};
use super::{Context, Manual, describe, removed_again};
use crate::act::{self, Address, Change, Creation, Lifetime, Opened, PendingSegment};
use crate::contents::{self, ALGORITHM};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::explain::resolve;
use crate::model::{Access, Key, KeySpec, Mode, Needs, Object, ShmId, Sidecar, Target, path_text};
use crate::process::{Guard, Hold, Interrupts, StartedHolder, start_holder};

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Recreate a segment from a dump",
    description: "Recreates a segment from FILE and FILE.json, which `shmadm dump` wrote, and prints its id. Key, \
                  size, mode, owner, group, huge pages and lock are as recorded unless options override them. Id, \
                  times and pids cannot be restored.\n\n\
                  The size and the checksum of the file are verified before the segment is created, and the checksum \
                  of the written bytes afterwards. An existing key is an error. The segment has mode 0600 until it is \
                  complete. If a step fails, it is removed again.\n\n\
                  --hold keeps the segment attached in a background process.",
    examples: &[(
        "shmadm dump 0x4d2 --output segment.bin && shmadm rm 0x4d2 && shmadm restore segment.bin",
        "remove a segment and recreate it",
    )],
    json: "{\"schema\":1,\"segment\":{…},\"holder\":null}",
    notes: "A file with holes is restored with SHM_NORESERVE, since it may be larger than memory. Zeros in a file \
            that has lost its holes allocate no memory. Huge pages are reserved from their pool, which must have \
            enough of them. The caller can give the segment to another user and remains its creator. Recorded owners \
            and groups are numbers; names are not compared.\n\n\
            If restore is killed (by SIGKILL or the OOM killer), a second process, shmadm-guard, removes the \
            incomplete segment. The guard creates the segment, so it is shown as the creator. If both processes are \
            killed, or the guard cannot be started (restore prints a warning then), an incomplete segment can remain. \
            It has the recorded key, since a segment cannot get its key later, mode 0600 and no attachment. `shmadm \
            rm KEY` removes it, and so does prune, because it is an orphan.",
};

/// Arguments of `shmadm restore`.
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// File written by dump, next to FILE.json
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[arg(help = "Key: private, random, NUMBER or ftok:PATH[:PROJ] [default: as recorded]", long, value_name = "KEY", value_parser = key())]
    key: Option<KeySpec>,

    /// Keep the segment attached in a background process
    #[arg(long)]
    hold: bool,

    #[command(flatten)]
    given: OwnerArgs,

    /// Permission bits in octal [default: as recorded]
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    mode: Option<Mode>,
}

/// Restores a segment.
///
/// # Errors
/// The files do not belong together or are damaged, or the segment cannot be made; nothing of it is left then.
pub(crate) fn run(args: &RestoreArgs, context: &mut Context) -> Result<Exit, Error> {
    if args.file.as_os_str() == "-" {
        return Err(super::usage("cannot restore from standard input: restore needs a file and its record, FILE.json")
            .hint("write only the contents to an existing segment", shmadm("write SEGMENT --sparse")));
    }
    let (owner, group) = args.given.ids(&context.system)?;
    let interrupts = Interrupts::watch()?;
    let sidecar = read_sidecar(&Sidecar::path_for(&args.file))?;
    let recorded = &sidecar.segment;
    let file = contents::open_nonblocking(&args.file).map_err(|error| unreadable(&args.file, &error, "open"))?;
    let data = verified(context, &args.file, &file, &sidecar)?;
    let key = match (&args.key, recorded.sysv().key) {
        (Some(key), _) => key.clone(),
        (None, Key::PRIVATE) => KeySpec::Private,
        (None, key) => KeySpec::Key(key),
    };
    let creation = Creation {
        key,
        size: Some(recorded.size),
        mode: Mode::PRIVATE,
        exclusive: true,
        huge: sidecar.huge_page_size.map(Some),
        // Huge pages are always reserved: touching one that the pool cannot supply raises SIGBUS.
        no_reserve: data < recorded.size && sidecar.huge_page_size.is_none(),
        changing: None,
        held: args.hold,
    };
    let mut guard = start_guard(context);
    let opened = match &mut guard {
        Some(guard) => {
            act::create_with(&context.system, &creation, |key, size, flags| guard.create(&interrupts, key, size, flags))
        }
        None => act::create(&context.system, &creation),
    };
    let Opened::New(unfinished) = opened.map_err(advised)? else {
        return Err(Error::new(Kind::Exists, "cannot restore: a segment with this key exists"));
    };
    let made = look(context, unfinished.id(), Needs::empty())?;
    let holder = args.hold.then(|| start_holder(&context.system, &made, Hold::plain())).transpose()?;
    // Zeros that were resident are written; but a file that lost its holes must not allocate untouched pages.
    let whole = recorded.rss.zip(recorded.swap).is_some_and(|(rss, swap)| data <= rss.saturating_add(swap));
    let written = fill(args, context, &made, &file, whole)?;
    if written != sidecar.checksum.value {
        return Err(changed(&args.file));
    }
    let mode = args.mode.unwrap_or(recorded.mode);
    let other = |wanted: u32, is: u32| (wanted != is).then_some(wanted);
    act::set(
        &context.system,
        &made,
        Change {
            owner: other(owner.unwrap_or(recorded.uid), made.uid),
            group: other(group.unwrap_or(recorded.gid), made.gid),
            mode: (mode != made.mode).then_some(mode),
            lock: recorded.sysv().locked.then_some(true),
        },
    )?;
    interrupts.check()?;
    // Before the segment is reported: one that was reported must not be removed.
    if let Some(guard) = guard {
        guard.release();
    }
    report(context, unfinished, holder)
}

/// Replaces the hints of `create` for an existing key.
fn advised(mut error: Error) -> Error {
    error.hints.retain(|hint| {
        hint.command.as_ref().is_none_or(|command| command.arguments.first().is_none_or(|first| first != "create"))
    });
    if error.kind != Kind::Exists {
        return error;
    }
    let other = error.target.clone().unwrap_or_default();
    error
        .hint("use another key", again("--key random"))
        .hint("show the segment with this key", shmadm(format!("stat {other}")))
        .hint("remove it", shmadm(format!("rm {other}")))
}

/// Starts the process that removes the segment if this one is killed before the segment is complete.
fn start_guard(context: &mut Context) -> Option<Guard> {
    Guard::start()
        .map_err(|error| {
            let consequence = "if this command is killed, an incomplete segment stays";
            context.ui.warning(&format!("{error}: {consequence}"));
        })
        .ok()
}

/// Writes the contents: all data of the file, or only what is not zero. Returns their checksum.
fn fill(args: &RestoreArgs, context: &Context, made: &Object, file: &File, whole: bool) -> Result<String, Error> {
    let purpose = if args.hold { Lifetime::Persistent } else { Lifetime::Transient };
    let attachment = act::attach(&context.system, made, Access::ReadWrite, Address::Any, false, purpose)?;
    let mut bar = context.ui.progress("restoring", Some(made.size));
    let unread = |error| unreadable(&args.file, &error, "read");
    let progress = &mut |bytes| bar.advance(bytes);
    let checksum = contents::copy_from_file(&attachment, file, whole, unread, progress)?;
    drop(bar);
    act::detach_checked(&context.system, attachment)?;
    Ok(checksum)
}

/// The report in JSON.
#[derive(Serialize)]
struct Restored<'a> {
    segment: &'a Object,
    /// The pid of the holder.
    holder: Option<i32>,
}

/// Reports the new segment and keeps it.
fn report(context: &mut Context, made: PendingSegment, holder: Option<StartedHolder>) -> Result<Exit, Error> {
    let record = look(context, made.id(), Needs::RECORD)?;
    context.ui.status(&format!("restored {}; its id, creator, times and pids are new", describe(&record)));
    let pid = holder.as_ref().map(StartedHolder::pid);
    if let Some(pid) = pid {
        context.ui.status(&format!("pid {pid} keeps it attached"));
    }
    let told = if context.json() {
        context.report(&Restored { segment: &record, holder: pid })
    } else {
        context.ui.print(&made.id().to_string())
    };
    told.and_then(|()| context.ui.flush()).map_err(|error| removed_again(error, made.id()))?;
    // Only after the report: a segment whose id was not printed would be a leak.
    made.into_id();
    if let Some(holder) = holder {
        holder.keep();
    }
    Ok(Exit::Done)
}

/// Reads the segment just created.
fn look(context: &Context, id: ShmId, needs: Needs) -> Result<Object, Error> {
    resolve(&context.system, &Target::of_id(id), needs)
}

/// Larger than any record: a larger file is something else, such as a device.
const LARGEST_RECORD: u64 = 1 << 20;

/// Reads the record of a dump.
fn read_sidecar(path: &Path) -> Result<Sidecar, Error> {
    let name = path_text(path);
    let read = |path| {
        let mut text = Vec::new();
        contents::open_nonblocking(path)?.take(LARGEST_RECORD).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read(path).map_err(|error: io::Error| {
        let error = Error::io(format!("cannot read {name}"), &error, "open").target(name.as_str());
        error.hint(
            "to restore only the contents, write them to a segment",
            shmadm("write SEGMENT --sparse --input FILE"),
        )
    })?;
    let damaged =
        |why: String| Error::new(Kind::Failed, format!("invalid dump record {name}: {why}")).target(name.as_str());
    let sidecar: Sidecar = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    match sidecar.schema {
        1 => {}
        other => return Err(damaged(format!("unsupported schema {other}: expected 1"))),
    }
    if sidecar.checksum.algorithm != ALGORITHM {
        return Err(damaged(format!(
            "unsupported checksum algorithm {:?}: expected {ALGORITHM}",
            sidecar.checksum.algorithm
        )));
    }
    // IPC_SET rejects -1, which is not a valid uid or gid.
    if [sidecar.segment.uid, sidecar.segment.gid].contains(&u32::MAX) {
        return Err(damaged(format!("{} is not a valid uid or gid", u32::MAX)));
    }
    if sidecar.huge_page_size.is_some_and(|size| !size.is_power_of_two() || size == 1) {
        return Err(damaged("huge_page_size is not a power of two greater than 1".to_owned()));
    }
    Ok(sidecar)
}

/// Checks a file against its record; returns how many of its bytes are data.
fn verified(context: &Context, path: &Path, file: &File, sidecar: &Sidecar) -> Result<u64, Error> {
    let name = path_text(path);
    let wrong = |what: String| {
        Error::new(Kind::Failed, format!("{name} does not match its record: {what}")).target(name.as_str())
    };
    let size = sidecar.segment.size;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error, "read"))?;
    if !metadata.is_file() {
        return Err(wrong("it is not a regular file".to_owned()));
    }
    if metadata.len() != size {
        return Err(wrong(format!("it has {} bytes, expected {size}", metadata.len())));
    }
    let mut bar = context.ui.progress("verifying", Some(size));
    let unread = |error| unreadable(path, &error, "read");
    let (checksum, data) = contents::checksum_of_file(file, size, unread, &mut |bytes| bar.advance(bytes))?;
    drop(bar);
    if checksum != sidecar.checksum.value {
        return Err(wrong("its checksum differs".to_owned()));
    }
    Ok(data)
}

/// Returns the error for a file that changed between verification and copying.
fn changed(path: &Path) -> Error {
    let name = path_text(path);
    Error::new(Kind::Failed, format!("{name} changed while it was restored"))
        .target(name)
        .cause("the bytes written to the segment do not match the recorded checksum; the segment was removed")
}

/// Returns the error for a file that cannot be read.
fn unreadable(path: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path_text(path);
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::new(Kind::Failed, format!("{name} was truncated while it was read")).target(name);
    }
    Error::io(format!("cannot read {name}"), error, call).target(name)
}
