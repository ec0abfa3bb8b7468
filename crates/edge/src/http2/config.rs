//! What an operator can set about HTTP/2. Plain data; a crash loses nothing.

use serde::{Deserialize, Serialize};

/// How much one connection over HTTP/2 may ask for at once. A client that goes over a rate is told `ENHANCE_YOUR_CALM` and its connection
/// ends (RFC 9113, section 10.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Requests in flight on one connection (`SETTINGS_MAX_CONCURRENT_STREAMS`).
    pub streams: u32,
    /// What a client may send of a request's body before it is read, in KiB (`SETTINGS_INITIAL_WINDOW_SIZE`).
    pub stream_window_kib: u32,
    /// The same for all requests of a connection together, in KiB.
    pub connection_window_kib: u32,
    /// What is kept of one answer until the client takes it, in KiB.
    pub send_buffer_kib: u32,
    /// The table by which a client shortens its headers, in bytes (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_bytes: u32,
    /// Requests that a client gives up (`RST_STREAM`), in any ten seconds.
    pub resets: u32,
    /// Frames that carry no request and no body (`PING`, `SETTINGS`, `PRIORITY`, unknown ones, empty `DATA`), in any ten seconds.
    pub control_frames: u32,
    /// `WINDOW_UPDATE` frames, in any ten seconds.
    pub window_updates: u32,
    /// `CONTINUATION` frames of one request's head.
    pub continuations: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 128,
            stream_window_kib: 64,
            connection_window_kib: 1_024,
            send_buffer_kib: 64,
            header_table_bytes: 4_096,
            resets: 500,
            control_frames: 1_000,
            window_updates: 100_000,
            continuations: 16,
        }
    }
}

impl Http2 {
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let mut within = |name: &str, value: u32, least: u32, most: u32| {
            if !(least..=most).contains(&value) {
                problems.push(format!("http2.{name}: must lie between {least} and {most}"));
            }
        };
        within("streams", self.streams, 1, 10_000);
        within("stream_window_kib", self.stream_window_kib, 16, 65_536);
        within("connection_window_kib", self.connection_window_kib, 64, 65_536);
        within("send_buffer_kib", self.send_buffer_kib, 16, 65_536);
        within("header_table_bytes", self.header_table_bytes, 0, 65_536);
        within("resets", self.resets, 1, 1_000_000);
        within("control_frames", self.control_frames, 10, 1_000_000);
        within("window_updates", self.window_updates, 100, 10_000_000);
        within("continuations", self.continuations, 1, 64);
    }
}
