//! What of a request is parsed here and not by hyper, as functions for the fuzz targets: host, path, form and range; and what is
//! looked at before hyper.

use atoll_core::Cid;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::config::{Config, Http2};
use crate::failure::Failure;
use crate::guard::Guard;
use crate::host::{Host, Label, Names, Seen};
use crate::http2::frames::Frames;
use crate::http3;
use crate::negotiate::{self, Wanted};
use crate::proxied;
use crate::respond::Described;
use crate::route::{Mount, Target};

/// The headers that are parsed; the lines of the input behind the first are their values, in this order.
const HEADERS: [HeaderName; 6] =
    [header::HOST, header::ACCEPT, header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::CACHE_CONTROL];

/// Reads a request of which `data` has the target in its first line and the values of a few headers in the others.
pub fn request(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let Some(Ok(target)) = lines.next().map(http::Uri::try_from) else { return };
    let mut request = Request::new(());
    *request.uri_mut() = target;
    for (name, value) in HEADERS.into_iter().zip(lines) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name, value);
        }
    }
    let (path, query) = (request.uri().path(), request.uri().query());
    let names = Names::new(&Config::default());
    let host = Seen::of(&request, true, false).and_then(|seen| names.classify(seen.authority));
    let own = |label: Result<Label, Failure>| {
        let (Label::Site(site) | Label::Alias(site)) = label.ok()?;
        Target::on_own_host(site, Mount::Subdomain(String::new()), path).ok()
    };
    let target = match host {
        Ok(Host::Content { label, .. }) => own(Label::content(label)),
        Ok(Host::Named { label, .. }) => own(Label::named(label)),
        Ok(Host::Path | Host::Subdomains { .. } | Host::Other { .. }) => Target::on_gateway(path).and_then(Result::ok),
        Err(_) => None,
    };
    if let Some(target) = target {
        let content = target.at(Cid::default(), None);
        // What a link says must be what a request to it names.
        let link = Target::on_gateway(&content.full());
        assert!(link.is_some_and(|again| again.is_ok_and(|again| again.segments == content.segments)));
    }
    let _ = query.and_then(negotiate::uri).map(|uri| uri.map(|uri| Target::of_uri(&uri).map(|target| target.is_ok())));
    let _ = Wanted::parse(query, request.headers());
    let etag = HeaderValue::from_static("\"etag\"");
    for len in [0, 1, 1000, u64::MAX] {
        let described = Described::new(HeaderMap::new(), etag.clone(), len);
        let _ = described.part(request.headers());
    }
}

/// Reads the bytes of a connection over HTTP/1.1, divided in two ways. What passes is a request for the parser behind too.
pub fn guard(data: &[u8]) {
    let whole = Guard::default().inspect(data);
    let mut guard = Guard::default();
    let parts = data.chunks(3).try_for_each(|part| guard.inspect(part));
    assert_eq!(whole, parts);
    if whole.is_ok() {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(data);
        assert!(matches!(parsed, Ok(_) | Err(httparse::Error::TooManyHeaders)), "{parsed:?}");
    }
}

/// Reads the first bytes of a connection through a load balancer.
pub fn proxied(data: &[u8]) {
    proxied::judge(data);
}

/// Reads a datagram of HTTP/3 that another process sends on.
pub fn datagram(data: &[u8]) {
    http3::socket::judge(data);
}

/// Reads the bytes of a connection over HTTP/2 behind its preface, and those of a stream over HTTP/3, divided in two ways.
pub fn frames(data: &[u8]) {
    for begin in [http3::frames::Frames::of_request, http3::frames::Frames::of_control] {
        let judge = |step: usize| {
            let mut frames = begin(64);
            data.chunks(step).try_for_each(|part| frames.inspect(part))
        };
        assert_eq!(judge(data.len().max(1)), judge(5));
    }
    let limits = Http2 { resets: 3, control_frames: 3, window_updates: 3, continuations: 3, ..Http2::default() };
    let judge = |step: usize| {
        let mut frames = Frames::new(limits.clone());
        let looked =
            frames.inspect(&[0; 24]).and_then(|()| data.chunks(step).try_for_each(|part| frames.inspect(part)));
        (looked, frames.go_away())
    };
    assert_eq!(judge(data.len().max(1)), judge(5));
}
