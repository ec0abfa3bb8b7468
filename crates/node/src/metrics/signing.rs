//! Figures of signed answers: what was signed, and for which sites it is refused.

use std::sync::Arc;

use atoll_edge::Kept;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::api::BundleState;
use crate::bundles::Shelf;

/// Reads the figures when they are asked for.
#[derive(Debug)]
pub(super) struct SigningCollector {
    pub(super) gateway: Kept,
    pub(super) bundles: Arc<Shelf>,
}

impl Collector for SigningCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let made = self.gateway.load().signatures;
        let help = "Answers that could be signed: signatures made to be reused, made over a nonce, and none for want of a budget";
        let mut family = out.encode_descriptor("signatures", help, None, MetricType::Counter)?;
        for (form, count) in [("window", made.windows), ("nonce", made.nonces), ("none", made.over)] {
            ConstCounter::new(count).encode(family.encode_family(&[("form", form)])?)?;
        }
        let views = self.bundles.views();
        let count = |state| views.iter().filter(|view| view.state == state).count();
        let mut family = out.encode_descriptor(
            "bundles",
            "Sites whose answers are signed, or refused to be",
            None,
            MetricType::Gauge,
        )?;
        for (label, state) in [("signed", BundleState::Signed), ("refused", BundleState::Refused)] {
            let count = i64::try_from(count(state)).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("state", label)])?)?;
        }
        Ok(())
    }
}
