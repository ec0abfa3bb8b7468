//! A load balancer before the node says whose connections are (PROXY protocol, version 2).

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use atoll_testkit::http::connect;
use atoll_testkit::origin::Origin;
use atoll_testkit::process::Node;

/// What every header begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n";

/// A header, as haproxy's `send-proxy-v2` writes it.
fn header(client: Option<IpAddr>) -> Vec<u8> {
    let (kind, mut addresses) = match client {
        None => ([0x20, 0], Vec::new()),
        Some(IpAddr::V4(ip)) => ([0x21, 0x11], [ip.octets(), [127, 0, 0, 1]].concat()),
        Some(IpAddr::V6(ip)) => ([0x21, 0x21], [ip.octets(), Ipv6Addr::LOCALHOST.octets()].concat()),
    };
    if client.is_some() {
        addresses.extend([0x9c, 0x40, 0x01, 0xbb]);
    }
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE, &kind, &len, &addresses].concat()
}

/// What comes back, to the end.
fn said(to: SocketAddr, bytes: &[&[u8]]) -> String {
    let mut tcp = connect(to);
    let sent = bytes.iter().try_for_each(|bytes| tcp.write_all(bytes));
    let mut answer = Vec::new();
    // Who is refused may be reset.
    let _ = sent.and_then(|()| tcp.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_balancer_is_believed_and_nobody_else() {
    let origin = Origin::answering(|_| ("Cache-Control: no-store\r\n".to_owned(), b"ok".to_vec()));
    let sites = format!("[[sites]]\nhosts = [\"site.example\"]\n[[sites.origins]]\nurl = \"{}\"\n", origin.url());
    let node = |balancer: &str| {
        let set = format!("gateway.proxy_protocol={balancer}");
        Node::home(env!("CARGO_BIN_EXE_atoll")).set(&[&set]).configured(&sites).started()
    };
    let behind = node("127.0.0.0/8");
    let clients = [IpAddr::from(Ipv4Addr::new(192, 0, 2, 7)), "2001:db8::7".parse().unwrap()];
    for client in clients {
        assert!(said(behind.gateway(), &[&header(Some(client)), ASK]).starts_with("HTTP/1.1 200"));
    }
    assert!(said(behind.gateway(), &[&header(None), ASK]).starts_with("HTTP/1.1 200"), "it speaks for itself");
    let forwarded: Vec<_> = origin.asked().iter().map(|asked| asked.field("x-forwarded-for").unwrap()).collect();
    assert_eq!(forwarded, ["192.0.2.7", "2001:db8::7", "127.0.0.1"]);
    // In pieces, as the network may bring it.
    let header_now = header(Some(clients[0]));
    let pieces: Vec<&[u8]> = header_now.chunks(5).chain([ASK]).collect();
    assert!(said(behind.gateway(), &pieces).starts_with("HTTP/1.1 200"));
    // Without a header, with a bad one, and with one that is too large: closed without a word.
    let large = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    let bad = [SIGNATURE, &[0x31, 0x11, 0, 12], &[0; 12]].concat();
    for bytes in [ASK, &large, &bad, b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 443\r\n"] {
        assert_eq!(said(behind.gateway(), &[bytes, ASK]), "");
    }
    // Whoever is no balancer is no client's voice.
    let direct = node("192.0.2.0/24");
    assert!(said(direct.gateway(), &[ASK]).starts_with("HTTP/1.1 200"));
    assert!(said(direct.gateway(), &[&header(Some(clients[0])), ASK]).starts_with("HTTP/1.1 400"));
    assert_eq!(origin.asked().len(), 5);
}

#[test]
fn all_addresses_are_those_of_both_families() {
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.listen=[::]:0"]).started();
    let port = node.gateway().port();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let answer =
            said((ip, port).into(), &[b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]);
        assert!(answer.starts_with("HTTP/1.1 404"), "{ip}: {answer}");
    }
}
