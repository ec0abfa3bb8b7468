//! The header of a list: YAML before a line of `---`. Of its fields only `version` and `hints` have an effect here. Aliases
//! are not followed, so that a small header stays small. Pure; a crash loses nothing.

use std::io::{BufRead, Read};

use atoll_core::Denied;
use saphyr_parser::{Event, Parser, StrInput};

use super::rule::denied_by_hint;
use crate::error::DenyError;

/// How far `---` is looked for, in bytes; without it there, all is rules (IPIP-383, "Header").
pub const HEADER_SEARCH_BYTES_MAX: usize = 1024 * 1024;
/// The largest header that is parsed, in bytes. IPIP-383 allows as much as is searched; honest ones have a few lines.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The longest name, description or author that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What a list says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who writes it.
    pub author: String,
    /// With what status its rules deny, unless they say otherwise themselves.
    pub denied: Option<Denied>,
}

/// The start of a list, searched for a header.
pub(super) struct Before {
    /// The header, if there is one.
    pub(super) header: Option<Vec<u8>>,
    /// What was read beside it, if there is none.
    pub(super) rest: Vec<u8>,
    /// How many lines the header took, its end included.
    pub(super) lines: u32,
}

/// Reads until the end of the header, or until it is clear that there is none.
pub(super) fn find(reader: &mut impl BufRead) -> Result<Before, DenyError> {
    let mut bytes = Vec::new();
    let mut lines = 0_u32;
    loop {
        let start = bytes.len();
        let room = HEADER_SEARCH_BYTES_MAX.saturating_sub(start) as u64;
        let read = reader.by_ref().take(room).read_until(b'\n', &mut bytes)?;
        lines = lines.saturating_add(1);
        if bytes.get(start..).unwrap_or_default().trim_ascii_end() == b"---" {
            bytes.truncate(start);
            return Ok(Before { header: Some(bytes), rest: Vec::new(), lines });
        }
        if read == 0 {
            return Ok(Before { header: None, rest: bytes, lines: 0 });
        }
    }
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`DenyError`] if it is too large, no YAML mapping, or of an unknown version.
    pub fn parse(bytes: &[u8]) -> Result<Self, DenyError> {
        if bytes.len() > HEADER_BYTES_MAX {
            return Err(DenyError::HeaderTooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| DenyError::Header(error.to_string()))?;
        let mut events = Events(Parser::new_from_str(text));
        let mut header = Self::default();
        loop {
            match events.next()? {
                Event::MappingStart(..) => header.read(&mut events, None)?,
                Event::StreamEnd => return Ok(header),
                Event::Scalar(..) | Event::SequenceStart(..) => {
                    return Err(DenyError::Header("it is no mapping".to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Reads a mapping: the header itself, or the one that is its field `outer`.
    fn read(&mut self, events: &mut Events<'_>, outer: Option<&str>) -> Result<(), DenyError> {
        loop {
            let key = match events.next()? {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(key, ..) => key,
                event => {
                    events.pass_over(&event)?;
                    "".into()
                }
            };
            match events.next()? {
                Event::Scalar(value, ..) => self.set(outer, &key, &value)?,
                Event::MappingStart(..) if outer.is_none() => self.read(events, Some(&key))?,
                event => events.pass_over(&event)?,
            }
        }
    }

    fn set(&mut self, outer: Option<&str>, key: &str, value: &str) -> Result<(), DenyError> {
        let text = || value.get(..value.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned();
        match (outer, key) {
            (None, "version") if value != "1" => return Err(DenyError::Version(text())),
            (None, "name") => self.name = text(),
            (None, "description") => self.description = text(),
            (None, "author") => self.author = text(),
            (Some("hints"), key) => self.denied = denied_by_hint(key, value).or(self.denied),
            _ => {}
        }
        Ok(())
    }
}

/// The parts of a YAML text.
struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Event<'a>, DenyError> {
        match self.0.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(DenyError::Header(error.to_string())),
            None => Ok(Event::StreamEnd),
        }
    }

    /// Passes over what `event` begins.
    fn pass_over(&mut self, event: &Event<'_>) -> Result<(), DenyError> {
        let mut depth = u32::from(is_start(event));
        while depth > 0 {
            match self.next()? {
                event if is_start(&event) => depth = depth.saturating_add(1),
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_start(event: &Event<'_>) -> bool {
    matches!(event, Event::MappingStart(..) | Event::SequenceStart(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Header, DenyError> {
        Header::parse(text.as_bytes())
    }

    #[test]
    fn fields_are_read_and_others_passed_over() {
        let text = "version: 1\nname: \"a: b\"\nauthor: >\n  some\n  one\nmore: [1, {hints: {status_code: 404}}]\n? {a: b}\n: c\nhints:\n  x: &a y\n  status_code: 451\n  z: *a\n  deep: {status_code: 410}\n";
        let header = parse(text).unwrap();
        assert_eq!((&*header.name, &*header.author), ("a: b", "some one\n"));
        assert_eq!(header.denied, Some(Denied::Legal));
        assert_eq!(parse("").unwrap(), Header::default());
        assert_eq!(parse("# nothing\n").unwrap(), Header::default());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in ["just text", "- a\n- b", "name: [", "a: b: c", "name: \"x"] {
            assert!(matches!(parse(text), Err(DenyError::Header(_))), "{text}");
        }
        assert!(matches!(parse("version: 2"), Err(DenyError::Version(_))));
        assert!(matches!(parse(&format!("#{}", "x".repeat(HEADER_BYTES_MAX))), Err(DenyError::HeaderTooLarge)));
    }

    #[test]
    fn aliases_do_not_multiply() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nname: *c\nhints: *c\n";
        assert_eq!(parse(bomb).unwrap(), Header::default());
    }
}
