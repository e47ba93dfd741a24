use clap::Args;

use super::args::ObjectArg;
use super::{Context, Manual, describe};
use crate::contents;
use crate::error::{Error, Exit};
use crate::model::Needs;
use crate::render::{EXTENTS, Format, MapReport, TableStyle, write_map};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show which parts of a segment or object are in memory or in swap",
    description: "Shows which parts of a segment or POSIX object are resident, swapped or untouched. The picture \
                  divides the segment into equal parts, one character each: # is resident, s is swapped, . was \
                  never touched, ? cannot be determined, and + contains several of these.\n\n\
                  map touches no page. Where another process has the segment attached and the caller is privileged, \
                  it is inspected through that attachment and none of its fields change. Otherwise map attaches it \
                  briefly. The file of a POSIX object is inspected, which changes nothing.",
    examples: &[
        ("shmadm map 0x4d2", "show which parts of the segment with key 0x4d2 are resident"),
        ("shmadm map 0x4d2 --format csv", "list the parts with offset and length"),
    ],
    json: "{\"schema\":1,\"id\":5,\"size\":8192,\"page_size\":4096,\"resident\":4096,\"swapped\":0,\"untouched\":4096,\
           \"unknown\":0,\"rss\":4096,\"extents\":[{\"offset\":0,\"length\":4096,\"state\":\"resident\"|\"swapped\"|\"untouched\"|\
           \"unknown\"}]}; \"name\" or \"object\" instead of \"id\" for a POSIX object",
    notes: "Without privilege, swapped and untouched pages can be distinguished only if nothing is swapped. For \
            huge pages, only the number of resident pages is known, and that requires privilege.\n\n\
            For a POSIX object, cachestat(2) distinguishes swapped pages; this requires Linux 6.5 and write \
            permission on the object, or ownership of it. Otherwise, data is shown as resident if no swap is in \
            use, else as unknown. Reserved pages that were never written (fallocate) then look like holes: if the \
            object has such pages, both are shown as unknown.",
};

const PICTURE: &str = "Each character of the picture is an equal part of the segment:
  #              resident
  s              swapped
  .              untouched: never allocated, reads as zeros
  ?              cannot be determined
  +              several of these";

#[derive(Args, Debug)]
#[command(after_help = PICTURE)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    segment: ObjectArg,

    /// Omit the header line (csv, tsv)
    #[arg(long)]
    no_headings: bool,
}

pub(crate) fn run(args: &MapArgs, context: &mut Context) -> Result<Exit, Error> {
    let object = args.segment.resolve(context, Needs::RESIDENT)?;
    let source = context.open_to_inspect(&object)?;
    let extents = contents::extents(&context.system, &source, &object)?;
    let rss = source.resident().or(object.rss);
    let report = MapReport::new(object.ident(), source.size(), source.page(&context.system), rss, extents);
    match context.format {
        Format::Json => context.report(&report)?,
        Format::Table => {
            let width = context.ui.width().unwrap_or(80) as u64;
            context.ui.print(&describe(&object))?;
            context.ui.write(|out| write_map(out, &report, width))?;
        }
        Format::Csv | Format::Tsv => {
            let style = TableStyle { headings: !args.no_headings, ..context.table(&[]) };
            context.print_rows("extents", &EXTENTS.iter().collect::<Vec<_>>(), report.extents, &style)?;
        }
    }
    context.close(source)?;
    Ok(Exit::Done)
}
