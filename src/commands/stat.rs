use clap::Args;

use super::args::{target, time_style};
use super::{Context, Manual, check_any_found, exit_with, resolve_all};
use crate::error::{Error, Exit};
use crate::model::{Needs, Target};
use crate::query::add_attachers;
use crate::render::{Format, RECORD, SEGMENT, TableStyle, TimeStyle, by_names, segment_fields, write_fields};

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

#[derive(Args, Debug)]
pub(crate) struct StatArgs {
    #[arg(help = "Ids (65538), keys (0x4d2, key:1234) or ftok:PATH[:PROJ]", value_name = "SEGMENT", required = true, value_parser = target())]
    segments: Vec<Target>,

    /// Show sizes in bytes
    #[arg(long)]
    bytes: bool,

    /// Format of times
    #[arg(long, value_name = "STYLE", default_value = "iso", value_parser = time_style())]
    time: TimeStyle,
}

pub(crate) fn run(args: &StatArgs, context: &mut Context) -> Result<Exit, Error> {
    let needs = Needs::RECORD | Needs::COMMANDS;
    let (mut objects, mut failures) = resolve_all(context, &args.segments, needs).into_objects();
    check_any_found(context, &objects, &mut failures)?;
    let style = TableStyle { bytes: args.bytes, time: args.time, ..context.table(&[]) };
    if context.format == Format::Table {
        add_attachers(&context.system, &mut objects)?;
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                context.ui.print("")?;
            }
            let fields = segment_fields(object, &style);
            context.ui.write(|out| write_fields(out, &fields))?;
        }
    } else {
        context.print_rows("segments", &by_names(SEGMENT, RECORD), objects, &style)?;
    }
    Ok(exit_with(context, &failures))
}
