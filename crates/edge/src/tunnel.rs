//! Proxy mode: a client that asks for a tunnel to one of our own hosts goes on to speak HTTP on the same connection.
//!
//! Nothing is ever dialled, so that this is no open proxy: a tunnel leads to what could be had without it. A crash loses the
//! connection.

use std::io;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::activity::Activity;
use crate::gateway::Gateway;
use crate::host::Host;

/// What the head of a request for a tunnel begins with; no method that we answer does.
pub(crate) const FIRST_BYTE: u8 = b'C';
/// The longest head of a request for a tunnel, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection Established\r\n\r\n";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 52\r\n\r\nTunnels lead to this gateway's own host names only.\n";

/// Answers a request for a tunnel, if that is what comes next. Returns the bytes that were read beyond it, which are to be
/// read as if they came from the connection; `None` if the connection is over.
pub(crate) async fn open(tcp: &mut TcpStream, gateway: &Gateway, activity: &Activity) -> Option<Bytes> {
    let mut read = BytesMut::with_capacity(1024);
    // The time for it is kept by the sweep in `activity`.
    activity.received();
    while read.len() < HEAD_BYTES_MAX {
        if tcp.read_buf(&mut read).await.ok()? == 0 {
            break;
        }
        match head(&read) {
            Head::Unfinished => {}
            Head::Other => break,
            Head::Tunnel { authority, len } => {
                let own = is_own(gateway, &authority, tcp).await;
                let _ = read.split_to(len);
                return answer(tcp, own).await.ok()?.then(|| {
                    activity.rest(std::time::Instant::now());
                    read.freeze()
                });
            }
        }
    }
    Some(read.freeze())
}

/// What bytes are the head of.
enum Head {
    Unfinished,
    /// Not of a request for a tunnel; whatever it is, the parser of requests tells.
    Other,
    Tunnel {
        authority: String,
        len: usize,
    },
}

fn head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes);
    if request.method.is_some_and(|method| method != "CONNECT") {
        return Head::Other;
    }
    match (parsed, request.path) {
        (Ok(httparse::Status::Partial), _) => Head::Unfinished,
        (Ok(httparse::Status::Complete(len)), Some(authority)) => {
            let hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
            let same = |header: &httparse::Header<'_>| header.value.eq_ignore_ascii_case(authority.as_bytes());
            // A host that says something else leads nowhere.
            let agree = hosts.into_iter().all(same);
            Head::Tunnel { authority: if agree { authority.to_owned() } else { String::new() }, len }
        }
        _ => Head::Other,
    }
}

/// Whether a host and port are served here.
async fn is_own(gateway: &Gateway, authority: &str, tcp: &TcpStream) -> bool {
    match gateway.names.classify(authority) {
        Ok(Host::Path) => {
            let ip = authority.rsplit_once(':').map_or(authority, |(ip, _)| ip).trim_matches(['[', ']']);
            let local = tcp.local_addr().map(|local| local.ip().to_canonical());
            ip.parse::<IpAddr>().map_or(true, |ip| local.is_ok_and(|local| local == ip.to_canonical()))
        }
        Ok(Host::Subdomains { .. } | Host::Content { .. } | Host::Named { .. }) => true,
        Ok(Host::Other { name, .. }) => {
            let name = name.to_ascii_lowercase();
            let resolved = timeout(gateway.timeouts.resolve, gateway.services.names.resolve(&name));
            resolved.await.is_ok_and(|resolved| resolved.is_ok())
        }
        Err(_) => false,
    }
}

/// Tells the client whether it has its tunnel.
async fn answer(tcp: &mut TcpStream, own: bool) -> io::Result<bool> {
    tcp.write_all(if own { ESTABLISHED } else { FORBIDDEN }).await?;
    if !own {
        tcp.shutdown().await?;
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_request_for_a_tunnel_is_one() {
        let tunnel = b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\nGET";
        assert!(matches!(head(tunnel), Head::Tunnel { authority, len: 53 } if authority == "a.example:80"));
        for len in 0..53 {
            assert!(matches!(head(&tunnel[..len]), Head::Unfinished), "{len}");
        }
        assert!(matches!(head(b"COPY / HTTP/1.1\r\n\r\n"), Head::Other));
        assert!(matches!(head(b"C\0"), Head::Other));
        let other = b"CONNECT a.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\n";
        assert!(matches!(head(other), Head::Tunnel { authority, .. } if authority.is_empty()));
    }
}
