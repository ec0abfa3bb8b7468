//! What an operator can set about TLS on the public listener. Plain data; a crash loses nothing.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// The most addresses to listen on.
const LISTEN_MAX: usize = 8;

/// The public listener with TLS 1.2 and 1.3, for HTTP/1.1 and HTTP/2. Its certificates are those of `certs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Addresses to listen on, such as `[::]:443`, which takes IPv4 too; empty: none.
    pub listen: Vec<SocketAddr>,
    /// From a connection's first byte to the end of its handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// The most handshakes under way at the same time; further connections are closed.
    pub handshakes: usize,
    /// How long browsers are to come back by HTTPS only (`Strict-Transport-Security`, RFC 6797), unless an answer says it itself;
    /// `0s`: nothing is said. They hold to it when HTTPS is gone again.
    #[serde(with = "humantime_serde")]
    pub hsts: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self { listen: Vec::new(), handshake_timeout: Duration::from_secs(10), handshakes: 1_024, hsts: Duration::ZERO }
    }
}

impl Tls {
    /// The value of `Strict-Transport-Security`, if any.
    pub(crate) fn hsts(&self) -> Option<HeaderValue> {
        let seconds = Some(self.hsts.as_secs()).filter(|seconds| *seconds > 0)?;
        HeaderValue::try_from(format!("max-age={seconds}")).ok()
    }

    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        if self.listen.len() > LISTEN_MAX {
            problems.push(format!("tls.listen: {} addresses are over the limit of {LISTEN_MAX}", self.listen.len()));
        }
        if self.handshake_timeout.is_zero() || self.handshake_timeout > Duration::from_secs(60) {
            problems.push("tls.handshake_timeout: must be over 0 s and at most 1 min".to_owned());
        }
        if !self.hsts.is_zero() && self.hsts < Duration::from_secs(1) {
            problems.push("tls.hsts: must be 0s, or at least 1 s".to_owned());
        }
        if self.handshakes == 0 {
            problems.push("tls.handshakes: 0 would refuse everybody".to_owned());
        }
    }
}
