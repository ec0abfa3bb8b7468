//! Paths with placeholders, and texts that the placeholders' values are put into: what `_redirects` and `_headers` share.
//!
//! A pattern is matched in one pass from each end, so that its cost is its own length at most, whatever the path.
//! Nothing is kept, a crash loses nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The name under which a splat's value is known.
const SPLAT: &str = "splat";
/// The most placeholders in a pattern, the splat included.
pub const PLACEHOLDERS_MAX: usize = 64;

/// What stays as it is in a path segment: RFC 3986, section 3.3, without what HTML or old browsers give a meaning.
pub const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
/// What a value keeps as it is in the path of a link, which may be several segments.
const PATH_VALUE: &AsciiSet = &SEGMENT.remove(b'/');
/// What it keeps in a query, a fragment or a header, where more characters have a meaning.
const OTHER_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':').remove(b'@');
/// What an author's own text may not hold in a link; a percent sign was checked to be part of an escape.
const LINK_TEXT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// A path with placeholders: `/posts/:year/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What a path begins with.
    head: Box<[Piece]>,
    /// What it ends with behind the splat; `None` without one.
    tail: Option<Box<[Piece]>>,
    /// The placeholders' names, in the order in which [`Pattern::captures`] gives their values.
    names: Box<[Box<str>]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Exactly this, decoded.
    Text(Box<str>),
    /// A segment that is not empty.
    Segment,
}

/// Where a splat may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splat {
    /// At the end only.
    Last,
    /// Anywhere, once.
    Anywhere,
}

impl Pattern {
    /// Reads a pattern. What is wrong with it is said in words that name nothing of it.
    pub(super) fn parse(text: &str, splat: Splat) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("the path must begin with a slash");
        }
        let mut names = Vec::new();
        let (head, tail) = match text.split_once('*') {
            None => (pieces(text, &mut names)?, None),
            Some((_, tail)) if tail.contains('*') => return Err("the path can have at most one asterisk"),
            Some((_, tail)) if splat == Splat::Last && !tail.is_empty() => {
                return Err("the asterisk must be at the end of the path");
            }
            Some((head, tail)) => {
                let head = pieces(head, &mut names)?;
                names.push(SPLAT.into());
                (head, Some(pieces(tail, &mut names)?))
            }
        };
        if names.len() > PLACEHOLDERS_MAX {
            return Err("the path has too many placeholders");
        }
        let distinct: BTreeSet<_> = names.iter().collect();
        if distinct.len() < names.len() {
            return Err("a placeholder is named twice");
        }
        Ok(Self { head, tail, names: names.into() })
    }

    /// The memory that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let pieces = self.head.iter().chain(self.tail.iter().flatten());
        let piece = |piece: &Piece| {
            let text = if let Piece::Text(text) = piece { heap(text.len()) } else { 0 };
            size_of::<Piece>().saturating_add(text)
        };
        let names: usize = self.names.iter().map(|name| size_of::<Box<str>>().saturating_add(heap(name.len()))).sum();
        names.saturating_add(pieces.map(piece).sum())
    }

    /// The one path that it matches, decoded, if it has no placeholder.
    pub(super) fn literal(&self) -> Option<String> {
        let text = |piece: &Piece| if let Piece::Text(text) = piece { Some(text.to_string()) } else { None };
        if self.tail.is_some() { None } else { self.head.iter().map(text).collect() }
    }

    /// The names of its placeholders.
    pub(super) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The values of the placeholders if `path` matches: decoded, beginning with a slash.
    pub(super) fn captures<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let mut values = Vec::with_capacity(self.names.len());
        let mut rest = path;
        for piece in &self.head {
            rest = match piece {
                Piece::Text(text) => rest.strip_prefix(&**text)?,
                Piece::Segment => {
                    let (value, rest) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
                    values.push(value);
                    rest
                }
            };
        }
        let Some(tail) = &self.tail else { return Some(values).filter(|values| rest.is_empty() && filled(values)) };
        let splat = values.len();
        values.push("");
        for piece in tail.iter().rev() {
            rest = match piece {
                Piece::Text(text) => rest.strip_suffix(&**text)?,
                Piece::Segment => {
                    let (rest, value) = rest.split_at_checked(rest.rfind('/').map_or(0, |at| at.saturating_add(1)))?;
                    values.insert(splat.saturating_add(1), value);
                    rest
                }
            };
        }
        let segments = filled(values.get(..splat)?) && filled(values.get(splat.saturating_add(1)..)?);
        *values.get_mut(splat)? = rest;
        Some(values).filter(|_| segments)
    }
}

/// A segment that a placeholder stands for is never empty.
fn filled(values: &[&str]) -> bool {
    values.iter().all(|value| !value.is_empty())
}

/// Splits a part of a pattern at its placeholders, whose names it adds.
fn pieces(part: &str, names: &mut Vec<Box<str>>) -> Result<Box<[Piece]>, &'static str> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for (index, segment) in part.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        match segment.strip_prefix(':').filter(|name| index > 0 && is_name(name)) {
            Some(name) => {
                names.push(name.into());
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(Piece::Segment);
            }
            None => text.push_str(&decode(segment)?),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(pieces.into())
}

/// What that many bytes take on the heap.
fn heap(bytes: usize) -> usize {
    bytes.saturating_add(16)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Decodes a segment.
pub(super) fn decode(segment: &str) -> Result<Cow<'_, str>, &'static str> {
    check_escapes(segment)?;
    let text = percent_decode_str(segment).decode_utf8().map_err(|_| "the path is not UTF-8 when decoded")?;
    if text.contains(['/', '\0']) { Err("a name holds an encoded slash or NUL") } else { Ok(text) }
}

/// Whether each percent sign is followed by two hexadecimal digits.
pub(super) fn check_escapes(text: &str) -> Result<(), &'static str> {
    let escaped = |rest: &str| {
        let mut digits = rest.bytes();
        let mut hex = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        hex() && hex()
    };
    let whole = text.split('%').skip(1).all(escaped);
    if whole { Ok(()) } else { Err("a percent sign is not followed by two hexadecimal digits") }
}

/// A text with the values of a pattern's placeholders in it: `/articles/:year/:splat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// The value of that placeholder of the pattern.
    Value(usize),
}

/// Where a value is put, which decides what of it must be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A name below the root, which is not encoded at all.
    Plain,
    /// A link: its path up to a question mark or number sign, its query and fragment behind.
    Link,
    /// The value of a header.
    Header,
}

impl Template {
    /// Reads a text for a pattern with these placeholders. A colon that begins no name of theirs is text; of two names
    /// that would do, the longer is meant.
    pub(super) fn parse(text: &str, names: &[Box<str>]) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(':') {
            plain.push_str(before);
            let named = names.iter().enumerate().filter(|(_, name)| behind.starts_with(&***name));
            match named.max_by_key(|(_, name)| name.len()) {
                Some((index, name)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain).into()));
                    }
                    parts.push(Part::Value(index));
                    rest = behind.get(name.len()..).unwrap_or_default();
                }
                None => {
                    plain.push(':');
                    rest = behind;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Self(parts.into())
    }

    /// The same as a path below a root: decoded, without a query or fragment.
    pub(super) fn into_path(self) -> Result<Self, &'static str> {
        let mut parts = Vec::with_capacity(self.0.len());
        for part in self.0 {
            let Part::Text(text) = &part else {
                parts.push(part);
                continue;
            };
            let end = text.find(['?', '#']);
            let path = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
            let names: Vec<_> = path.split('/').map(decode).collect::<Result<_, _>>()?;
            parts.push(Part::Text(names.join("/").into()));
            if end.is_some() {
                break;
            }
        }
        Ok(Self(parts.into()))
    }

    /// The memory that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let part = |part: &Part| {
            let text = if let Part::Text(text) = part { heap(text.len()) } else { 0 };
            size_of::<Part>().saturating_add(text)
        };
        self.0.iter().map(part).sum()
    }

    /// The text that it begins with, up to its first placeholder.
    pub(super) fn start(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Puts `values` in; `None` if that would be longer than `bytes_max`.
    pub(super) fn expand(&self, values: &[&str], place: Place, bytes_max: usize) -> Option<String> {
        let mut text = String::new();
        let mut in_path = true;
        for part in &self.0 {
            // Writing to a string does not fail.
            let _ = match part {
                Part::Text(own) => {
                    in_path = in_path && !own.contains(['?', '#']);
                    match place {
                        Place::Link => write!(text, "{}", utf8_percent_encode(own, LINK_TEXT)),
                        Place::Plain | Place::Header => write!(text, "{own}"),
                    }
                }
                Part::Value(index) => {
                    let value = values.get(*index).copied().unwrap_or_default();
                    match place {
                        Place::Plain => write!(text, "{value}"),
                        Place::Link if in_path => write!(text, "{}", utf8_percent_encode(value, PATH_VALUE)),
                        Place::Link | Place::Header => write!(text, "{}", utf8_percent_encode(value, OTHER_VALUE)),
                    }
                }
            };
            if text.len() > bytes_max {
                return None;
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
        Pattern::parse(pattern, Splat::Anywhere).unwrap().captures(path)
    }

    #[test]
    fn placeholders_take_one_segment_and_the_splat_the_rest() {
        for (pattern, path, values) in [
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/a", "/ab", None),
            ("/:x", "/a", Some(vec!["a"])),
            ("/:x", "/", None),
            ("/:x", "/a/b", None),
            ("/:x/:y", "/a/b", Some(vec!["a", "b"])),
            ("/*", "/", Some(vec![""])),
            ("/*", "/a/b", Some(vec!["a/b"])),
            ("/a/*", "/a", None),
            ("/a/*", "/a/", Some(vec![""])),
            ("/a*", "/abc/d", Some(vec!["bc/d"])),
            ("/:x/*", "/a/b/c", Some(vec!["a", "b/c"])),
            ("/*.jpg", "/a/b.jpg", Some(vec!["a/b"])),
            ("/a*a", "/a", None),
            ("/i/*/t/:n/:m", "/i/a/b/t/x/y", Some(vec!["a/b", "x", "y"])),
            ("/i/*/t/:n", "/i/a/b/t/", None),
            ("/%C4%85/%2a", "/ą/*", Some(vec![])),
            ("/:", "/:", Some(vec![])),
            ("/a:b", "/a:b", Some(vec![])),
        ] {
            assert_eq!(captures(pattern, path), values, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a", "/**", "/*/*", "/:x/:x", "/:splat/*", "/%", "/%2", "/%zz", "/%2f", "/%00", "/%ff"] {
            assert!(Pattern::parse(text, Splat::Anywhere).is_err(), "{text}");
        }
        assert!(Pattern::parse("/*/a", Splat::Last).is_err());
        let many = |count: usize| (0..count).map(|at| format!("/:x{at}")).collect::<String>();
        assert!(Pattern::parse(&many(PLACEHOLDERS_MAX), Splat::Last).is_ok());
        assert!(Pattern::parse(&many(PLACEHOLDERS_MAX + 1), Splat::Last).is_err());
    }

    #[test]
    fn values_cannot_change_what_a_text_means() {
        let names = [Box::from("a"), Box::from("ab")];
        let expand = |text: &str, values: &[&str], place| Template::parse(text, &names).expand(values, place, 100);
        let link = |text: &str, value: &str| expand(text, &[value, "long"], Place::Link).unwrap();
        assert_eq!(
            link("/x/:a?q=:a#:ab", "b&c=d+e?#/ą\\"),
            "/x/b%26c=d+e%3F%23/%C4%85%5C?q=b%26c%3Dd%2Be%3F%23/%C4%85%5C#long"
        );
        assert_eq!(link("/ą %\\\":c::a", "x"), "/%C4%85%20%%5C%22:c:x");
        assert_eq!(expand(":a", &["a\r\n\"x, y"], Place::Header).unwrap(), "a%0D%0A%22x%2C%20y");
        assert_eq!(expand(":a:b", &[":ab"], Place::Plain).unwrap(), ":ab:b");
        assert_eq!(expand(&":a".repeat(100), &["b"], Place::Plain).map(|text| text.len()), Some(100));
        assert_eq!(expand(&":a".repeat(101), &["b"], Place::Plain), None);
    }
}
