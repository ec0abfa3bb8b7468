//! Figures of connections over libp2p, of Bitswap, of gossip and of the DHT.

use std::sync::atomic::{AtomicU64, Ordering};

use atoll_swarm::Swarm;
use atoll_swarm::counts::{QUERIES, TRANSPORTS, VERDICTS, WAYS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{counter, gauge};

/// Reads the figures when they are asked for.
pub(super) struct SwarmCollector(pub(super) Swarm);

impl std::fmt::Debug for SwarmCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwarmCollector").finish_non_exhaustive()
    }
}

impl Collector for SwarmCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (out, counts, now) = (&mut out, self.0.counts(), self.0.snapshot());
        let help = "Open connections over libp2p, by transport and by who dialled";
        let mut family = out.encode_descriptor("swarm_connections", help, None, MetricType::Gauge)?;
        for (transport, of_transport) in TRANSPORTS.iter().zip(&counts.connections) {
            for (way, count) in WAYS.iter().zip(of_transport) {
                let labels = [("transport", *transport), ("direction", *way)];
                let value = i64::try_from(load(count)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        let members = now.peers.iter().filter(|peer| peer.member).count();
        gauge(out, "swarm_peers", "Connected peers", None, now.peers.len() as u64)?;
        gauge(out, "swarm_members", "Connected peers that speak as members do", None, members as u64)?;
        by(out, "swarm_failed", "Connections that did not come about", ("direction", &WAYS), &counts.failed)?;
        by(out, "bitswap_streams", "Streams of Bitswap opened", ("direction", &WAYS), &counts.streams)?;
        by(out, "bitswap_blocks", "Blocks over Bitswap", ("direction", &WAYS), &counts.blocks)?;
        by(out, "bitswap_block_bytes", "Bytes of blocks over Bitswap", ("direction", &WAYS), &counts.bytes)?;
        counter(out, "bitswap_unasked", "Blocks that nobody asked for", None, load(&counts.unasked))?;
        by(out, "bitswap_wants", "Entries of want-lists", ("direction", &WAYS), &counts.wants)?;
        by(out, "gossip_messages", "Messages of gossip, by what came of them", ("verdict", &VERDICTS), &counts.news)?;
        counter(out, "gossip_sent", "Messages of gossip that began here", None, load(&counts.told))?;
        gauge(out, "dht_peers", "Peers in the tables of Kademlia", None, now.known as u64)?;
        gauge(out, "dht_provider_keys", "Keys whose providers are kept", None, now.provider_keys as u64)?;
        gauge(out, "dht_name_records", "IPNS records that are kept for the DHT", None, now.name_records as u64)?;
        by(out, "dht_queries", "Questions to the DHT that ended", ("kind", &QUERIES), &counts.queries)?;
        let help = "Time that questions to the DHT took in all";
        let mut family = out.encode_descriptor("dht_queries_time", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (kind, us) in QUERIES.iter().zip(&counts.query_us) {
            let seconds = std::time::Duration::from_micros(load(us)).as_secs_f64();
            ConstCounter::new(seconds).encode(family.encode_family(&[("kind", *kind)])?)?;
        }
        Ok(())
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// One count for each name of a label.
fn by(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    (label, names): (&str, &[&str]),
    values: &[AtomicU64],
) -> Result<(), std::fmt::Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (of, value) in names.iter().zip(values) {
        ConstCounter::new(load(value)).encode(family.encode_family(&[(label, *of)])?)?;
    }
    Ok(())
}
