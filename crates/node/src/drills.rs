//! What the last drill of each site found: one file, which a crash leaves old or new.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::api::Drill;

/// The most sites whose drills are remembered.
const SITES_MAX: usize = 64;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Drills {
    file: PathBuf,
    /// The latest last.
    known: Mutex<Vec<Drill>>,
}

impl Drills {
    /// Those of a file, if there is one that can be read.
    pub(crate) fn open(file: &Path) -> Self {
        let text = atoll_durable::read(file, FILE_BYTES_MAX);
        let known = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file: file.to_owned(), known: Mutex::new(known) }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Drill> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers one in place of the last one of its site.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn remember(&self, drill: Drill) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.site != drill.site);
        known.push(drill);
        if known.len() > SITES_MAX {
            known.remove(0);
        }
        let text = serde_json::to_vec(&*known)?;
        atoll_durable::replace(&self.file, |file| file.write_all(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_site_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drills.json");
        let drill = |site: &str, requests| Drill { site: site.to_owned(), requests, ..Drill::default() };
        let drills = Drills::open(&file);
        for (site, requests) in [("a", 1), ("b", 2), ("a", 3)] {
            drills.remember(drill(site, requests)).unwrap();
        }
        assert_eq!(Drills::open(&file).all(), [drill("b", 2), drill("a", 3)]);
        std::fs::write(&file, "[").unwrap();
        assert_eq!(Drills::open(&file).all(), []);
    }
}
