//! Figures of announcing to the DHTs, one series for each.

use atoll_routing::{Sweep, SweepView};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// One figure: whether it only grows, its name, what it is, its unit, and where it stands.
type Figure = (MetricType, &'static str, &'static str, Option<Unit>, fn(&SweepView) -> u64);

const G: MetricType = MetricType::Gauge;
const C: MetricType = MetricType::Counter;
const FIGURES: [Figure; 10] = [
    (G, "provide_keys", "Keys that are announced to the DHT", None, |view| view.keys as u64),
    (G, "provide_unannounced", "Keys that were not announced yet", None, |view| view.unannounced as u64),
    (G, "provide_over", "Keys over the limit, which are not announced", None, |view| view.over),
    (G, "provide_lag", "How long the key that has been due longest has been due", Some(Unit::Seconds), |view| {
        view.lag_seconds
    }),
    (G, "provide_oldest", "How long ago the oldest announcement was made", Some(Unit::Seconds), |view| {
        view.oldest_seconds
    }),
    (G, "provide_late", "Whether the oldest announcement is older than the interval", None, |view| view.late.into()),
    (C, "provide_lookups", "Lookups of the DHT for announcing", None, |view| view.lookups),
    (C, "provide_peers_told", "Peers that were told and answered for it", None, |view| view.peers_told),
    (C, "provide_peers_failed", "Peers that could not be told", None, |view| view.peers_failed),
    (C, "provide_records", "Records that peers took", None, |view| view.records),
];

/// Reads the figures when they are asked for.
#[derive(Debug)]
pub(super) struct SweepCollector(pub(super) Vec<Sweep>);

impl Collector for SweepCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let views: Vec<SweepView> = self.0.iter().map(Sweep::view).collect();
        for (kind, name, help, unit, of) in FIGURES {
            let mut family = out.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for view in &views {
                let label = [("network", view.network.as_str())];
                let series = family.encode_family(&label)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(of(view)).encode(series)?,
                    _ => ConstGauge::new(i64::try_from(of(view)).unwrap_or(i64::MAX)).encode(series)?,
                }
            }
        }
        Ok(())
    }
}
