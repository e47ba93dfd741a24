use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;

use super::args::{OwnerArgs, key};
use super::new_segment::{NewSegment, create_guarded};
use super::{Context, Manual, describe, look_up_again};
use crate::act::{self, Change, Creation, NewObject, Opened, Plan, Requested};
use crate::contents::{self, Range, Sink};
use crate::error::{Error, Exit};
use crate::explain::{denied_file_access, expected_attach_failure};
use crate::model::{
    Ident, Key, KeySpec, Mode, Needs, Object, ObjectName, ShmId, Size, counted, is_decimal, parse_byte, parse_size,
};
use crate::process::{Hold, Interrupts, StartedHolder, check_helpers, start_holder};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Create a segment or POSIX object, or open an existing one",
    description: "Creates a segment and prints its id. Without options the segment has no key (IPC_PRIVATE), the \
                  size of one page and mode 0600. --key random chooses an unused key.\n\n\
                  If a segment with the key exists, it is opened instead, and a status message says so. Opening \
                  changes nothing: --owner, --group and --mode must match those of the segment, and --fill, --lock \
                  and --huge are errors. A segment cannot grow: a --size larger than the existing segment is an \
                  error. All conflicts are reported. A segment that the caller may not read or write is opened with \
                  a warning. --exclusive fails if the key exists.\n\n\
                  A segment exists until it is removed. Neither the end of this command nor the last detach \
                  destroys it, unless kernel.shm_rmid_forced is 1. If it is 1, create refuses to create a segment \
                  without --hold, which starts a background process that keeps it attached.\n\n\
                  With /NAME, create creates a POSIX object instead and prints its name. The object appears with \
                  its mode, size and contents, or not at all. An existing object is opened and never changed: \
                  create fails if requested attributes differ. --reserve allocates the memory now, so create fails \
                  on a full file system, instead of a user of the object receiving SIGBUS.\n\n\
                  If any step after the creation fails, the new segment is removed.\n\n\
                  --dry-run creates nothing and uses up no id. It prints whether a segment would be created or opened, \
                  or fails as the command would, with the cause: limits (kernel.shmmax, kernel.shmall, \
                  kernel.shmmni), the existing segment, missing rights, huge pages, or kernel.shm_rmid_forced.",
    examples: &[
        ("id=$(shmadm create --size 64K)", "create a segment of 64 KiB without a key and store its id"),
        ("shmadm create --key 0x4d2 --size 4096 --mode 660", "create the segment with key 0x4d2, or open it"),
        ("shmadm create --dry-run --size 2G", "show whether a segment of 2 GiB could be created now"),
        ("shmadm create --key random --exclusive", "create a segment with an unused key"),
        ("shmadm create --fill 0xff --hold", "create a one-page segment filled with 0xff, and keep it attached"),
        ("shmadm create /buffer --size 1M --reserve", "create a POSIX object and allocate its memory"),
    ],
    json: "{\"schema\":1,\"created\":true,\"segment\":{…},\"holder\":null}. \"created\" is false if an existing \
           segment was opened. \"holder\" is the pid of the process that --hold started.",
    notes: "The kernel allocates memory when a page is first touched, not when the segment is created.\n\n\
            With --fill, --hold, --lock, --owner or --group, a second process, shmadm-guard, creates the segment, and \
            removes it if create is killed (by SIGKILL or the OOM killer), even just after it has printed the id. The \
            guard is shown as the creator.\n\n\
            A dry run cannot foresee what other processes will do: the same command can still fail later. It does \
            not predict refusals by security modules, or by strict accounting of memory (vm.overcommit_memory 2).\n\n\
            Huge pages are allocated whole: the last one may extend beyond the size, which a status message \
            reports. They are reserved from their pool at creation. With --no-reserve they are not, and touching a \
            page that the pool cannot supply raises SIGBUS; shmadm reports an error instead. \
            /sys/kernel/mm/hugepages lists the sizes and pools.",
};

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// POSIX object to create (/NAME) instead of a segment
    #[arg(value_name = "NAME", value_parser = OsStringValueParser::new().try_map(|text| parse_name(&text)), conflicts_with_all = ["key", "huge", "no_reserve", "lock", "hold"])]
    name: Option<ObjectName>,

    #[arg(help = "Key: private, random, a number (1234, 0x4d2, 02322) or ftok:PATH[:PROJ]", long, value_name = "KEY", allow_negative_numbers = true, default_value = "private", value_parser = key(KeySpec::EXPECTED))]
    key: KeySpec,

    /// Size in bytes (4096, 4K, 1MB) [default: one page]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Permission bits in octal [default: 0600]
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    mode: Option<Mode>,

    /// Fail if the key or name exists
    #[arg(long)]
    exclusive: bool,

    #[command(flatten)]
    owner: OwnerArgs,

    /// Use huge pages of the default size, or of SIZE (2M)
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true, value_parser = parse_huge)]
    huge: Option<Option<u64>>,

    /// Do not reserve memory or swap (SHM_NORESERVE)
    #[arg(long)]
    no_reserve: bool,

    /// Lock the pages in memory (SHM_LOCK)
    #[arg(long)]
    lock: bool,

    /// Fill with BYTE (0 to 255, or 0x00 to 0xff)
    #[arg(long, value_name = "BYTE", value_parser = parse_byte)]
    fill: Option<u8>,

    /// Keep the segment attached in a background process
    #[arg(long)]
    hold: bool,

    /// Allocate the memory of the POSIX object now
    #[arg(long, requires = "name")]
    reserve: bool,

    /// Show whether a segment would be created or opened
    #[arg(short = 'n', long)]
    dry_run: bool,
}

fn parse_name(text: &OsStr) -> Result<ObjectName, String> {
    match text.as_bytes() {
        name if name.starts_with(b"/") => ObjectName::parse(name),
        name if name.starts_with(b"sem:") => {
            Err("expected /NAME; named semaphores are created with sem_open(3)".to_owned())
        }
        _ => match text.to_str().filter(|text| !is_decimal(text) && parse_huge(text).is_ok()) {
            Some(size) => Err(format!("expected /NAME; give a size as --size={size} or --huge={size}")),
            None => Err("expected /NAME; a segment has a key (--key), not a name".to_owned()),
        },
    }
}

fn parse_huge(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        // For a size of one byte the kernel would use the default size.
        size if size.is_power_of_two() && size > 1 => Ok(size),
        _ => Err(format!("{text} is not a huge page size: expected a power of two, such as 2M or 1G")),
    }
}

impl CreateArgs {
    fn requested(&self, owner: Option<u32>, group: Option<u32>) -> Requested {
        let Self { size, mode, fill, lock, reserve, .. } = *self;
        Requested { size, owner, group, mode, fill, lock, reserve }
    }
}

pub(crate) fn run(args: &CreateArgs, context: &mut Context) -> Result<Exit, Error> {
    let ids = args.owner.ids(&context.system);
    let (owner, group) = if args.dry_run { ids.map_err(act::would_fail) } else { ids }?;
    if let Some(name) = &args.name {
        return create_object(args, context, name, owner, group);
    }
    let mode = args.mode.unwrap_or(Mode::PRIVATE);
    // Other users get access last: until then the segment is incomplete, and may still be removed.
    let is_gradual = args.fill.is_some() || args.hold || args.lock || owner.is_some() || group.is_some();
    let creation = Creation {
        key: args.key.clone(),
        size: args.size,
        mode: if is_gradual { Mode::PRIVATE } else { mode },
        exclusive: args.exclusive,
        huge: args.huge,
        no_reserve: args.no_reserve,
        // An existing segment may be larger.
        requested: Requested { size: None, ..args.requested(owner, group) },
        held: args.hold,
    };
    if args.dry_run {
        return show_plan(args, context, &creation, mode);
    }
    let final_mode = (is_gradual && mode != Mode::PRIVATE).then_some(mode);
    let change = Change { owner, group, mode: final_mode, lock: args.lock.then_some(true), ..Change::default() };
    let interrupts = Interrupts::watch()?;
    let (opened, guard) = if is_gradual {
        create_guarded(context, &creation, &interrupts)?
    } else {
        (act::create(&context.system, &creation)?, None)
    };
    let (id, pending, holder) = match opened {
        Opened::Existing(id) if args.hold => {
            let segment = look_up_again(context, id, Needs::empty())?;
            (id, None, Some(start_holder(&context.system, &segment, Hold::plain())?))
        }
        Opened::Existing(id) => (id, None, None),
        Opened::New(pending) => match complete(args, context, pending.id(), change) {
            Ok(holder) => (pending.id(), Some(pending), holder),
            Err(error) => return Err(pending.abandon(error)),
        },
    };
    interrupts.check()?;
    report(args, context, NewSegment { id, pending, guard, holder })
}

/// Creates a POSIX object, or opens it if it exists as requested.
fn create_object(
    args: &CreateArgs,
    context: &mut Context,
    name: &ObjectName,
    owner: Option<u32>,
    group: Option<u32>,
) -> Result<Exit, Error> {
    let CreateArgs { size, mode, exclusive, dry_run, .. } = *args;
    let new = NewObject { name: name.clone(), exclusive, requested: args.requested(owner, group) };
    let interrupts = Interrupts::watch()?;
    let ident = Ident::Name(name.clone());
    let fill = |file: &File, size: u64| {
        let Some(byte) = args.fill else { return Ok(()) };
        let whole = Range::within(ident.clone(), size, 0, None)?;
        let to = Sink::File(file, &ident);
        context.with_progress("filling", size, |progress| contents::fill(to, whole, byte, progress))?;
        interrupts.check()
    };
    let created = act::create_file(&context.system, &new, fill, dry_run)?;
    if dry_run && created {
        let size = Size(size.unwrap_or_else(|| context.system.page_size()));
        let mode = mode.unwrap_or(Mode::PRIVATE);
        return match context.json() {
            true => context.report(&CreatedObject { dry_run, created, object: None }),
            false => context.ui.print(&format!("would create {ident} ({size}, mode {mode})")),
        }
        .map(|()| Exit::Done);
    }
    let object = look_up_again(context, ident.clone(), context.record_needs())?;
    let what = describe(&object);
    match (dry_run, context.json()) {
        (true, true) => {}
        (true, false) => context.ui.print(&format!("would open {what}"))?,
        (false, _) => context.ui.status(&format!("{} {what}", if created { "created" } else { "opened existing" })),
    }
    if !created && let Some(error) = denied_file_access(&context.system, &object) {
        context.ui.warning(&error.message_with_cause());
    }
    if context.json() {
        context.report(&CreatedObject { dry_run, created, object: Some(&object) })?;
    } else if !dry_run {
        context.ui.print_value(&name.argument())?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct CreatedObject<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    created: bool,
    /// `None` if a dry run found that it would be created.
    object: Option<&'a Object>,
}

/// Holds, fills and changes a new segment, as requested.
fn complete(args: &CreateArgs, context: &Context, id: ShmId, change: Change) -> Result<Option<StartedHolder>, Error> {
    let segment = look_up_again(context, id, Needs::empty())?;
    let holder = args.hold.then(|| start_holder(&context.system, &segment, Hold::plain())).transpose()?;
    if let Some(byte) = args.fill {
        let attachment = context.attach_new(&segment)?;
        let whole = Range::within(id, attachment.size(), 0, None)?;
        context
            .with_progress("filling", whole.length(), |progress| contents::fill(&attachment, whole, byte, progress))?;
    }
    act::set(&context.system, &segment, change)?;
    Ok(holder)
}

fn show_plan(args: &CreateArgs, context: &mut Context, creation: &Creation, mode: Mode) -> Result<Exit, Error> {
    let (segment, size, text) = match act::plan(&context.system, creation)? {
        Plan::Open(id) => {
            let segment = look_up_again(context, id, context.record_needs())?;
            match act::denied_access(&context.system, &segment) {
                Some(error) if args.hold => return Err(act::would_fail(error)),
                Some(error) => context.ui.warning(&error.message_with_cause()),
                None => {}
            }
            let text = format!("would open {}", describe(&segment));
            let size = segment.size;
            (Some(segment), size, text)
        }
        Plan::Create(key, size) => {
            let key = match key {
                Key::PRIVATE if matches!(args.key, KeySpec::Random) => "random key, ".to_owned(),
                key => key.prefix(),
            };
            (None, size, format!("would create a segment ({key}{}, mode {mode})", Size(size)))
        }
    };
    if args.hold {
        check_helpers("cannot start a holder").map_err(act::would_fail)?;
    }
    if (args.hold || args.fill.is_some())
        && let Some(error) = expected_attach_failure(&context.system, size)
    {
        return Err(act::would_fail(error));
    }
    if context.json() {
        let created = segment.is_none();
        context.report(&Created { dry_run: true, created, segment: segment.as_ref(), holder: None })?;
    } else {
        context.ui.print(&text)?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    created: bool,
    /// `None` if a dry run found that it would be created.
    segment: Option<&'a Object>,
    holder: Option<i32>,
}

fn report(args: &CreateArgs, context: &mut Context, new: NewSegment) -> Result<Exit, Error> {
    let segment = look_up_again(context, new.id, context.record_needs())?;
    let created = new.pending.is_some();
    let verb = if created { "created" } else { "opened existing" };
    context.ui.status(&format!("{verb} {}", describe(&segment)));
    if !created && let Some(error) = act::denied_access(&context.system, &segment) {
        context.ui.warning(&error.message_with_cause());
    }
    if created && let Some(page) = args.huge.and_then(|size| size.or_else(|| context.system.huge_page_size())) {
        report_last_page(context, segment.size, page);
    }
    let report = Created { dry_run: false, created, segment: Some(&segment), holder: new.holder_pid() };
    new.report(context, &report)
}

/// Reports that the last huge page extends beyond the size.
fn report_last_page(context: &mut Context, size: u64, page: u64) {
    let pages = size.div_ceil(page);
    if size != pages * page {
        let (whole, count) = (Size(pages * page), counted(pages, "huge page"));
        context.ui.status(&format!("allocates {whole} ({count} of {}); its size is {}", Size(page), Size(size)));
    }
}
