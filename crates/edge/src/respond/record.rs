//! An IPNS record as it was signed (Trustless Gateway, "IPNS Record responses"). Pure; a crash loses nothing.

use atoll_core::Block;
use atoll_core::SystemClock;
use atoll_core::block::RAW;
use atoll_core::names::SignedName;
use http::{HeaderMap, HeaderValue, Response, header};
use multibase::Base;

use super::{allow_any_origin, disposition, insert, none_match, not_modified};
use crate::body::Body;
use crate::negotiate::Wanted;

const IPNS_RECORD: HeaderValue = HeaderValue::from_static("application/vnd.ipfs.ipns-record");

/// The response, as fresh as the record says and never beyond its end of life.
pub(crate) fn respond(request: &HeaderMap, record: &SignedName, wanted: &Wanted) -> Response<Body> {
    let left = record.valid_until.since(SystemClock::now());
    let mut headers = HeaderMap::with_capacity(12);
    allow_any_origin(&mut headers);
    headers.insert(header::CONTENT_TYPE, IPNS_RECORD);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    insert(&mut headers, header::CACHE_CONTROL, format!("public, max-age={}", record.ttl.min(left).as_secs()));
    let digest = Block::sha2_256(RAW, record.bytes.clone()).map(|block| block.cid().to_string()).unwrap_or_default();
    let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    headers.insert(header::ETAG, etag.clone());
    let name = record.name.to_string_of_base(Base::Base36Lower).unwrap_or_default();
    if let Some(value) = disposition(wanted, Some(format!("{name}.ipns-record"))) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    if none_match(request, &etag) {
        return not_modified(&headers);
    }
    let mut response = Response::new(Body::one(record.bytes.clone()));
    *response.headers_mut() = headers;
    response
}
