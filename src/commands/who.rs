//! `shmadm who`.

use std::sync::Arc;

use clap::Args;

use super::all_namespaces::{Visited, namespace_suffix, survey, warn_of_strays};
use super::args::target;
use super::{Context, Manual, nothing_to_report, resolve_each};
use crate::error::{Error, Exit, Hint, shmadm};
use crate::model::{HiddenBy, Needs, Target};
use crate::query::{add_attachers, add_attachers_and_find_strays, can_inspect_all, inventory};
use crate::render::{
    ATTACHERS, Attachments, BY_MAPPING, BY_PROCESS, Format, NAMESPACE_COLUMNS, WhoReport, by_names, write_rows,
};

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Show the processes that have segments attached",
    description: "Shows the processes that have segments attached, one row per process: with the number of \
                  attachments, the access and the command. With --mappings it shows one row per mapping, with the \
                  address.\n\n\
                  Without SEGMENT all segments are shown. In scripts, use --all for that: an empty command \
                  substitution is not distinguishable from no SEGMENT at all.\n\n\
                  Attachments that cannot be found are reported with the reason: permission (processes of other \
                  users), pid-namespace (processes outside this pid namespace), in-flight (processes that attached or \
                  detached during the search) or unknown.",
    examples: &[
        ("shmadm who 0x4d2", "show the processes that have the segment with key 0x4d2 attached"),
        ("shmadm who --all", "the same for all segments"),
        ("shmadm who 0x4d2 --mappings", "show each mapping with its address"),
    ],
    json: "{\"schema\":1,\"segments\":[{\"id\":5,\"ns\":…,\"nattch\":3,\"found\":2,\"attachments\":[{\"pid\":1,\"uid\":0,\"user\":\"root\",\"command\":\"…\",\"address\":\"0x…\",\"size\":4096,\"access\":\"rw\"|\"ro\",\"ns\":…,\"certain\":true,\"shared_with\":null}],\"hidden\":[{\"reason\":\"permission\"|\"pid-namespace\"|\"in-flight\"|\"unknown\",\"count\":1}],\"container\":null}]}",
    notes: "nattch counts mappings, not processes: fork(2) copies them, mprotect(2) splits them, and two processes \
            that share an address space have one between them. ATTACHES is the number of mappings of a process.\n\n\
            A mapping is identified by the device, by the inode number, which is the id of the segment, and by the \
            IPC namespace; its name proves nothing. With CAP_SYS_ADMIN, segments with the same id are distinguished \
            by the file behind the mapping. Without it, `certain` is false where the mapping may belong to a segment \
            of another namespace.",
};

/// Arguments of `shmadm who`.
#[derive(Args, Debug)]
pub(crate) struct WhoArgs {
    #[arg(help = "Ids (65538), keys (0x4d2, key:1234) or ftok:PATH[:PROJ] [default: all]", value_name = "SEGMENT", value_parser = target())]
    segments: Vec<Target>,

    /// Show the processes of all segments, even if SEGMENT is given
    #[arg(long)]
    all: bool,

    /// Show one row per mapping, with its address
    #[arg(long)]
    mappings: bool,

    /// Show the segments of all IPC namespaces
    #[arg(long, conflicts_with = "segments")]
    pub(crate) all_ns: bool,
}

/// Shows the processes that have segments attached.
///
/// # Errors
/// No process can be inspected; segments that do not exist are reported one by one.
pub(crate) fn run(args: &WhoArgs, context: &mut Context) -> Result<Exit, Error> {
    let mut failures = Vec::new();
    let found = if args.all_ns {
        all_namespaces(context)?
    } else {
        let (mut segments, missing) = if args.segments.is_empty() {
            (inventory(&context.system, Needs::NAMESPACE)?, Vec::new())
        } else {
            resolve_each(context, &args.segments, Needs::NAMESPACE)
        };
        if args.all && !args.segments.is_empty() {
            segments = inventory(&context.system, Needs::NAMESPACE)?;
        }
        failures = missing;
        if segments.is_empty()
            && let Some(error) = nothing_to_report(context, std::mem::take(&mut failures))
        {
            return Err(error);
        }
        add_attachers(&context.system, &mut segments)?;
        segments.iter().map(Attachments::of).collect()
    };
    write(args, context, &found)?;
    report_missing(args, context, &found);
    for error in &failures {
        context.ui.error(error);
    }
    Ok(Exit::of(failures.iter().map(|error| error.kind)))
}

/// Finds attachments in all namespaces, and segments of namespaces without a process.
fn all_namespaces(context: &mut Context) -> Result<Vec<Attachments>, Error> {
    let Visited { mut segments, all, .. } = survey(context, Needs::NAMESPACE)?;
    let strays = add_attachers_and_find_strays(&context.system, &mut segments)?;
    warn_of_strays(context, &strays, all);
    let mut found: Vec<Attachments> = segments.iter().map(Attachments::of).collect();
    for (id, attachers) in strays {
        found.push(Attachments::elsewhere(id.into(), Arc::new(attachers)));
    }
    Ok(found)
}

/// Writes the report.
fn write(args: &WhoArgs, context: &mut Context, found: &[Attachments]) -> Result<(), Error> {
    let columns = match context.format {
        Format::Json => return context.report(&WhoReport { segments: found }),
        // All but CONTAINER.
        Format::Csv | Format::Tsv => ATTACHERS[..ATTACHERS.len() - 1].iter().collect(),
        Format::Table => {
            let place = if args.all_ns { NAMESPACE_COLUMNS } else { &[] };
            by_names(ATTACHERS, &[place, if args.mappings { BY_MAPPING } else { BY_PROCESS }].concat())
        }
    };
    let by_mapping = args.mappings || context.format != Format::Table;
    let rows = found
        .iter()
        .flat_map(
            |segment| {
                if by_mapping { segment.mappings().collect::<Vec<_>>() } else { segment.processes().collect() }
            },
        )
        .collect();
    let style = context.table(&["CONTAINER", "SEGMENT_NS", "CERTAIN", "SIZE"]);
    let format = context.format;
    context.ui.write(|out| write_rows(out, format, "attachments", &columns, rows, &style))
}

/// Warns about hidden and uncertain attachments.
fn report_missing(args: &WhoArgs, context: &mut Context, found: &[Attachments]) {
    let hidden = |segment: &Attachments| !segment.attachers.hidden.is_empty();
    if found.iter().any(hidden) && !context.system.proc_shows_own_pids() {
        context.ui.warning(
            "/proc does not belong to this pid namespace: processes that have segments attached cannot be found",
        );
    }
    for segment in found {
        let place =
            if args.all_ns { namespace_suffix(segment.ns, segment.container.as_deref()) } else { String::new() };
        let id = format!("{}{place}", segment.id);
        if segment.nattch == Some(0) && !args.segments.is_empty() {
            context.ui.status(&format!("{id} is not attached"));
        }
        for (reason, count) in &segment.attachers.hidden {
            let attachments = if *count == 1 { "attachment" } else { "attachments" };
            context.ui.warning(&format!(
                "{count} {attachments} of {id} cannot be seen: {} ({})",
                reason.meaning(),
                reason.as_str()
            ));
            if *reason == HiddenBy::Permission && !args.all_ns && !can_inspect_all(&context.system) {
                let command = shmadm(format!("who {}", segment.id.argument())).sudo();
                context.ui.hint(Hint::new("run as root", command));
            }
        }
        for attacher in &segment.attachers.list {
            let others = attacher.shared_with.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if others.is_empty() {
                continue;
            }
            context.ui.status(&format!(
                "pid {} shares its address space with pid {others}: each attachment is counted once",
                attacher.pid
            ));
        }
        let doubtful = segment.attachers.processes().filter(|process| process.iter().any(|mapping| !mapping.certain));
        let doubtful: Vec<_> = doubtful.map(|process| process[0].pid.to_string()).collect();
        if !doubtful.is_empty() {
            context.ui.warning(&format!(
                "pid {} may have a segment with the same id in another IPC namespace attached, not {id}",
                doubtful.join(", ")
            ));
        }
    }
}
