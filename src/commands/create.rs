//! `shmadm create`.

use clap::Args;
use serde::Serialize;

use super::args::{OwnerArgs, key};
use super::{Context, Manual, describe, removed_again};
use crate::act::{self, Address, Change, Creation, Lifetime, Opened, PendingSegment};
use crate::contents::{self, Range};
use crate::error::{Error, Exit, Kind};
use crate::model::{Access, KeySpec, Mode, Needs, Object, ShmId, Size, parse_byte, parse_size};
use crate::process::{Hold, Interrupts, StartedHolder, start_holder};
use crate::query::lookup;

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Create a segment, or open an existing one by its key",
    description: "Creates a segment and prints its id. Without options the segment has no key (IPC_PRIVATE), the size \
                  of one page and mode 0600. --key random chooses an unused key.\n\n\
                  If a segment with the key exists, it is opened instead, and a status message says so. A segment \
                  cannot grow: a --size larger than the existing segment is an error. Options that would change the \
                  existing segment are refused. --exclusive fails if the key exists.\n\n\
                  A segment exists until it is removed. Neither the end of this command nor the last detach destroys \
                  it, unless kernel.shm_rmid_forced is 1; then a new segment is refused without --hold, which leaves \
                  a background process that keeps it attached.\n\n\
                  If any step after the creation fails, the new segment is removed again.",
    examples: &[
        ("id=$(shmadm create --size 64K)", "create a segment of 64 KiB without a key and store its id"),
        ("shmadm create --key 0x4d2 --size 4096 --mode 660", "create the segment with key 0x4d2, or open it"),
        ("shmadm create --key random --exclusive", "create a segment with an unused key"),
        ("shmadm create --fill 0xff --hold", "create a page filled with 0xff, kept attached by a background process"),
    ],
    json: "{\"schema\":1,\"created\":true,\"segment\":{…},\"holder\":null}. \"created\" is false if an existing \
           segment was opened. \"holder\" is the pid of the process that --hold started.",
    notes: "The kernel allocates memory when a page is first touched, not when the segment is created.\n\n\
            Huge pages are allocated whole: the last one may extend beyond the size, which a status message reports. \
            They are reserved from their pool at creation. With --no-reserve they are not, and touching a page that \
            the pool cannot supply raises SIGBUS; shmadm reports an error instead. /sys/kernel/mm/hugepages lists the \
            sizes and pools.",
};

/// Arguments of `shmadm create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[arg(help = "Key: private, random, a number (1234, 0x4d2, 02322) or ftok:PATH[:PROJ]", long, value_name = "KEY", default_value = "private", value_parser = key())]
    key: KeySpec,

    /// Size in bytes (4096, 4K, 1MB) [default: one page]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Permission bits in octal [default: 0600]
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    mode: Option<Mode>,

    /// Fail if a segment with this key exists
    #[arg(long)]
    exclusive: bool,

    #[command(flatten)]
    given: OwnerArgs,

    /// Use huge pages of the default size, or of SIZE (2M)
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true, value_parser = parse_huge)]
    huge: Option<Option<u64>>,

    /// Reserve no memory or swap (SHM_NORESERVE)
    #[arg(long)]
    no_reserve: bool,

    /// Lock the pages in memory (SHM_LOCK)
    #[arg(long)]
    lock: bool,

    /// Fill the segment with BYTE (0 to 255, or 0x00 to 0xff)
    #[arg(long, value_name = "BYTE", value_parser = parse_byte)]
    fill: Option<u8>,

    /// Keep the segment attached in a background process
    #[arg(long)]
    hold: bool,
}

/// Parses the size of a huge page.
fn parse_huge(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        // For a size of one byte the kernel would use the default size.
        size if size.is_power_of_two() && size > 1 => Ok(size),
        _ => Err(format!("{text} is not a huge page size: expected a power of two, such as 2M or 1G")),
    }
}

impl CreateArgs {
    /// Returns the first option that would change an existing segment.
    fn changing(&self) -> Option<&'static str> {
        [
            ("--fill", self.fill.is_some()),
            ("--owner", self.given.owner.is_some()),
            ("--group", self.given.group.is_some()),
            ("--mode", self.mode.is_some()),
            ("--lock", self.lock),
            ("--huge", self.huge.is_some()),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }
}

/// Creates or opens a segment.
///
/// # Errors
/// A new segment is removed again.
pub(crate) fn run(args: &CreateArgs, context: &mut Context) -> Result<Exit, Error> {
    let (owner, group) = args.given.ids(&context.system)?;
    let mode = args.mode.unwrap_or(Mode::PRIVATE);
    // Other users get access last: until then the segment is incomplete, and may be removed again.
    let gradual = args.fill.is_some() || args.hold || args.lock || owner.is_some() || group.is_some();
    let creation = Creation {
        key: args.key.clone(),
        size: args.size,
        mode: if gradual { Mode::PRIVATE } else { mode },
        exclusive: args.exclusive,
        huge: args.huge,
        no_reserve: args.no_reserve,
        changing: args.changing(),
        held: args.hold,
    };
    let interrupts = Interrupts::watch()?;
    let (id, made, holder) = match act::create(&context.system, &creation)? {
        Opened::Existing(id) => {
            let holder = args.hold.then(|| hold(context, &look(context, id)?)).transpose()?;
            (id, None, holder)
        }
        Opened::New(unfinished) => {
            let made = look(context, unfinished.id())?;
            let holder = args.hold.then(|| hold(context, &made)).transpose()?;
            if let Some(byte) = args.fill {
                let purpose = if args.hold { Lifetime::Persistent } else { Lifetime::Transient };
                let attachment = act::attach(&context.system, &made, Access::ReadWrite, Address::Any, false, purpose)?;
                let whole = Range::within(made.sysv().id, attachment.size(), 0, None)?;
                let mut bar = context.ui.progress("filling", Some(whole.length()));
                contents::fill(&attachment, whole, byte, &mut |bytes| bar.advance(bytes))?;
            }
            let given = (gradual && mode != Mode::PRIVATE).then_some(mode);
            act::set(&context.system, &made, Change { owner, group, mode: given, lock: args.lock.then_some(true) })?;
            (made.sysv().id, Some(unfinished), holder)
        }
    };
    interrupts.check()?;
    let page = args.huge.and_then(|size| size.or_else(|| context.system.huge_page_size())).filter(|_| made.is_some());
    report(context, id, page, made.is_some(), holder.as_ref())?;
    // Only after the report: a segment whose id was not printed would be a leak.
    made.map(PendingSegment::into_id);
    if let Some(holder) = holder {
        holder.keep();
    }
    Ok(Exit::Done)
}

/// The report in JSON.
#[derive(Serialize)]
struct Created<'a> {
    created: bool,
    segment: &'a Object,
    /// The pid of the holder.
    holder: Option<i32>,
}

/// Reports the created or opened segment.
fn report(
    context: &mut Context,
    id: ShmId,
    huge: Option<u64>,
    created: bool,
    holder: Option<&StartedHolder>,
) -> Result<(), Error> {
    let record = lookup(&context.system, id, context.record_needs())?;
    if let Some(record) = &record {
        let what = describe(record);
        context.ui.status(&if created { format!("created {what}") } else { format!("opened existing {what}") });
    }
    if let (Some(record), Some(page)) = (&record, huge)
        && let pages = record.size.div_ceil(page)
        && record.size != pages * page
    {
        let (whole, page) = (Size(pages * page), Size(page));
        let pages = if pages == 1 { "1 huge page".to_owned() } else { format!("{pages} huge pages") };
        let size = Size(record.size);
        context.ui.status(&format!("allocates {whole} ({pages} of {page}); its size is {size}"));
    }
    let holder = holder.map(StartedHolder::pid);
    if let Some(pid) = holder {
        context.ui.status(&format!("pid {pid} keeps it attached"));
    }
    let told = if context.json() {
        let record = record.ok_or_else(|| vanished(id))?;
        context.report(&Created { created, segment: &record, holder })
    } else {
        context.ui.print(&id.to_string())
    };
    told.and_then(|()| context.ui.flush()).map_err(|error| if created { removed_again(error, id) } else { error })
}

/// Reads the segment just created or opened.
fn look(context: &Context, id: ShmId) -> Result<Object, Error> {
    lookup(&context.system, id, Needs::empty())?.ok_or_else(|| vanished(id))
}

/// Starts a holder of a segment.
fn hold(context: &Context, segment: &Object) -> Result<StartedHolder, Error> {
    start_holder(&context.system, segment, Hold::plain())
}

/// Returns the error for a segment that another process removed at once.
fn vanished(id: ShmId) -> Error {
    Error::new(Kind::NotFound, format!("segment {id} was removed by another process")).target(id.to_string())
}
