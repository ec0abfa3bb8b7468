//! Blocks of IPLD data, and paths through them.

use atoll_core::block::{DAG_CBOR, DAG_JSON};
use atoll_core::data::{DEPTH_MAX, Event, Found, lookup, walk};

/// The most values of a block whose paths are followed: each follows it through the whole block.
const PATHS_MAX: usize = 32;

/// Reads `data` as both codecs: what was started ends, and the path of each value leads to it.
pub fn data(data: &[u8]) {
    for codec in [DAG_CBOR, DAG_JSON] {
        let mut paths = Paths::default();
        let read = walk(codec, data, &mut |event| paths.take(event));
        assert!(paths.deepest <= DEPTH_MAX);
        assert!(read.is_err() || paths.open.is_empty());
        assert_eq!(lookup(codec, data, &["no", "such", "path"]).is_ok(), read.is_ok());
        if read.is_ok() {
            for (path, link) in paths.found {
                let led = lookup(codec, data, &path);
                assert!(matches!((led, link), (Ok(Found::Link { .. }), true) | (Ok(Found::Value), false)), "{path:?}");
            }
        }
    }
}

/// The paths of the first values of a block, and whether they are links.
#[derive(Default)]
struct Paths {
    found: Vec<(Vec<String>, bool)>,
    /// What leads to the lists and maps that are open: a key, or how many values stood before.
    open: Vec<Result<String, usize>>,
    deepest: usize,
}

impl Paths {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Key(key) => {
                if let Some(last) = self.open.last_mut() {
                    *last = Ok(key.to_owned());
                }
                return;
            }
            Event::ListEnd | Event::MapEnd => {
                self.open.pop();
                return self.next();
            }
            _ => {}
        }
        if self.found.len() < PATHS_MAX {
            let segment = |part: &Result<String, usize>| part.clone().unwrap_or_else(|place| place.to_string());
            self.found.push((self.open.iter().map(segment).collect(), matches!(event, Event::Link(_))));
        }
        match event {
            Event::ListStart | Event::MapStart => self.open.push(Err(0)),
            _ => self.next(),
        }
        self.deepest = self.deepest.max(self.open.len());
    }

    /// The next value of the list that is open.
    fn next(&mut self) {
        if let Some(Err(place)) = self.open.last_mut() {
            *place += 1;
        }
    }
}
