//! Connections that come through a load balancer, which says before their first byte whose they are (PROXY protocol, version 2). A crash
//! loses the connection.

use std::io;
use std::net::IpAddr;

use ppp::v2::{Addresses, Command, Header, ParseError};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What every header begins with: signature, version, family and the length of the rest.
const FIXED_BYTES: usize = 16;
/// The most that may follow, in bytes: addresses of Unix sockets take 216, and what a balancer adds is small.
const REST_BYTES_MAX: usize = 2048;

/// Why a connection is not taken on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxiedError {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("no header of the PROXY protocol, version 2: {0}")]
    Malformed(#[from] ParseError),
    #[error("{0} bytes of a header are over the limit of {REST_BYTES_MAX}")]
    Large(usize),
}

/// Reads the header and nothing behind it; the client, unless the balancer speaks for itself (it looks whether the node is well).
///
/// # Errors
/// [`ProxiedError`]
pub(crate) async fn read(tcp: &mut TcpStream) -> Result<Option<IpAddr>, ProxiedError> {
    let mut header = vec![0; FIXED_BYTES];
    tcp.read_exact(&mut header).await?;
    let rest = match header.last_chunk::<2>() {
        Some(length) => usize::from(u16::from_be_bytes(*length)),
        None => 0,
    };
    if rest > REST_BYTES_MAX {
        // Something else may have come: it is told apart by how it begins.
        return match Header::try_from(header.as_slice()) {
            Err(error) if !matches!(error, ParseError::Partial(..)) => Err(error.into()),
            _ => Err(ProxiedError::Large(rest)),
        };
    }
    header.resize(FIXED_BYTES + rest, 0);
    tcp.read_exact(header.get_mut(FIXED_BYTES..).unwrap_or_default()).await?;
    parse(&header)
}

fn parse(bytes: &[u8]) -> Result<Option<IpAddr>, ProxiedError> {
    let header = Header::try_from(bytes)?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(of)) => Some(of.source_address.into()),
        (Command::Proxy, Addresses::IPv6(of)) => Some(IpAddr::V6(of.source_address).to_canonical()),
        _ => None,
    })
}

/// Reads the start of a connection, for fuzzing.
pub(crate) fn judge(bytes: &[u8]) {
    if let Ok(Some(ip)) = parse(bytes) {
        assert_eq!(ip, ip.to_canonical());
    }
}
