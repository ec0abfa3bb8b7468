//! The values of header fields: lists, quoted strings, numbers of seconds, dates. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most members of one list that are read; what follows is as if it were not there.
pub const MEMBERS_MAX: usize = 256;
/// What a number of seconds that is too large stands for (RFC 9111, section 1.2.2).
pub const SECONDS_MAX: u64 = 1 << 31;

/// The members of a list over all lines of its field, without the space around them and without empty ones (RFC 9110, section
/// 5.6.1). Commas in quoted strings divide nothing.
pub fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().flat_map(|line| members_of(line.as_bytes())).take(MEMBERS_MAX)
}

/// The members of one line of a list.
pub fn members_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = Quoted::default();
    line.split(move |byte| !quoted.inside(*byte) && *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Follows bytes through quoted strings.
#[derive(Default)]
struct Quoted {
    open: bool,
    escaped: bool,
}

impl Quoted {
    /// Whether this byte, the next one, lies in a quoted string; its quotes count as that.
    fn inside(&mut self, byte: u8) -> bool {
        let was = self.open;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.open => self.escaped = true,
            b'"' => self.open = !self.open,
            _ => {}
        }
        was || self.open
    }
}

/// The text of a token or quoted string; `None` for what is neither.
pub fn text(value: &[u8]) -> Option<String> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        let token = std::str::from_utf8(value).ok()?;
        return (!value.is_empty() && value.iter().all(|byte| is_token(*byte))).then(|| token.to_owned());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            byte => text.push(*byte),
        }
    }
    String::from_utf8(text).ok()
}

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Seconds (RFC 9111, section 1.2.2): digits only, and what is too large as large as can be. `None` for anything else.
pub fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().map_or(SECONDS_MAX, |seconds: u64| seconds.min(SECONDS_MAX))))
}

/// The date of a field that has just one line.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next()?, lines.next());
    second.is_none().then(|| date_of(first)).flatten()
}

/// A date in one of the three forms that HTTP has had (RFC 9110, section 5.6.7).
pub fn date_of(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// The lines of a field as one, as a list (RFC 9110, section 5.3).
pub fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii()).collect();
    lines.join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_divide_nothing() {
        let list = |line: &'static str| -> Vec<String> {
            members_of(line.as_bytes()).map(|member| String::from_utf8_lossy(member).into_owned()).collect()
        };
        assert_eq!(list("a, b ,,c"), ["a", "b", "c"]);
        assert_eq!(list(r#"e="max-age=3600, x", max-age=1"#), [r#"e="max-age=3600, x""#, "max-age=1"]);
        assert_eq!(list(r#"e="a\",b", c"#), [r#"e="a\",b""#, "c"]);
        assert_eq!(list(r#"e="open, c"#), [r#"e="open, c"#]);
        assert_eq!(list(" , "), [""; 0]);
    }

    #[test]
    fn seconds_are_digits() {
        for (text, expected) in [("0", Some(0)), ("003600", Some(3600)), ("99999999999999999999", Some(SECONDS_MAX))] {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
        }
        for text in ["", "-1", "+1", "1.0", "1a", "'1'", " 1", "0x10"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn quoted_strings_are_read() {
        assert_eq!(text(br#""a\"b""#).as_deref(), Some("a\"b"));
        assert_eq!(text(b"token").as_deref(), Some("token"));
        for broken in [&b"\"open"[..], b"", b"a b", br#""a"b""#, b"\"\\\""] {
            assert_eq!(text(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }
}
