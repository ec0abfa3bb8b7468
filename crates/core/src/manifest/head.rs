//! What a signed answer's head says, as one hash: type, place, and what the site's own rules change. Pure; a crash loses
//! nothing.

use std::fmt::Write as _;

use super::digest;
use crate::merkle::Hash;
use crate::site::{Edits, VERSION};

/// The type that is shown: the site's own if it sets one, none if it takes it away, else `natural`.
pub fn shown_type<'a>(natural: &'a str, edits: &'a Edits) -> Option<&'a str> {
    const NAME: &str = "content-type";
    match edits.set.iter().find(|(name, _)| name == NAME) {
        Some((_, own)) => Some(own),
        None if edits.detached.iter().any(|name| name == NAME) => None,
        None => Some(natural),
    }
}

/// Hashes a head: SHA-256 of lines, each ended by a line feed: `atoll-head-1` with the version of the site's rules,
/// `content-type: …` and `location: …` where there is one, `! name` for each header that the site takes away, and
/// `name: value` for each that it sets, both by name in ascending order.
pub fn head(content_type: Option<&str>, location: Option<&str>, edits: &Edits) -> Hash {
    let mut text = format!("atoll-head-{VERSION}\n");
    for (name, value) in [("content-type", content_type), ("location", location)] {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    let mut detached: Vec<&str> = edits.detached.iter().map(String::as_str).collect();
    detached.sort_unstable();
    for name in detached {
        let _ = writeln!(text, "! {name}");
    }
    let mut set: Vec<(&str, &str)> = edits.set.iter().map(|(name, value)| (&**name, &**value)).collect();
    set.sort_unstable();
    for (name, value) in set {
        let _ = writeln!(text, "{name}: {value}");
    }
    digest(text.as_bytes())
}
