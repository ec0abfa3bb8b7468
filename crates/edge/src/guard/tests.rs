//! Each class of doubtful framing, and what others wrote (llhttp), in any division of the bytes.

use atoll_testkit::trial::vectors;

use super::{Guard, Refused};

/// What becomes of bytes, which must not depend on how they are divided.
fn judge(bytes: &[u8]) -> Result<(), Refused> {
    let whole = Guard::default().inspect(bytes);
    for step in [1, 2, 3, 7] {
        let mut guard = Guard::default();
        let parts = bytes.chunks(step).try_for_each(|part| guard.inspect(part));
        assert_eq!(parts, whole, "in parts of {step}: {}", bytes.escape_ascii());
    }
    whole
}

fn head(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

/// A chunked body, and another request behind it.
fn chunked(body: &str) -> String {
    format!("{}{body}GET /b HTTP/1.1\r\nHost: a.example\r\n\r\n", head("Transfer-Encoding: chunked\r\n"))
}

#[test]
fn what_is_sound_passes() {
    for good in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\r\nGET / HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET http://a/b?c HTTP/1.1\r\nHost: a\r\nX:\r\nY: \tb \x7e c\t\r\n\r\n"
            .to_owned(),
        head("Content-Length: 5\r\n")
            + "12345"
            + &head("content-length:0\r\n")
            + &head("Content-Length:  12  \r\n")
            + "\r\n\r\n12345678",
        head("Content-Length: 000000000000000003\r\n") + "abcGET / HTTP/1.1\r\n\r\n",
        chunked("5\r\nabcde\r\n0a;x=\"y z\"\r\n0123456789\r\n0\r\n\r\n"),
        chunked("0\r\nX-Trailer: 1\r\nY: 2\r\n\r\n"),
        head("Transfer-Encoding: CHUNKED \r\n") + "00\r\n\r\n",
        head("X_Y: underscores\r\nContent-Lengths: two\r\nTransfer-Encodin: x\r\n"),
    ] {
        assert_eq!(judge(good.as_bytes()), Ok(()), "{good:?}");
    }
    let latin = [b"GET / HTTP/1.1\r\nX: caf\xe9\r\n\r\n".as_slice(), b"GET"].concat();
    assert_eq!(judge(&latin), Ok(()));
}

#[test]
fn lengths_that_some_read_otherwise_are_refused() {
    let values = [
        "0x10",
        "+5",
        "-1",
        "1_0",
        "",
        " ",
        "5,5",
        "5, 5",
        "5 5",
        "5;",
        "\t5",
        "5\t",
        "\x0b5",
        "\x0c5",
        "5a",
        "0.5",
        "1e1",
        "18446744073709551616",
        "9999999999999999999",
        "0000000000000000005",
        "\u{661}",
    ];
    for value in values {
        assert!(judge(head(&format!("Content-Length:{value}\r\n")).as_bytes()).is_err(), "{value:?}");
    }
    for fields in ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\ncontent-LENGTH: 6\r\n"] {
        assert!(judge(head(fields).as_bytes()).is_err(), "{fields:?}");
    }
    for size in [
        "0x5",
        "+5",
        "-5",
        "5 ",
        " 5",
        "",
        "5_",
        "5\t",
        "g",
        "5,",
        "5 ;x",
        "5;\x0b",
        "5;\u{e9}",
        "10000000000000000",
        "0000000000000005",
    ] {
        assert!(judge(chunked(&format!("{size}\r\nabcde\r\n0\r\n\r\n")).as_bytes()).is_err(), "{size:?}");
    }
}

#[test]
fn codings_but_chunked_alone_are_refused() {
    for value in [
        "",
        ",chunked",
        "chunked,",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "xchunked",
        "chunked x",
        "\tchunked",
        "\x0bchunked",
        "chunked\t",
        "chunke",
        "chunkedx",
        "\"chunked\"",
        "chun ked",
        "cow",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert!(judge((head(&fields) + "0\r\n\r\n").as_bytes()).is_err(), "{value:?}");
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Content_Length: 5\r\n",
        "content-length_: 5\r\ncontent_length: 5\r\n",
    ] {
        assert!(judge((head(fields) + "0\r\n\r\n").as_bytes()).is_err(), "{fields:?}");
    }
    assert!(judge(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
}

#[test]
fn line_ends_are_cr_lf_and_nothing_else() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\rGET / HTTP/1.1\r\n\r\n",
        "\rGET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(judge(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for body in [
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "5\r\nabcdeXX0\r\n\r\n",
        "5\r\nabcdef\r\n0\r\n\r\n",
        "5\r\nabcde\rX0\r\n\r\n",
        "5\r\nabcde\r\n\r\n0\r\n\r\n",
        "5;x\ry\r\nabcde\r\n0\r\n\r\n",
        "5;x\nabcde\r\n0\r\n\r\n",
        "5\rX\nabcde\r\n0\r\n\r\n",
        "0\r\n\rX",
        "0\n\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
    ] {
        assert!(judge(chunked(body).as_bytes()).is_err(), "{body:?}");
    }
}

#[test]
fn names_and_values_hold_nothing_else() {
    for field in [
        "Content-Length : 5",
        " Content-Length: 5",
        "\tX: y",
        ": x",
        "X",
        "X Y: z",
        "X\\: y",
        "X\u{0}: y",
        "X: y\u{0}z",
        "X: \u{7f}",
        "X: \u{1}",
        "X\n: y",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X\r\n : y",
        "\u{a0}Content-Length: 5",
        "Content-Length\u{85}: 5",
        "N\u{e9}: x",
        "X(: y",
        "\"X\": y",
        "{X}: y",
        "X/Y: z",
        "[X]: y",
        "X@: y",
        "X=: y",
        "X;: y",
        "X,: y",
        "X\x0b: y",
    ] {
        assert!(judge(head(&format!("{field}\r\n")).as_bytes()).is_err(), "{field:?}");
    }
    for trailer in ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: b", "Content_Length: 5", "X : y", " X: y"]
    {
        assert!(judge(chunked(&format!("0\r\n{trailer}\r\n\r\n")).as_bytes()).is_err(), "{trailer:?}");
    }
}

#[test]
fn a_request_line_is_three_words() {
    for line in [
        "GET / HTTP/1.10",
        "GET / HTTP/1.1x",
        "GET / HTTP/9.9",
        "GET / HTTP/257.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/ 1.1",
        "GET /  HTTP/1.1",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET /",
        "GET / ",
        "GET",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /\u{0} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET / a HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET\u{0} / HTTP/1.1",
        "GET / HTTP/1.1\u{0}",
        "GET / ICE/1.0",
        "GET / IHTTP/1.0",
        "PRI * HTTP/2.0",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
        "GET / HTTP/1.\u{661}",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
    ] {
        assert!(judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).is_err(), "{line:?}");
    }
}

#[test]
fn what_is_behind_a_body_is_a_request_again() {
    let next = |body: &str, next: &str| judge((head("Content-Length: 3\r\n") + body + next).as_bytes());
    assert!(next("abc", "GET / HTTP/1.1\r\n\r\n").is_ok());
    assert!(next("abcd", "GET / HTTP/1.1\n").is_err());
    assert!(judge((head("") + "abc\r\n").as_bytes()).is_err());
    assert!(judge(chunked("1\r\na\r\n0\r\n\r\n\r\n\r\n").as_bytes()).is_err());
}

#[test]
fn another_protocol_is_none_of_ours_once_it_was_agreed_on() {
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let after = |asked: &str, answer: &str| {
        let mut guard = Guard::default();
        guard.inspect(asked.as_bytes()).unwrap();
        guard.answer(answer.as_bytes());
        guard.inspect(b"\x81\x85\n\n\n")
    };
    assert_eq!(after(asked, "HTTP/1.1 101 Switching Protocols\r\n"), Ok(()));
    assert!(after(asked, "HTTP/1.1 200 OK\r\n").is_err());
    assert!(after("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n").is_err());
    assert!(after(&asked[..asked.len() - 2], "HTTP/1.1 101 Switching Protocols\r\n").is_err());
}

#[test]
fn extensions_of_chunks_are_bounded() {
    let of = |bytes: usize| judge(chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes))).as_bytes());
    assert!(of(1_000).is_ok());
    assert!(of(1_025).is_err());
    let many = "1;xxxxxxxxx\r\na\r\n".repeat(120) + "0\r\n\r\n";
    assert!(judge(chunked(&many).as_bytes()).is_err());
}

/// Reasons of llhttp to stop that say nothing of a request's framing: the parser behind the guard has them too, or needs none.
const NOT_OURS: [&str; 5] = [
    "Pause on CONNECT/Upgrade",
    "Pause on PRI/Upgrade",
    "Data after `Connection: close`",
    "Invalid method for HTTP",
    "Expected space after method",
];

/// Cases in which the guard is stricter than llhttp, by what is sent there.
const STRICTER: [&str; 9] = [
    "No HTTP version",
    "Tabs in `Content-Length` (surrounding)",
    "SOURCE request with ICE",
    "OPTIONS request with RTSP",
    "ANNOUNCE request with RTSP",
    // Other codings than chunked alone, and a fragment in the target.
    "POST with `chunked` as last transfer-encoding",
    "POST with `chunked` as last transfer-encoding (multiple headers)",
    // Two empty lines before a request.
    "CRLF between requests, implicit `keep-alive`",
    "Fragment in URI",
];

/// One case of llhttp: its name, the request, and whether llhttp refuses it when it is strict.
struct Case {
    name: String,
    kind: String,
    request: Vec<u8>,
    refused: bool,
    /// Whether the guard may do either.
    open: bool,
}

/// Reads the cases of a page: a title, a kind, the request and what llhttp logs.
fn cases(page: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let (mut title, mut kind) = ("", "");
    let mut fences = page.split("\n```");
    let Some(mut prose) = fences.next() else { return cases };
    while let (Some(request), Some(_), Some(log), after) = (fences.next(), fences.next(), fences.next(), fences.next())
    {
        for line in prose.lines() {
            title = line.strip_prefix('#').map_or(title, |rest| rest.trim_start_matches(['#', ' ']));
            kind = line.strip_prefix("<!-- meta=").map_or(kind, |rest| rest.trim_end_matches(" -->"));
        }
        assert!(request.starts_with("http\n") && log.starts_with("log\n"), "{title}");
        cases.push(Case {
            name: title.to_owned(),
            kind: kind.to_owned(),
            request: unescape(request.strip_prefix("http\n").unwrap()),
            refused: log.contains("error code="),
            open: NOT_OURS.iter().any(|why| log.contains(why)),
        });
        prose = after.unwrap_or_default();
    }
    cases
}

/// The bytes that a case stands for, by the rules of its readme: line ends are CR LF, a backslash joins lines, escapes are bytes.
fn unescape(text: &str) -> Vec<u8> {
    let joined = text.trim_end_matches('\\').replace("\\\n", "").replace('\n', "\r\n");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, len) = match rest.as_bytes()[at + 1] {
            b'r' => (b'\r', 2),
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'f' => (0x0c, 2),
            b'x' => (u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap(), 4),
            _ => (b'\\', 1),
        };
        bytes.push(escape);
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn what_llhttp_refuses_is_refused() {
    let Some(folder) = vectors("llhttp/request") else { return };
    let mut judged = 0;
    let mut differ = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let page = path.file_stem().unwrap().to_string_lossy().into_owned();
        for case in cases(&std::fs::read_to_string(&path).unwrap()) {
            judged += 1;
            let passed = judge(&case.request).is_ok();
            // What llhttp takes only when it is told to be lenient is refused; what a server does after `Connection: close` is not
            // about bytes.
            let refused = case.refused || case.kind.contains("lenient");
            let stricter = STRICTER.contains(&case.name.as_str());
            if passed == (refused || stricter) && !case.open && !case.kind.contains("keep-alive") {
                differ.push(format!("{page}: {} {} {passed}", case.name, case.kind));
            }
        }
    }
    assert_eq!(judged, 166);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
