//! What smugglers send over HTTP/1.1, class by class.

use super::HIDDEN;

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Where it ends is in doubt: refused, the connection closed, and never a whole message at the server.
    Refused,
    /// It is clear where it ends, and it is refused; the connection may go on.
    Declined,
    /// The server sees one message, with this method, target and body.
    Passed(&'static str, &'static str, &'static str),
}

/// What is sent.
pub(super) struct Case {
    pub(super) fate: Fate,
    pub(super) bytes: Vec<u8>,
    /// Where the head ends, for what is wrong with the body: that is sent later too.
    pub(super) split: Option<usize>,
}

impl Case {
    fn new(fate: Fate, bytes: impl Into<Vec<u8>>) -> Self {
        Self { fate, bytes: bytes.into(), split: None }
    }
}

fn head(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n")
}

fn refused(bytes: impl Into<Vec<u8>>) -> Case {
    Case::new(Fate::Refused, bytes)
}

/// A request with a chunked body.
fn chunked(fate: Fate, body: &str) -> Case {
    let head = head("Transfer-Encoding: chunked\r\n");
    Case { split: Some(head.len()), ..Case::new(fate, head + body) }
}

pub(super) fn all() -> Vec<Case> {
    [lengths(), sizes(), codings(), line_ends(), names_and_values(), request_lines(), targets(), sound()]
        .into_iter()
        .flatten()
        .collect()
}

fn lengths() -> Vec<Case> {
    let len = HIDDEN.len();
    let values = [
        format!("0x{len:x}"),
        format!("+{len}"),
        format!("-{len}"),
        "4_5".to_owned(),
        String::new(),
        " ".to_owned(),
        format!("{len},{len}"),
        format!("{len}, {len}"),
        format!("{len} {len}"),
        format!("0, {len}"),
        format!("\t{len}"),
        format!("\x0b{len}"),
        format!("{len}a"),
        format!("{len}.0"),
        format!("{len};"),
        "18446744073709551616".to_owned(),
        format!("{}", u128::from(u64::MAX) + 1 + len as u128),
        "0000000000000000000000000000045".to_owned(),
        "\u{664}\u{665}".to_owned(),
    ];
    let single = values.map(|value| refused(head(&format!("Content-Length: {value}\r\n")) + HIDDEN));
    let double = [(0, len), (len, len), (len, 0)].map(|(one, two)| {
        refused(head(&format!("Content-Length: {one}\r\nX: y\r\nContent-Length: {two}\r\n")) + HIDDEN)
    });
    let named = ["Content_Length", "Content-Length ", " Content-Length", "Content-Length\t", "\x0bContent-Length"]
        .map(|name| refused(head(&format!("X: y\r\n{name}: {len}\r\n")) + HIDDEN));
    single.into_iter().chain(double).chain(named).collect()
}

fn sizes() -> Vec<Case> {
    let len = HIDDEN.len();
    let values = [
        format!("0x{len:x}"),
        format!("+{len:x}"),
        format!("-{len:x}"),
        format!("{len:x} "),
        format!(" {len:x}"),
        format!("{len:x}\t"),
        format!("0_{len:x}"),
        format!("{len:x},"),
        format!("{len:x}g"),
        String::new(),
        format!("1000000000000000000{len:x}"),
        format!("{len:x} ;x"),
        format!("{len:x};x=\r"),
        format!("{len:x};\x0bx"),
        format!("{len:x};x\n"),
    ];
    let mut cases: Vec<Case> =
        values.map(|size| chunked(Fate::Refused, &format!("{size}\r\n{HIDDEN}\r\n0\r\n\r\n"))).into();
    let bodies = [
        // Line ends that are none.
        format!("{len:x}\n{HIDDEN}\r\n0\r\n\r\n"),
        format!("{len:x}\r{HIDDEN}\r\n0\r\n\r\n"),
        format!("{len:x}\r\n{HIDDEN}\n0\r\n\r\n"),
        format!("{len:x}\r\n{HIDDEN}\rX0\r\n\r\n"),
        format!("{len:x}\r\n{HIDDEN}XX0\r\n\r\n"),
        format!("{len:x}\r\n{HIDDEN}\r\n\r\n0\r\n\r\n"),
        format!("1\r\na\r\n0\n\n{HIDDEN}"),
        format!("1\r\na\r\n0\r\n\n{HIDDEN}"),
        format!("1\r\na\r\n0\r\n\rX{HIDDEN}"),
        // Longer and shorter than it says, and not ended.
        format!("1\r\n{HIDDEN}\r\n0\r\n\r\n"),
        format!("g\r\n{HIDDEN}"),
        // Trailers that would be of the framing or of the route.
        "0\r\nContent-Length: 5\r\n\r\n".to_owned(),
        "0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "0\r\nTransfer_Encoding: chunked\r\n\r\n".to_owned(),
        "0\r\nHost: other.example\r\n\r\n".to_owned(),
        "0\r\n X: folded\r\n\r\n".to_owned(),
        "0\r\nX\r\n\r\n".to_owned(),
    ];
    cases.extend(bodies.map(|body| chunked(Fate::Refused, &body)));
    cases
}

fn codings() -> Vec<Case> {
    let body = format!("0\r\n\r\n{HIDDEN}");
    let values = [
        "",
        ",chunked",
        "chunked,",
        "cow",
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, identity",
        "chunked, cow",
        "chunked, chunked",
        "\tchunked",
        "\x0bchunked",
        "chunked\t",
        "chunked\x0b",
        "\u{a0}chunked",
        "xchunked",
        "chunkedx",
        "chunk",
        "\"chunked\"",
        "'chunked'",
        "chunked;q=1",
        "chun\tked",
        "c\u{127}unked",
    ];
    let single = values.map(|value| refused(head(&format!("Transfer-Encoding: {value}\r\n")) + &body));
    let fields = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\nContent-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding\u{a0}: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\n chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "\0Transfer-Encoding: chunked\r\n",
        "Foo\r\n-Transfer-Encoding: chunked\r\nTransfer-Encoding\r\n",
    ];
    let several = fields.map(|fields| refused(head(fields) + &body));
    let old = refused(format!("POST /a HTTP/1.0\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    single.into_iter().chain(several).chain([old]).collect()
}

fn line_ends() -> Vec<Case> {
    [
        "GET /a HTTP/1.1\nHost: shop.example\r\n\r\n",
        "GET /a HTTP/1.1\rHost: shop.example\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\n\r\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\r\n\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\n\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\r\n\rX",
        "GET /a HTTP/1.1\r\nHost: shop.example\r\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\r\nX: y\rGET /hidden HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: shop.example\r\nX: y\n\nGET /hidden HTTP/1.1\r\n\r\n",
        "\nGET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "\rGET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "\r\n\r\nGET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ]
    .map(refused)
    .into()
}

fn names_and_values() -> Vec<Case> {
    let lines: [&[u8]; 20] = [
        b"X : y",
        b" X: y",
        b"\tX: y",
        b"X\xa0: y",
        b"\xa0X: y",
        b"X\x85: y",
        b": y",
        b"X",
        b"X y",
        b"X\0: y",
        b"X: y\0z",
        b"X: y\0",
        b"X: \x01y",
        b"X: y\x7f",
        b"X: y\r\n z",
        b"X: y\r\n\tz",
        b"X\r\n : y",
        b"\"X\": y",
        b"X(y): z",
        b"caf\xc3\xa9: y",
    ];
    let mut cases: Vec<Case> = lines
        .map(|line| refused([b"GET /a HTTP/1.1\r\nHost: shop.example\r\n", line, b"\r\n\r\n"].concat()))
        .into_iter()
        .collect();
    let hosts: [&[u8]; 5] = [b"Host : shop.example", b" Host: shop.example", b"H\xa0ost: a", b"Host\0: a", b"Host"];
    cases.extend(hosts.map(|host| refused([b"GET /a HTTP/1.1\r\n", host, b"\r\n\r\n"].concat())));
    cases
}

fn request_lines() -> Vec<Case> {
    let lines = [
        "GET /a HTTP/1.10",
        "GET /a HTTP/1.1x",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/9.9",
        "GET /a HTTP/2.0",
        "GET /a HTTP/0.9",
        "GET /a HTTP/1.257",
        "GET /a HTTP/257.1",
        "GET /a http/1.1",
        "GET /a ICE/1.1",
        "GET /a HTTP/1,1",
        "GET /a HTTP/01.1",
        "GET /a",
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "GET /a\tHTTP/1.1",
        "GET\x0b/a HTTP/1.1",
        " GET /a HTTP/1.1",
        "\0GET /a HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "GET /a\x01 HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "GE(T /a HTTP/1.1",
        "GET: /a HTTP/1.1",
        "HTTP/1.1 200 OK",
        "/a GET HTTP/1.1",
    ];
    lines.map(|line| refused(format!("{line}\r\nHost: shop.example\r\n\r\n"))).into()
}

/// Whom it is for, which must be clear, and what the cache keeps it under.
fn targets() -> Vec<Case> {
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n");
    let declined = [
        get("/a", ""),
        get("/a", "Host: shop.example\r\nHost: shop.example\r\n"),
        get("/a", "Host: shop.example\r\nHost: other.example\r\n"),
        get("/a", "Host:\r\n"),
        get("/a", "Host: shop.example, other.example\r\n"),
        get("/a", "Host: shop.example other.example\r\n"),
        get("/a", "Host: shop.example@other.example\r\n"),
        get("/a", "Host: shop.example/other\r\n"),
        get("/a", "Host: shop.example:80:80\r\n"),
        get("/a", "Host: shop.example:x\r\n"),
        get("http://other.example/a", "Host: shop.example\r\n"),
        get("http://shop.example@other.example/a", "Host: shop.example\r\n"),
        get("http://shop.example:81/a", "Host: shop.example\r\n"),
        get("http://shop.example/a", ""),
        get("http:///a", "Host: shop.example\r\n"),
        get("a", "Host: shop.example\r\n"),
        get("shop.example", "Host: shop.example\r\n"),
        get("*", "Host: shop.example\r\n"),
        get("\\a", "Host: shop.example\r\n"),
        get("?a", "Host: shop.example\r\n"),
        "CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example:80\r\n\r\n".to_owned(),
        "CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned(),
        "TRACE /a HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned(),
        "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ];
    declined.map(|bytes| Case::new(Fate::Declined, bytes)).into()
}

fn sound() -> Vec<Case> {
    let host = "Host: shop.example\r\n";
    let get = |target: &'static str| (Fate::Passed("GET", target, ""), format!("GET {target} HTTP/1.1\r\n{host}\r\n"));
    let body = |fate, fields: &str, body: &str| (fate, head(fields) + body);
    let length = format!("Content-Length: {}\r\n", HIDDEN.len());
    let chunk = format!("{:x};x=\"y\"\r\n{HIDDEN}\r\n0\r\nX: y\r\n\r\n", HIDDEN.len());
    let hidden = Fate::Passed("POST", "/a", HIDDEN);
    let sent = |method: &str, fields: &str, body: &str| format!("{method} /a HTTP/1.1\r\n{host}{fields}\r\n{body}");
    let cases = [
        get("/../a"),
        get("/a/..%2f..%2fb"),
        get("/a%00b"),
        get("/a%0d%0aX:%20y"),
        get("//other.example/a"),
        get("/a?b=http://other.example/"),
        (Fate::Passed("GET", "/a", ""), format!("GET http://shop.example/a HTTP/1.1\r\n{host}\r\n")),
        (Fate::Passed("GET", "/", ""), format!("GET http://shop.example HTTP/1.1\r\n{host}\r\n")),
        (Fate::Passed("GET", "/?b", ""), format!("GET http://shop.example?b HTTP/1.1\r\n{host}\r\n")),
        (Fate::Passed("OPTIONS", "*", ""), format!("OPTIONS * HTTP/1.1\r\n{host}\r\n")),
        (Fate::Passed("GETPOST", "/a", ""), format!("GETPOST /a HTTP/1.1\r\n{host}\r\n")),
        (Fate::Passed("GET", "/a", ""), format!("\r\nGET /a HTTP/1.1\r\n{host}\r\n")),
        body(hidden, &length, HIDDEN),
        body(hidden, &length.replace(": ", ":  ").replace("\r\n", "  \r\n"), HIDDEN),
        body(hidden, "Transfer-Encoding: chunked\r\n", &chunk),
        body(hidden, "Transfer-Encoding: CHUNKED\r\nTrailer: X\r\n", &chunk),
        body(hidden, "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", &chunk),
        body(hidden, &format!("Connection: content-length, host\r\n{length}"), HIDDEN),
        body(Fate::Passed("POST", "/a", ""), "Content-Length: 0\r\n", ""),
        body(Fate::Passed("POST", "/a", ""), "", ""),
        // A body where few expect one.
        (Fate::Passed("GET", "/a", HIDDEN), sent("GET", &length, HIDDEN)),
        (Fate::Passed("GET", "/a", HIDDEN), sent("GET", "Transfer-Encoding: chunked\r\n", &chunk)),
        (Fate::Passed("HEAD", "/a", HIDDEN), sent("HEAD", &length, HIDDEN)),
        (Fate::Passed("DELETE", "/a", HIDDEN), sent("DELETE", "Transfer-Encoding: chunked\r\n", &chunk)),
        (Fate::Passed("OPTIONS", "/a", HIDDEN), sent("OPTIONS", &length, HIDDEN)),
        (Fate::Passed("GET", "/a", ""), sent("GET", "Content-Length: 0\r\n", "")),
        (
            Fate::Passed("GET", "/a", ""),
            sent("GET", "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AA\r\n", ""),
        ),
        (Fate::Passed("GET", "/a", ""), sent("GET", "X_Y: z\r\nX-Y: z\r\nContent-Lengths: 5\r\n", "")),
    ];
    cases.map(|(fate, bytes)| Case::new(fate, bytes)).into()
}
