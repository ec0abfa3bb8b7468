//! The messages between members as HTTP: which path, which media type, which body (`docs/formats.md`, "Messages").
//!
//! Free of any HTTP server's types, so that the edge dispatches with [`request_from`] and answers with [`body_of`].

use atoll_core::transport::{Request, Response, decode, encode};
use atoll_core::{Cid, TransportError};

/// What every path of the exchange begins with. Not an `/ipfs/` path, so it can never name content.
pub const PREFIX: &str = "/atoll/v1/";
/// Path of [`Request::Records`].
pub const RECORDS: &str = "/atoll/v1/records";
/// Path of [`Request::Announce`].
pub const ANNOUNCE: &str = "/atoll/v1/announce";
/// Path of [`Request::Probe`].
pub const PROBE: &str = "/atoll/v1/probe";
/// Path of [`Request::Purged`].
pub const PURGED: &str = "/atoll/v1/purged";
/// Path of [`Request::Name`].
pub const NAME: &str = "/atoll/v1/name";
/// Path of [`Request::Names`].
pub const NAMES: &str = "/atoll/v1/names";
/// Every path of the exchange.
pub const PATHS: [&str; 6] = [RECORDS, ANNOUNCE, PROBE, PURGED, NAME, NAMES];
/// Media type of both bodies.
pub const MEDIA_TYPE: &str = "application/vnd.ipld.dag-cbor";

/// Where `request` is posted.
pub fn path_of(request: &Request) -> &'static str {
    match request {
        Request::Records { .. } => RECORDS,
        Request::Announce { .. } => ANNOUNCE,
        Request::Probe { .. } => PROBE,
        Request::Purged { .. } => PURGED,
        Request::Name { .. } => NAME,
        Request::Names { .. } => NAMES,
    }
}

/// The same path, when it is one of the exchange's.
pub fn known_path(path: &str) -> Option<&'static str> {
    PATHS.into_iter().find(|known| *known == path)
}

/// The request that was posted to `path`; `None` when the path is none of the exchange's.
///
/// The body is at most [`atoll_core::transport::MESSAGE_BYTES_MAX`]. A body of another kind than its path is malformed.
pub fn request_from(path: &str, body: &[u8]) -> Option<Result<Request, TransportError>> {
    let path = known_path(path)?;
    Some(
        decode::<Request>(body)
            .and_then(|request| if path_of(&request) == path { Ok(request) } else { Err(TransportError::Malformed) }),
    )
}

/// The body of an answer.
///
/// # Errors
/// [`TransportError::Malformed`] never in practice.
pub fn body_of(response: &Response) -> Result<Vec<u8>, TransportError> {
    encode(response)
}

/// Whether `response` is of the kind that `request` asks for.
pub(crate) fn fits(request: &Request, response: &Response) -> bool {
    matches!(
        (request, response),
        (Request::Records { .. }, Response::Records { .. })
            | (Request::Announce { .. }, Response::Announced { .. })
            | (Request::Probe { .. }, Response::Probe { .. })
            | (Request::Purged { .. }, Response::Purged { .. })
            | (Request::Name { .. }, Response::Name { .. })
            | (Request::Names { .. }, Response::Named { .. })
    )
}

/// Path and query of one block in the trustless gateway protocol.
pub(crate) fn block_path(cid: &Cid) -> String {
    format!("/ipfs/{cid}?format=raw")
}

/// Path and query of a whole DAG in the trustless gateway protocol.
pub(crate) fn car_path(root: &Cid) -> String {
    format!("/ipfs/{root}?format=car&dag-scope=all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_from_their_own_path_only() {
        let probe = Request::Probe { nonce: [7; 32], roots: vec!["bafkqaaa".parse().unwrap()] };
        let body = encode(&probe).unwrap();
        assert_eq!(request_from(path_of(&probe), &body), Some(Ok(probe)));
        assert_eq!(request_from(RECORDS, &body), Some(Err(TransportError::Malformed)));
        assert_eq!(request_from(PROBE, &[0xff; 9]), Some(Err(TransportError::Malformed)));
        assert_eq!(request_from("/atoll/v1/else", &body), None);
    }
}
