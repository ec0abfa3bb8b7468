//! Addresses of gateways: multiaddrs inside, `http://host:port` where people write them.

use std::net::{IpAddr, SocketAddr};

use atoll_core::Multiaddr;

/// Reads a multiaddr or an `http://host:port` URL (a path is ignored).
///
/// # Errors
/// [`AddressError`] says what it should look like.
pub fn parse(text: &str) -> Result<Multiaddr, AddressError> {
    let wrong = || AddressError(text.to_owned());
    if text.starts_with('/') {
        return text.parse().map_err(|_| wrong());
    }
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
    let port = uri.port_u16().unwrap_or(80);
    let multiaddr = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("/ip4/{ip}/tcp/{port}/http"),
        Ok(IpAddr::V6(ip)) => format!("/ip6/{ip}/tcp/{port}/http"),
        Err(_) => format!("/dns/{host}/tcp/{port}/http"),
    };
    multiaddr.parse().map_err(|_| wrong())
}

/// The multiaddr of a bound socket.
pub fn of_socket(address: SocketAddr) -> Multiaddr {
    let ip = if address.is_ipv4() { "ip4" } else { "ip6" };
    let text = format!("/{ip}/{}/tcp/{}/http", address.ip(), address.port());
    text.parse().unwrap_or_else(|_| Multiaddr::empty())
}

/// A text that is no address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a multiaddr such as /ip4/192.0.2.1/tcp/8080/http nor a URL such as http://192.0.2.1:8080")]
pub struct AddressError(String);

/// The URL of a gateway's multiaddr, as people write it; the multiaddr itself when it is of another kind.
pub fn to_url(address: &Multiaddr) -> String {
    let text = address.to_string();
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["", "ip6", ip, "tcp", port, ..] => format!("http://[{ip}]:{port}"),
        ["", "ip4" | "dns" | "dns4" | "dns6", host, "tcp", port, ..] => format!("http://{host}:{port}"),
        _ => text,
    }
}
