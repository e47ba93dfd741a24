use clap::{ArgGroup, Args};
use serde::Serialize;

use super::args::{OwnerArgs, TARGETS_HELP, target};
use super::{Context, Manual, Resolved, describe, look_up_again, resolve_all};
use crate::act::{self, Change};
use crate::error::{Error, Exit};
use crate::explain::resolve;
use crate::model::{Mode, Needs, Object, Recorded, Target, parse_size};
use crate::render::Failure;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Change owner, group, mode, memory lock or size",
    description: "Changes the owner, group, mode or memory lock of segments, and the owner, group, mode or size of \
                  POSIX objects. Fields without an option keep their values. Only the owner, the creator and a \
                  privileged user can change a segment; only the owner and a privileged user can change an object.\n\n\
                  --lock keeps the pages of a segment in memory (SHM_LOCK); --unlock lets the kernel swap them \
                  again.\n\n\
                  --size grows or shrinks an object; the size of a segment cannot change. Shrinking an object in \
                  use requires --force: a process that touches a page beyond the new end receives SIGBUS.\n\n\
                  All names are resolved before anything is changed. If one fails, the others are still changed.",
    examples: &[
        ("shmadm set 0x4d2 --mode 640", "allow the group to read"),
        ("shmadm set 0x4d2 --lock", "lock the segment in memory"),
        (
            "shmadm list --mine -o ID --no-headings | xargs -r shmadm set --mode 640",
            "allow the group to read all your segments",
        ),
        ("shmadm set /psm_1a2b3c4d --size 4M", "grow a POSIX object"),
    ],
    json: "{\"schema\":1,\"segment\":{…}}, or \"object\" for a POSIX object, after the change. For several: \
           {\"schema\":1,\"segments\":[…],\"objects\":[…],\"failed\":[…]}, with the failures as in the report of rm.",
    notes: "Owner, group and mode are changed by one call (IPC_SET), which updates the change time; --lock and \
            --unlock do not. The creator can always change and remove the segment, regardless of its owner. Huge \
            pages are never swapped: locking them only sets the flag.\n\n\
            In a user namespace, the kernel shows every user and group without a mapping as the same overflow \
            number (65534, nobody). IPC_SET sets owner, group and mode together, so it would replace such an owner \
            or group. set refuses this unless --owner or --group names the new one.",
};

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["owner", "group", "mode", "lock", "unlock", "size"])))]
pub(crate) struct SetArgs {
    #[arg(help = TARGETS_HELP, value_name = "SEGMENT", allow_negative_numbers = true, required = true, value_parser = target())]
    segments: Vec<Target>,

    #[command(flatten)]
    owner: OwnerArgs,

    /// Permission bits in octal
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    mode: Option<Mode>,

    /// Lock the pages in memory (SHM_LOCK)
    #[arg(long, conflicts_with = "unlock")]
    lock: bool,

    /// Unlock the pages (SHM_UNLOCK)
    #[arg(long)]
    unlock: bool,

    /// Size of a POSIX object
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Shrink a POSIX object even if it is in use
    #[arg(short, long, requires = "size")]
    force: bool,
}

#[derive(Serialize)]
struct SeveralChanged {
    segments: Vec<Object>,
    objects: Vec<Object>,
    failed: Vec<Failure>,
}

pub(crate) fn run(args: &SetArgs, context: &mut Context) -> Result<Exit, Error> {
    let (owner, group) = args.owner.ids(&context.system)?;
    let lock = (args.lock || args.unlock).then_some(args.lock);
    let change = Change { owner, group, mode: args.mode, lock, size: args.size, force: args.force };
    if let [one] = args.segments.as_slice() {
        let segment = resolve(&context.system, one, Needs::empty())?;
        if let Some(record) = apply(context, &segment, change)? {
            context.report(&Recorded::from(record))?;
        }
        return Ok(Exit::Done);
    }
    // All are resolved and checked before the first change.
    let Resolved { found, mut failed } = resolve_all(context, &args.segments, Needs::empty());
    found.iter().try_for_each(|(_, object)| change.check(object))?;
    let mut records = Vec::new();
    for (target, segment) in found {
        match apply(context, &segment, change) {
            Ok(record) => records.extend(record),
            Err(error) => failed.push((target, error)),
        }
    }
    let (segments, objects) = records.into_iter().partition(Object::is_segment);
    let exit = context.print_failures(&failed);
    let report = SeveralChanged { segments, objects, failed: context.failure_records(&failed) };
    if context.json() {
        context.report(&report)?;
    }
    Ok(exit)
}

/// Changes a segment; returns its record after the change for JSON.
fn apply(context: &mut Context, segment: &Object, change: Change) -> Result<Option<Object>, Error> {
    act::set(&context.system, segment, change)?;
    let changed = Object { size: change.size.unwrap_or(segment.size), ..segment.clone() };
    context.ui.status(&format!("changed {}", describe(&changed)));
    // Look it up by its id: by now, the key may belong to another segment.
    context.json().then(|| look_up_again(context, segment.ident(), context.record_needs())).transpose()
}
