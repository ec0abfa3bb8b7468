//! Which addresses belong to which network.

use std::net::IpAddr;

use multiaddr::{Multiaddr, Protocol};

/// Whether an address can be reached from everywhere; names count as such.
pub(crate) fn is_public(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => is_public_ip(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => is_public_ip(ip.to_canonical()),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => true,
        _ => false,
    }
}

/// By the special-purpose registries (RFC 6890, RFC 6598).
fn is_public_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0b1100_0000 == 64;
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_private() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_public() {
        for (text, public) in [
            ("/ip4/127.0.0.1/tcp/1", false),
            ("/ip4/10.0.0.1/udp/1/quic-v1", false),
            ("/ip4/100.64.0.1/tcp/1", false),
            ("/ip6/::ffff:192.168.1.1/tcp/1", false),
            ("/ip6/fd00::1/tcp/1", false),
            ("/unix/tmp", false),
            ("/ip4/192.0.2.1/tcp/1", true),
            ("/ip6/2001:db8::1/tcp/1", true),
            ("/dns4/reef.example/tcp/1", true),
        ] {
            assert_eq!(is_public(&text.parse().unwrap()), public, "{text}");
        }
    }
}
