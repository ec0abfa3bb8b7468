//! Figures of TLS: handshakes, and how long certificates still last.

use std::fmt::Error;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use atoll_certs::{Store, View};
use atoll_edge::Kept;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::gauge;

/// Reads them when they are asked for.
#[derive(Debug)]
pub(super) struct TlsCollector {
    pub(super) gateway: Kept,
    pub(super) certificates: Arc<Store>,
}

impl Collector for TlsCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), Error> {
        let done = self.gateway.load().handshakes;
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family =
            out.encode_descriptor("tls_handshakes", "TLS handshakes, by what became of them", None, kind)?;
        let counts =
            [("full", done.full), ("resumed", done.resumed), ("failed", done.failed), ("refused", done.refused)];
        for (result, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        let (views, now) = (self.certificates.views(), SystemTime::now());
        let kind = ConstGauge::new(0_i64).metric_type();
        let help = "When each certificate ends, since 1970";
        let mut family = out.encode_descriptor("certificate_end", help, Some(&Unit::Seconds), kind)?;
        for view in &views {
            let Some(certificate) = &view.certificate else { continue };
            let name = certificate.names.first().map_or("", String::as_str);
            let end = certificate.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let labels = [("name", name), ("origin", view.origin.as_str())];
            ConstGauge::new(i64::try_from(end).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
        }
        let count = |is: &dyn Fn(&View) -> bool| views.iter().filter(|view| is(view)).count() as u64;
        let wrong = count(&|view| view.wrong.is_some());
        gauge(&mut out, "certificates_refused", "Certificates that should serve and do not", None, wrong)?;
        let late = count(&|view| {
            let part = if view.wrong.is_some() { 0.5 } else { 0.75 };
            view.certificate.as_ref().is_some_and(|certificate| certificate.is_past(part, now))
        });
        let help = "Certificates past three quarters of their life, or past half of it while renewing fails";
        gauge(&mut out, "certificates_late", help, None, late)
    }
}
