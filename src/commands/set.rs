use clap::{ArgGroup, Args};
use serde::Serialize;

use super::args::{OwnerArgs, SegmentArg};
use super::{Context, Manual, describe};
use crate::act::{self, Change};
use crate::error::{Error, Exit};
use crate::explain::resolve;
use crate::model::{Mode, Needs, Object, Target};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Change owner, group, mode or memory lock",
    description: "Changes the owner, group, mode or memory lock of a segment. Fields without an option keep their \
                  values. Only the owner, the creator and a privileged user can change a segment.\n\n\
                  --lock keeps the pages in memory (SHM_LOCK), --unlock lets the kernel swap them again.",
    examples: &[
        ("shmadm set 0x4d2 --mode 640", "allow the group to read"),
        ("shmadm set 0x4d2 --lock", "lock the segment in memory"),
    ],
    json: "{\"schema\":1,\"segment\":{…}}, the segment after the change.",
    notes: "Owner, group and mode are changed by one call (IPC_SET), which updates the change time; --lock and \
            --unlock do not. The creator can always change and remove the segment, whoever owns it. Huge pages are \
            never swapped: locking them only sets the flag.\n\n\
            In a user namespace, the kernel shows every user and group without a mapping as the same overflow number \
            (65534, nobody). IPC_SET sets owner, group and mode together, so it would replace such an owner or group. \
            This is refused unless --owner or --group names the new one.",
};

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["owner", "group", "mode", "lock", "unlock"])))]
pub(crate) struct SetArgs {
    #[command(flatten)]
    segment: SegmentArg,

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
}

/// The report in JSON.
#[derive(Serialize)]
struct Changed<'a> {
    segment: &'a Object,
}

pub(crate) fn run(args: &SetArgs, context: &mut Context) -> Result<Exit, Error> {
    let (owner, group) = args.owner.ids(&context.system)?;
    let change = Change { owner, group, mode: args.mode, lock: (args.lock || args.unlock).then_some(args.lock) };
    let segment = args.segment.resolve(context, Needs::empty())?;
    act::set(&context.system, &segment, change)?;
    context.ui.status(&format!("changed {}", describe(&segment)));
    if context.json() {
        // By its id: with the key's segment removed meanwhile, another could have the key.
        let id = Target::of_id(segment.sysv().id);
        let record = resolve(&context.system, &id, Needs::RECORD)?;
        context.report(&Changed { segment: &record })?;
    }
    Ok(Exit::Done)
}
