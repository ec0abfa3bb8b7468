//! What an operator can set about HTTP/3. Plain data; a crash loses nothing.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The most addresses to listen on.
const LISTEN_MAX: usize = 8;

/// HTTP/3 (RFC 9114), over QUIC; beta. It shows the certificates of `certs`, with the limits of `gateway.tls` on handshakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http3 {
    /// UDP addresses to listen on, such as `[::]:443`, which takes IPv4 too; empty: none. Answers over TLS name the port of the first in
    /// `Alt-Svc`, by which browsers come to use it.
    pub listen: Vec<SocketAddr>,
    /// Requests in flight on one connection.
    pub streams: u32,
    /// What a client may send of a request's body before it is read, in KiB.
    pub stream_window_kib: u32,
    /// The same for all requests of a connection together, in KiB.
    pub connection_window_kib: u32,
    /// What is kept of the answers on one connection until the client has them, in KiB: what a client 100 ms away is sent in that time.
    pub send_window_kib: u32,
    /// Requests that a client gives up, in any ten seconds. Over it, its connection ends (`H3_EXCESSIVE_LOAD`).
    pub resets: u32,
}

impl Default for Http3 {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            streams: 128,
            stream_window_kib: 64,
            connection_window_kib: 1_024,
            send_window_kib: 2_048,
            resets: 500,
        }
    }
}

impl Http3 {
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        if self.listen.len() > LISTEN_MAX {
            problems.push(format!("http3.listen: {} addresses are over the limit of {LISTEN_MAX}", self.listen.len()));
        }
        let mut within = |name: &str, value: u32, least: u32, most: u32| {
            if !(least..=most).contains(&value) {
                problems.push(format!("http3.{name}: must lie between {least} and {most}"));
            }
        };
        within("streams", self.streams, 1, 10_000);
        within("stream_window_kib", self.stream_window_kib, 16, 65_536);
        within("connection_window_kib", self.connection_window_kib, 64, 65_536);
        within("send_window_kib", self.send_window_kib, 64, 65_536);
        within("resets", self.resets, 1, 1_000_000);
    }
}
