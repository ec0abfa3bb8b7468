//! What a client sees of a failure: the one place where failures become HTTP. Says which step failed and what to do, never
//! anything internal.

use std::borrow::Cow;

use atoll_content::ReadError;
use atoll_core::{Denied, FetchError, NameError, TransportError};
use atoll_fallback::OriginError;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::contact::Contact;
use super::{allow_any_origin, mime};
use crate::body::Body;
use crate::failure::{Failure, Step};

/// When to come back, in seconds, where it is not known better.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The answer to a request that failed, as a page for whoever accepts one.
pub(crate) fn respond(failure: &Failure, request: &HeaderMap, contact: Option<&Contact>) -> Response<Body> {
    let (status, text) = explain(failure);
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
    let html = request.get_all(header::ACCEPT).iter().any(accepts);
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    // Who does not find content, or is not shown it, may have a question about it.
    let contact = contact.filter(|_| matches!(status.as_u16(), 404 | 410 | 451));
    let more = contact.map(|contact| contact.sentence(html)).unwrap_or_default();
    let body = if html { page(&title, &text, &more) } else { format!("{title}: {text}\n{more}") };
    let mut response = Response::new(Body::one(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, if html { mime::HTML } else { mime::TEXT });
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !is_of_servers(failure) {
        allow_any_origin(headers);
    }
    let allowed = match failure {
        Failure::Method(allowed) => Some(*allowed),
        Failure::Origin(OriginError::ReadOnly) => Some("GET, HEAD"),
        _ => None,
    };
    if let Some(allowed) = allowed {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(contact) = contact.filter(|_| status == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS) {
        contact.set_blocked_by(headers);
    }
    if matches!(status.as_u16(), 429 | 502..=504) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// Whether it is a failure of a site with servers: which pages may read its answers is theirs to say, not ours.
fn is_of_servers(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Origin(_)
            | Failure::Neither
            | Failure::Drilled
            | Failure::Maintenance
            | Failure::Spent(_)
            | Failure::OnlyIfStored
            | Failure::UploadTooLarge
            | Failure::UploadBroken
    )
}

fn page(title: &str, text: &str, more: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head>\n\
         <body style=\"font:16px/1.5 system-ui,sans-serif;margin:4rem auto;max-width:40rem;padding:0 1rem\">\
         <h1>{title}</h1>\n<p>{text}</p>\n{more}</body></html>\n"
    )
}

/// Status and text. The texts are HTML and plain text at once: they hold no character that HTML gives a meaning.
fn explain(failure: &Failure) -> (StatusCode, Cow<'static, str>) {
    if let Failure::NoContentPath(path) = failure {
        let text =
            format!("invalid path \"{path}\": what follows /ipfs/ is a CID, what follows /ipns/ a key or a host name.");
        return (StatusCode::BAD_REQUEST, text.into());
    }
    match failure {
        Failure::Redirects(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}.").into()),
        Failure::PageMissing { status, line } => {
            let status = if status.is_success() { StatusCode::NOT_FOUND } else { *status };
            (status, format!("The page that line {line} of the site's _redirects names is missing.").into())
        }
        _ => {
            let (status, text) = explain_fixed(failure);
            (status, text.into())
        }
    }
}

fn explain_fixed(failure: &Failure) -> (StatusCode, &'static str) {
    match failure {
        Failure::HostMissing => (StatusCode::BAD_REQUEST, "The request has no Host header."),
        Failure::HostMalformed => (StatusCode::BAD_REQUEST, "The request names no host, or more than one."),
        Failure::FieldMalformed => (StatusCode::BAD_REQUEST, "A header field of the request is malformed."),
        Failure::HostUnknown => (StatusCode::NOT_FOUND, "This node serves no site of that name."),
        Failure::CidMalformed | Failure::NoContentPath(_) => {
            (StatusCode::BAD_REQUEST, "The address holds no valid CID. CIDs in host names are written in lower case.")
        }
        Failure::NameMalformed => (StatusCode::BAD_REQUEST, "The host holds neither an IPNS key nor a host name."),
        Failure::LabelTooLong(_) => (
            StatusCode::BAD_REQUEST,
            "CID incompatible with DNS label length limit of 63: it can be had from a path gateway, under /ipfs/CID.",
        ),
        Failure::PathMalformed(text) | Failure::QueryMalformed(text) => (StatusCode::BAD_REQUEST, text),
        Failure::NoRoute => (StatusCode::NOT_FOUND, "Nothing is served here. Content is found under /ipfs/CID."),
        Failure::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "This address does not take that method."),
        Failure::Codec(_) => (
            StatusCode::NOT_ACCEPTABLE,
            "The content cannot be had in that form. Its block can be had as it is with ?format=raw.",
        ),
        Failure::InsideBlock => (
            StatusCode::NOT_IMPLEMENTED,
            "The path ends inside a block, at a value that is no link. Values cannot be had apart from their block.",
        ),
        Failure::ServiceWorker => {
            (StatusCode::BAD_REQUEST, "A service worker cannot be loaded from the root of a path gateway.")
        }
        Failure::OnlyIfCached => (StatusCode::PRECONDITION_FAILED, "This node does not hold the content itself."),
        Failure::TooManyWaiting => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many requests wait for content that is not at hand.")
        }
        Failure::TooMuchAtOnce => {
            (StatusCode::TOO_MANY_REQUESTS, "This address is being sent too many large answers at once already.")
        }
        Failure::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "This node is sending as many large answers as it can."),
        Failure::Spent(_) => (StatusCode::SERVICE_UNAVAILABLE, "This site may serve no more at once."),
        Failure::TooManyRequests => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many requests from this address are being answered already.")
        }
        Failure::Name(cause) => name(cause),
        Failure::NoRecord => {
            (StatusCode::BAD_REQUEST, "A record can be had of an IPNS key only: /ipns/KEY, without a path below it.")
        }
        Failure::NoProof => (StatusCode::NOT_FOUND, "This node signs nothing of that site, and can prove nothing."),
        Failure::Denied(denied) | Failure::Read { cause: ReadError::Fetch(FetchError::Denied { denied, .. }), .. } => {
            self::denied(*denied)
        }
        Failure::Read { step, cause } => read(*step, cause),
        Failure::TimedOut { step, .. } => (StatusCode::GATEWAY_TIMEOUT, late(*step)),
        Failure::MessageType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Messages are application/vnd.ipld.dag-cbor."),
        Failure::MessageTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The message is too large."),
        Failure::MessageBroken => (StatusCode::BAD_REQUEST, "The message broke off."),
        Failure::Message(cause) => message(cause),
        Failure::UploadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body of the request is too large."),
        Failure::UploadBroken => (StatusCode::BAD_REQUEST, "The body of the request broke off."),
        Failure::OnlyIfStored => (StatusCode::GATEWAY_TIMEOUT, "This node has not stored an answer to that."),
        Failure::Origin(cause) => origin(cause),
        Failure::Neither | Failure::Drilled => (
            StatusCode::BAD_GATEWAY,
            "Neither what was published of this site can be had now, nor do the servers that it comes from answer.",
        ),
        Failure::Maintenance => {
            (StatusCode::SERVICE_UNAVAILABLE, "This site is being worked on. Come back in a while.")
        }
        // Explained above, in words of their own.
        Failure::Redirects(_) | Failure::PageMissing { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The rules of the site cannot be followed.")
        }
    }
}

fn denied(denied: Denied) -> (StatusCode, &'static str) {
    match denied {
        Denied::Gone => (StatusCode::GONE, "The operator of this node does not show this content."),
        Denied::Legal => (
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            "The operator of this node may not show this content, for legal reasons.",
        ),
    }
}

fn name(cause: &NameError) -> (StatusCode, &'static str) {
    match cause {
        NameError::Malformed(_) => (StatusCode::BAD_REQUEST, "The name is neither an IPNS key nor a host name."),
        NameError::NotFound(_) => {
            (StatusCode::NOT_FOUND, "Neither this node nor any that it asked knows what the name points at.")
        }
        NameError::Invalid { .. } => (
            StatusCode::BAD_GATEWAY,
            "The record of the name is not what its key has signed, so that it is not followed.",
        ),
        NameError::Expired(_) => {
            (StatusCode::BAD_GATEWAY, "The last record of the name has expired. Its publisher must sign a new one.")
        }
        NameError::TooDeep(_) => (StatusCode::BAD_REQUEST, "The name leads over too many other names."),
        NameError::Target { .. } => (StatusCode::BAD_GATEWAY, "The name points at nothing that this node can show."),
        NameError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, late(Step::Name)),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, failed(Step::Name)),
    }
}

fn read(step: Step, cause: &ReadError) -> (StatusCode, &'static str) {
    match cause {
        ReadError::Fetch(FetchError::NotFound(_)) => {
            (StatusCode::NOT_FOUND, "Neither this node nor any that it asked holds the content.")
        }
        ReadError::Fetch(FetchError::NotAllowed(_)) => {
            (StatusCode::NOT_FOUND, "This node does not hold the content, and fetches only what is placed on it.")
        }
        ReadError::Fetch(FetchError::Unreachable { .. }) => {
            (StatusCode::BAD_GATEWAY, "None of the nodes that should hold the content could be reached.")
        }
        ReadError::Fetch(FetchError::TimedOut { .. }) => (StatusCode::GATEWAY_TIMEOUT, late(step)),
        ReadError::NoEntry { .. } => (StatusCode::NOT_FOUND, "The directory has no entry of that name."),
        ReadError::NotDirectory { .. } => {
            (StatusCode::NOT_FOUND, "The path goes on below something that is no directory.")
        }
        ReadError::NoValue { .. } => (StatusCode::NOT_FOUND, "The data has no value of that name."),
        ReadError::Outside { .. } => (StatusCode::BAD_REQUEST, "The file has no byte of the range asked for."),
        ReadError::PathTooLong(_) => (StatusCode::BAD_REQUEST, "The path has too many segments."),
        ReadError::Node { .. }
        | ReadError::Data { .. }
        | ReadError::Links { .. }
        | ReadError::SizeLies { .. }
        | ReadError::Misplaced(_)
        | ReadError::NotFile(_)
        | ReadError::NotListable(_) => {
            (StatusCode::BAD_GATEWAY, "The content is what its publisher named, but contradicts itself.")
        }
        ReadError::Crowded => (
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is reading as many wide directories and files as it can. Come back in a moment.",
        ),
        ReadError::EntryName { .. } => (
            StatusCode::BAD_GATEWAY,
            "An entry of the directory has a name that leads out of an archive. A CAR can hold it.",
        ),
        ReadError::TooManyEntries | ReadError::TooDeep { .. } | ReadError::TooWide(_) | ReadError::TooManyBlocks => {
            (StatusCode::BAD_GATEWAY, "The content is nested deeper or wider than this node follows.")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, failed(step)),
    }
}

fn late(step: Step) -> &'static str {
    match step {
        Step::Name => "What the name points at could not be found out in time.",
        Step::Resolve => "The path could not be followed in time: its blocks did not arrive.",
        Step::Read => "The beginning of the content did not arrive in time.",
        Step::List => "The entries of the directory did not arrive in time.",
        Step::Body => "The body of the request did not arrive in time.",
        Step::Message => "The message could not be answered in time.",
    }
}

fn failed(step: Step) -> &'static str {
    match step {
        Step::Name => "This node failed while finding out what the name points at.",
        Step::Resolve => "This node failed while following the path.",
        Step::Read => "This node failed while reading the content.",
        Step::List => "This node failed while listing the directory.",
        Step::Body | Step::Message => "This node failed while answering the message.",
    }
}

fn origin(cause: &OriginError) -> (StatusCode, &'static str) {
    match cause {
        OriginError::Connect { .. } | OriginError::None => (
            StatusCode::BAD_GATEWAY,
            "The server that this site comes from cannot be reached, and nothing that may be shown instead is stored here.",
        ),
        OriginError::NotAgreed { .. } => {
            (StatusCode::BAD_GATEWAY, "The server that this site names has not agreed to be asked for it.")
        }
        OriginError::Crowded { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The server that this site comes from has as many requests to answer as it may.",
        ),
        OriginError::TimedOut { .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "The server that this site comes from did not answer in time.")
        }
        OriginError::ReadOnly => {
            (StatusCode::METHOD_NOT_ALLOWED, "This site is for reading: nothing can be sent to it.")
        }
        OriginError::Outside => (StatusCode::BAD_REQUEST, "The path leads out of the site."),
        OriginError::Loop => {
            (StatusCode::LOOP_DETECTED, "The server that this site comes from leads back to this node.")
        }
        _ => (StatusCode::BAD_GATEWAY, "The server that this site comes from broke off without an answer."),
    }
}

fn message(cause: &TransportError) -> (StatusCode, &'static str) {
    match cause {
        TransportError::Malformed => (StatusCode::BAD_REQUEST, "The message is malformed."),
        TransportError::Refused => (StatusCode::FORBIDDEN, "The message is refused."),
        TransportError::NotFound => (StatusCode::NOT_FOUND, "There is no answer to that."),
        TransportError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, late(Step::Message)),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, failed(Step::Message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid() -> atoll_core::Cid {
        "bafkqaaa".parse().unwrap()
    }

    #[test]
    fn each_failure_has_its_status() {
        let read = |cause| Failure::Read { step: Step::Resolve, cause };
        for (failure, status) in [
            (Failure::HostMissing, 400),
            (Failure::NoRoute, 404),
            (Failure::TooManyRequests, 429),
            (Failure::OnlyIfCached, 412),
            (read(FetchError::NotFound(cid()).into()), 404),
            (read(FetchError::NotAllowed(cid()).into()), 404),
            (read(FetchError::Unreachable { cid: cid(), asked: 1, last: String::new() }.into()), 502),
            (read(FetchError::TimedOut { cid: cid(), limit_ms: 1 }.into()), 504),
            (read(FetchError::Store("/secret/path".to_owned()).into()), 500),
            (read(FetchError::Denied { cid: cid(), denied: Denied::Legal }.into()), 451),
            (Failure::Denied(Denied::Gone), 410),
            (NameError::NotFound(String::new()).into(), 404),
            (NameError::Invalid { name: String::new(), cause: String::new() }.into(), 502),
        ] {
            assert_eq!(explain(&failure).0.as_u16(), status, "{failure:?}");
        }
    }

    #[test]
    fn whoever_should_come_back_is_told_when() {
        let response = respond(&Failure::TooManyRequests, &HeaderMap::new(), None);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        assert!(!respond(&Failure::NoRoute, &HeaderMap::new(), None).headers().contains_key(header::RETRY_AFTER));
    }
}
