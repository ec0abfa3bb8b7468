//! What of a request is parsed here and not by hyper, as one function for the fuzz target: host, path, form and range.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::config::Config;
use crate::host::{Host, Label, Names};
use crate::negotiate::Wanted;
use crate::respond::Described;
use crate::route::ContentPath;

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
    let content = match Names::new(&Config::default()).classify(&request) {
        Ok(Host::Content { label, .. }) => match Label::parse(label) {
            Ok(Label::Root(root) | Label::Alias(root)) => ContentPath::on_own_host(root, path).ok(),
            Err(_) => None,
        },
        Ok(Host::Path | Host::Subdomains { .. }) => ContentPath::on_gateway(path).and_then(Result::ok),
        Err(_) => None,
    };
    if let Some(content) = content {
        // What a link says must be what a request to it names.
        let link = ContentPath::on_gateway(&content.full());
        assert!(link.is_some_and(|again| again.is_ok_and(|again| again.segments == content.segments)));
    }
    let _ = Wanted::parse(query, request.headers());
    let etag = HeaderValue::from_static("\"etag\"");
    for len in [0, 1, 1000, u64::MAX] {
        let described = Described { headers: HeaderMap::new(), etag: etag.clone(), len };
        let _ = described.part(request.headers());
    }
}
