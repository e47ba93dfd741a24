//! `shmadm detach`.

use clap::Args;

use super::args::SegmentArg;
use super::{Context, Manual};
use crate::act;
use crate::error::{Error, Exit};
use crate::model::Needs;
use crate::query::resolve;
use crate::render::Object;

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "End background attachments of `attach`",
    examples: &[
        ("shmadm attach 0x4d2 --background && shmadm detach 0x4d2", "end what attach --background began"),
        ("shmadm detach 0x4d2 --pid \"$(shmadm attach 0x4d2 --background)\"", "end one holder of several"),
    ],
    json: "{\"schema\":1,\"id\":5,\"detached\":[4711],\"nattch_before\":2,\"nattch_after\":1}",
    notes: "Only a process can end its own attachment: detach asks the holders that this user has started with \
            attach --background or create --hold, found in /proc by their name, user, namespace and mapping, and \
            signals nothing else.",
};

/// Arguments of `shmadm detach`.
#[derive(Args, Debug)]
pub(crate) struct DetachArgs {
    #[command(flatten)]
    one: SegmentArg,

    /// Only end the holder with this pid
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
}

/// Ends holders.
///
/// # Errors
/// There is none, or one does not end.
pub(crate) fn run(args: &DetachArgs, context: &mut Context) -> Result<Exit, Error> {
    let segment = resolve(&context.system, &args.one.segment, Needs::empty())?;
    let detached = act::detach(&context.system, &segment, args.pid)?;
    let pids: Vec<_> = detached.pids.iter().map(ToString::to_string).collect();
    context.ui.status(&format!(
        "detached segment {} from pid {}; nattch {} before, {} after",
        segment.id,
        pids.join(", pid "),
        detached.nattch_before,
        detached.nattch_after
    ));
    if detached.destroyed {
        context.ui.status(&format!("segment {} was destroyed at the last detach", segment.id));
    }
    if context.json() {
        context.ui.write(|out| {
            let mut object = Object::schema(out)?;
            object.number("id", segment.id.raw())?;
            object.list("detached", &pids, |out, pid| std::io::Write::write_all(out, pid.as_bytes()))?;
            object.number("nattch_before", detached.nattch_before)?;
            object.number("nattch_after", detached.nattch_after)?;
            object.end()
        })?;
    }
    Ok(Exit::Done)
}
