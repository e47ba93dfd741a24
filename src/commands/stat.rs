use clap::Args;
use serde::Serialize;

use super::args::{STATES, TARGETS_HELP, TableArgs, target, time_style};
use super::objects::{is_undetermined, suggest_probe};
use super::{Context, Manual, are_objects, check_any_found, resolve_all};
use crate::error::{Error, Exit};
use crate::model::{Key, Needs, Object, Target};
use crate::query::{add_attachers, add_servers, identify, memfd_name, probe};
use crate::render::{
    FILE, Failure, Format, SEGMENT, TableStyle, TimeStyle, by_names, fields, file_record, record, write_fields,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show all fields of segments and POSIX objects",
    description: "Shows every field of the named segments and objects, one per line, in the order in which they are \
                  named. Those that do not exist are reported; the others are still shown. For a segment that is \
                  marked for destruction, its former key is shown if a visible process has it attached.\n\n\
                  For a named semaphore (sem:/NAME), stat shows its value and the number of waiters (including \
                  killed ones), which it reads from the file. --probe asks the kernel for a write lease, as in \
                  list.",
    examples: &[
        ("shmadm stat 0x4d2", "show everything about the segment with key 0x4d2"),
        ("shmadm stat 0x4d2 --json", "the same as JSON"),
        ("shmadm stat /psm_1a2b3c4d", "show everything about a POSIX object"),
    ],
    json: "{\"schema\":1,\"segments\":[{segment…,\"former_key\":null}],\"objects\":[…],\"failed\":[…]}, each list in \
           the order in which they were named, with the failures as in the report of rm.",
    notes: "stat requires no permission on the segment or object, attaches and maps nothing, and changes no times, \
            with one exception: reading the value of another user's named semaphore can update its access time.",
};

#[derive(Args, Debug)]
#[command(after_help = STATES)]
pub(crate) struct StatArgs {
    #[arg(help = TARGETS_HELP, value_name = "SEGMENT", allow_negative_numbers = true, required = true, value_parser = target())]
    segments: Vec<Target>,

    /// Ask the kernel whether objects without a known user are in use
    #[arg(long)]
    probe: bool,

    #[command(flatten)]
    table: TableArgs,

    /// Format of times
    #[arg(long, value_name = "STYLE", default_value = "iso", value_parser = time_style())]
    time: TimeStyle,
}

/// The report in JSON.
#[derive(Serialize)]
struct Report {
    segments: Vec<Shown>,
    objects: Vec<Object>,
    failed: Vec<Failure>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    segment: Object,
    former_key: Option<Key>,
}

pub(crate) fn run(args: &StatArgs, context: &mut Context) -> Result<Exit, Error> {
    let are_objects = are_objects(context.format, &args.segments)?;
    let needs = Needs::RECORD | Needs::COMMANDS | Needs::CONTENTS | Needs::DIRECTORIES;
    let (mut objects, failed) = resolve_all(context, &args.segments, needs).into_objects();
    check_any_found(context, !objects.is_empty(), &failed)?;
    if args.probe {
        probe(&context.system, &mut objects);
    }
    if context.format == Format::Table || objects.iter().any(Object::is_marked) {
        add_attachers(&context.system, &mut objects)?;
    }
    let undetermined = objects.iter().filter(|object| is_undetermined(&context.system, object)).count();
    let style = TableStyle { time: args.time, ..args.table.style(context, &[]) };
    match context.format {
        Format::Json => {
            let shown = |segment: Object| Shown { former_key: segment.former_key(), segment };
            let (segments, objects): (Vec<Object>, Vec<Object>) = objects.into_iter().partition(Object::is_segment);
            let segments = segments.into_iter().map(shown).collect();
            let failed = context.failure_records(&failed);
            context.report(&Report { segments, objects, failed })?;
        }
        Format::Csv | Format::Tsv => {
            let columns = if are_objects { by_names(FILE, &file_record()) } else { by_names(SEGMENT, &record(false)) };
            context.print_rows("", &columns, objects, &style)?;
        }
        Format::Table => {
            add_servers(&context.system, &mut objects);
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    context.ui.print("")?;
                }
                let mut fields = fields(object, identify(&context.system, object).as_ref(), &style);
                if let Some(name) = memfd_name(&context.system, object) {
                    fields[0].1 = format!("none (memfd \"{name}\")");
                }
                context.ui.write(|out| write_fields(out, &fields, style.width))?;
            }
        }
    }
    if !args.probe {
        suggest_probe(context, undetermined);
    }
    Ok(context.print_failures(&failed))
}
