//! Over HTTP/2, where fields have no line ends and bodies have their own, and over HTTP/1.1 to the server.

use atoll_testkit::http::request;

use super::frames::{Outcome, Sent, exchange};
use super::witness::{Message, Seen, Witness};
use super::{HIDDEN, secure};

/// A GET with more fields.
fn get(fields: &[(&str, &[u8])]) -> Sent {
    of(&[(":method", b"GET"), (":scheme", b"https"), (":authority", b"shop.example"), (":path", b"/a")], fields)
}

fn post(fields: &[(&str, &[u8])], data: &str) -> Sent {
    let pseudo: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"https"), (":authority", b"shop.example"), (":path", b"/a")];
    Sent { data: Some(data.into()), ..of(&pseudo, fields) }
}

fn of(pseudo: &[(&str, &[u8])], fields: &[(&str, &[u8])]) -> Sent {
    let all = pseudo.iter().chain(fields).map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
    Sent { fields: all.collect(), data: None, trailers: Vec::new() }
}

/// A GET in which one pseudo-header has another value, or none.
fn but(name: &str, value: Option<&[u8]>) -> Sent {
    let mut sent = get(&[]);
    let at = sent.fields.iter().position(|(known, _)| known == name.as_bytes()).unwrap();
    match value {
        Some(value) => sent.fields[at].1 = value.to_vec(),
        None => drop(sent.fields.remove(at)),
    }
    sent
}

fn refused() -> Vec<Sent> {
    [names_and_values(), lengths(), targets()].into_iter().flatten().collect()
}

fn names_and_values() -> Vec<Sent> {
    let hidden = [b"y\r\n\r\n", HIDDEN.as_bytes()].concat();
    let values: [&[u8]; 12] =
        [b"y\rz", b"y\nz", b"y\r\nz: a", b"y\0z", b"\ry", b"y\n", b" y", b"y ", b"\ty", b"y\t", b"y\x7f", &hidden];
    let mut sent: Vec<Sent> = values.map(|value| get(&[("x", value)])).into();
    let names: [&[u8]; 14] = [
        b"",
        b"x y",
        b" x",
        b"x ",
        b"x\r\ny",
        b"x\n",
        b"x\0",
        b"X",
        b"x:",
        b"x: y\r\nz",
        b":x",
        b":status",
        b"x\xa0",
        b"x(",
    ];
    sent.extend(names.map(|name| {
        let mut sent = get(&[]);
        sent.fields.push((name.to_vec(), b"y".to_vec()));
        sent
    }));
    let connection: [(&str, &[u8]); 9] = [
        ("transfer-encoding", b"chunked"),
        ("transfer-encoding", b""),
        ("connection", b"close"),
        ("connection", b"transfer-encoding"),
        ("keep-alive", b"5"),
        ("proxy-connection", b"close"),
        ("upgrade", b"h2c"),
        ("te", b"chunked"),
        ("transfer_encoding", b"chunked"),
    ];
    sent.extend(connection.map(|field| post(&[field], &format!("0\r\n\r\n{HIDDEN}"))));
    sent.extend(connection.map(|field| get(&[field])));
    sent
}

/// Lengths that are none, or unlike what is sent.
fn lengths() -> Vec<Sent> {
    let len = HIDDEN.len().to_string();
    let len = len.as_bytes();
    let lengths: [&[u8]; 9] = [b"+5", b"-5", b"0x5", b"5,5", b"5, 5", b" 5", b"", b"5a", b"18446744073709551621"];
    let mut sent: Vec<Sent> = lengths.map(|length| post(&[("content-length", length)], "abcde")).into();
    sent.extend([&b"0"[..], b"4", b"6"].map(|length| post(&[("content-length", length)], "abcde")));
    sent.push(get(&[("content-length", len)]));
    sent.push(post(&[("content-length", b"0")], HIDDEN));
    sent.push(post(&[("content-length", len), ("content-length", len)], HIDDEN));
    sent.push(post(&[("content-length", len), ("content-length", b"0")], HIDDEN));
    sent.push(post(&[("content_length", b"0")], HIDDEN));
    sent
}

/// Whom it is for, and what is wanted there.
fn targets() -> Vec<Sent> {
    let pseudo: [(&str, &[u8]); 25] = [
        (":path", b""),
        (":path", b"a"),
        (":path", b"*"),
        (":path", b"?a"),
        (":path", b"http://other.example/a"),
        (":path", b"@other.example/a"),
        (":path", b"/a b"),
        (":path", b"/a HTTP/1.1\r\nX: y"),
        (":path", b"/a\nb"),
        (":path", b"/a\0"),
        (":path", "/caf\u{e9}".as_bytes()),
        (":path", b"/caf\xe9"),
        (":method", b""),
        (":method", b"GET /hidden HTTP/1.1\r\nX: y\r\n\r\nGET"),
        (":method", b"GET "),
        (":method", b"CONNECT"),
        (":method", b"TRACE"),
        (":scheme", b"https://other.example/?"),
        (":authority", b""),
        (":authority", b"shop.example@other.example"),
        (":authority", b"shop.example/a"),
        (":authority", b"shop.example other.example"),
        (":authority", b"shop.example\r\nX: y"),
        (":authority", b"shop.example:80:80"),
        (":authority", b"shop.example, other.example"),
    ];
    let mut sent: Vec<Sent> = pseudo.map(|(name, value)| but(name, Some(value))).into();
    sent.extend([":method", ":scheme", ":path", ":authority"].map(|name| but(name, None)));
    let again: [(&str, &[u8]); 5] = [
        (":method", b"GET"),
        (":path", b"/a"),
        (":path", b"/b"),
        (":scheme", b"https"),
        (":authority", b"shop.example"),
    ];
    sent.extend(again.map(|field| {
        let mut sent = get(&[]);
        sent.fields.insert(4, (field.0.into(), field.1.into()));
        sent
    }));
    sent.push(get(&[("x", b"y"), (":path", b"/b")]));
    // Hosts.
    sent.push(get(&[("host", b"other.example")]));
    sent.push(get(&[("host", b"shop.example"), ("host", b"other.example")]));
    sent.push(get(&[("host", b"shop.example"), ("host", b"shop.example")]));
    sent.push(get(&[("host", b"")]));
    sent
}

/// Trailers that are none: refused, or left out.
fn trailers() -> Vec<Sent> {
    let trailers: [(&str, &[u8]); 8] = [
        (":path", b"/b"),
        ("x", b"y\r\nz"),
        ("x", b" y"),
        ("", b"y"),
        ("transfer-encoding", b"chunked"),
        ("transfer_encoding", b"chunked"),
        ("content-length", b"5"),
        ("connection", b"x"),
    ];
    let with = |(name, value): (&str, &[u8])| {
        let named = [b"x, transfer_encoding, ", name.as_bytes()].concat();
        let mut sent = post(&[("trailer", &named)], "abcde");
        sent.trailers.push((name.into(), value.into()));
        sent
    };
    trailers.map(with).into()
}

fn sound() -> Vec<(Sent, (&'static str, &'static str, &'static str))> {
    let len = HIDDEN.len().to_string();
    let with = |mut sent: Sent, method: &str| {
        sent.fields[0].1 = method.into();
        sent
    };
    let mut no_host = get(&[("host", b"shop.example")]);
    no_host.fields.remove(2);
    let mut trailers = post(&[("te", b"trailers"), ("trailer", b"x, content-length, host, x-forwarded-for")], HIDDEN);
    trailers.trailers = [("x", "y"), ("content-length", "5"), ("host", "other.example"), ("y", "z")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    vec![
        (get(&[("x", b""), ("x", b"y"), ("x_y", b"z"), ("te", b"trailers")]), ("GET", "/a", "")),
        (get(&[("host", b"shop.example")]), ("GET", "/a", "")),
        (no_host, ("GET", "/a", "")),
        (but(":path", Some(b"/../a%0d%0a?http://b")), ("GET", "/../a%0d%0a?http://b", "")),
        (but(":path", Some(b"//other.example/a")), ("GET", "//other.example/a", "")),
        (but(":path", Some(b"/a#b")), ("GET", "/a", "")),
        // The server is told the scheme that was spoken, not this one.
        (but(":scheme", Some(b"")), ("GET", "/a", "")),
        (but(":scheme", Some(b"gopher")), ("GET", "/a", "")),
        (but(":authority", Some(b"shop.example:443")), ("GET", "/a", "")),
        (post(&[], HIDDEN), ("POST", "/a", HIDDEN)),
        (post(&[("content-length", len.as_bytes())], HIDDEN), ("POST", "/a", HIDDEN)),
        (post(&[("content-length", b"0")], ""), ("POST", "/a", "")),
        (post(&[], ""), ("POST", "/a", "")),
        (trailers, ("POST", "/a", HIDDEN)),
        (with(post(&[], HIDDEN), "GET"), ("GET", "/a", HIDDEN)),
        (with(post(&[("content-length", len.as_bytes())], HIDDEN), "HEAD"), ("HEAD", "/a", HIDDEN)),
        (with(post(&[], HIDDEN), "DELETE"), ("DELETE", "/a", HIDDEN)),
        (with(get(&[]), "POST"), ("POST", "/a", "")),
    ]
}

#[test]
fn each_class_of_doubt_is_refused_or_becomes_one_message() {
    let witness = Witness::new();
    for host in ["", "client"] {
        let (front, visitor) = secure(&witness.url(), host);
        let refused = refused();
        println!("{} cases are refused", refused.len());
        for sent in &refused {
            let outcome = exchange(&front, &visitor, sent);
            let fair = match outcome {
                Outcome::Status(status) => (400..500).contains(&status),
                Outcome::Reset => true,
            };
            assert!(fair, "{outcome:?} {}", shown(sent));
            let seen = witness.take();
            let whole = seen.iter().any(|seen| *seen != Seen::Cut);
            assert!(!whole, "{seen:?} {}", shown(sent));
        }
        for (sent, (method, target, body)) in sound() {
            assert_eq!(exchange(&front, &visitor, &sent), Outcome::Status(200), "{}", shown(&sent));
            let seen = witness.take();
            let [Seen::Message(message)] = &seen[..] else { panic!("{seen:?} {}", shown(&sent)) };
            let found = (&*message.method, &*message.target, &*message.body);
            assert_eq!(found, (method, target, body), "{}", shown(&sent));
            assert!(message.trailers.iter().all(|(name, _)| name == "x"), "{message:?}");
        }
        for sent in trailers() {
            exchange(&front, &visitor, &sent);
            let seen = witness.take();
            let sound =
                |message: &Message| message.body == "abcde" && message.trailers.iter().all(|(name, _)| name == "x");
            let fair = match &seen[..] {
                [] | [Seen::Cut] => true,
                [Seen::Message(message)] => sound(message),
                _ => false,
            };
            assert!(fair, "{seen:?} {}", shown(&sent));
        }
        request(front.gateway(), "GET", "shop.example", "/last", &[]);
        assert!(matches!(&witness.take()[..], [Seen::Message(Message { target, .. })] if target == "/last"));
    }
}

fn shown(sent: &Sent) -> String {
    let field = |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    let of = |fields: &[(Vec<u8>, Vec<u8>)]| fields.iter().map(field).collect::<Vec<_>>().join(" | ");
    let data = sent.data.as_deref().unwrap_or_default().escape_ascii();
    format!("{} / {data} / {}", of(&sent.fields), of(&sent.trailers))
}
