use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::all_namespaces::{Survey, survey};
use super::args::TableArgs;
use super::{Context, Manual, is_dash, read_whole, usage};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::model::{Difference, Needs, Object, parse_listing, path_text};
use crate::query::inventory;
use crate::render::{
    Column, DIFFERENCE, DIFFERENCE_ALL_NS, DIFFERENCE_DEFAULT, DIFFERENCE_DROP_ORDER, DifferenceRow, Format, by_names,
    difference_rows,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show how segments changed between two listings",
    description: "Compares two listings written by `list --json`, or one listing with the current segments, and shows \
                  which segments were created, removed or changed. One of the listings can be standard input (-). As \
                  with diff(1), there is no table if nothing differs. The exit code is 0 if nothing differs and \
                  1 otherwise.\n\n\
                  Two records describe the same segment if namespace, id, creating user and group, creating process \
                  and size agree, as far as both records contain them. Key, mode, owner and times may differ. A \
                  change is one of attached, detached, owner, group, mode, key, marked, unmarked, locked and \
                  unlocked. Times, last users, memory and state are not compared: they change without anyone changing \
                  the segment.",
    examples: &[
        ("shmadm list --json > before.json && shmadm diff before.json", "show what has changed since"),
        (
            "shmadm list --json > before.json; shmadm list --json > after.json; shmadm diff before.json after.json",
            "compare two points in time",
        ),
        ("shmadm list --json | shmadm diff -", "compare a listing from another program with the current segments"),
    ],
    json: "{\"schema\":1,\"created\":[…],\"removed\":[…],\"changed\":[{\"changes\":[\"attached\",\"owner\"],\
           \"before\":{…},\"after\":{…}}]}",
    notes: "A listing must have all fields: `list --json -o` is not accepted. A listing of other IPC namespaces than \
            those compared with is an error; use --ns or --all-ns.",
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

    /// Later output of `list --json` [default: the current segments]
    #[arg(value_name = "AFTER.json")]
    after: Option<PathBuf>,

    /// Compare with the current segments of all IPC namespaces
    #[arg(long, conflicts_with = "after")]
    pub(crate) all_ns: bool,

    #[command(flatten)]
    table: TableArgs,
}

pub(crate) fn run(args: &DiffArgs, context: &mut Context) -> Result<Exit, Error> {
    if is_dash(&args.before) && args.after.as_deref().is_some_and(is_dash) {
        return Err(usage("only one of the two listings can be standard input (-)"));
    }
    let mut before = read(&args.before)?;
    let after = match &args.after {
        Some(after) => read(after)?,
        None if args.all_ns => all_namespaces(context, &mut before)?,
        None => this_namespace(args, context, &before)?,
    };
    let namespaces: BTreeSet<_> = before.iter().chain(&after).map(Object::ipc_namespace).collect();
    let difference = Difference::between(before, after);
    let exit = Exit::Verdict(u8::from(!difference.is_empty()));
    context.ui.status(&summary(&difference));
    if context.json() {
        context.report(&difference)?;
        return Ok(exit);
    }
    let columns: Vec<&'static Column<DifferenceRow>> = match context.format {
        Format::Table if difference.is_empty() => return Ok(exit),
        Format::Table if namespaces.len() <= 1 => by_names(DIFFERENCE, DIFFERENCE_DEFAULT),
        Format::Table => by_names(DIFFERENCE, DIFFERENCE_ALL_NS),
        _ => DIFFERENCE.iter().take_while(|column| column.name != "STATE").collect(),
    };
    let style = args.table.style(context, DIFFERENCE_DROP_ORDER);
    context.print_rows("differences", &columns, difference_rows(difference), &style)?;
    Ok(exit)
}

fn read(path: &Path) -> Result<Vec<Object>, Error> {
    let (name, text) = read_whole(path, |_| Ok(()))?;
    parse_listing(&text).map_err(|problem| {
        Error::new(Kind::Failed, format!("cannot compare {name}: it is not a listing of segments"))
            .target(&*name)
            .cause(problem)
            .hint("write the listing with this command, without -o", shmadm("list --json"))
    })
}

/// Returns the fields that are compared and shown, or those of the report.
fn needs(context: &Context) -> Needs {
    if context.json() { Needs::RECORD } else { Needs::NAMES | Needs::NAMESPACE | Needs::STATE }
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
    let name = path_text(&args.before);
    let numbers: Vec<_> = others.iter().map(ToString::to_string).collect();
    let error = Error::new(Kind::Refused, format!("cannot compare {name} with this IPC namespace, which is {here}"))
        .target(&*name)
        .cause(format!("it lists segments of {}", numbers.join(", ")));
    Err(if is_dash(&args.before) {
        // It has been consumed.
        error
    } else if listed.len() == 1 {
        error.hint("compare with that namespace", again(&format!("--ns ipc:[{first}]")))
    } else {
        error.hint("compare with all namespaces", again("--all-ns").without(&["ns"]))
    })
}

fn summary(difference: &Difference) -> String {
    if difference.is_empty() {
        return "no differences".to_owned();
    }
    let Difference { created, removed, changed } = difference;
    format!("{} created, {} removed, {} changed", created.len(), removed.len(), changed.len())
}
