//! Figures of sites with origins: what became of requests, and what is stored.

use std::sync::Arc;

use atoll_edge::front::{DiskFigures, Fronts, OriginView, Outcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::gauge;

/// Reads the figures when they are asked for.
#[derive(Debug)]
pub(super) struct FrontCollector(pub(super) Arc<Fronts>);

impl Collector for FrontCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Requests for sites with origins, by what became of them";
        let mut family = out.encode_descriptor("front_requests", help, None, MetricType::Counter)?;
        for outcome in Outcome::ALL {
            let label = [("outcome", outcome.name())];
            let series = family.encode_family(&label)?;
            ConstCounter::new(self.0.tally().of(outcome)).encode(series)?;
        }
        self.origins(&mut out)?;
        let stores = self.0.stores();
        let urls = stores.iter().map(|store| store.len() as u64).sum();
        gauge(&mut out, "front_urls", "URLs of which answers of origins are stored in memory", None, urls)?;
        let weight = stores.iter().map(|store| store.weight()).sum();
        gauge(&mut out, "front_stored", "Memory that they take", Some(&Unit::Bytes), weight)?;
        let help = "Requests for a site that were refused, by its first host and the quota that was used up";
        let mut family = out.encode_descriptor("front_refused", help, None, MetricType::Counter)?;
        for (host, spent, count) in self.0.refused() {
            let label = [("site", host), ("quota", spent.name())];
            ConstCounter::new(count).encode(family.encode_family(&label)?)?;
        }
        encode_disk(&mut out, &stores.iter().filter_map(|store| store.disk()).sum())
    }
}

/// The most servers that strangers named of which there are figures: each is seven lines.
const PUBLISHED_MAX: usize = 256;

/// A figure of an origin: its name, what it says, and its value.
type Figure<T> = (&'static str, &'static str, fn(&OriginView) -> T);

/// What is counted of each origin.
const COUNTS: [Figure<u64>; 5] = [
    ("front_origin_requests", "Requests that were sent to an origin", |view| view.requests),
    ("front_origin_failures", "Those that failed", |view| view.failures),
    ("front_origin_retries", "Those that were sent after another origin had failed", |view| view.retries),
    ("front_origin_hedges", "Those that were sent because another origin's answer was late", |view| view.hedges),
    ("front_origin_ejections", "How often an origin was left out", |view| view.ejections),
];

impl FrontCollector {
    fn origins(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut sites: Vec<_> = self.0.origins().map(|(site, origins)| (site.to_owned(), origins.views())).collect();
        sites.extend(self.0.published_origins(PUBLISHED_MAX));
        let views = || sites.iter().flat_map(|(site, views)| views.iter().map(move |view| (&**site, view)));
        for (name, help, count) in COUNTS {
            let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (site, view) in views() {
                let labels = [("site", site), ("origin", &*view.name)];
                ConstCounter::new(count(view)).encode(family.encode_family(&labels)?)?;
            }
        }
        let gauges: [Figure<i64>; 2] = [
            ("front_origin_ready", "Whether an origin is asked before those that are not", |view| view.ready.into()),
            ("front_origin_in_flight", "Requests that an origin has in flight", |view| {
                i64::try_from(view.in_flight).unwrap_or(i64::MAX)
            }),
        ];
        for (name, help, value) in gauges {
            let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (site, view) in views() {
                let labels = [("site", site), ("origin", &*view.name)];
                ConstGauge::new(value(view)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// What is stored on disk.
fn encode_disk(out: &mut DescriptorEncoder<'_>, disk: &DiskFigures) -> Result<(), std::fmt::Error> {
    gauge(out, "cache_disk_urls", "URLs of which answers are stored on disk", None, disk.urls)?;
    gauge(out, "cache_disk_stored", "Bytes of the files that they are in", Some(&Unit::Bytes), disk.bytes)?;
    let help = "Answers stored on disk, by what became of them";
    let mut family = out.encode_descriptor("cache_disk_responses", help, None, MetricType::Counter)?;
    let counts = [
        ("read", disk.read),
        ("written", disk.written),
        ("kept", disk.kept),
        ("skipped", disk.skipped),
        ("damaged", disk.damaged),
    ];
    for (event, count) in counts {
        let label = [("event", event)];
        ConstCounter::new(count).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}
