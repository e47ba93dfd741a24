//! The report of `check`, in the format of the Monitoring Plugins guidelines.

use std::io::{self, Write};

use serde::Serialize;

use super::{Cell, escape, human};
use crate::error::Error;
use crate::model::{Measure, Severity, Threshold, counted};

/// The service name at the start of the first line.
const SERVICE: &str = "SHM";

/// A measured value with its thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) measure: Measure,
    pub(crate) value: u128,
    /// The kernel's limit, if the measure has one.
    pub(crate) limit: Option<u64>,
    pub(crate) warning: Option<Threshold>,
    pub(crate) critical: Option<Threshold>,
}

impl Reading {
    /// Compares the value with the thresholds; the critical one wins.
    pub(crate) fn severity(&self) -> Severity {
        let alerts =
            |range: &Option<Threshold>| range.as_ref().is_some_and(|range| range.alerts(self.value, self.limit));
        if alerts(&self.critical) {
            Severity::Critical
        } else if alerts(&self.warning) {
            Severity::Warning
        } else {
            Severity::Ok
        }
    }

    /// Describes the value, with the violated threshold, or with both if `verbose`.
    fn summary(&self, verbose: bool) -> String {
        let (value, share) = (self.value, self.share());
        let summary = match (self.measure, self.limit) {
            (Measure::Segments, Some(limit)) => format!("{value} of {limit} segments{share}"),
            (Measure::Pages, Some(limit)) => format!("{value} of {limit} pages{share}"),
            (Measure::Segments, None) => counted(value, "segment"),
            (Measure::Pages, None) => counted(value, "page"),
            (Measure::Orphans, _) => counted(value, "orphan"),
            (Measure::OrphanBytes, _) => format!("{} in orphans ({value} bytes)", human::size(value)),
            (Measure::Dest, _) => format!("{} marked for destruction", counted(value, "segment")),
            (Measure::ShmUsed, limit) => {
                let limit = limit.map(|limit| format!(" of {}", human::size(limit.into()))).unwrap_or_default();
                format!("{}{limit} of object memory{share}", human::size(value))
            }
            (Measure::ShmInodes, Some(limit)) => format!("{value} of {limit} object inodes{share}"),
            (Measure::ShmInodes, None) => format!("{} in use", counted(value, "object inode")),
            (Measure::UnlinkedBytes, _) => format!("{} in unlinked objects ({value} bytes)", human::size(value)),
            (Measure::ObjectsOrphan, _) => counted(value, "orphan object"),
        };
        let severity = self.severity();
        let ranges: Vec<_> =
            [("warning", &self.warning, Severity::Warning), ("critical", &self.critical, Severity::Critical)]
                .into_iter()
                .filter(|(_, _, raised)| verbose || severity == *raised)
                .filter_map(|(name, range, _)| Some(format!("{name} {}", range.as_ref()?.text())))
                .collect();
        if ranges.is_empty() { summary } else { format!("{summary} [{}]", ranges.join(", ")) }
    }

    /// Returns the value in percent of the limit, in parentheses; empty without a limit.
    fn share(&self) -> String {
        match self.limit.map(|limit| Cell::share(self.value, limit)) {
            None | Some(Cell::Null) => String::new(),
            Some(share) => format!(" ({share}%)"),
        }
    }

    /// Writes the value as performance data: `'label'=value[UOM];[warn];[crit];[min];[max]`.
    fn performance_data(&self) -> String {
        let range =
            |range: &Option<Threshold>| range.as_ref().map(|range| range.absolute(self.limit)).unwrap_or_default();
        let max = self.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let fields = [
            format!("'{}'={}{}", self.measure.as_str(), self.value, self.measure.unit()),
            range(&self.warning),
            range(&self.critical),
            "0".to_owned(),
            max,
        ];
        fields.join(";").trim_end_matches(';').to_owned()
    }
}

pub(crate) fn worst(readings: &[Reading]) -> Severity {
    readings.iter().map(Reading::severity).max().unwrap_or(Severity::Ok)
}

/// Writes one line with performance data; with `-vv` also a line for each value and each of `details`.
pub(crate) fn write_check(
    out: &mut impl Write,
    readings: &[Reading],
    verbosity: u8,
    details: &[String],
) -> io::Result<()> {
    // The worst comes first: a pager may show only the beginning.
    let mut worst_first: Vec<&Reading> = readings.iter().collect();
    worst_first.sort_by_key(|reading| std::cmp::Reverse(reading.severity()));
    let summaries: Vec<_> = worst_first.iter().map(|reading| reading.summary(verbosity > 0)).collect();
    let performance: Vec<_> = readings.iter().map(Reading::performance_data).collect();
    writeln!(out, "{SERVICE} {}: {} | {}", worst(readings).as_str(), summaries.join(", "), performance.join(" "))?;
    if verbosity > 1 {
        for reading in readings {
            writeln!(out, "{}: {}: {}", reading.measure.as_str(), reading.severity().as_str(), reading.summary(true))?;
        }
        for line in details {
            writeln!(out, "{}", plugin_text(line))?;
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
pub(crate) struct CheckReport<'a> {
    status: Severity,
    code: u8,
    checks: Vec<Check<'a>>,
}

#[derive(Debug, Serialize)]
struct Check<'a> {
    what: Measure,
    status: Severity,
    value: u128,
    limit: Option<u64>,
    warning: Option<&'a str>,
    critical: Option<&'a str>,
}

impl<'a> CheckReport<'a> {
    pub(crate) fn of(readings: &'a [Reading]) -> Self {
        let check = |reading: &'a Reading| Check {
            what: reading.measure,
            status: reading.severity(),
            value: reading.value,
            limit: reading.limit,
            warning: reading.warning.as_ref().map(Threshold::text),
            critical: reading.critical.as_ref().map(Threshold::text),
        };
        let status = worst(readings);
        Self { status, code: status.code(), checks: readings.iter().map(check).collect() }
    }
}

/// Returns the line for a failure of the check itself.
pub(crate) fn unknown_line(error: &Error) -> String {
    let cause = error.cause.as_deref().map(|cause| format!("; {cause}")).unwrap_or_default();
    format!("{SERVICE} UNKNOWN: {}", plugin_text(&format!("{error}{cause}")))
}

/// Escapes text; `|` is replaced because it starts the performance data.
fn plugin_text(text: &str) -> String {
    escape(text).replace('|', "/")
}
