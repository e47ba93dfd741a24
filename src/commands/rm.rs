//! `shmadm rm`.

use clap::Args;

use super::args::Several;
use super::{Context, Manual, describe};
use crate::act::{self, Outcome, Removal};
use crate::error::{Error, Exit, Kind};
use crate::model::{Key, Segment, Target};
use crate::query::resolve;
use crate::render::{Failure, Removed, write_rm_json};

/// What the manual page adds.
pub(crate) const MANUAL: Manual = Manual {
    name: "rm",
    arguments: RmArgs::augment_args,
    examples: &[
        ("shmadm rm 0x4d2", "remove the segment with key 0x4d2, unless it is attached"),
        ("shmadm rm --ignore-missing 0x4d2", "the same, and no failure if there is none"),
        ("shmadm list --state orphan -o ID --no-headings | xargs -r shmadm rm --dry-run", "tell what would go"),
    ],
    json: "{\"schema\":1,\"dry_run\":false,\"removed\":[{segment…,\"outcome\":\"destroyed\"|\"marked\"}],\
           \"failed\":[{\"target\":\"7\",\"error\":\"…\",\"errno\":\"EINVAL\",\"code\":3}]}",
    notes: "A segment that is attached is refused. With --force it is marked for destruction: it loses its key at \
            once, so that the next program that asks for this key gets a new segment, and it goes with its last \
            detach. Nothing can clear the mark. All names are resolved before the first segment is removed, and each \
            segment is looked at again right before it is.",
};

/// Remove segments
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    several: Several,

    /// Mark segments that are attached for destruction
    #[arg(short, long)]
    force: bool,

    /// Change nothing, and tell what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Let segments that do not exist be no failure
    #[arg(long)]
    ignore_missing: bool,
}

/// Removes segments.
///
/// # Errors
/// Standard output takes no more; failures of single segments are in the report.
pub(crate) fn run(args: &RmArgs, context: &mut Context) -> Result<Exit, Error> {
    let (targets, mut failures) = resolve_all(args, context);
    let mut removed: Vec<Removed> = Vec::new();
    for (target, segment) in targets {
        let how = Removal { force: args.force, dry_run: args.dry_run };
        match act::remove(&context.system, &segment, how) {
            Ok(outcome) => {
                say(args, context, &segment, outcome)?;
                removed.push(Removed { segment, outcome: outcome.word(), why: String::new() });
            }
            Err(error) if args.ignore_missing && error.kind == Kind::NotFound => {}
            Err(error) => {
                let error = context.ui.localized(error);
                context.ui.error(&error);
                failures.push(Failure { target: target.text, error });
            }
        }
    }
    if context.json() {
        context.ui.write(|out| write_rm_json(out, args.dry_run, &removed, &failures))?;
    }
    Ok(Exit::of(failures.iter().map(|failure| failure.error.kind)))
}

/// Finds all segments before the first is touched; two names of one are one.
fn resolve_all(args: &RmArgs, context: &mut Context) -> (Vec<(Target, Segment)>, Vec<Failure>) {
    let mut found: Vec<(Target, Segment)> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for target in &args.several.segments {
        match resolve(&context.system, target, context.record_needs()) {
            Ok(segment) if found.iter().any(|(_, known)| known.id == segment.id) => {}
            Ok(segment) => found.push((target.clone(), segment)),
            Err(error) if args.ignore_missing && error.kind == Kind::NotFound => {}
            Err(_) if failures.iter().any(|known| known.target == target.text) => {}
            Err(error) => {
                let error = context.ui.localized(error);
                context.ui.error(&error);
                failures.push(Failure { target: target.text.clone(), error });
            }
        }
    }
    (found, failures)
}

/// Says what became of a segment.
fn say(args: &RmArgs, context: &mut Context, segment: &Segment, outcome: Outcome) -> Result<(), Error> {
    let what = describe(segment);
    if args.dry_run {
        let line = match outcome {
            Outcome::Destroyed => format!("would remove {what}"),
            Outcome::Marked => format!("would mark {what} for destruction"),
        };
        return if context.json() { Ok(()) } else { context.ui.print(&line) };
    }
    match outcome {
        Outcome::Destroyed => context.ui.status(&format!("removed {what}")),
        Outcome::Marked => {
            let keyless = if segment.key == Key::PRIVATE { "" } else { " without its key" };
            context
                .ui
                .warning(&format!("{what} is marked for destruction: it lives on{keyless} until its last detach"));
        }
    }
    Ok(())
}
