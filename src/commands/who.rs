use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::all_namespaces::{ONLY_SEGMENTS, Survey, namespace_suffix, survey, warn_of_strays};
use super::args::{TableArgs, target};
use super::filters::{Failures, FilterArgs, keys, select, warn_of_removed, warn_of_removed_among};
use super::objects::{anonymous_if_selected, are_anonymous, named_objects, unlinked_if_any};
use super::{Context, Manual, are_objects, check_any_found, resolve_all};
use crate::error::{Error, Exit, Hint};
use crate::model::{Hidden, HiddenBy, Needs, Object, State, Target, TotalSize, counted, enumerate, first_names};
use crate::query::{self, Filter, add_attachers, add_attachers_and_find_strays, can_inspect_all, inventory};
use crate::render::{
    ATTACHERS, BY_MAPPING, BY_PROCESS, BY_PROCESS_SIZE, FILE_USERS, Format, NAMESPACE_COLUMNS, USERS_BY_PROCESS,
    USERS_BY_PROCESS_SIZE, USERS_BY_USE, UsedFile, UsedSegment, WhoReport, by_names,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show the processes that use segments or POSIX objects",
    description: "Shows the processes that have segments attached, one row per process: with the number of \
                  attachments, the access and the command. With --mappings it shows one row per mapping, with the \
                  address.\n\n\
                  A second table shows the processes that have POSIX objects (/NAME) open or mapped. HOW is mapped, \
                  open, both, or private (a copy-on-write mapping). With --mappings it shows one row per descriptor \
                  and mapping. For each object for which no user is found, who asks the kernel for a write lease, \
                  which it grants only if no process has the object open or mapped.\n\n\
                  Filters select segments and objects, as in list. --pid shows what a process has attached, open or \
                  mapped, with sizes and a total; other processes are then not shown.\n\n\
                  Without SEGMENT all segments and objects are shown. In scripts, use --all: an empty command \
                  substitution cannot be distinguished from an omitted SEGMENT.\n\n\
                  Attachments that cannot be found are reported with the reason: permission (processes of other \
                  users), pid-namespace (processes outside this pid namespace), in-flight (processes that attached \
                  or detached during the search), exiting (processes that are being killed or have released their \
                  memory maps, which are named) or unknown. permission, pid-namespace and exiting are reported only \
                  if nothing was attached or detached during the search. The kernel records these times in whole \
                  seconds, so who may need an extra second.\n\n\
                  The reasons are the same for an object. For it, in-flight means that a process opened the object \
                  during the search, that a Unix socket has descriptors queued, or that an io_uring has files \
                  registered. permission and pid-namespace are reported only if no process opened the object during \
                  the search.",
    examples: &[
        ("shmadm who 0x4d2", "show the processes that have the segment with key 0x4d2 attached"),
        ("shmadm who --all", "the same for all segments and objects"),
        ("shmadm who --pid $$", "show the segments and objects that a process uses, here the shell"),
        ("shmadm who 0x4d2 --mappings", "show each mapping with its address"),
        ("shmadm who /psm_1a2b3c4d", "show the processes that have a POSIX object open or mapped"),
    ],
    json: "{\"schema\":1,\"segments\":[{\"id\":5,\"ns\":…,\"nattch\":3,\"found\":2,\"attachments\":[{\"pid\":1,\"uid\":0,\"user\":\"root\",\"command\":\"…\",\"address\":\"0x…\",\"size\":4096,\"access\":\"rw\"|\"ro\",\"ns\":…,\"certain\":true,\"shared_with\":null}],\"hidden\":[{\"reason\":\"permission\"|\"pid-namespace\"|\"in-flight\"|\"exiting\"|\"unknown\",\"count\":1,\"pids\":null}],\"container\":null,\"former_key\":null}],\"objects\":[…]|null}",
    notes: "A descriptor opened with O_PATH gives no access to the contents of an object, so who, list, rm and \
            prune do not count it as a use. For an unlinked object, who does show it, because it keeps the memory \
            allocated.\n\n\
            nattch counts mappings, not processes: fork(2) copies them, mprotect(2) splits them, and two processes \
            that share an address space share one mapping. ATTACHES is the number of mappings of a process.\n\n\
            A mapping is identified by the device, by the inode number, which is the id of the segment, and by the \
            IPC namespace. Its name must begin with /SYSV, but any file can have such a name. With CAP_SYS_ADMIN, \
            segments with the same id are distinguished by the file behind the mapping. `certain` is false where the \
            mapping may belong to a segment of another namespace: without the capability, or if the process is no \
            longer in the namespace.\n\n\
            A segment that is marked for destruction has lost its key. Its mappings still contain it in their \
            names; it is reported as `former_key`. If SEGMENT is a key, a warning names marked segments that had \
            this key, or the error if no segment has it.",
};

#[derive(Args, Debug)]
pub(crate) struct WhoArgs {
    #[arg(help = "Ids, keys, ftok:PATH, /NAME, sem:/NAME, obj:OBJECT [default: all]", value_name = "SEGMENT", allow_negative_numbers = true, value_parser = target())]
    segments: Vec<Target>,

    #[command(flatten)]
    filters: FilterArgs,

    /// Show the users of everything, even if SEGMENT is given
    #[arg(long)]
    all: bool,

    /// Show one row per mapping (and descriptor), with its address
    #[arg(long)]
    mappings: bool,

    #[command(flatten)]
    table: TableArgs,

    /// Show the segments of all IPC namespaces
    #[arg(long, conflicts_with = "segments")]
    pub(crate) all_ns: bool,
}

pub(crate) fn run(args: &WhoArgs, context: &mut Context) -> Result<Exit, Error> {
    let filter = args.filters.filter()?;
    let are_named = !args.all && are_objects(context.format, &args.segments)?;
    let are_objects = are_named || filter.selects_only_objects();
    let (mut failures, mut files) = (Vec::new(), Some(Vec::new()));
    let found = if args.all_ns {
        context.ui.status(ONLY_SEGMENTS);
        all_namespaces(args, context, &filter, &mut failures)?
    } else {
        named(args, context, &filter, &mut files, &mut failures)?
    };
    print(args, context, are_objects, &found, files.as_deref(), &failures)?;
    let files = files.unwrap_or_default();
    explain_files(args, context, &files);
    let is_any_hidden = found.iter().any(|object| !object.attachers.hidden.is_empty());
    if let Some(problem) = context.system.proc_problem().filter(|_| is_any_hidden) {
        context.ui.warning(&format!("/proc {problem}: processes that have segments attached cannot be found"));
    }
    warn_of_hidden(args, context, &found);
    for object in &found {
        explain(args, context, object);
    }
    let nothing_known = found.is_empty() && files.is_empty() && !failures.is_empty();
    if !filter.pid.is_empty() && !nothing_known {
        let sizes = found.iter().map(|segment| segment.size).chain(files.iter().map(|file| file.size));
        let size = TotalSize(sizes.map(u128::from).sum());
        let segments = counted(found.len() as u64, "segment");
        let objects = counted(files.len() as u64, "object");
        match files.is_empty() {
            true => context.ui.status(&format!("total: {segments} ({size})")),
            false => context.ui.status(&format!("total: {segments} and {objects} ({size})")),
        }
    }
    Ok(context.print_failures(&failures))
}

/// Finds the users of the named objects, or of all. `used` is `None` if the POSIX objects cannot be listed.
fn named(
    args: &WhoArgs,
    context: &mut Context,
    filter: &Filter,
    used: &mut Option<Vec<UsedFile>>,
    failures: &mut Failures,
) -> Result<Vec<UsedSegment>, Error> {
    let needs = Needs::NAMESPACE | Needs::DIRECTORIES | filter.needs();
    let (objects, errors) = resolve_all(context, &args.segments, needs).into_objects();
    *failures = errors;
    // The error for a key that no segment has says the same.
    let mut found = args.segments.clone();
    found.retain(|target| !failures.iter().any(|(name, _)| *name == target.text));
    warn_of_removed(context, &[keys(&found), filter.keys()].concat(), filter);
    let is_all = args.all || args.segments.is_empty();
    let (mut objects, files): (Vec<Object>, Option<Vec<Object>>) = match is_all {
        true if are_anonymous(filter) => (inventory(&context.system, needs)?, Some(Vec::new())),
        true => (inventory(&context.system, needs)?, named_objects(context, Needs::empty(), false)?),
        false => {
            let (segments, files) = objects.into_iter().partition(Object::is_segment);
            (segments, Some(files))
        }
    };
    let are_known = files.is_some();
    let mut files = files.unwrap_or_default();
    check_any_found(context, !(objects.is_empty() && files.is_empty()), failures)?;
    query::add_users(&context.system, &mut files, needs | Needs::ATTACHERS)?;
    // Take no lease on an object that is not shown: it would block processes that open it.
    let in_any_state = filter.in_any_state();
    files.retain(|file| in_any_state.matches(&context.system, file));
    query::probe(&context.system, &mut files);
    if is_all {
        let needs = needs | Needs::ATTACHERS;
        if !filter.pid.is_empty() || filter.state.contains(&State::Unlinked) {
            files.extend(unlinked_if_any(&context.system, needs)?);
        }
        files.extend(anonymous_if_selected(&context.system, filter, needs)?);
    }
    files.retain(|file| filter.matches(&context.system, file));
    let found = files.iter().map(|file| UsedFile::of(file, &filter.pid)).collect::<Vec<_>>();
    *used = Some(found).filter(|found| are_known || !found.is_empty());
    select_users(args, context, filter, &mut objects, failures)?;
    if filter.pid.is_empty() {
        add_attachers(&context.system, &mut objects)?;
    }
    Ok(objects.iter().map(UsedSegment::of).collect())
}

/// Finds attachments in all namespaces, and segments of namespaces without a process.
fn all_namespaces(
    args: &WhoArgs,
    context: &mut Context,
    filter: &Filter,
    failures: &mut Failures,
) -> Result<Vec<UsedSegment>, Error> {
    let Survey { mut objects, is_complete, .. } = survey(context, Needs::NAMESPACE | filter.needs())?;
    warn_of_removed_among(context, filter, &objects);
    let mut strays = Vec::new();
    if filter.pid.is_empty() {
        strays = add_attachers_and_find_strays(&context.system, &mut objects)?;
        warn_of_strays(context, &strays, is_complete);
    }
    select_users(args, context, filter, &mut objects, failures)?;
    // Of these only the id is known, which no filter selects.
    strays.retain(|_| *filter == Filter::default());
    let strays = strays.into_iter().map(|(id, attachers)| UsedSegment::elsewhere(id.into(), Arc::new(attachers)));
    Ok(objects.iter().map(UsedSegment::of).chain(strays).collect())
}

/// Keeps the segments that a filter selects. Fails if no process of `--pid` can be inspected: then nothing is known.
fn select_users(
    args: &WhoArgs,
    context: &mut Context,
    filter: &Filter,
    objects: &mut Vec<Object>,
    failures: &mut Failures,
) -> Result<(), Error> {
    let not_inspected = select(context, &args.filters, filter, objects, args.all_ns)?;
    let is_any_inspected = filter.pid.is_empty() || not_inspected.len() < filter.pid.len();
    failures.extend(not_inspected);
    check_any_found(context, is_any_inspected, failures)
}

fn print(
    args: &WhoArgs,
    context: &mut Context,
    are_objects: bool,
    found: &[UsedSegment],
    files: Option<&[UsedFile]>,
    failures: &[(String, Error)],
) -> Result<(), Error> {
    if context.json() {
        return context.report(&WhoReport {
            segments: found,
            objects: files,
            failed: context.failure_records(failures),
        });
    }
    let files = files.unwrap_or_default();
    let has_users = files.iter().any(|file| !file.users.list.is_empty());
    let only_files = match context.format {
        // The columns depend on the arguments, not on what exists.
        Format::Csv | Format::Tsv => are_objects,
        // A table without rows is printed only if there is no other.
        Format::Json | Format::Table => {
            let are_attached = found.iter().any(|segment| !segment.attachers.list.is_empty());
            !are_attached && (has_users || found.is_empty() && (are_objects || !files.is_empty()))
        }
    };
    if only_files {
        return print_files(args, context, files);
    }
    print_segments(args, context, found)?;
    // CSV and TSV have one kind of row.
    if context.format == Format::Table && has_users {
        context.ui.print("")?;
        print_files(args, context, files)?;
    }
    Ok(())
}

fn print_files(args: &WhoArgs, context: &mut Context, files: &[UsedFile]) -> Result<(), Error> {
    let is_table = context.format == Format::Table;
    let columns = match args.mappings {
        _ if !is_table => FILE_USERS.iter().collect(),
        true => by_names(FILE_USERS, USERS_BY_USE),
        false if args.filters.has_pid() => by_names(FILE_USERS, USERS_BY_PROCESS_SIZE),
        false => by_names(FILE_USERS, USERS_BY_PROCESS),
    };
    let rows = files.iter().flat_map(|file| file.rows(args.mappings || !is_table)).collect();
    let droppable: &[_] = &["SIZE", "FD", "HOW", "ACCESS", "USER"];
    let style = args.table.style(context, if args.filters.has_pid() { &droppable[1..] } else { droppable });
    context.print_rows("users", &columns, rows, &style)
}

/// Explains what the rows of POSIX objects do not show; objects in use without a known user once for each reason.
fn explain_files(args: &WhoArgs, context: &mut Context, files: &[UsedFile]) {
    let mut hidden: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let (name, is_named) = (&file.ident, !args.segments.is_empty());
        match file.users.in_use() {
            Some(false) if is_named => context.ui.status(&format!("{name} is not in use")),
            Some(true) if file.users.list.is_empty() => {
                hidden.entry(file.users.why_hidden()).or_default().push(name.to_string());
            }
            None if is_named => {
                let why = file.users.why_hidden();
                context.ui.warning(&format!("cannot determine whether {name} is in use: {why}"));
            }
            _ => {}
        }
    }
    for (why, names) in hidden {
        let objects = match names.as_slice() {
            [name] => format!("{name} is in use, but no process that uses it"),
            names => {
                let first = enumerate(&first_names(MAX_NAMES, names.iter().cloned()), "and");
                format!("{} are in use ({first}), but no process that uses them", counted(names.len() as u64, "object"))
            }
        };
        context.ui.warning(&format!("{objects} was found: {why}"));
    }
}

fn print_segments(args: &WhoArgs, context: &mut Context, found: &[UsedSegment]) -> Result<(), Error> {
    let columns = match context.format {
        // All but CONTAINER.
        Format::Json | Format::Csv | Format::Tsv => ATTACHERS[..ATTACHERS.len() - 1].iter().collect(),
        Format::Table => {
            let namespace = if args.all_ns { NAMESPACE_COLUMNS } else { &[] };
            let view = match args.mappings {
                true => BY_MAPPING,
                false if args.filters.has_pid() => BY_PROCESS_SIZE,
                false => BY_PROCESS,
            };
            by_names(ATTACHERS, &[namespace, view].concat())
        }
    };
    let rows = if args.mappings || context.format != Format::Table {
        found.iter().flat_map(UsedSegment::mappings).collect()
    } else {
        found.iter().flat_map(UsedSegment::processes).collect()
    };
    let droppable: &[_] = &["SIZE", "CONTAINER", "SEGMENT_NS", "CERTAIN", "ACCESS"];
    let style = args.table.style(context, if args.filters.has_pid() { &droppable[1..] } else { droppable });
    context.print_rows("attachments", &columns, rows, &style)
}

/// Warns of attachments that were not found, once for each reason.
fn warn_of_hidden(args: &WhoArgs, context: &mut Context, found: &[UsedSegment]) {
    let mut warnings: Vec<(&Hidden, u64, Vec<String>)> = Vec::new();
    for (object, hidden) in found.iter().flat_map(|object| object.attachers.hidden.iter().map(move |it| (object, it))) {
        let suffix = namespace_suffix(args.all_ns, object.ns, object.container.as_deref());
        let name = format!("{}{suffix}", object.id.argument());
        match warnings.iter_mut().find(|(first, ..)| (first.reason, &first.pids) == (hidden.reason, &hidden.pids)) {
            Some((_, total, names)) => {
                *total += hidden.count;
                names.push(name);
            }
            None => warnings.push((hidden, hidden.count, vec![name])),
        }
    }
    for (hidden, total, names) in &warnings {
        let segments = match names.as_slice() {
            [name] => format!("segment {name}"),
            names => {
                let first = first_names(MAX_NAMES, names.iter().cloned());
                format!("{} ({})", counted(names.len() as u64, "segment"), enumerate(&first, "and"))
            }
        };
        let (attachments, meaning) = (counted(*total, "attachment"), hidden.meaning());
        let reason = match hidden.reason {
            // The explanation already contains this word.
            HiddenBy::Exiting => String::new(),
            reason => format!(" ({})", reason.as_str()),
        };
        context.ui.warning(&format!("{attachments} of {segments} cannot be seen: {meaning}{reason}"));
        if hidden.reason == HiddenBy::Permission && !args.all_ns && !can_inspect_all(&context.system) {
            context.ui.hint(Hint::run_as_root());
        }
    }
}

/// The maximum number of segments that a warning names.
const MAX_NAMES: usize = 4;

/// Explains what the rows of an object do not show.
fn explain(args: &WhoArgs, context: &mut Context, object: &UsedSegment) {
    let suffix = namespace_suffix(args.all_ns, object.ns, object.container.as_deref());
    let name = format!("{}{suffix}", object.id);
    if object.nattch == Some(0) && !args.segments.is_empty() {
        context.ui.status(&format!("{name} is not attached"));
    }
    for process in object.attachers.processes().filter(|process| process[0].exiting) {
        context.ui.status(&format!("pid {} is exiting: it keeps {name} attached until it has exited", process[0].pid));
    }
    for attacher in &object.attachers.list {
        let others: Vec<_> = attacher.shared_with.iter().flatten().map(ToString::to_string).collect();
        if !others.is_empty() {
            context.ui.status(&format!(
                "pid {} shares its address space with pid {}: each attachment is counted once",
                attacher.pid,
                others.join(", ")
            ));
        }
    }
    let uncertain = object.attachers.processes().filter(|process| process.iter().any(|mapping| !mapping.certain));
    let pids: Vec<_> = uncertain.map(|process| process[0].pid.to_string()).collect();
    if !pids.is_empty() {
        context.ui.warning(&format!(
            "the attachment of pid {} may belong to a segment with the same id in another IPC namespace, not to {name}",
            pids.join(", ")
        ));
    }
}
