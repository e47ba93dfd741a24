use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::all_namespaces::{all_instances, ask_all};
use super::files::{is_dash, with_output_target};
use super::memory::segment_holdings;
use super::objects::warn_of_omitted;
use super::{Context, Manual, usage_error};
use crate::act::NewFile;
use crate::error::{Error, Exit, Kind, shmadm};
use crate::model::{Needs, Object, PosixUsage, SourceUsage, State, Tally, by_source, path_text};
use crate::process::{Interrupts, limits_through_worker, list_through_worker};
use crate::query::{
    ObjectDirectory, System, add_to_owner, inventory, limits, posix_usage_in, survey_shmem, tally_by_owner,
};
use crate::render::{NamespaceMetrics, PosixMetrics, metrics_text};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Print metrics for Prometheus",
    description: "Prints metrics in OpenMetrics text format for Prometheus, including the textfile collector of \
                  node_exporter. All metrics are gauges. The labels are owner and ns (the number of the IPC \
                  namespace). root always has a series, with zeros if it owns no segment. Unknown values are \
                  omitted. Metrics that begin with shmadm_posix are about /dev/shm and the POSIX objects in it: dev \
                  is the device of the file system, state that of the objects.\n\n\
                  --output replaces the file atomically: a reader never sees a partial file, and it is unchanged if \
                  an error occurs. The textfile collector reads files whose names end in .prom.\n\n\
                  With --all-ns, shmadm_sysv_namespace_info names the container of each namespace, and \
                  shmadm_posix_instance_info that of each /dev/shm; one that several containers share is reported \
                  once. shmadm_usage_bytes is what `shmadm usage` shows. Only root can enter all namespaces; those \
                  that cannot be entered are omitted with a warning.",
    examples: &[
        ("shmadm metrics", "print the metrics of this IPC namespace"),
        (
            "shmadm metrics --all-ns --output shmadm.prom",
            "write the metrics of all namespaces for a textfile collector",
        ),
    ],
    json: "--json is a usage error: OpenMetrics text is the machine-readable format. `limits --json` and `list \
           --json` print the same numbers.",
    notes: "The output file has mode 0644, since collectors run as their own users. metrics refuses to write to a \
            symbolic link, or through a symbolic link of a user who is neither root nor the caller.",
};

/// Always reported, so that a time series exists before the first segment.
const ROOT: u32 = 0;

/// The states of POSIX objects that have a name.
const STATES: [State; 6] = [State::InUse, State::Unknown, State::Idle, State::Kept, State::Orphan, State::Unused];

#[derive(Args, Debug)]
pub(crate) struct MetricsArgs {
    /// Include all IPC namespaces and the /dev/shm of all processes
    #[arg(long)]
    pub(crate) all_ns: bool,

    /// Output file, replaced atomically; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &MetricsArgs, context: &mut Context) -> Result<Exit, Error> {
    if context.json() {
        return Err(usage_error("metrics cannot print JSON: its format is OpenMetrics text")
            .hint("print the limits and their usage in JSON", shmadm("limits --json"))
            .hint("print the segments in JSON", shmadm("list --json")));
    }
    let Some(path) = args.output.as_deref().filter(|path| !is_dash(path)) else {
        let text = text(args, context)?;
        context.ui.write(|out| out.write_all(text.as_bytes()))?;
        return Ok(Exit::Done);
    };
    let interrupts = Interrupts::watch()?;
    // If the file cannot be created, nothing need be read.
    let file = NewFile::begin(path, true).map_err(|error| with_output_target(error, path))?;
    let text = text(args, context)?;
    file.file().write_all(text.as_bytes()).map_err(|error| file.failed(&error))?;
    // Collectors run as their own users.
    file.set_mode(0o644)?;
    file.sync()?;
    interrupts.check()?;
    file.commit(true)?;
    context.ui.status(&format!("wrote metrics to {}", path_text(path)));
    Ok(Exit::Done)
}

type Owners = BTreeMap<u32, Tally>;

const NEEDS: Needs = Needs::RESIDENT.union(Needs::STATE);

fn text(args: &MetricsArgs, context: &mut Context) -> Result<String, Error> {
    let (namespaces, usage) = if args.all_ns {
        all_namespaces(context)?
    } else {
        let system = &context.system;
        let (limits, owners) = (limits(system)?, tally_by_owner(system, NEEDS)?);
        let owners = by_name(system, owners);
        (vec![NamespaceMetrics { ns: system.namespace(), container: None, limits, owners }], Vec::new())
    };
    let instances = posix(args, context)?;
    metrics_text(namespaces, instances, usage, args.all_ns)
        .map_err(|error| Error::new(Kind::Failed, format!("cannot write metrics: {error}")))
}

/// Returns the metrics of all namespaces, and what the shared memory of the machine consists of.
fn all_namespaces(context: &mut Context) -> Result<(Vec<NamespaceMetrics>, Vec<SourceUsage>), Error> {
    let answers = ask_all(
        context,
        |system| Ok((limits(system)?, inventory(system, NEEDS | Needs::NAMESPACE)?)),
        |system, namespace| Ok((limits_through_worker(system, namespace)?, list_through_worker(system, namespace)?)),
    )?;
    let system = &context.system;
    let here = answers.here.map(|answer| (system.namespace(), None, answer));
    let there = answers.there.into_iter().map(|(ns, answer)| (Some(ns.number), ns.container, answer));
    let (mut metrics, mut segments) = (Vec::new(), Vec::new());
    for (ns, container, (limits, objects)) in here.into_iter().chain(there) {
        let mut owners = Owners::new();
        objects.iter().for_each(|object| add_to_owner(system, &mut owners, object));
        metrics.push(NamespaceMetrics { ns, container, limits, owners: by_name(system, owners) });
        segments.extend(objects);
    }
    let mut holdings = survey_shmem(system, false)?.holdings;
    holdings.extend(segment_holdings(system, segments, Needs::empty())?.0);
    Ok((metrics, by_source(&holdings).into()))
}

/// Returns the file systems of POSIX objects; none without a /dev/shm.
fn posix(args: &MetricsArgs, context: &mut Context) -> Result<Vec<PosixMetrics>, Error> {
    let found;
    let directories = if args.all_ns {
        (found, _) = all_instances(context, true)?;
        found.iter().collect()
    } else {
        warn_of_omitted(context);
        context.system.objects().ok().into_iter().collect::<Vec<_>>()
    };
    let system = &context.system;
    let (usages, objects) = posix_usage_in(system, &directories, Needs::STATE)?;
    let metrics = |(usage, directory): (PosixUsage, &ObjectDirectory)| {
        // The series exist before the first object.
        let states = STATES.into_iter().map(|state| ((system.user(ROOT), state), 0));
        let mut numbers: BTreeMap<(String, State), u64> = states.collect();
        // A directory is not an object.
        let is_object =
            |object: &Object| !object.is_directory() && object.file().is_some_and(|file| file.device == usage.dev);
        for object in objects.iter().filter(|object| is_object(object)) {
            *numbers.entry((system.user(object.uid), object.state.unwrap_or(State::Unknown))).or_default() += 1;
        }
        PosixMetrics { usage, container: directory.container.clone(), objects: numbers }
    };
    Ok(usages.into_iter().zip(directories).map(metrics).collect())
}

/// Replaces user ids with names. Users with the same name are merged: a duplicate series would invalidate the whole
/// output.
fn by_name(system: &System, owners: Owners) -> BTreeMap<String, Tally> {
    let mut named = BTreeMap::from([(system.user(ROOT), Tally::zero())]);
    for (uid, tally) in owners {
        named.entry(system.user(uid)).or_insert_with(Tally::zero).add(&tally);
    }
    named
}
