//! `shmadm set`.

use clap::{ArgGroup, Args};

use super::args::{OwnerArgs, SegmentArg};
use super::{Context, Manual, describe, record_columns};
use crate::act::{self, Change};
use crate::error::{Error, Exit};
use crate::model::{Mode, Needs, Target};
use crate::query::resolve;
use crate::render::Object;

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Change owner, group, mode or memory lock",
    examples: &[
        ("shmadm set 0x4d2 --mode 640", "let the group read"),
        ("shmadm set 0x4d2 --lock", "lock the segment in memory"),
    ],
    json: "{\"schema\":1,\"segment\":{…}}, as it is afterwards.",
    notes: "Owner, group and mode are changed with one call, which moves the segment's change time; locking does not. \
            The creator keeps the right to change and remove the segment whoever owns it. Of huge pages, which \
            cannot be swapped, a lock shows but does nothing.\n\n\
            In a user namespace the kernel shows one number, nobody's, for all users and groups without one there. \
            Since the call sets all three, such an owner or group would be lost: it is refused unless --owner or \
            --group says who it shall be.",
};

/// Arguments of `shmadm set`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["owner", "group", "mode", "lock", "unlock"])))]
pub(crate) struct SetArgs {
    #[command(flatten)]
    one: SegmentArg,

    #[command(flatten)]
    given: OwnerArgs,

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

/// Changes a segment.
///
/// # Errors
/// The segment does not exist or may not be changed; nothing was changed then.
pub(crate) fn run(args: &SetArgs, context: &mut Context) -> Result<Exit, Error> {
    let (owner, group) = args.given.ids(&context.system)?;
    let change = Change { owner, group, mode: args.mode, lock: (args.lock || args.unlock).then_some(args.lock) };
    let segment = resolve(&context.system, &args.one.segment, Needs::empty())?;
    act::set(&context.system, &segment, change)?;
    context.ui.status(&format!("changed {}", describe(&segment)));
    if context.json() {
        // By its id: with the key's segment removed meanwhile, another could have the key.
        let id = Target::of_id(segment.id);
        let record = resolve(&context.system, &id, Needs::RECORD)?;
        context.ui.write(|out| {
            let mut object = Object::schema(out)?;
            object.object("segment", &record_columns(), &record)?;
            object.end()
        })?;
    }
    Ok(Exit::Done)
}
