//! IPNS records: the best that is known or found, and those that others publish through this node.

use std::sync::Arc;
use std::time::SystemTime;

use atoll_core::delegated::IPNS_RECORD;
use atoll_core::ipns::{Name, RECORD_BYTES_MAX, Record};
use atoll_core::names::{NameError, Names as _, SignedName};
use atoll_core::transport::{NamedRecord, Request as Message};
use atoll_core::{Clock as _, Deny as _, Subject};
use atoll_routing::TokioClock;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::REQUEST_TIMEOUT;
use super::answers::{cache_until, full, insert, no_record, refusal, text_of, with_head};
use crate::control::Body;
use crate::node::Inner;

/// The record of a name.
pub(super) async fn get(node: &Inner, headers: &HeaderMap, text: &str) -> Response<Body> {
    let counts = &node.delegated.counts;
    let Ok(name) = text.parse::<Name>() else {
        return refusal(counts, StatusCode::BAD_REQUEST, format!("`{text}` is not an IPNS name encoded as a CIDv1"));
    };
    if !accepts_records(headers) {
        return refusal(counts, StatusCode::NOT_ACCEPTABLE, format!("retry with `Accept: {IPNS_RECORD}`"));
    }
    let canonical = name.to_string();
    if node.deny.decide(Subject::Name { name: &canonical, names: &[] }).is_some() {
        return no_record("no record of this name is shown here");
    }
    match node.names.record(&canonical).await {
        Ok(signed) => found(headers, &signed),
        Err(error @ (NameError::NotFound(_) | NameError::Expired(_) | NameError::Invalid { .. })) => no_record(error),
        Err(error @ NameError::TimedOut { .. }) => refusal(counts, StatusCode::GATEWAY_TIMEOUT, error),
        Err(error) => {
            tracing::warn!(%error, name = canonical, "a name cannot be looked up");
            refusal(counts, StatusCode::INTERNAL_SERVER_ERROR, "the name cannot be looked up")
        }
    }
}

fn accepts_records(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.any(|accept| {
        let mut ranges = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
        ranges.any(|range| [IPNS_RECORD, "application/*", "*/*"].iter().any(|known| range.eq_ignore_ascii_case(known)))
    })
}

fn found(asked: &HeaderMap, signed: &SignedName) -> Response<Body> {
    let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&Sha256::digest(&signed.bytes)));
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',').map(|one| one.trim().trim_start_matches("W/").to_owned()));
    let is_known = known.any(|one| one == etag || one == "*");
    let (status, body) =
        if is_known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, signed.bytes.clone()) };
    let mut response = with_head(status, IPNS_RECORD, full(body));
    let headers = response.headers_mut();
    cache_until(headers, signed.ttl, signed.valid_until.since(TokioClock.now()));
    let end = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(signed.valid_until.as_millis());
    // HTTP has no dates after the year 9999.
    if signed.valid_until.as_millis() < 253_402_300_800_000 {
        insert(headers, header::EXPIRES, &httpdate::fmt_http_date(end));
    }
    insert(headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(SystemTime::now()));
    insert(headers, header::ETAG, &etag);
    response
}

/// Takes a record, keeps it and passes it on, as one that a member told.
pub(super) async fn put(node: &Arc<Inner>, headers: &HeaderMap, text: &str, body: Incoming) -> Response<Body> {
    let counts = &node.delegated.counts;
    let refuse = |status, text: String| refusal(counts, status, text);
    if !node.delegated.config.publish {
        return refuse(StatusCode::NOT_IMPLEMENTED, "records are not taken here (delegated.publish)".to_owned());
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(IPNS_RECORD) {
        return refuse(StatusCode::NOT_ACCEPTABLE, format!("retry with `Content-Type: {IPNS_RECORD}`"));
    }
    let Ok(name) = text.parse::<Name>() else {
        return refuse(StatusCode::BAD_REQUEST, format!("`{text}` is not an IPNS name encoded as a CIDv1"));
    };
    let record = match timeout(REQUEST_TIMEOUT, Limited::new(body, RECORD_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Record::verify(&name, body.to_bytes()),
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "a record has at most 10 KiB".to_owned()),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the record did not come in time".to_owned()),
    };
    match record {
        Ok(record) if record.is_live(TokioClock.now()) => keep(node, record).await,
        Ok(_) => refuse(StatusCode::BAD_REQUEST, "the record has expired".to_owned()),
        Err(error) => refuse(StatusCode::BAD_REQUEST, format!("the record is not valid: {error}")),
    }
}

async fn keep(node: &Arc<Inner>, record: Record) -> Response<Body> {
    let counts = &node.delegated.counts;
    let name = *record.name();
    let told = NamedRecord { name: ByteBuf::from(name.to_bytes()), record: ByteBuf::from(record.bytes().to_vec()) };
    // The same way, and the same budgets, as for what members tell.
    if let Err(error) = node.router.answer().answer(Message::Names { records: vec![told] }).await {
        return refusal(counts, StatusCode::SERVICE_UNAVAILABLE, error);
    }
    match node.name_records.get(&name).and_then(|kept| kept.record.ok()) {
        Some(kept) if kept.bytes() == record.bytes() => {
            super::Counts::add(&counts.published);
            text_of(StatusCode::OK, "published")
        }
        Some(kept) if !record.replaces(&kept) => {
            let text = format!("a newer record is known, of sequence {}", kept.sequence());
            refusal(counts, StatusCode::CONFLICT, text)
        }
        _ => refusal(counts, StatusCode::TOO_MANY_REQUESTS, "there is no room for more records now"),
    }
}
