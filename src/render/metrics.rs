//! Metrics as OpenMetrics text.
//!
//! All metrics are gauges, even those that OpenMetrics would type as `info`: the textfile collector of node_exporter
//! only has the Prometheus text parser, which rejects a whole file that contains an unknown type.
//!
//! The official client library writes the text. Its metric types are not used: all values are known when they are
//! written and never change afterwards, so a [`Collector`] supplies them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Limits, Tally};

/// The values of one IPC namespace.
#[derive(Clone, Debug)]
pub(crate) struct NamespaceMetrics {
    pub(crate) ns: Option<u64>,
    /// The container or unit of the namespace.
    pub(crate) container: Option<Arc<str>>,
    pub(crate) limits: Limits,
    /// Totals by owner: the user's name, or the uid if it has no name.
    pub(crate) owners: BTreeMap<String, Tally>,
}

/// A gauge whose value is computed from an `S`.
struct Gauge<S> {
    /// Name without the unit.
    name: &'static str,
    help: &'static str,
    /// Unit, which is appended to the name.
    unit: Option<Unit>,
    /// Returns the value; `None` if it is unknown.
    value: fn(&S) -> Option<u128>,
}

/// The gauges for each namespace and owner.
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

/// The gauges for each namespace.
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

#[derive(Debug)]
struct Report {
    namespaces: Vec<NamespaceMetrics>,
    /// Whether to add the container of each namespace (`--all-ns`).
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
        // Without /proc the namespace number is unknown, and the label is empty.
        let number = |metrics: &NamespaceMetrics| metrics.ns.map(|number| number.to_string()).unwrap_or_default();
        let namespaces: Vec<(String, &NamespaceMetrics)> =
            self.namespaces.iter().map(|metrics| (number(metrics), metrics)).collect();
        if self.all_namespaces {
            let help = "Container or unit of the IPC namespace; always 1.";
            let mut metric = encoder.encode_descriptor("shmadm_sysv_namespace_info", help, None, MetricType::Gauge)?;
            for (ns, metrics) in &namespaces {
                value(
                    &mut metric,
                    &[("ns", ns.as_str()), ("container", metrics.container.as_deref().unwrap_or_default())],
                    1,
                )?;
            }
        }
        for gauge in BY_OWNER {
            let values = |(ns, metrics): &(String, &NamespaceMetrics)| {
                let values = metrics.owners.iter().map(|(owner, tally)| (owner.clone(), (gauge.value)(tally)));
                values.map(|(owner, value)| ([("ns", ns.clone()), ("owner", owner)], value)).collect::<Vec<_>>()
            };
            family(&mut encoder, gauge, namespaces.iter().flat_map(values))?;
        }
        for gauge in BY_NAMESPACE {
            let values =
                |(ns, metrics): &(String, &NamespaceMetrics)| ([("ns", ns.clone())], (gauge.value)(&metrics.limits));
            family(&mut encoder, gauge, namespaces.iter().map(values))?;
        }
        Ok(())
    }
}

/// Writes a gauge and all its known values; nothing if all are unknown.
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

/// Writes one value. Prometheus parses floating-point numbers only, but values that fit in 64 bits are written exactly.
fn value(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u128) -> Result<(), fmt::Error> {
    let mut metric = metric.encode_family(labels)?;
    match u64::try_from(value) {
        Ok(value) => metric.encode_gauge(&value),
        Err(_) => metric.encode_gauge(&(value as f64)),
    }
}

/// Returns the metrics as text; `all_namespaces` adds the container of each namespace.
pub(crate) fn metrics_text(namespaces: Vec<NamespaceMetrics>, all_namespaces: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Report { namespaces, all_namespaces }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a namespace with two owners.
    fn metrics() -> NamespaceMetrics {
        let limits = Limits {
            shmmni: 4096,
            shmmax: 18_446_744_073_692_774_399,
            shmall: 18_446_744_073_692_774_399,
            shmmin: 1,
            page_size: 4096,
            rmid_forced: Some(true),
        };
        let root = Tally { segments: 3, pages: 1 << 40, size: 1 << 70, swap: None, ..Tally::ZERO };
        let odd = Tally { segments: 1, orphans: 1, orphan_bytes: 7, dest: 2, attachments: 5, ..Tally::ZERO };
        let owners = BTreeMap::from([("root".to_owned(), root), ("a\"b\\x0a\n".to_owned(), odd)]);
        NamespaceMetrics { ns: Some(4_026_531_839), container: Some("web".into()), limits, owners }
    }

    #[test]
    fn gauges_have_help_type_unit_and_labels() {
        let text = metrics_text(vec![metrics()], false).unwrap();
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
    fn all_types_are_gauges_and_names_end_with_their_unit() {
        let text = metrics_text(vec![metrics(), NamespaceMetrics { ns: Some(7), container: None, ..metrics() }], true)
            .unwrap();
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
        assert_eq!(names.len(), types.len(), "no metric is described twice");
    }

    #[test]
    fn a_gauge_without_known_values_is_omitted() {
        let mut metrics = metrics();
        metrics.limits.rmid_forced = None;
        metrics.owners.values_mut().for_each(|tally| tally.rss = None);
        metrics.ns = None;
        let text = metrics_text(vec![metrics], false).unwrap();
        assert!(!text.contains("rmid_forced") && !text.contains("resident"), "{text}");
        assert!(text.contains("\nshmadm_sysv_limit_segments{ns=\"\"} 4096\n"), "{text}");
    }
}
