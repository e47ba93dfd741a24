use std::collections::BTreeSet;
use std::iter;
use std::path::{Path, PathBuf};

use clap::Args;

use super::all_namespaces::{Survey, all_instances, survey, why_unreachable};
use super::args::TableArgs;
use super::files::{input_name, is_dash, read_whole};
use super::{Context, Manual, usage_error};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::model::{Device, Difference, Listing, Needs, Object, parse_listing, path_text};
use crate::query::{census, inventory, posix_objects, posix_objects_in};
use crate::render::{
    Column, DIFFERENCE, DIFFERENCE_ALL_NS, DIFFERENCE_DEFAULT, DIFFERENCE_DROP_ORDER, DifferenceReport, DifferenceRow,
    FILE, FILE_DIFFERENCE, Format, by_names, difference_rows, file_record,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show how segments and objects changed between two listings",
    description: "Compares two listings written by `list --json`, or one listing with the current state, and shows \
                  which segments and POSIX objects were created, removed or changed. One of the listings can be \
                  standard input (-). As with diff(1), nothing is printed if nothing differs. The exit code is 0 if \
                  nothing differs and 1 otherwise.\n\n\
                  Two records describe the same segment if namespace, id, creating user and group, creating process \
                  and size agree, as far as both records contain them. Key, mode, owner and times may differ. A \
                  change is one of attached, detached, owner, group, mode, key, marked, unmarked, locked and \
                  unlocked. Two records describe the same POSIX object if device, inode and creation time agree. \
                  Its changes are name, size, owner, group, mode and links. Times, users, memory and state are not \
                  compared: they can change even though no process modifies the segment or object.\n\n\
                  If only one of the listings contains segments, or only one contains objects, these are not \
                  compared.",
    examples: &[
        ("shmadm list --json > before.json && shmadm diff before.json", "show what has changed since"),
        ("shmadm list --json > old; shmadm list --json > new; shmadm diff old new", "compare two points in time"),
        ("shmadm list --json | shmadm diff -", "compare a listing from another program with the current state"),
    ],
    json: "{\"schema\":1,\"created\":[…],\"removed\":[…],\"changed\":[{\"changes\":[\"attached\",\"owner\"],\
           \"before\":{…},\"after\":{…}}],\"objects\":null|{\"created\":[…],\"removed\":[…],\"changed\":[…]}}",
    notes: "A listing must have all fields: `list --json -o` is not accepted. Listings of different IPC namespaces \
            cannot be compared; use --ns or --all-ns.",
};

pub(crate) const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "No differences."),
    (1, "Differences found."),
    (2, "Failure: usage error, a file that cannot be read or is not a listing, a listing of another namespace."),
];

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// Earlier output of `list --json`; - for standard input
    #[arg(value_name = "BEFORE.json")]
    before: PathBuf,

    /// Later output of `list --json` [default: the current state]
    #[arg(value_name = "AFTER.json")]
    after: Option<PathBuf>,

    /// Compare with the current state of all namespaces
    #[arg(long, conflicts_with = "after")]
    pub(crate) all_ns: bool,

    #[command(flatten)]
    table: TableArgs,
}

pub(crate) fn run(args: &DiffArgs, context: &mut Context) -> Result<Exit, Error> {
    if is_dash(&args.before) && args.after.as_deref().is_some_and(is_dash) {
        return Err(usage_error("only one of the two listings can be standard input (-)"));
    }
    let mut before = read(&args.before)?;
    let after = match &args.after {
        Some(after) => read(after)?,
        None => current(args, context, &mut before)?,
    };
    // What only one of them lists is not compared.
    let segments = before.segments.zip(after.segments);
    let files = before.objects.zip(after.objects).map(|(before, after)| Difference::between(before, after));
    if segments.is_none() && files.is_none() {
        return Err(Error::new(Kind::Failed, "cannot compare a listing of segments with one of POSIX objects"));
    }
    let has_segments = segments.is_some();
    let (before, after) = segments.unwrap_or_default();
    let namespaces: BTreeSet<_> = before.iter().chain(&after).map(Object::ipc_namespace).collect();
    let difference = Difference::between(before, after);
    let is_same = difference.is_empty() && files.as_ref().is_none_or(Difference::is_empty);
    let exit = Exit::Verdict(u8::from(!is_same));
    context.ui.status(&summary(&difference, files.as_ref()));
    if context.json() {
        context.report(&DifferenceReport { segments: &difference, objects: files.as_ref() })?;
        return Ok(exit);
    }
    // CSV and TSV have one kind of row.
    let files = files.filter(|files| !has_segments || (context.format == Format::Table && !files.is_empty()));
    if has_segments {
        print_segments(args, context, &namespaces, difference, files.is_some())?;
    }
    if let Some(files) = files.filter(|files| context.format != Format::Table || !files.is_empty()) {
        let style = args.table.style(context, &["OBJECT", "MODE", "STATE", "OWNER"]);
        let columns: Vec<_> = FILE_DIFFERENCE.iter().collect();
        context.print_rows("differences", &columns, difference_rows(files), &style)?;
    }
    Ok(exit)
}

/// Prints how segments differ, and an empty line if another table follows.
fn print_segments(
    args: &DiffArgs,
    context: &mut Context,
    namespaces: &BTreeSet<Option<u64>>,
    difference: Difference,
    is_followed: bool,
) -> Result<(), Error> {
    let columns: Vec<&'static Column<DifferenceRow>> = match context.format {
        Format::Table if difference.is_empty() => return Ok(()),
        Format::Table if namespaces.len() <= 1 => by_names(DIFFERENCE, DIFFERENCE_DEFAULT),
        Format::Table => by_names(DIFFERENCE, DIFFERENCE_ALL_NS),
        _ => DIFFERENCE.iter().take_while(|column| column.name != "STATE").collect(),
    };
    let style = args.table.style(context, DIFFERENCE_DROP_ORDER);
    context.print_rows("differences", &columns, difference_rows(difference), &style)?;
    if is_followed { context.ui.print("") } else { Ok(()) }
}

fn read(path: &Path) -> Result<Listing, Error> {
    let (name, text) = read_whole(path, |_| Ok(()))?;
    parse_listing(&text).map_err(|problem| {
        Error::new(Kind::Failed, format!("cannot compare {name}: it is not a listing"))
            .target(&*name)
            .cause(problem)
            .hint("write the listing with this command, without -o", shmadm("list --json"))
    })
}

/// Returns the fields that are compared and shown, or those of the report.
fn needs(context: &Context) -> Needs {
    if context.json() { Needs::RECORD } else { Needs::NAMES | Needs::NAMESPACE | Needs::STATE }
}

/// Lists what the earlier listing lists.
fn current(args: &DiffArgs, context: &mut Context, before: &mut Listing) -> Result<Listing, Error> {
    let has_segments = before.segments.is_some();
    let segments = match &mut before.segments {
        None => None,
        Some(segments) if args.all_ns => Some(all_namespaces(context, segments)?),
        Some(segments) => Some(this_namespace(args, context, segments)?),
    };
    let files = match &mut before.objects {
        None => None,
        Some(files) if args.all_ns => Some(all_files(context, files, has_segments)?),
        Some(files) => Some(these_files(args, context, files)?),
    };
    Ok(Listing { segments, objects: files })
}

/// Returns the fields of POSIX objects that are shown.
fn file_needs(context: &Context) -> Needs {
    let needs = if context.json() { by_names(FILE, &file_record()) } else { Vec::new() };
    needs.iter().fold(Needs::NAMES | Needs::STATE, |needs, column| needs | column.needs).difference(Needs::CONTAINER)
}

/// Lists the current POSIX objects of every /dev/shm. Drops earlier ones of those that could not be opened.
fn all_files(context: &mut Context, before: &mut Vec<Object>, has_segments: bool) -> Result<Vec<Object>, Error> {
    let (directories, is_complete) = all_instances(context, has_segments)?;
    let is_visited = |device| directories.iter().any(|directory| directory.device == device);
    before.retain(|object| is_complete || object.file().is_some_and(|file| is_visited(file.device)));
    Ok(posix_objects_in(&context.system, &directories, file_needs(context))?)
}

/// Lists the current POSIX objects, if they are in the same file system as those of the earlier listing.
fn these_files(args: &DiffArgs, context: &Context, before: &[Object]) -> Result<Vec<Object>, Error> {
    let directory = match context.system.objects() {
        Ok(directory) => directory,
        // `list` shows none there.
        Err(_) if before.is_empty() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let devices: BTreeSet<Device> = before.iter().filter_map(|object| Some(object.file()?.device)).collect();
    let others: Vec<_> =
        devices.iter().filter(|device| **device != directory.device).map(ToString::to_string).collect();
    if others.is_empty() {
        return Ok(posix_objects(&context.system, file_needs(context))?);
    }
    let (name, path) = (input_name(&args.before), path_text(&directory.path));
    let message = format!("cannot compare {name} with {path}, which is device {}", directory.device);
    let error =
        Error::new(Kind::Refused, message).target(&*name).cause(format!("it lists objects of {}", others.join(", ")));
    let is_one = devices.len() == 1 || is_dash(&args.before);
    Err(if is_one { error } else { error.hint("compare with every /dev/shm", again("--all-ns").without(&["dir"])) })
}

/// Lists the current objects of all namespaces. Drops earlier ones of namespaces that were not visited: they may still
/// exist.
fn all_namespaces(context: &mut Context, before: &mut Vec<Object>) -> Result<Vec<Object>, Error> {
    let Survey { objects, namespaces, is_complete, .. } = survey(context, needs(context))?;
    let count = before.len();
    let is_visited = |number| namespaces.iter().any(|namespace| namespace.number == number);
    before.retain(|object| is_complete || object.ipc_namespace().is_none_or(is_visited));
    let dropped = count - before.len();
    if dropped > 0 {
        context
            .ui
            .warning(&format!("{dropped} of the earlier segments omitted: their IPC namespaces cannot be entered"));
    }
    Ok(objects)
}

/// Lists the current objects of this namespace, if it is that of the earlier listing.
fn this_namespace(args: &DiffArgs, context: &Context, before: &[Object]) -> Result<Vec<Object>, Error> {
    let listed: BTreeSet<Option<u64>> = before.iter().map(Object::ipc_namespace).collect();
    let here = context.system.namespace();
    let others: Vec<u64> =
        listed.iter().flatten().copied().filter(|number| here.is_some_and(|here| here != *number)).collect();
    let (Some(here), Some(first)) = (here, others.first()) else {
        return Ok(inventory(&context.system, needs(context))?);
    };
    let name = input_name(&args.before);
    let numbers: Vec<_> = others.iter().map(ToString::to_string).collect();
    let error = Error::new(Kind::Refused, format!("cannot compare {name} with this IPC namespace, which is {here}"))
        .target(&*name)
        .cause(format!("it lists segments of {}", numbers.join(", ")));
    Err(if is_dash(&args.before) {
        // It has been consumed.
        error
    } else if listed.len() == 1 {
        let census = census(&context.system).ok();
        if let Some(why) = census.and_then(|census| why_unreachable(&census, *first)) {
            return Err(error.also(&why));
        }
        error.hint("compare with that namespace", again(&format!("--ns ipc:[{first}]")))
    } else {
        error.hint("compare with all namespaces", again("--all-ns").without(&["ns"]))
    })
}

fn summary(segments: &Difference, files: Option<&Difference>) -> String {
    let numbers = |it: &Difference| [it.created.len(), it.removed.len(), it.changed.len()];
    let [created, removed, changed] = iter::once(segments)
        .chain(files)
        .map(numbers)
        .fold([0; 3], |sums, more| std::array::from_fn(|index| sums[index] + more[index]));
    if created + removed + changed == 0 {
        return "no differences".to_owned();
    }
    format!("{created} created, {removed} removed, {changed} changed")
}
