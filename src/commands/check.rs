use std::time::Duration;

use clap::{ArgAction, Args};

use super::{Context, Manual, usage_error};
use crate::error::{Error, Exit, Kind, again, shmadm};
use crate::model::{
    Limits, Measure, Needs, PosixUsage, Severity, State, Tally, Threshold, counted, is_decimal, parse_duration,
};
use crate::process::with_timeout;
use crate::query::{self, System};
use crate::render::{CheckReport, Reading, worst, write_check};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Check usage against limits (Nagios-compatible plugin)",
    description: "Checks the usage of shared memory against thresholds, as a monitoring plugin for Nagios, Icinga \
                  and compatible systems. It prints one line: the service SHM, the status, a summary and, after a \
                  vertical bar, performance data. Without options, segments and pages are checked: WARNING above 80 \
                  %, CRITICAL above 90 % of their limits. With -w or -c only the named values are checked.\n\n\
                  WHAT is segments (limit kernel.shmmni), pages (limit kernel.shmall), orphans or dest (limit \
                  kernel.shmmni), or orphan-bytes (the total size of orphans). For POSIX objects, it is shm-used \
                  (memory used in /dev/shm; limit: its size), shm-inodes (limit: its number of inodes), \
                  unlinked-bytes (memory of objects that have no name but are still in use) or objects-orphan.\n\n\
                  RANGE is [@][START:]END. A value outside the range raises an alert; with @, a value inside it. \
                  The range includes both ends. START defaults to 0, ~ is minus infinity, and 10: has no upper end. \
                  A number can be a percentage of the limit (80%), and for values in bytes a SIZE (1G).\n\n\
                  The status is UNKNOWN if it depends on segments or objects that may or may not be orphans, as in \
                  a container, if the kernel does not count what is measured (/dev/shm without a size limit), and \
                  if the check takes longer than --timeout.",
    examples: &[
        ("shmadm check", "check segments and pages: WARNING above 80 % of the limit, CRITICAL above 90 %"),
        ("shmadm check -w segments=80% -w orphans=10 -c orphan-bytes=1G", "check against your own ranges"),
        ("shmadm check -w shm-used=80% -w unlinked-bytes=1G", "check the memory in /dev/shm"),
        ("shmadm check -c segments=1:", "report CRITICAL if no segment exists"),
    ],
    json: "{\"schema\":1,\"status\":\"OK\",\"code\":0,\"checks\":[{\"what\":\"segments\",\"status\":\"OK\",\"value\":3,\
           \"limit\":4096,\"warning\":\"80%\",\"critical\":\"90%\"}]}",
    notes: "-v adds the range of every value, -vv one line per value. In performance data, ranges are numbers.",
};

const RANGES: &str = "WHAT is one of these, with the limit to which a percentage refers:
  segments        existing segments; kernel.shmmni
  pages           pages of all segments; kernel.shmall
  orphans, dest   segments in this state; kernel.shmmni
  orphan-bytes    sizes of the orphans; no limit
  shm-used        memory used in /dev/shm; its size
  shm-inodes      files in /dev/shm; its number of inodes
  unlinked-bytes  memory of POSIX objects without a name; no limit
  objects-orphan  orphans among the POSIX objects; no limit

RANGE is [@][START:]END; a value outside it raises an alert:
  80%             more than 80 % of the limit
  10              less than 0 or more than 10
  10:             less than 10
  ~:10            more than 10
  10:20           less than 10 or more than 20
  @10:20          from 10 to 20
  1G              more than 1 GiB (orphan-bytes, shm-used, unlinked-bytes)

Exit codes:
  0               OK
  1               WARNING: a value violates a -w range, none a -c range
  2               CRITICAL: a value violates a -c range
  3               UNKNOWN: any failure, including usage errors; also --help and
                  --version";

pub(crate) const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "OK: every value is within its ranges."),
    (1, "WARNING: a value violates a -w range, none a -c range."),
    (2, "CRITICAL: a value violates a -c range."),
    (3, "UNKNOWN: the status cannot be determined: any failure, including usage errors; also --help and --version."),
];

#[derive(Args, Debug)]
#[command(version, after_help = RANGES)]
pub(crate) struct CheckArgs {
    /// WARNING if WHAT is outside RANGE [default: segments=80% pages=80%]
    #[arg(short, long, value_name = "WHAT=RANGE", value_parser = parse_range)]
    warning: Vec<MeasureRange>,

    /// CRITICAL if WHAT is outside RANGE [default: segments=90% pages=90%]
    #[arg(short, long, value_name = "WHAT=RANGE", value_parser = parse_range)]
    critical: Vec<MeasureRange>,

    /// Time limit, in seconds or as a duration (500ms)
    #[arg(short, long, overrides_with = "timeout", value_name = "SECONDS", default_value = "10", value_parser = parse_timeout)]
    timeout: Duration,

    /// Show the ranges; twice: one line per value
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

type MeasureRange = (Measure, Threshold);

/// A measure with its ranges for WARNING and CRITICAL.
type Rule = (Measure, Option<Threshold>, Option<Threshold>);

fn parse_range(text: &str) -> Result<MeasureRange, String> {
    let names = || Measure::ALL.map(Measure::as_str).join(", ");
    let (what, range) =
        text.split_once('=').ok_or_else(|| format!("expected WHAT=RANGE, with WHAT one of {}", names()))?;
    let measure = Measure::ALL
        .into_iter()
        .find(|measure| measure.as_str() == what)
        .ok_or_else(|| format!("unknown measure {what:?}: expected one of {}", names()))?;
    Ok((measure, Threshold::parse(range, measure)?))
}

/// Parses a time in seconds, as plugins accept it, or a duration.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_duration(&if is_decimal(text) { format!("{text}s") } else { text.to_owned() })?;
    if time.is_zero() { Err("the timeout must not be zero".to_owned()) } else { Ok(time) }
}

impl CheckArgs {
    /// Returns the rules in the order of the report.
    fn rules(&self) -> Result<Vec<Rule>, Error> {
        if self.warning.is_empty() && self.critical.is_empty() {
            let range = |measure, text| Threshold::parse(text, measure).map(Some).map_err(usage_error);
            let rule = |measure| Ok((measure, range(measure, "80%")?, range(measure, "90%")?));
            return [Measure::Segments, Measure::Pages].into_iter().map(rule).collect();
        }
        let find = |ranges: &[MeasureRange], measure: Measure, option: &str| {
            let mut found = ranges.iter().filter(|(name, _)| *name == measure).map(|(_, range)| range.clone());
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(usage_error(format!("{option} {} is given twice", measure.as_str()))),
                (range, None) => Ok(range),
            }
        };
        let mut rules = Vec::new();
        for measure in Measure::ALL {
            let (warning, critical) = (find(&self.warning, measure, "-w")?, find(&self.critical, measure, "-c")?);
            if warning.is_some() || critical.is_some() {
                rules.push((measure, warning, critical));
            }
        }
        Ok(rules)
    }
}

pub(crate) fn run(args: &CheckArgs, context: &mut Context) -> Result<Exit, Error> {
    let rules = args.rules()?;
    let measures: Vec<Measure> = rules.iter().map(|(measure, ..)| *measure).collect();
    let system = context.system.renewed();
    let Some(measured) = with_timeout(args.timeout, move || measure(&system, &measures))? else {
        return Err(Error::new(Kind::Failed, format!("the check timed out after {:?}", args.timeout))
            .cause("reading the segments and their processes takes longer than the time limit")
            .hint("allow more time", again("--timeout 60")));
    };
    let measured = measured?;
    let readings = readings(context, rules, &measured)?;
    if context.json() {
        context.report(&CheckReport::of(&readings))?;
    } else {
        let Limits { shmmni, shmmax, shmall, page_size, .. } = measured.limits;
        let details = format!(
            "kernel.shmmni={shmmni}, kernel.shmmax={shmmax}, kernel.shmall={shmall}, pages of {page_size} bytes"
        );
        context.ui.write(|out| write_check(out, &readings, args.verbose, &[details]))?;
    }
    Ok(Exit::Verdict(worst(&readings).code()))
}

/// Returns the readings of the rules, without those that are not certain. Fails if one of these could make the status
/// worse; otherwise warns about them.
fn readings(context: &mut Context, rules: Vec<Rule>, measured: &Measured) -> Result<Vec<Reading>, Error> {
    let (mut readings, mut uncertain) = (Vec::new(), Vec::new());
    for rule in rules {
        let worst = if rule.2.is_some() { Severity::Critical } else { Severity::Warning };
        match reading(rule, measured) {
            Ok(reading) => readings.push(reading),
            Err(error) if error.kind == Kind::Usage => return Err(error),
            Err(error) => uncertain.push((worst, error)),
        }
    }
    for (possible, error) in uncertain {
        if possible > worst(&readings) {
            return Err(error);
        }
        context.ui.warning(&error.message_with_cause());
    }
    Ok(readings)
}

/// What was measured.
struct Measured {
    limits: Limits,
    totals: Tally,
    /// The file system of POSIX objects, and how many of its objects are orphans, or may be.
    posix: Option<(PosixUsage, [u64; 2])>,
}

/// Reads the limits, and only the fields of the objects that are measured.
fn measure(system: &System, measures: &[Measure]) -> Result<Measured, Error> {
    let limits = query::limits(system)?;
    let needs_state = measures.iter().any(|measure| matches!(measure, Measure::Orphans | Measure::OrphanBytes));
    let totals = if needs_state {
        query::tally(system, Needs::STATE)?
    } else if measures.contains(&Measure::Dest) {
        query::tally(system, Needs::empty())?
    } else {
        query::count(system)?
    };
    let needs = if measures.contains(&Measure::ObjectsOrphan) { Needs::STATE } else { Needs::empty() };
    let posix = if measures.iter().any(|measure| measure.is_posix()) {
        let (usage, objects) = query::posix_usage(system, needs)?;
        // A directory is not an object.
        let objects = objects.iter().filter(|object| !object.is_directory());
        let states: Vec<State> = objects.filter_map(|object| object.state).collect();
        let number = |wanted| states.iter().filter(|state| **state == wanted).count() as u64;
        Some((usage, [State::Orphan, State::Unknown].map(number)))
    } else {
        None
    };
    Ok(Measured { limits, totals, posix })
}

/// Returns the error for a value that the file system of POSIX objects does not show.
fn uncounted(measure: Measure, usage: &PosixUsage) -> Error {
    let cause = match measure {
        Measure::ShmInodes => "its number of inodes is not limited",
        _ if usage.used.is_none() => "its size is not limited, so the kernel does not count what is used",
        _ => {
            "it is not the root of its file system, another mount covers a part of it, or you are not permitted to read a \
             directory in it"
        }
    };
    Error::new(Kind::Failed, format!("cannot determine {} of {}", measure.as_str(), usage.mount)).cause(cause)
}

/// Returns the value that a rule checks, how many more there may be, and the limit.
fn value(measure: Measure, measured: &Measured) -> Result<(u128, u128, Option<u64>), Error> {
    let Measured { limits, totals, posix } = measured;
    let posix = || posix.as_ref().ok_or_else(|| Error::new(Kind::Failed, "the objects were not measured"));
    Ok(match measure {
        Measure::Segments => (totals.segments.into(), 0, Some(limits.shmmni)),
        Measure::Pages => (totals.pages.into(), 0, Some(limits.shmall)),
        // Each unknown object may be an orphan.
        Measure::Orphans => (totals.orphans.into(), totals.unknown.into(), Some(limits.shmmni)),
        Measure::OrphanBytes => (totals.orphan_bytes, totals.unknown_bytes, None),
        Measure::Dest => (totals.dest.into(), 0, Some(limits.shmmni)),
        Measure::ShmUsed | Measure::ShmInodes | Measure::UnlinkedBytes => {
            let (usage, _) = posix()?;
            let counted = match measure {
                Measure::ShmUsed => usage.used.map(|used| (used, Some(usage.size))),
                Measure::ShmInodes => usage.inodes_used.map(|used| (used, Some(usage.inodes))),
                _ => usage.unlinked.map(|bytes| (bytes, None)),
            };
            let (value, limit) = counted.ok_or_else(|| uncounted(measure, usage))?;
            (value.into(), 0, limit)
        }
        Measure::ObjectsOrphan => {
            let (_, [orphans, unknown]) = posix()?;
            ((*orphans).into(), (*unknown).into(), None)
        }
    })
}

/// Returns the reading of a rule. Fails if its ranges make no sense, or if its status is not certain.
fn reading(rule: Rule, measured: &Measured) -> Result<Reading, Error> {
    let (measure, warning, critical) = rule;
    let (value, unknown, limit) = value(measure, measured)?;
    let reading = Reading { measure, value, limit, warning, critical };
    let ranges = || [&reading.warning, &reading.critical].into_iter().flatten();
    if let Some(range) = ranges().find(|range| range.is_inverted(limit)) {
        let (text, name, absolute) = (range.text(), measure.as_str(), range.absolute(limit));
        return Err(usage_error(format!(
            "invalid range {text:?} for {name}: with the current limit, its start exceeds its end ({absolute})"
        )));
    }
    // The status must be the same for any number of orphans.
    let changes = ranges().flat_map(|range| range.change_points(limit));
    let changes = changes.filter(|point| (value..value + unknown).contains(point));
    let differs = |value| (Reading { value, ..reading.clone() }).severity() != reading.severity();
    if changes.chain([value + unknown]).any(differs) {
        let (number, noun, cause, (text, command)) = match &measured.posix {
            Some((_, [_, unknown])) if measure.is_posix() => (
                *unknown,
                "object",
                "not every process can be inspected, or the pid in the name of an object may belong to another pid \
                 namespace",
                ("determine their state", "list --posix --probe"),
            ),
            _ => (
                measured.totals.unknown,
                "segment",
                "a creator or last user is outside this pid namespace, or the kernel does not report whether it is running",
                ("list them", "list --state unknown"),
            ),
        };
        let are_orphans = if number == 1 { "is an orphan" } else { "are orphans" };
        let objects = counted(number, noun);
        return Err(Error::new(Kind::Failed, format!("cannot determine whether {objects} {are_orphans}"))
            .cause(cause)
            .hint(text, shmadm(command)));
    }
    Ok(reading)
}
