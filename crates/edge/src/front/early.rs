//! What an origin says before its answer (RFC 8297, 103 Early Hints), told to visitors who speak HTTP/1.1. Others are not told: the
//! HTTP/2 server has no way to.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use atoll_fallback::Hints;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use crate::client::Client;
use crate::sending::Sending;

/// The longest early answer that is passed on, in bytes.
const HINT_BYTES_MAX: usize = 8 * 1024;
const EARLY_HINTS: StatusCode = StatusCode::EARLY_HINTS;

/// Listens to an origin, for the visitor's request that [`Sending`] names so.
pub(super) fn hints(client: &Arc<Client>, turn: u64) -> Hints {
    let client = Arc::clone(client);
    Arc::new(move |status, headers| {
        if let Some(head) = Some(headers).filter(|_| status == EARLY_HINTS).and_then(head) {
            client.sending.precede(turn, &head);
        }
    })
}

/// An early answer as it is sent: links alone, since nothing else of it is of use before the answer.
fn head(headers: &HeaderMap) -> Option<Bytes> {
    let mut head = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
    for link in headers.get_all(header::LINK) {
        head.extend_from_slice(b"Link: ");
        head.extend_from_slice(link.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    (headers.contains_key(header::LINK) && head.len() <= HINT_BYTES_MAX).then(|| head.into())
}

/// An answer that is waited for. What comes before it is sent whenever this was polled and is not there yet.
pub(super) async fn heard<T>(answer: impl Future<Output = T>, sending: &Sending) -> T {
    let mut answer = pin!(answer);
    let answered = poll_fn(|cx| {
        sending.wait(cx.waker());
        answer.as_mut().poll(cx)
    });
    let answered = answered.await;
    sending.end_wait();
    answered
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_links_are_passed_on_and_not_too_many() {
        let mut headers = HeaderMap::new();
        assert_eq!(head(&headers), None);
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=b"));
        headers.append(header::LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        headers.append(header::LINK, HeaderValue::from_static("</b.js>; rel=preload"));
        let told = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n";
        assert_eq!(head(&headers).unwrap(), told);
        headers.append(header::LINK, HeaderValue::try_from("a".repeat(HINT_BYTES_MAX)).unwrap());
        assert_eq!(head(&headers), None);
    }
}
