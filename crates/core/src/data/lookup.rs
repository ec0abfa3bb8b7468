//! Where a path leads within one block of IPLD data. Keeps nothing.

use super::{DataError, Event, walk};
use crate::block::Cid;

/// Where a path leads within a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// To a link, with which the rest of the path goes on.
    Link {
        /// The block that is linked.
        cid: Cid,
        /// How many segments led to it.
        segments: usize,
    },
    /// To a value in the block, with its last segment.
    Value,
    /// Nowhere.
    Missing {
        /// The segment that has no value.
        segment: usize,
    },
}

/// Follows `path` through a block of `codec`: keys of maps, and places in lists as decimal numbers from 0 on. It ends at
/// the first link. An empty path leads to the value that the block is.
///
/// # Errors
/// [`DataError`] if the block as a whole is not sound.
pub fn lookup<S: AsRef<str>>(codec: u64, bytes: &[u8], path: &[S]) -> Result<Found, DataError> {
    let mut search = Search { path, level: 0, matched: 0, next: true, places: None, found: None };
    walk(codec, bytes, &mut |event| search.take(event))?;
    Ok(search.found.unwrap_or(Found::Missing { segment: search.matched }))
}

/// A search, event by event.
struct Search<'p, S> {
    path: &'p [S],
    /// Lists and maps around the next value.
    level: usize,
    /// Segments that were followed. The list or map in which the next one is looked up is at level `matched`.
    matched: usize,
    /// Whether the next value is the one on the path: its key was.
    next: bool,
    /// In a list on the path: how many values stand before the one on the path.
    places: Option<usize>,
    found: Option<Found>,
}

impl<S: AsRef<str>> Search<'_, S> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            _ if self.found.is_some() => {}
            Event::Key(key) => self.next = self.here() && self.segment().is_some_and(|segment| segment == key),
            Event::ListEnd | Event::MapEnd => {
                self.level = self.level.saturating_sub(1);
                if self.level == self.matched {
                    // What the path leads through has ended without its next segment.
                    self.found = Some(Found::Missing { segment: self.matched });
                }
            }
            value => {
                let on_path = self.on_path();
                let starts = matches!(value, Event::ListStart | Event::MapStart);
                if on_path {
                    self.follow(value);
                }
                self.level += usize::from(starts);
            }
        }
    }

    /// Whether the next value stands in the list or map that the path leads through.
    fn here(&self) -> bool {
        self.level == self.matched + 1
    }

    /// Whether the value that begins is the one on the path.
    fn on_path(&mut self) -> bool {
        if self.here()
            && let Some(places) = &mut self.places
        {
            let found = *places == 0;
            *places = places.wrapping_sub(1);
            return found;
        }
        std::mem::take(&mut self.next)
    }

    /// Follows the path into a value.
    fn follow(&mut self, value: Event<'_>) {
        self.matched += usize::from(self.level > 0);
        self.found = match (self.segment(), value) {
            (_, Event::Link(cid)) => Some(Found::Link { cid, segments: self.matched }),
            (None, _) => Some(Found::Value),
            (Some(_), Event::MapStart) => {
                self.places = None;
                None
            }
            (Some(segment), Event::ListStart) => {
                self.places = place(segment);
                None
            }
            (Some(_), _) => Some(Found::Missing { segment: self.matched }),
        };
    }

    fn segment(&self) -> Option<&str> {
        self.path.get(self.matched).map(AsRef::as_ref)
    }
}

/// The number that a segment is, in the one form that it has.
fn place(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || !segment.starts_with(['0', '+']);
    segment.parse().ok().filter(|_| canonical)
}
