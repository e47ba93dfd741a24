//! Metrics as OpenMetrics text, in which everything is a gauge.
//!
//! The textfile collector of node_exporter has the plain parser of Prometheus alone, which refuses a whole file for a
//! type that it does not know, such as `info`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Limits, Tally};

/// What metrics tell of one IPC namespace.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Its number.
    pub(crate) ns: Option<u64>,
    /// The container or unit to which it belongs.
    pub(crate) container: Option<Arc<str>>,
    /// Its limits.
    pub(crate) limits: Limits,
    /// What is in it, by the owner's name, or number where there is none.
    pub(crate) owners: BTreeMap<String, Tally>,
}

/// A gauge with a value for each `S`.
struct Gauge<S> {
    /// Its name, without the unit.
    name: &'static str,
    /// What it tells.
    help: &'static str,
    /// Its unit, which ends the name.
    unit: Option<Unit>,
    /// The value; `None` where it is unknown.
    value: fn(&S) -> Option<u128>,
}

/// The gauges that there are for each namespace and owner.
const BY_OWNER: &[Gauge<Tally>] = &[
    Gauge {
        name: "shmadm_sysv_segments",
        help: "System V shared memory segments that exist.",
        unit: None,
        value: |tally| Some(tally.segments.into()),
    },
    Gauge {
        name: "shmadm_sysv_pages",
        help: "Pages of all segments, as counted against shmall.",
        unit: None,
        value: |tally| Some(tally.pages.into()),
    },
    Gauge {
        name: "shmadm_sysv_size",
        help: "Sum of the requested sizes of all segments.",
        unit: Some(Unit::Bytes),
        value: |tally| Some(tally.size),
    },
    Gauge {
        name: "shmadm_sysv_resident",
        help: "Resident memory of all segments.",
        unit: Some(Unit::Bytes),
        value: |tally| tally.rss,
    },
    Gauge {
        name: "shmadm_sysv_swapped",
        help: "Swapped memory of all segments.",
        unit: Some(Unit::Bytes),
        value: |tally| tally.swap,
    },
    Gauge {
        name: "shmadm_sysv_orphans",
        help: "Segments that are not attached and whose creator and last user have exited.",
        unit: None,
        value: |tally| Some(tally.orphans.into()),
    },
    Gauge {
        name: "shmadm_sysv_orphan",
        help: "Sum of the requested sizes of all orphans.",
        unit: Some(Unit::Bytes),
        value: |tally| Some(tally.orphan_bytes),
    },
    Gauge {
        name: "shmadm_sysv_unknown",
        help: "Segments that are not attached and whose creator or last user cannot be determined.",
        unit: None,
        value: |tally| Some(tally.unknown.into()),
    },
    Gauge {
        name: "shmadm_sysv_dest",
        help: "Segments that are marked for destruction and still attached.",
        unit: None,
        value: |tally| Some(tally.dest.into()),
    },
    Gauge {
        name: "shmadm_sysv_attachments",
        help: "Attachments of all segments, counted as mappings.",
        unit: None,
        value: |tally| Some(tally.attachments.into()),
    },
];

/// The gauges that there are for each namespace.
const BY_NAMESPACE: &[Gauge<Limits>] = &[
    Gauge {
        name: "shmadm_sysv_limit_segments",
        help: "Maximum number of segments (kernel.shmmni).",
        unit: None,
        value: |limits| Some(limits.shmmni.into()),
    },
    Gauge {
        name: "shmadm_sysv_limit_pages",
        help: "Maximum number of pages in all segments (kernel.shmall).",
        unit: None,
        value: |limits| Some(limits.shmall.into()),
    },
    Gauge {
        name: "shmadm_sysv_limit_segment_size",
        help: "Maximum size of a segment (kernel.shmmax).",
        unit: Some(Unit::Bytes),
        value: |limits| Some(limits.shmmax.into()),
    },
    Gauge {
        name: "shmadm_sysv_rmid_forced",
        help: "1 if unattached segments are destroyed (kernel.shm_rmid_forced), otherwise 0.",
        unit: None,
        value: |limits| limits.rmid_forced.map(u128::from),
    },
];

/// Everything that metrics tell.
#[derive(Debug)]
struct Report {
    /// Of each namespace.
    namespaces: Vec<Sums>,
    /// Whether it is told to which container each belongs.
    all_namespaces: bool,
}

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Version of shmadm; always 1.";
        let mut metric = encoder.encode_descriptor("shmadm_build_info", help, None, MetricType::Gauge)?;
        value(&mut metric, &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
        if let Some(first) = self.namespaces.first() {
            let help = "Page size, the unit of the page limits.";
            let mut metric =
                encoder.encode_descriptor("shmadm_sysv_page_size", help, Some(&Unit::Bytes), MetricType::Gauge)?;
            metric.encode_gauge(&first.limits.page_size)?;
        }
        // Without /proc the one namespace has no number, and no label.
        let number = |sums: &Sums| sums.ns.map(|number| number.to_string()).unwrap_or_default();
        let namespaces: Vec<(String, &Sums)> = self.namespaces.iter().map(|sums| (number(sums), sums)).collect();
        if self.all_namespaces {
            let help = "Container or unit of the IPC namespace; always 1.";
            let mut metric = encoder.encode_descriptor("shmadm_sysv_namespace_info", help, None, MetricType::Gauge)?;
            for (ns, sums) in &namespaces {
                value(
                    &mut metric,
                    &[("ns", ns.as_str()), ("container", sums.container.as_deref().unwrap_or_default())],
                    1,
                )?;
            }
        }
        for gauge in BY_OWNER {
            let of = |(ns, sums): &(String, &Sums)| {
                let values = sums.owners.iter().map(|(owner, tally)| (owner.clone(), (gauge.value)(tally)));
                values.map(|(owner, value)| ([("ns", ns.clone()), ("owner", owner)], value)).collect::<Vec<_>>()
            };
            family(&mut encoder, gauge, namespaces.iter().flat_map(of))?;
        }
        for gauge in BY_NAMESPACE {
            let of = |(ns, sums): &(String, &Sums)| ([("ns", ns.clone())], (gauge.value)(&sums.limits));
            family(&mut encoder, gauge, namespaces.iter().map(of))?;
        }
        Ok(())
    }
}

/// Writes a gauge with all its values, if it has any.
fn family<S, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    gauge: &Gauge<S>,
    values: impl Iterator<Item = (L, Option<u128>)>,
) -> Result<(), fmt::Error> {
    let mut known = values.filter_map(|(labels, value)| Some((labels, value?))).peekable();
    if known.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(gauge.name, gauge.help, gauge.unit.as_ref(), MetricType::Gauge)?;
    known.try_for_each(|(labels, number)| value(&mut metric, &labels, number))
}

/// Writes one value. Prometheus has floating point numbers alone, but what fits is written in full.
fn value(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u128) -> Result<(), fmt::Error> {
    let mut metric = metric.encode_family(labels)?;
    match u64::try_from(value) {
        Ok(value) => metric.encode_gauge(&value),
        Err(_) => metric.encode_gauge(&(value as f64)),
    }
}

/// Gives the metrics of namespaces as text; `all_namespaces` tells to which container each belongs.
///
/// # Errors
/// None: text takes everything.
pub(crate) fn metrics_text(namespaces: Vec<Sums>, all_namespaces: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Report { namespaces, all_namespaces }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of a namespace with two owners.
    fn sums() -> Sums {
        let limits = Limits {
            shmmni: 4096,
            shmmax: 18_446_744_073_692_774_399,
            shmall: 18_446_744_073_692_774_399,
            shmmin: 1,
            page_size: 4096,
            rmid_forced: Some(true),
        };
        let root = Tally { segments: 3, pages: 1 << 40, size: 1 << 70, swap: None, ..Tally::NOTHING };
        let odd = Tally { segments: 1, orphans: 1, orphan_bytes: 7, dest: 2, attachments: 5, ..Tally::NOTHING };
        let owners = BTreeMap::from([("root".to_owned(), root), ("a\"b\\x0a\n".to_owned(), odd)]);
        Sums { ns: Some(4_026_531_839), container: Some("web".into()), limits, owners }
    }

    #[test]
    fn gauges_have_help_type_unit_and_labels() {
        let text = metrics_text(vec![sums()], false).unwrap();
        assert!(text.starts_with("# HELP shmadm_build_info "), "{text}");
        for part in [
            concat!(
                "# TYPE shmadm_build_info gauge\nshmadm_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1\n"
            ),
            "# TYPE shmadm_sysv_size_bytes gauge\n# UNIT shmadm_sysv_size_bytes bytes\n",
            "\nshmadm_sysv_page_size_bytes 4096\n",
            "\nshmadm_sysv_segments{ns=\"4026531839\",owner=\"root\"} 3\n",
            "\nshmadm_sysv_segments{ns=\"4026531839\",owner=\"a\\\"b\\\\x0a\\n\"} 1\n",
            "\nshmadm_sysv_pages{ns=\"4026531839\",owner=\"root\"} 1099511627776\n",
            "\nshmadm_sysv_size_bytes{ns=\"4026531839\",owner=\"root\"} 1.180591620717411",
            "\nshmadm_sysv_orphan_bytes{ns=\"4026531839\",owner=\"a\\\"b\\\\x0a\\n\"} 7\n",
            "\nshmadm_sysv_limit_pages{ns=\"4026531839\"} 18446744073692774399\n",
            "\nshmadm_sysv_rmid_forced{ns=\"4026531839\"} 1\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert!(
            !text.contains("shmadm_sysv_swapped_bytes{ns=\"4026531839\",owner=\"root\"}"),
            "unknown is not 0: {text}"
        );
        assert!(!text.contains("namespace_info"), "{text}");
    }

    #[test]
    fn every_type_is_a_gauge_and_every_unit_ends_its_name() {
        let text = metrics_text(vec![sums(), Sums { ns: Some(7), container: None, ..sums() }], true).unwrap();
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(types.len(), 3 + BY_OWNER.len() + BY_NAMESPACE.len());
        assert!(types.iter().all(|line| line.ends_with(" gauge")), "{types:?}");
        for line in text.lines().filter(|line| line.starts_with("# UNIT ")) {
            let (name, unit) = line.trim_start_matches("# UNIT ").split_once(' ').unwrap();
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        }
        assert!(text.contains("\nshmadm_sysv_namespace_info{ns=\"4026531839\",container=\"web\"} 1\n"), "{text}");
        assert!(text.contains("\nshmadm_sysv_namespace_info{ns=\"7\",container=\"\"} 1\n"), "{text}");
        let mut names: Vec<_> = types.iter().map(|line| line.split(' ').nth(2)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), types.len(), "no name has two descriptions");
    }

    #[test]
    fn what_is_unknown_everywhere_is_left_out_whole() {
        let mut sums = sums();
        sums.limits.rmid_forced = None;
        sums.owners.values_mut().for_each(|tally| tally.rss = None);
        sums.ns = None;
        let text = metrics_text(vec![sums], false).unwrap();
        assert!(!text.contains("rmid_forced") && !text.contains("resident"), "{text}");
        assert!(text.contains("\nshmadm_sysv_limit_segments{ns=\"\"} 4096\n"), "{text}");
    }
}
