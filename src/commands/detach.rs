use clap::Args;
use serde::Serialize;

use super::args::ObjectArg;
use super::{Context, Manual};
use crate::act;
use crate::error::{Error, Exit};
use crate::model::{Ident, Needs, parse_pid};

pub(crate) const MANUAL: Manual = Manual {
    summary: "End background attachments",
    description: "Asks the caller's holders of a segment or POSIX object to detach, and waits until they have. \
                  Holders are the processes that `shmadm attach --background` and `shmadm create --hold` leave \
                  running. With --pid only that holder is asked.\n\n\
                  Only a process itself can detach its attachments, so detach never affects other programs: a \
                  holder is found in /proc by its name, user, IPC namespace and mapping, and no other process \
                  receives a signal.",
    examples: &[
        ("shmadm attach 0x4d2 --background && shmadm detach 0x4d2", "end a background attachment"),
        ("shmadm detach 0x4d2 --pid \"$(shmadm attach 0x4d2 --background)\"", "end only one of several holders"),
    ],
    json: "{\"schema\":1,\"id\":5,\"detached\":[4711],\"nattch_before\":2,\"nattch_after\":1}. For a POSIX object: \
           {\"schema\":1,\"name\":\"/x\",\"detached\":[4711]}.",
    notes: "If the segment was marked for destruction, the last detach destroys it; a status message says so.",
};

#[derive(Args, Debug)]
pub(crate) struct DetachArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// End only the holder with this pid
    #[arg(long, value_name = "PID", value_parser = parse_pid)]
    pid: Option<i32>,
}

#[derive(Serialize)]
struct DetachReport<'a> {
    #[serde(flatten)]
    id: Ident,
    /// The pids of the holders.
    detached: &'a [i32],
    #[serde(skip_serializing_if = "Option::is_none")]
    nattch_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nattch_after: Option<u64>,
}

pub(crate) fn run(args: &DetachArgs, context: &mut Context) -> Result<Exit, Error> {
    let segment = args.segment.resolve(context, Needs::empty())?;
    let detached = act::detach(&context.system, &segment, args.pid)?;
    let ident = segment.ident();
    let pids: Vec<_> = detached.pids.iter().map(ToString::to_string).collect();
    let nattch = detached.nattch.map(|(before, after)| format!("; nattch {before} before, {after} after"));
    context.ui.status(&format!("detached {ident} from pid {}{}", pids.join(", pid "), nattch.unwrap_or_default()));
    if detached.destroyed {
        context.ui.status(&format!("{ident} was destroyed at the last detach"));
    }
    if context.json() {
        context.report(&DetachReport {
            id: ident,
            detached: &detached.pids,
            nattch_before: detached.nattch.map(|nattch| nattch.0),
            nattch_after: detached.nattch.map(|nattch| nattch.1),
        })?;
    }
    Ok(Exit::Done)
}
