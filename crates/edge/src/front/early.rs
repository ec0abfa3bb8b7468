//! What an origin says before its answer (RFC 9110, section 15.2; mostly 103, RFC 8297), told to visitors who speak HTTP/1.1. Others are
//! not told: the HTTP/2 server has no way to.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use atoll_fallback::{Hears, Hints, hops};
use http::{HeaderMap, StatusCode, header};

use crate::client::Client;
use crate::sending::Sending;

/// The longest early answer that is passed on, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Listens to an origin, for the visitor's request that [`Sending`] names so.
pub(super) fn hints(client: &Client, turn: u64) -> Hints {
    let who = Arc::clone(&client.sending);
    Hints { who, turn }
}

impl Hears for Sending {
    fn hear(&self, turn: u64, status: StatusCode, headers: &HeaderMap) {
        if let Some(head) = head(status, headers) {
            self.precede(turn, &head);
        }
    }
}

/// An early answer as it is sent. The visitor is asked for its body, and goes on in another protocol, elsewhere.
fn head(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    if matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS) || !status.is_informational() {
        return None;
    }
    // Whoever says how long it is takes it for an answer (RFC 9110, section 8.6).
    if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let mut headers = headers.clone();
    hops::strip_response(&mut headers);
    let mut head =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    (head.len() <= HEAD_BYTES_MAX).then_some(head)
}

/// An answer that is waited for. What comes before it is sent whenever this was polled and is not there yet.
pub(super) async fn heard<T>(mut answer: Pin<&mut impl Future<Output = T>>, sending: &Sending) -> T {
    let answered = poll_fn(|cx| {
        sending.wait(cx.waker());
        answer.as_mut().poll(cx)
    });
    let answered = answered.await;
    if sending.has_interim() {
        // It came together with the answer; the stream takes it up meanwhile.
        tokio::task::yield_now().await;
    }
    sending.end_wait();
    answered
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_concerns_the_visitor_is_passed_on_and_not_too_much() {
        let mut headers = HeaderMap::new();
        headers.append(header::LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        headers.append(header::LINK, HeaderValue::from_static("</b.js>; rel=preload"));
        for (name, value) in [("connection", "x-own"), ("x-own", "1"), ("x-step", "2")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let told = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\nx-step: 2\r\n\r\n";
        assert_eq!(head(StatusCode::EARLY_HINTS, &headers).unwrap(), told.as_bytes());
        let processing = head(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(processing.unwrap(), b"HTTP/1.1 102 Processing\r\n\r\n");
        for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK] {
            assert_eq!(head(status, &headers), None);
        }
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            let mut framed = headers.clone();
            framed.insert(name, HeaderValue::from_static("5"));
            assert_eq!(head(StatusCode::EARLY_HINTS, &framed), None);
        }
        headers.append(header::LINK, HeaderValue::try_from("a".repeat(HEAD_BYTES_MAX)).unwrap());
        assert_eq!(head(StatusCode::EARLY_HINTS, &headers), None);
    }
}
