//! dag-json (IPLD spec `codecs/dag-json`), read by ourselves because the JSON readers at hand make floats of whole numbers
//! below -2^63 and take the last of two equal keys.
//!
//! Strict but for two things that old writers did and that change no meaning: whitespace, and keys out of order.
//! Memory is bounded by the keys of the maps that are open. Keeps nothing.

use std::borrow::Cow;
use std::collections::HashSet;

use data_encoding::BASE64_NOPAD;

use super::{DEPTH_MAX, DataError, Event};
use crate::block::Cid;

/// The key that makes a link or bytes of a map, if it is the first.
const RESERVED: &str = "/";
/// The whole numbers of the IPLD data model reach this far, and down to one below its negative.
const INTEGER_MAX: i128 = u64::MAX as i128;

pub(super) fn walk(bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|cause| DataError::DagJson { what: "not UTF-8", at: cause.valid_up_to() })?;
    let mut reader = Reader { text, at: 0 };
    reader.value(0, sink)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(()) } else { Err(reader.broken("more than one value")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A value with `depth` lists and maps around it.
    fn value(&mut self, depth: usize, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
        match self.next() {
            Some(b'"') => sink(Event::Text(&self.string()?)),
            Some(b'[' | b'{') if depth == DEPTH_MAX => return Err(DataError::TooDeep),
            Some(b'[') => return self.list(depth, sink),
            Some(b'{') => return self.map(depth, sink),
            Some(b'-' | b'0'..=b'9') => sink(self.number()?),
            Some(b'n') => sink(self.word("null", Event::Null)?),
            Some(b't') => sink(self.word("true", Event::Bool(true))?),
            Some(b'f') => sink(self.word("false", Event::Bool(false))?),
            _ => return Err(self.broken("a value is expected")),
        }
        Ok(())
    }

    fn list(&mut self, depth: usize, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
        self.at += 1;
        sink(Event::ListStart);
        if !self.take(b']') {
            loop {
                self.value(depth + 1, sink)?;
                if !self.more(b']')? {
                    break;
                }
            }
        }
        sink(Event::ListEnd);
        Ok(())
    }

    fn map(&mut self, depth: usize, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
        self.at += 1;
        let mut keys = HashSet::new();
        if self.take(b'}') {
            sink(Event::MapStart);
        } else {
            let mut key = self.key()?;
            if key == RESERVED {
                return self.reserved(sink);
            }
            sink(Event::MapStart);
            loop {
                sink(Event::Key(&key));
                if !keys.insert(key) {
                    return Err(self.broken("a key stands twice in a map"));
                }
                self.value(depth + 1, sink)?;
                if !self.more(b'}')? {
                    break;
                }
                key = self.key()?;
            }
        }
        sink(Event::MapEnd);
        Ok(())
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Cow<'a, str>, DataError> {
        if self.next() != Some(b'"') {
            return Err(self.broken("a key is expected"));
        }
        let key = self.string()?;
        if self.take(b':') { Ok(key) } else { Err(self.broken("a colon is expected")) }
    }

    /// A link or bytes, from behind the reserved key on.
    fn reserved(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
        let at = self.at;
        if self.take(b'{') {
            let bytes = if self.key()? == "bytes" && self.next() == Some(b'"') { self.string()? } else { "\0".into() };
            // Some writers pad, which changes no meaning.
            let bytes = BASE64_NOPAD.decode(bytes.trim_end_matches('=').as_bytes());
            let bytes = bytes.map_err(|_| DataError::DagJson { what: "these are no bytes", at })?;
            self.close()?;
            self.close()?;
            sink(Event::Bytes(&bytes));
        } else {
            let link = if self.next() == Some(b'"') { self.string()? } else { Cow::default() };
            let cid = Cid::try_from(&*link).map_err(|_| DataError::DagJson { what: "this is no link", at })?;
            self.close()?;
            sink(Event::Link(cid));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), DataError> {
        if self.take(b'}') { Ok(()) } else { Err(self.broken("the key \"/\" stands beside others")) }
    }

    /// Whether a comma follows, and so another value; otherwise it must be the end.
    fn more(&mut self, end: u8) -> Result<bool, DataError> {
        if self.take(b',') {
            Ok(true)
        } else if self.take(end) {
            Ok(false)
        } else {
            Err(self.broken("a comma or an end is expected"))
        }
    }

    /// A string that begins here.
    fn string(&mut self) -> Result<Cow<'a, str>, DataError> {
        let rest = self.rest();
        let mut bytes = rest.bytes().enumerate().skip(1);
        let mut escaped = false;
        let end = loop {
            match bytes.next() {
                Some((end, b'"')) => break end,
                Some((_, b'\\')) => {
                    escaped = true;
                    // What is escaped cannot end the string; whether it is an escape is looked at below.
                    bytes.next();
                }
                Some((_, 0..0x20)) | None => return Err(self.broken("a string does not end")),
                Some(_) => {}
            }
        };
        let quoted = rest.get(..=end).unwrap_or_default();
        let text = if escaped {
            // A surrogate without its other half is refused too, being no character.
            serde_json::from_str::<String>(quoted).map_err(|_| self.broken("a string escapes what it cannot"))?.into()
        } else {
            Cow::Borrowed(rest.get(1..end).unwrap_or_default())
        };
        self.at += quoted.len();
        Ok(text)
    }

    /// A number that begins here: a float if it is written as one.
    fn number(&mut self) -> Result<Event<'static>, DataError> {
        let rest = self.rest();
        let end = rest.find(|c| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let digits = rest.get(..end).unwrap_or_default();
        let event = if digits.contains(['.', 'e', 'E']) {
            // The grammar of JSON, which Rust's own reader of floats does not know.
            serde_json::from_str(digits).ok().filter(|float: &f64| float.is_finite()).map(Event::Float)
        } else {
            integer(digits).map(Event::Integer)
        };
        let event = event.ok_or_else(|| self.broken("this is no number, or too large a one"))?;
        self.at += end;
        Ok(event)
    }

    fn word(&mut self, word: &str, event: Event<'static>) -> Result<Event<'static>, DataError> {
        if !self.rest().starts_with(word) {
            return Err(self.broken("a value is expected"));
        }
        self.at += word.len();
        Ok(event)
    }

    /// Takes `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.next() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next byte that is no whitespace; it is not taken.
    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest().bytes().next()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn broken(&self, what: &'static str) -> DataError {
        DataError::DagJson { what, at: self.at }
    }
}

/// A whole number in the one form that JSON has for it.
fn integer(digits: &str) -> Option<i128> {
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let canonical = unsigned == "0" || unsigned.starts_with(|c: char| matches!(c, '1'..='9'));
    let value: i128 = digits.parse().ok().filter(|_| canonical)?;
    (-INTEGER_MAX - 1..=INTEGER_MAX).contains(&value).then_some(value)
}
