//! The lists of a node: files that are read, followed as they change, and asked. They are on disk; a crash loses nothing.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use atoll_core::{Denied, Deny, Subject};

use super::List;
use super::table::Verdict;
use crate::error::DenyError;

/// The most lists, the node's own among them: each is asked about each block.
pub const LISTS_MAX: usize = 32;

/// The lists of a node, asked from the last to the first.
pub struct Lists {
    sources: Vec<PathBuf>,
    local: PathBuf,
    rules_max: usize,
    loaded: RwLock<Arc<[Loaded]>>,
    version: AtomicU64,
    /// Files that were refused as they were then, so that each is reported once.
    refused: Mutex<HashMap<PathBuf, Option<Stamp>>>,
    denials: AtomicU64,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// A list that serves.
struct Loaded {
    path: PathBuf,
    stamp: Stamp,
    list: Arc<List>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What a refresh changed.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Whether anything may be decided otherwise than before.
    pub changed: bool,
    /// What could not be used, as it was not reported before; what it was before serves on.
    pub refused: Vec<DenyError>,
}

/// What is known of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// Its name, if its header has one.
    pub name: String,
    /// Rules that it holds.
    pub rules: usize,
    /// Rules that were not understood.
    pub skipped: usize,
    /// The first of them: line and what is wrong.
    pub problems: Vec<(u32, &'static str)>,
    /// Memory that it takes.
    pub memory_bytes: usize,
}

/// Which rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The list.
    pub path: PathBuf,
    /// Its rule.
    pub verdict: Verdict,
}

impl Lists {
    /// Reads the lists at `sources`, files and folders, and the node's own at `local`, which need not be there yet; each of at most
    /// `rules_max` rules.
    ///
    /// # Errors
    /// [`DenyError`] at the first that is missing or cannot be used: a node does not start without what it must deny.
    pub fn open(sources: &[PathBuf], local: &Path, rules_max: usize) -> Result<Self, DenyError> {
        let lists = Self {
            sources: sources.to_vec(),
            local: local.to_owned(),
            rules_max,
            loaded: RwLock::new(Arc::new([])),
            version: AtomicU64::new(0),
            refused: Mutex::default(),
            denials: AtomicU64::new(0),
        };
        match lists.refresh().refused.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(lists),
        }
    }

    /// Reads what has changed since. Blocks on the disk, for as long as reading a list of millions takes.
    pub fn refresh(&self) -> Refreshed {
        let before = self.loaded();
        let mut refreshed = Refreshed::default();
        let (files, mut missing) = self.files(&before);
        let mut now = Vec::with_capacity(files.len());
        for path in files {
            let old = before.iter().find(|loaded| loaded.path == path);
            match self.load(&path, old) {
                Ok(Some(loaded)) => {
                    refreshed.changed |= old.is_none_or(|old| old.stamp != loaded.stamp);
                    now.push(loaded);
                }
                // It went away since it was listed.
                Ok(None) => {}
                Err((stamp, error)) => {
                    now.extend(old.map(Loaded::again));
                    missing.push((path, stamp, error));
                }
            }
        }
        refreshed.changed |= now.len() != before.len();
        refreshed.refused = self.report(missing);
        if refreshed.changed {
            *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = now.into();
            // After the lists, so that whoever sees the new version sees what it stands for.
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        refreshed
    }

    /// What is known of each list, in their order.
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |loaded: &Loaded| Summary {
            path: loaded.path.clone(),
            name: loaded.list.header.name.clone(),
            rules: loaded.list.table.len(),
            skipped: loaded.list.skipped,
            problems: loaded.list.problems.clone(),
            memory_bytes: loaded.list.table.memory_bytes(),
        };
        self.loaded().iter().map(summary).collect()
    }

    /// How many files are refused as they are now.
    pub fn refused(&self) -> usize {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How often something that is denied was asked for: a path, a name, or a block on the way to an answer.
    pub fn denials(&self) -> u64 {
        self.denials.load(Ordering::Relaxed)
    }

    /// Which rule decides about `subject`, exceptions included; `None` if no rule is about it.
    pub fn explain(&self, subject: Subject<'_>) -> Option<Decision> {
        let decide = |loaded: &Loaded| {
            loaded.list.table.decide(subject).map(|verdict| Decision { path: loaded.path.clone(), verdict })
        };
        self.loaded().iter().rev().find_map(decide)
    }

    fn loaded(&self) -> Arc<[Loaded]> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The files that are lists now, in order, and what is wrong with finding them. A configured file that is gone is
    /// listed nevertheless, so that what it was serves on, and so are all files of a folder that is gone; one that left a folder was
    /// taken back.
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    fn files(&self, before: &[Loaded]) -> (Vec<PathBuf>, Vec<(PathBuf, Option<Stamp>, DenyError)>) {
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for source in &self.sources {
            match fs::read_dir(source) {
                Ok(entries) => {
                    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
                    let mut found: Vec<_> =
                        paths.filter(|path| path.extension().is_some_and(|end| end == "deny")).collect();
                    found.sort();
                    files.extend(found);
                }
                Err(_) => {
                    let of_folder =
                        before.iter().map(|loaded| &loaded.path).filter(|path| path.parent() == Some(source));
                    files.extend(of_folder.cloned());
                    files.push(source.clone());
                }
            }
        }
        if self.local.exists() {
            files.push(self.local.clone());
        }
        if files.len() > LISTS_MAX {
            missing.push((self.local.clone(), None, DenyError::TooManyLists));
            // The last decide before the others, the node's own among them.
            files.drain(..files.len().saturating_sub(LISTS_MAX));
        }
        (files, missing)
    }

    /// Reads a list, unless it is as it was; `None` if there is no such file and never was.
    fn load(&self, path: &Path, old: Option<&Loaded>) -> Result<Option<Loaded>, (Option<Stamp>, DenyError)> {
        let file_error = |stamp, cause| (stamp, DenyError::File { path: path.to_owned(), cause });
        let file = File::open(path).map_err(|cause| file_error(None, cause))?;
        let metadata = file.metadata().map_err(|cause| file_error(None, cause))?;
        let stamp = Stamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        };
        if let Some(old) = old.filter(|old| old.stamp == stamp) {
            return Ok(Some(old.again()));
        }
        let refused = |cause| (Some(stamp), DenyError::List { path: path.to_owned(), cause: Box::new(cause) });
        // The node's own is emptied by taking its last rule back.
        if stamp.bytes == 0 && path != self.local && old.is_some_and(|old| !old.list.table.is_empty()) {
            return Err(refused(DenyError::Emptied));
        }
        let list = List::read(BufReader::with_capacity(256 * 1024, file), self.rules_max).map_err(refused)?;
        Ok(Some(Loaded { path: path.to_owned(), stamp, list: Arc::new(list) }))
    }

    /// What of these was not reported before.
    fn report(&self, refused: Vec<(PathBuf, Option<Stamp>, DenyError)>) -> Vec<DenyError> {
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        let mut new = Vec::new();
        for (path, stamp, error) in refused {
            if before.get(&path) != Some(&stamp) {
                new.push(error);
            }
            known.insert(path, stamp);
        }
        new
    }
}

impl Deny for Lists {
    fn decide(&self, subject: Subject<'_>) -> Option<Denied> {
        let loaded = self.loaded();
        let denied = loaded.iter().rev().find_map(|loaded| loaded.list.table.decide(subject))?.denied?;
        self.denials.fetch_add(1, Ordering::Relaxed);
        Some(denied)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl Loaded {
    fn again(&self) -> Self {
        Self { path: self.path.clone(), stamp: self.stamp, list: Arc::clone(&self.list) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denies(lists: &Lists, name: &str) -> bool {
        lists.decide(Subject::Name { name, names: &[] }).is_some()
    }

    #[test]
    fn changes_are_followed_and_bad_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("lists")).unwrap();
        fs::write(at("lists/a.deny"), "/ipns/a.example\n").unwrap();
        fs::write(at("lists/ignored.txt"), "/ipns/x.example\n").unwrap();
        fs::write(at("b.deny"), "/ipns/b.example\n").unwrap();
        let lists = Lists::open(&[at("lists"), at("b.deny")], &at("local.deny"), 100).unwrap();
        assert!(denies(&lists, "a.example") && denies(&lists, "b.example") && !denies(&lists, "x.example"));
        assert_eq!((lists.denials(), lists.refused()), (2, 0));
        let version = lists.version();
        assert!(!lists.refresh().changed && lists.version() == version);

        // Each of these is refused once, and what was before serves on; other lists are followed nevertheless.
        fs::write(at("b.deny"), "version: 9\n---\n/ipns/c.example\n").unwrap();
        fs::write(at("local.deny"), "!/ipns/a.example\n").unwrap();
        let refreshed = lists.refresh();
        assert_eq!((refreshed.changed, refreshed.refused.len()), (true, 1));
        assert!(denies(&lists, "b.example") && !denies(&lists, "c.example") && !denies(&lists, "a.example"));
        assert!(lists.version() > version);
        assert_eq!((lists.refresh().refused.len(), lists.refused()), (0, 1));
        fs::remove_file(at("b.deny")).unwrap();
        let refreshed = lists.refresh();
        assert_eq!((refreshed.changed, refreshed.refused.len()), (false, 1));
        assert!(denies(&lists, "b.example"));

        fs::write(at("b.deny"), "/ipns/c.example\n").unwrap();
        fs::remove_file(at("local.deny")).unwrap();
        assert!(lists.refresh().changed);
        assert!(denies(&lists, "a.example") && !denies(&lists, "b.example") && denies(&lists, "c.example"));
        fs::remove_file(at("lists/a.deny")).unwrap();
        assert!(lists.refresh().changed && !denies(&lists, "a.example"));
    }

    #[test]
    fn a_list_over_its_limit_and_a_folder_that_is_gone_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let rules = |count: usize| (0..count).map(|n| format!("/ipns/{n}.example\n")).collect::<String>();
        fs::create_dir(at("lists")).unwrap();
        fs::write(at("lists/a.deny"), rules(100)).unwrap();
        let lists = Lists::open(&[at("lists")], &at("local.deny"), 100).unwrap();
        assert!(denies(&lists, "99.example"));
        fs::write(at("lists/a.deny"), rules(200)).unwrap();
        let refreshed = lists.refresh();
        assert_eq!((refreshed.changed, refreshed.refused.len()), (false, 1));
        assert!(denies(&lists, "99.example") && !denies(&lists, "199.example"));
        fs::write(at("lists/a.deny"), "").unwrap();
        assert!(!lists.refresh().changed && denies(&lists, "99.example"));
        fs::write(at("local.deny"), "/ipns/own.example\n").unwrap();
        assert!(lists.refresh().changed && denies(&lists, "own.example"));
        fs::write(at("local.deny"), "").unwrap();
        assert!(lists.refresh().changed && !denies(&lists, "own.example"));
        fs::rename(at("lists"), at("moved")).unwrap();
        assert!(!lists.refresh().changed && denies(&lists, "99.example"));
        fs::write(at("moved/a.deny"), rules(1)).unwrap();
        fs::rename(at("moved"), at("lists")).unwrap();
        assert!(lists.refresh().changed && !denies(&lists, "99.example") && denies(&lists, "0.example"));
    }

    #[test]
    fn a_node_does_not_start_without_what_it_must_deny() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("a.deny");
        assert!(Lists::open(std::slice::from_ref(&list), &folder.path().join("local.deny"), 100).is_err());
        fs::write(&list, "[\n---\n").unwrap();
        assert!(Lists::open(&[list], &folder.path().join("local.deny"), 100).is_err());
    }

    #[test]
    fn lists_have_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..=LISTS_MAX {
            fs::write(folder.path().join(format!("{at:02}.deny")), format!("/ipns/{at}.example\n")).unwrap();
        }
        let error = Lists::open(&[folder.path().to_owned()], &folder.path().join("local.deny"), 100).err();
        assert!(matches!(error, Some(DenyError::TooManyLists)));
    }
}
