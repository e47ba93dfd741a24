//! `shmadm stat`.

use clap::Args;

use super::args::SegmentArgs;
use super::{Context, Manual, nothing_to_report, resolve_each};
use crate::error::{Error, Exit};
use crate::model::Needs;
use crate::query::add_attachers;
use crate::render::{
    Format, RECORD, SEGMENT, TableStyle, TimeStyle, by_names, segment_fields, write_fields, write_rows,
};

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Show all fields of segments",
    description: "Shows every field of the named segments, one per line, in the order in which they are named. \
                  Segments that do not exist are reported; the others are still shown.",
    examples: &[
        ("shmadm stat 0x4d2", "show everything about the segment with key 0x4d2"),
        ("shmadm stat 0x4d2 --json", "the same as JSON"),
    ],
    json: "{\"schema\":1,\"segments\":[…]}, one object per segment in the order in which they were named.",
    notes: "stat requires no permission on the segment, attaches nothing and changes no times.",
};

/// Arguments of `shmadm stat`.
#[derive(Args, Debug)]
pub(crate) struct StatArgs {
    #[command(flatten)]
    several: SegmentArgs,

    /// Show sizes in bytes
    #[arg(long)]
    bytes: bool,

    /// Format of times
    #[arg(long, value_name = "STYLE", default_value = "iso", value_parser = super::args::time_style())]
    time: TimeStyle,
}

/// Shows segments.
///
/// # Errors
/// Standard output takes no more; segments that do not exist are reported one by one.
pub(crate) fn run(args: &StatArgs, context: &mut Context) -> Result<Exit, Error> {
    let (mut segments, mut failures) = resolve_each(context, &args.several.segments, Needs::RECORD | Needs::COMMANDS);
    if segments.is_empty()
        && let Some(error) = nothing_to_report(context, std::mem::take(&mut failures))
    {
        return Err(error);
    }
    if context.format == Format::Table {
        add_attachers(&context.system, &mut segments)?;
    }
    let style = TableStyle { bytes: args.bytes, time: args.time, ..context.table(&[]) };
    match context.format {
        Format::Table => {
            for (number, segment) in segments.iter().enumerate() {
                if number > 0 {
                    context.ui.print("")?;
                }
                let fields = segment_fields(segment, &style);
                context.ui.write(|out| write_fields(out, &fields))?;
            }
        }
        format => {
            context.ui.write(|out| write_rows(out, format, "segments", &by_names(SEGMENT, RECORD), segments, &style))?
        }
    }
    for error in &failures {
        context.ui.error(error);
    }
    Ok(Exit::of(failures.iter().map(|error| error.kind)))
}
