//! What a node reads: its settings, a member's message, the parts of a request that hyper leaves to us.

use atoll_core::transport::{Response, decode};
use atoll_node::config::Layers;
use atoll_routing::exchange;

/// A settings file, and values as flags and variables give them.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut layers = Layers::default();
    layers.file(text);
    let (path, value) = text.split_once('=').unwrap_or((text, ""));
    layers.flag(path.trim(), value.trim());
    layers.environment(|name| (name == "ATOLL_NODE_SEEDS").then(|| value.to_owned()));
    match layers.build() {
        Ok((config, _)) => assert!(config.check().is_empty()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
    if let Ok(address) = atoll_node::address::parse(text) {
        let _ = atoll_node::address::to_url(&address);
    }
    let _ = atoll_node::keys::certificate_from_text(text);
}

/// The body of a question or of an answer.
pub fn message(data: &[u8]) {
    for path in exchange::PATHS {
        if let Some(Ok(request)) = exchange::request_from(path, data) {
            assert_eq!(exchange::path_of(&request), path);
        }
    }
    if let Ok(response) = decode::<Response>(data)
        && let Ok(bytes) = exchange::body_of(&response)
    {
        assert_eq!(decode(&bytes), Ok(response));
    }
}

/// The file of known records.
pub fn log(data: &[u8]) {
    atoll_routing::fuzzing::log(data);
}

/// Target and headers of a request to the public listener.
pub fn request(data: &[u8]) {
    atoll_edge::fuzzing::request(data);
}

/// The bytes of a connection over HTTP/1.1.
pub fn guard(data: &[u8]) {
    atoll_edge::fuzzing::guard(data);
}

/// The first bytes of a connection through a load balancer.
pub fn proxied(data: &[u8]) {
    atoll_edge::fuzzing::proxied(data);
}

/// A datagram of HTTP/3 that another process sends on.
pub fn datagram(data: &[u8]) {
    atoll_edge::fuzzing::datagram(data);
}

/// What the process says that is to be taken over from.
pub fn takeover(data: &[u8]) {
    atoll_node::takeover::judge(data);
}

/// The bytes of a connection over HTTP/2, behind the preface, or of a stream over HTTP/3.
pub fn frames(data: &[u8]) {
    atoll_edge::fuzzing::frames(data);
}
