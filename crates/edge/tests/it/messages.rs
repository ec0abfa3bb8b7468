//! Members' messages.

use std::sync::Arc;

use atoll_core::transport::{MESSAGE_BYTES_MAX, Request, Response, decode, encode};
use atoll_core::{Answer, BoxFuture, TransportError};

use crate::support::{Gateway, Memory, Reply, config, services};

struct Member;

impl Answer for Member {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            match request {
                Request::Announce { records } => Ok(Response::Announced { accepted: records.len() as u64 }),
                Request::Records { .. } => std::future::pending().await,
                _ => Err(TransportError::Refused),
            }
        })
    }
}

fn gateway() -> Gateway {
    let mut config = config();
    config.timeouts.message = std::time::Duration::from_millis(50);
    config.timeouts.body = std::time::Duration::from_millis(200);
    let (mut services, counters) = services(Memory::default());
    services.answer = Arc::new(Member);
    Gateway::of(&config, services, counters)
}

fn post(gateway: &Gateway, target: &str, content_type: &str, body: &[u8]) -> Reply {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    Reply::parse(&gateway.exchange(request), false)
}

const CBOR: &str = "application/vnd.ipld.dag-cbor";

#[test]
fn a_message_is_answered() {
    let gateway = gateway();
    let records = vec![vec![1].into(), vec![2].into()];
    let reply = post(&gateway, "/atoll/v1/announce", CBOR, &encode(&Request::Announce { records }).unwrap());
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(CBOR)));
    assert_eq!(decode::<Response>(&reply.body).unwrap(), Response::Announced { accepted: 2 });
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn what_is_no_message_is_refused() {
    let gateway = gateway();
    let announce = encode(&Request::Announce { records: Vec::new() }).unwrap();
    assert_eq!(post(&gateway, "/atoll/v1/announce", "text/plain", &announce).status, 415);
    assert_eq!(post(&gateway, "/atoll/v1/probe", CBOR, &announce).status, 400);
    assert_eq!(post(&gateway, "/atoll/v1/announce", CBOR, b"\xff").status, 400);
    assert_eq!(post(&gateway, "/atoll/v1/other", CBOR, &announce).status, 404);
    assert_eq!(gateway.get("/atoll/v1/announce", &[]).status, 405);
    let probe = encode(&Request::Probe { nonce: [1; 32], roots: Vec::new() }).unwrap();
    assert_eq!(post(&gateway, "/atoll/v1/probe", CBOR, &probe).status, 403);
}

#[test]
fn a_message_has_limits_of_size_and_time() {
    let gateway = gateway();
    let head =
        format!("POST /atoll/v1/announce HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {CBOR}\r\nConnection: close\r\n");
    let too_large = format!("{head}Content-Length: {}\r\n\r\n", MESSAGE_BYTES_MAX + 1);
    assert_eq!(Reply::parse(&gateway.exchange(too_large), false).status, 413);
    let unfinished = format!("{head}Content-Length: 100\r\n\r\nabc");
    assert_eq!(Reply::parse(&gateway.exchange(unfinished), false).status, 504);
    let late = encode(&Request::Records { epoch: 0, since: 0 }).unwrap();
    let reply = post(&gateway, "/atoll/v1/records", CBOR, &late);
    assert_eq!((reply.status, reply.header("retry-after")), (504, Some("5")));
}
