//! A range of a file's bytes as `entity-bytes` names it. Pure; a crash loses nothing.

use std::ops::Range;
use std::str::FromStr;

/// The bytes of a file that are wanted (Trustless Gateway, `entity-bytes`): both ends belong to the range, numbers below
/// zero count from the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityBytes {
    /// The first byte.
    pub from: i64,
    /// The last byte; `None` for the end of the file.
    pub to: Option<i64>,
}

impl EntityBytes {
    /// The range within a file of `len` bytes: what of it lies outside is left out, and one that ends before it begins
    /// is empty.
    ///
    /// # Errors
    /// [`Outside`] if no byte of it lies in the file, though it names some.
    pub fn within(self, len: u64) -> Result<Range<u64>, Outside> {
        let whole = i128::from(len);
        let absolute = |at: i64| if at < 0 { whole + i128::from(at) } else { i128::from(at) };
        let (from, to) = (absolute(self.from), self.to.map_or(whole - 1, absolute));
        if (from >= whole && from > 0) || (self.to.is_some() && to < 0 && from <= to) {
            return Err(Outside);
        }
        // Both are between zero and `len` once they are clamped.
        let inside = |at: i128| u64::try_from(at.clamp(0, whole)).unwrap_or(len);
        let start = inside(from);
        Ok(start..inside(to + 1).max(start))
    }
}

impl FromStr for EntityBytes {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (from, to) = text.split_once(':').ok_or(Malformed)?;
        let from = number(from)?;
        let to = if to == "*" { None } else { Some(number(to)?) };
        // Two positions that are counted from the same end can be compared before the file is known.
        if to.is_some_and(|to| (from < 0) == (to < 0) && to < from) {
            return Err(Malformed);
        }
        Ok(Self { from, to })
    }
}

/// Digits, with a minus before them or not; Rust would take a plus too.
fn number(text: &str) -> Result<i64, Malformed> {
    if text.starts_with('+') { Err(Malformed) } else { text.parse().map_err(|_| Malformed) }
}

/// The range lies outside of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range lies outside of the file")]
pub struct Outside;

/// Not `FROM:TO`, or one that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range of bytes is FROM:TO, TO may be `*`")]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_file() {
        for (text, len, expected) in [
            ("0:*", 1026, Some(0..1026)),
            ("0:0", 1026, Some(0..1)),
            ("512:1023", 1026, Some(512..1024)),
            ("512:-256", 1026, Some(512..771)),
            ("-5:*", 1026, Some(1021..1026)),
            ("-9999:*", 1026, Some(0..1026)),
            ("-9999:-3", 1026, Some(0..1024)),
            ("1000:9999", 1026, Some(1000..1026)),
            ("1025:1025", 1026, Some(1025..1026)),
            // Nothing is left between a beginning and an end that were counted from two sides.
            ("512:-900", 1026, Some(512..512)),
            ("0:-1027", 1026, Some(0..0)),
            ("0:*", 0, Some(0..0)),
            ("-1:*", 0, Some(0..0)),
            ("1026:*", 1026, None),
            ("1026:2000", 1026, None),
            ("-9999:-2000", 1026, None),
            ("1:*", 0, None),
            ("0:9223372036854775807", u64::MAX, Some(0..1 << 63)),
            ("-9223372036854775808:-9223372036854775808", 7, None),
        ] {
            let range = text.parse::<EntityBytes>().unwrap();
            assert_eq!(range.within(len).ok(), expected, "{text} of {len}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", ":", "1", "1:", ":1", "9:1", "-1:-9", "x:y", "*:1", "+1:2", "1:+2", "1:2:3", " 1:2", "1e3:*"] {
            assert_eq!(bad.parse::<EntityBytes>(), Err(Malformed), "{bad}");
        }
        assert_eq!("99999999999999999999:*".parse::<EntityBytes>(), Err(Malformed));
    }
}
