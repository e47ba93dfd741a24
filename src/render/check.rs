//! What a monitoring plugin prints, by the guidelines of those.

use std::io::{self, Write};

use super::{Object, escape, human};
use crate::error::Error;
use crate::model::{Measure, Severity, Threshold};

/// The service that the first line is about.
const SERVICE: &str = "SHM";

/// A measure with its value and what is made of it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// What is measured.
    pub(crate) measure: Measure,
    /// The value.
    pub(crate) value: u128,
    /// The limit that it has.
    pub(crate) limit: Option<u64>,
    /// The range of a warning.
    pub(crate) warning: Option<Threshold>,
    /// The range of a critical state.
    pub(crate) critical: Option<Threshold>,
}

impl Reading {
    /// Judges the value.
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

    /// Says the value in words, with the ranges if it is an alert or if `verbose`.
    fn words(&self, verbose: bool) -> String {
        let (value, one) = (self.value, self.value == 1);
        let many = |noun: &str| if one { format!("{value} {noun}") } else { format!("{value} {noun}s") };
        let share = self.share();
        let words = match (self.measure, self.limit) {
            (Measure::Segments, Some(limit)) => format!("{value} of {limit} segments{share}"),
            (Measure::Pages, Some(limit)) => format!("{value} of {limit} pages{share}"),
            (Measure::Segments, None) => many("segment"),
            (Measure::Pages, None) => many("page"),
            (Measure::Orphans, _) => many("orphan"),
            (Measure::OrphanBytes, _) => format!("orphans of {} ({value} bytes)", human::size(value)),
            (Measure::Dest, _) => format!("{} marked for destruction", many("segment")),
        };
        let severity = self.severity();
        let range =
            |name: &str, range: &Option<Threshold>| range.as_ref().map(|range| format!("{name} {}", range.text()));
        let ranges: Vec<_> = match severity {
            _ if verbose => {
                [range("warning", &self.warning), range("critical", &self.critical)].into_iter().flatten().collect()
            }
            Severity::Ok => Vec::new(),
            Severity::Warning => range("warning", &self.warning).into_iter().collect(),
            Severity::Critical => range("critical", &self.critical).into_iter().collect(),
        };
        if ranges.is_empty() { words } else { format!("{words} [{}]", ranges.join(", ")) }
    }

    /// Gives the share of the limit that the value is, in brackets, where there is one.
    fn share(&self) -> String {
        let hundredths = self.limit.and_then(|limit| (self.value * 10_000).checked_div(limit.into()));
        hundredths.map_or_else(String::new, |share| format!(" ({}.{:02}%)", share / 100, share % 100))
    }

    /// Writes the value as performance data: `'label'=value[UOM];[warn];[crit];[min];[max]`.
    fn performance(&self) -> String {
        let range =
            |range: &Option<Threshold>| range.as_ref().map(|range| range.absolute(self.limit)).unwrap_or_default();
        let most = self.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let fields = [
            format!("'{}'={}{}", self.measure.word(), self.value, self.measure.unit()),
            range(&self.warning),
            range(&self.critical),
            "0".to_owned(),
            most,
        ];
        fields.join(";").trim_end_matches(';').to_owned()
    }
}

/// Gives the worst of all severities.
pub(crate) fn worst(readings: &[Reading]) -> Severity {
    readings.iter().map(Reading::severity).max().unwrap_or(Severity::Ok)
}

/// Writes the report: one line with performance data, and with `-vv` a line for each value and each of `details`.
///
/// # Errors
/// The writer's.
pub(crate) fn write_check(
    out: &mut impl Write,
    readings: &[Reading],
    verbosity: u8,
    details: &[String],
) -> io::Result<()> {
    // The worst first: a pager may show no more than the beginning.
    let mut worst_first: Vec<&Reading> = readings.iter().collect();
    worst_first.sort_by_key(|reading| std::cmp::Reverse(reading.severity()));
    let words: Vec<_> = worst_first.iter().map(|reading| reading.words(verbosity > 0)).collect();
    let performance: Vec<_> = readings.iter().map(Reading::performance).collect();
    writeln!(out, "{SERVICE} {}: {} | {}", worst(readings).word(), words.join(", "), performance.join(" "))?;
    if verbosity > 1 {
        for reading in readings {
            writeln!(out, "{}: {}: {}", reading.measure.word(), reading.severity().word(), reading.words(true))?;
        }
        for line in details {
            writeln!(out, "{}", harmless(line))?;
        }
    }
    Ok(())
}

/// Writes the report as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn write_check_json(out: &mut impl Write, readings: &[Reading]) -> io::Result<()> {
    let mut object = Object::schema(out)?;
    let severity = worst(readings);
    object.text("status", severity.word())?;
    object.number("code", severity.code())?;
    object.list("checks", readings, |out, reading| {
        let mut object = Object::open(out)?;
        object.text("what", reading.measure.word())?;
        object.text("status", reading.severity().word())?;
        write!(object.field("value")?, "{}", reading.value)?;
        object.optional("limit", reading.limit)?;
        object.text("warning", reading.warning.as_ref().map(Threshold::text))?;
        object.text("critical", reading.critical.as_ref().map(Threshold::text))?;
        object.close()
    })?;
    object.end()
}

/// Gives the one line of a failure, from which no verdict can be had.
pub(crate) fn unknown_line(error: &Error) -> String {
    let cause = error.cause.as_deref().map(|cause| format!("; {cause}")).unwrap_or_default();
    format!("{SERVICE} UNKNOWN: {}", harmless(&format!("{error}{cause}")))
}

/// Makes text harmless for a line of a plugin, in which a bar begins the performance data.
fn harmless(text: &str) -> String {
    escape(text).replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// Makes a reading.
    fn reading(measure: Measure, value: u128, limit: Option<u64>, warning: &str, critical: &str) -> Reading {
        let range = |text: &str| (!text.is_empty()).then(|| Threshold::parse(text, measure).unwrap());
        Reading { measure, value, limit, warning: range(warning), critical: range(critical) }
    }

    /// Gives the report.
    fn written(readings: &[Reading], verbosity: u8) -> String {
        let mut out = Vec::new();
        write_check(&mut out, readings, verbosity, &["in a | b".to_owned()]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_has_the_status_the_words_and_the_performance_data() {
        let quiet = [
            reading(Measure::Segments, 3, Some(4096), "80%", "90%"),
            reading(Measure::Pages, 9, Some(18_446_744_073_692_774_399), "80%", "90%"),
        ];
        assert_eq!(
            written(&quiet, 0),
            "SHM OK: 3 of 4096 segments (0.07%), 9 of 18446744073692774399 pages (0.00%) | \
             'segments'=3;3276.8;3686.4;0;4096 \
             'pages'=9;14757395258954219519.2;16602069666323496959.1;0;18446744073692774399\n"
        );
        assert_eq!(worst(&quiet), Severity::Ok);
    }

    #[test]
    fn the_worst_comes_first_and_says_which_range_it_has_left() {
        let readings = [
            reading(Measure::Segments, 1, Some(10), "80%", ""),
            reading(Measure::Orphans, 1, Some(10), "0", ""),
            reading(Measure::OrphanBytes, 1 << 30, None, "1M", "@512M:2G"),
            reading(Measure::Dest, 2, Some(10), "", "5:"),
        ];
        assert_eq!(
            written(&readings, 0),
            "SHM CRITICAL: orphans of 1G (1073741824 bytes) [critical @512M:2G], \
             2 segments marked for destruction [critical 5:], 1 orphan [warning 0], 1 of 10 segments (10.00%) | \
             'segments'=1;8;;0;10 'orphans'=1;0;;0;10 'orphan-bytes'=1073741824B;1048576;@536870912:2147483648;0 \
             'dest'=2;;5:;0;10\n"
        );
        assert!(written(&readings, 1).contains("1 of 10 segments (10.00%) [warning 80%] |"));
        assert_eq!(written(&readings, 1).lines().count(), 1);
        let long = written(&readings, 2);
        assert_eq!(long.lines().count(), 6, "{long}");
        assert_eq!(long.lines().filter(|line| line.contains('|')).count(), 1, "a bar begins performance data: {long}");
        assert!(long.contains("\norphans: WARNING: 1 orphan [warning 0]\n"), "{long}");
    }

    #[test]
    fn critical_is_worse_than_warning_and_each_alone_counts() {
        let severity = |warning, critical| reading(Measure::Segments, 5, Some(10), warning, critical).severity();
        assert_eq!(severity("4", "4"), Severity::Critical);
        assert_eq!(severity("4", "5"), Severity::Warning);
        assert_eq!(severity("", "4"), Severity::Critical);
        assert_eq!(severity("4", ""), Severity::Warning);
        assert_eq!(severity("5", "5"), Severity::Ok);
        assert_eq!(severity("", ""), Severity::Ok);
        assert_eq!([Severity::Ok, Severity::Warning, Severity::Critical].map(Severity::code), [0, 1, 2]);
    }

    #[test]
    fn a_failure_is_one_line_without_a_bar() {
        let error = Error::new(Kind::Failed, "cannot a|b\nc").cause("x|y");
        assert_eq!(unknown_line(&error), "SHM UNKNOWN: cannot a/b\\nc; x/y");
    }

    #[test]
    fn json_has_the_ranges_as_they_were_typed() {
        let mut out = Vec::new();
        write_check_json(&mut out, &[reading(Measure::OrphanBytes, 1 << 70, None, "1G", "")]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"schema\":1,\"status\":\"WARNING\",\"code\":1,\"checks\":[{\"what\":\"orphan-bytes\",\
             \"status\":\"WARNING\",\"value\":1180591620717411303424,\"limit\":null,\"warning\":\"1G\",\
             \"critical\":null}]}\n"
        );
    }
}
