//! The values of header fields: lists, quoted strings, numbers of seconds, dates. Pure.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most members of one list that are read; what follows is as if it were not there.
pub const MEMBERS_MAX: usize = 256;
/// The longest date that is looked at twice, in bytes.
const DATE_BYTES_MAX: usize = 64;
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
pub fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        let token = std::str::from_utf8(value).ok()?;
        return (!value.is_empty() && value.iter().all(|byte| is_token(*byte))).then_some(Cow::Borrowed(token));
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
    String::from_utf8(text).ok().map(Cow::Owned)
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

/// A date in one of the three forms that HTTP has had (RFC 9110, section 5.6.7), in any case, whatever day of the week it names.
pub fn date_of(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    httpdate::parse_http_date(text).ok().or_else(|| misnamed(text))
}

/// A date whose names are in another case, or of another day of the week than it is.
fn misnamed(text: &str) -> Option<SystemTime> {
    const DAYS: [(&str, &str); 7] = [
        ("Mon", "day"),
        ("Tue", "sday"),
        ("Wed", "nesday"),
        ("Thu", "rsday"),
        ("Fri", "day"),
        ("Sat", "urday"),
        ("Sun", "day"),
    ];
    if !text.is_ascii() || text.len() > DATE_BYTES_MAX {
        return None;
    }
    let mut cased = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let within =
            at.checked_sub(1).and_then(|before| text.as_bytes().get(before)).is_some_and(u8::is_ascii_alphabetic);
        cased.push(if within { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
    }
    let cased = cased.replace("Gmt", "GMT");
    let end = cased.find(|c: char| !c.is_ascii_alphabetic())?;
    let (day, rest) = cased.split_at(end);
    let (_, ending) = DAYS.iter().find(|(short, ending)| day == *short || day.strip_prefix(short) == Some(ending))?;
    let long = day.len() > ending.len() && day.ends_with(ending);
    let parse = |(short, ending): &(&str, &str)| {
        let ending = if long { ending } else { "" };
        httpdate::parse_http_date(&format!("{short}{ending}{rest}")).ok()
    };
    DAYS.iter().find_map(parse)
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
    fn dates_are_read_in_any_case_and_of_any_day() {
        let date = |text: &str| date_of(&text.parse().unwrap());
        let right = date("Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(right.is_some());
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "thu, 18 AUG 2050 02:01:18 gMT",
            "Fri, 18 Aug 2050 02:01:18 GMT",
            "Mon Aug 18 02:01:18 2050",
        ] {
            assert_eq!(date(text), right, "{text}");
        }
        assert_eq!(date("saturday, 06-Nov-94 08:49:37 GMT"), date("Sunday, 06-Nov-94 08:49:37 GMT"));
        for text in ["0", "", "Thu, 18 Aug 2050 02:01:18 UTC", "Xxx, 18 Aug 2050 02:01:18 GMT", "Thu 18 Aug 2050"] {
            assert_eq!(date(text), None, "{text}");
        }
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
