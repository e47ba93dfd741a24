//! Metrics as OpenMetrics text.
//!
//! All metrics are gauges, even those that OpenMetrics would type as `info`: the textfile collector of node_exporter
//! only has the Prometheus text parser, which rejects a whole file that contains an unknown type.
//!
//! The official client library writes the text. Its metric types are not used: all values are known when they are
//! written and never change afterwards, so a [`Collector`] supplies them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, iter};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Limits, PosixUsage, SourceUsage, State, Tally};

#[derive(Clone, Debug)]
pub(crate) struct NamespaceMetrics {
    pub(crate) ns: Option<u64>,
    pub(crate) container: Option<Arc<str>>,
    pub(crate) limits: Limits,
    /// Totals by owner: the user's name, or the uid if it has no name.
    pub(crate) owners: BTreeMap<String, Tally>,
}

/// The file system of POSIX objects, and the objects in it.
#[derive(Clone, Debug)]
pub(crate) struct PosixMetrics {
    pub(crate) usage: PosixUsage,
    pub(crate) container: Option<Arc<str>>,
    /// The number of objects by owner, as for [`NamespaceMetrics`], and state.
    pub(crate) objects: BTreeMap<(String, State), u64>,
}

const SYSV: &str = "shmadm_sysv_";
const POSIX: &str = "shmadm_posix_";

/// A gauge whose value is computed from an `S`.
struct Gauge<S> {
    /// Name without the prefix and the unit.
    name: &'static str,
    help: &'static str,
    /// Unit, which is appended to the name.
    unit: Option<Unit>,
    value: fn(&S) -> Option<u128>,
}

const fn count<S>(name: &'static str, help: &'static str, value: fn(&S) -> Option<u128>) -> Gauge<S> {
    Gauge { name, help, unit: None, value }
}

const fn bytes<S>(name: &'static str, help: &'static str, value: fn(&S) -> Option<u128>) -> Gauge<S> {
    Gauge { name, help, unit: Some(Unit::Bytes), value }
}

/// A gauge that is always 1, and has only labels.
const fn info(name: &'static str, help: &'static str) -> Gauge<()> {
    count(name, help, |()| Some(1))
}

fn container(name: Option<&Arc<str>>) -> (&'static str, &str) {
    ("container", name.map_or("", |name| name))
}

const BY_OWNER: &[Gauge<Tally>] = &[
    count("segments", "System V shared memory segments that exist.", |tally| Some(tally.segments.into())),
    count("pages", "Pages of all segments, as counted against shmall.", |tally| Some(tally.pages.into())),
    bytes("size", "Sum of the requested sizes of all segments.", |tally| Some(tally.size)),
    bytes("resident", "Resident memory of all segments.", |tally| tally.rss),
    bytes("swapped", "Swapped memory of all segments.", |tally| tally.swap),
    count("orphans", "Segments that are not attached and whose creator and last user have exited.", |tally| {
        Some(tally.orphans.into())
    }),
    bytes("orphan", "Sum of the requested sizes of all orphans.", |tally| Some(tally.orphan_bytes)),
    count(
        "unknown",
        "Unattached segments for which it cannot be determined whether the creator or last user is running.",
        |tally| Some(tally.unknown.into()),
    ),
    count("dest", "Segments that are marked for destruction and still attached.", |tally| Some(tally.dest.into())),
    count("attachments", "Attachments of all segments, counted as mappings.", |tally| Some(tally.attachments.into())),
];

const BY_NAMESPACE: &[Gauge<Limits>] = &[
    count("limit_segments", "Maximum number of segments (kernel.shmmni).", |limits| Some(limits.shmmni.into())),
    count("limit_pages", "Maximum number of pages in all segments (kernel.shmall).", |limits| {
        Some(limits.shmall.into())
    }),
    bytes("limit_segment_size", "Maximum size of a segment (kernel.shmmax).", |limits| Some(limits.shmmax.into())),
    count("rmid_forced", "1 if unattached segments are destroyed (kernel.shm_rmid_forced), otherwise 0.", |limits| {
        limits.rmid_forced.map(u128::from)
    }),
];

/// Without a limit (size=0, nr_inodes=0), the file system counts nothing.
const BY_INSTANCE: &[Gauge<PosixUsage>] = &[
    bytes("size", "Size of the file system of POSIX shared memory objects.", |usage| limit(usage.size)),
    bytes("used", "Memory and swap used in the file system of POSIX objects.", |usage| usage.used.map(u128::from)),
    bytes("unlinked", "Memory and swap of objects that have no name but are still in use.", |usage| {
        usage.unlinked.map(u128::from)
    }),
    count("inodes", "Maximum number of files in the file system of POSIX objects.", |usage| limit(usage.inodes)),
    count("inodes_used", "Files in the file system of POSIX objects.", |usage| usage.inodes_used.map(u128::from)),
];

const OBJECTS: &Gauge<u64> =
    &count("objects", "POSIX shared memory objects and named semaphores that have a name.", |number| {
        Some((*number).into())
    });

fn limit(limit: u64) -> Option<u128> {
    (limit > 0).then(|| limit.into())
}

const USAGE: &Gauge<SourceUsage> =
    &bytes("usage", "Resident shared memory of the machine; devshm includes unlinked.", |usage| {
        Some(usage.memory.rss.into())
    });

#[derive(Debug)]
struct Report {
    namespaces: Vec<NamespaceMetrics>,
    instances: Vec<PosixMetrics>,
    /// Empty without `--all-ns`.
    usage: Vec<SourceUsage>,
    /// Whether to add the container of each namespace and instance (`--all-ns`).
    all_namespaces: bool,
}

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let version = info("build_info", "Version of shmadm; always 1.");
        family(&mut encoder, "shmadm_", &version, iter::once(([("version", env!("CARGO_PKG_VERSION"))], Some(1))))?;
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
            let gauge = info("namespace_info", "Container or unit of the IPC namespace; always 1.");
            let values =
                namespaces.iter().map(|(ns, it)| ([("ns", ns.as_str()), container(it.container.as_ref())], Some(1)));
            family(&mut encoder, SYSV, &gauge, values)?;
        }
        for gauge in BY_OWNER {
            let values = namespaces.iter().flat_map(|(ns, metrics)| {
                let labels = |owner| [("ns", ns.as_str()), ("owner", owner)];
                metrics.owners.iter().map(move |(owner, tally)| (labels(owner.as_str()), (gauge.value)(tally)))
            });
            family(&mut encoder, SYSV, gauge, values)?;
        }
        for gauge in BY_NAMESPACE {
            let values = namespaces.iter().map(|(ns, it)| ([("ns", ns.as_str())], (gauge.value)(&it.limits)));
            family(&mut encoder, SYSV, gauge, values)?;
        }
        self.encode_instances(&mut encoder)?;
        let usage = self.usage.iter().map(|usage| ([("source", usage.source.as_str())], (USAGE.value)(usage)));
        family(&mut encoder, "shmadm_", USAGE, usage)
    }
}

impl Report {
    fn encode_instances(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let instances: Vec<(String, &PosixMetrics)> =
            self.instances.iter().map(|metrics| (metrics.usage.dev.to_string(), metrics)).collect();
        if self.all_namespaces {
            let gauge = info("instance_info", "Container or unit of the file system of POSIX objects; always 1.");
            let values =
                instances.iter().map(|(dev, it)| ([("dev", dev.as_str()), container(it.container.as_ref())], Some(1)));
            family(encoder, POSIX, &gauge, values)?;
        }
        for gauge in BY_INSTANCE {
            let values = instances.iter().map(|(dev, it)| ([("dev", dev.as_str())], (gauge.value)(&it.usage)));
            family(encoder, POSIX, gauge, values)?;
        }
        let values = instances.iter().flat_map(|(dev, metrics)| {
            metrics.objects.iter().map(move |((owner, state), number)| {
                let labels = [("dev", dev.as_str()), ("owner", owner.as_str()), ("state", state.as_str())];
                (labels, (OBJECTS.value)(number))
            })
        });
        family(encoder, POSIX, OBJECTS, values)
    }
}

/// Writes a gauge and all its known values; nothing if all are unknown.
fn family<S, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    gauge: &Gauge<S>,
    values: impl Iterator<Item = (L, Option<u128>)>,
) -> Result<(), fmt::Error> {
    let mut known = values.filter_map(|(labels, value)| Some((labels, value?))).peekable();
    if known.peek().is_none() {
        return Ok(());
    }
    let name = format!("{prefix}{}", gauge.name);
    let mut metric = encoder.encode_descriptor(&name, gauge.help, gauge.unit.as_ref(), MetricType::Gauge)?;
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

/// Returns the metrics as text; `all_namespaces` adds the container of each namespace and instance.
pub(crate) fn metrics_text(
    namespaces: Vec<NamespaceMetrics>,
    instances: Vec<PosixMetrics>,
    usage: Vec<SourceUsage>,
    all_namespaces: bool,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Report { namespaces, instances, usage, all_namespaces }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_and_unknown_ones_are_omitted() {
        let most = 18_446_744_073_692_774_399;
        let limits = Limits { shmmni: 4096, shmmax: most, shmall: most, shmmin: 1, page_size: 4096, rmid_forced: None };
        let tally = Tally { size: 1 << 70, rss: None, ..Tally::zero() };
        let owners = BTreeMap::from([("a\"b\\x0a\n".to_owned(), tally)]);
        let namespace = NamespaceMetrics { ns: None, container: None, limits, owners };
        let text = metrics_text(vec![namespace], Vec::new(), Vec::new(), true).unwrap();
        for line in [
            "shmadm_sysv_namespace_info{ns=\"\",container=\"\"} 1",
            "shmadm_sysv_size_bytes{ns=\"\",owner=\"a\\\"b\\\\x0a\\n\"} 1.1805916207174114e21",
            "shmadm_sysv_limit_pages{ns=\"\"} 18446744073692774399",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
        assert!(!text.contains("resident") && !text.contains("rmid_forced"), "unknown is not 0: {text}");
    }
}
