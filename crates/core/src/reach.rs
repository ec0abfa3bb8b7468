//! Which addresses of strangers may be dialled: a record from the internet must not lead into this machine or its network.

use std::net::{IpAddr, Ipv4Addr};

use multiaddr::{Multiaddr, Protocol};

/// How far an address reaches, nearest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// This network.
    Private,
    /// Everywhere; names count as such, since what they mean is only known when they are dialled.
    #[default]
    Public,
}

impl Reach {
    /// How far one address reaches.
    pub fn of(address: &Multiaddr) -> Self {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => Self::of_ip(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => Self::of_ip(ip.to_canonical()),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name))
                if name == "localhost" || name.ends_with(".localhost") =>
            {
                Self::Loopback
            }
            _ => Self::Public,
        }
    }

    /// The nearest of `addresses`: a node that was given such an address by its operator dials others like it.
    pub fn nearest<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Self {
        addresses.into_iter().map(Self::of).min().unwrap_or_default()
    }

    /// Whether a stranger's `address` may be dialled.
    pub fn allows(self, address: &Multiaddr) -> bool {
        Self::of(address) >= self
    }

    /// By the special-purpose registries (RFC 6890).
    fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Self::Private,
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Self::Loopback,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            _ => Self::Public,
        }
    }
}

/// Carrier-grade NAT, 100.64.0.0/10 (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_lead_into_nearer_networks() {
        for (text, reach) in [
            ("/ip4/127.9.9.9/tcp/1/http", Reach::Loopback),
            ("/ip4/0.0.0.0/tcp/1/http", Reach::Loopback),
            ("/ip6/::1/tcp/1/http", Reach::Loopback),
            ("/ip6/::ffff:127.0.0.1/tcp/1/http", Reach::Loopback),
            ("/dns/x.localhost/tcp/1/http", Reach::Loopback),
            ("/ip4/10.1.2.3/tcp/1/http", Reach::Private),
            ("/ip4/169.254.169.254/tcp/1/http", Reach::Private),
            ("/ip4/100.64.0.1/tcp/1/http", Reach::Private),
            ("/ip6/fd00::1/tcp/1/http", Reach::Private),
            ("/ip4/100.128.0.1/tcp/1/http", Reach::Public),
            ("/ip6/2001:db8::1/tcp/1/http", Reach::Public),
            ("/dns4/reef.example/tcp/1/http", Reach::Public),
        ] {
            assert_eq!(Reach::of(&text.parse().unwrap()), reach, "{text}");
        }
        let loopback = "/ip4/127.0.0.1/tcp/1/http".parse().unwrap();
        assert!(!Reach::Public.allows(&loopback) && !Reach::Private.allows(&loopback));
        assert!(Reach::nearest([&loopback]).allows(&loopback));
        assert_eq!(Reach::nearest([]), Reach::Public);
    }
}
