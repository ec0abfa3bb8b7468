//! What an archive contains, by path: entries come in any order, and folders often not at all. In memory: some hundred bytes
//! an entry. A crash loses it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use atoll_core::Cid;

use super::ImportError;
use super::archive::ArchiveFault;

/// A folder of an archive.
#[derive(Default)]
pub(super) struct Folder {
    items: BTreeMap<Box<str>, Item>,
}

/// What lies in a folder.
pub(super) enum Item {
    Folder(Folder),
    /// A file or a symlink that is complete.
    Leaf {
        cid: Cid,
        tsize: u64,
    },
}

impl Folder {
    /// What lies in it, in order of names.
    pub(super) fn into_items(self) -> impl Iterator<Item = (Box<str>, Item)> {
        self.items.into_iter()
    }

    /// Makes sure that there is a folder at `path`.
    pub(super) fn folder(&mut self, path: &str) -> Result<(), ImportError> {
        self.descend(path, path).map(|_| ())
    }

    /// Puts a file or a symlink at `path`; one that is there already is replaced, as unpacking would.
    pub(super) fn leaf(&mut self, path: &str, cid: Cid, tsize: u64) -> Result<(), ImportError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.descend(parent, path)?;
        match folder.items.entry(name.into()) {
            Slot::Occupied(taken) if matches!(taken.get(), Item::Folder(_)) => Err(conflict(path)),
            Slot::Occupied(mut taken) => {
                taken.insert(Item::Leaf { cid, tsize });
                Ok(())
            }
            Slot::Vacant(free) => {
                free.insert(Item::Leaf { cid, tsize });
                Ok(())
            }
        }
    }

    /// Gives the file at `first` a second name.
    pub(super) fn link(&mut self, path: &str, first: &str) -> Result<(), ImportError> {
        let (parent, name) = first.rsplit_once('/').unwrap_or(("", first));
        let mut folder = Some(&*self);
        for segment in parent.split('/').filter(|segment| !segment.is_empty()) {
            folder = folder.and_then(|folder| match folder.items.get(segment) {
                Some(Item::Folder(folder)) => Some(folder),
                _ => None,
            });
        }
        match folder.and_then(|folder| folder.items.get(name)) {
            Some(&Item::Leaf { cid, tsize }) => self.leaf(path, cid, tsize),
            _ => Err(ImportError::Archive { entry: path.to_owned(), fault: ArchiveFault::LinkTarget }),
        }
    }

    /// The folder at `path`, made if it is not there. `entry` is for errors.
    fn descend(&mut self, path: &str, entry: &str) -> Result<&mut Self, ImportError> {
        let mut folder = self;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let item = folder.items.entry(segment.into()).or_insert_with(|| Item::Folder(Self::default()));
            match item {
                Item::Folder(below) => folder = below,
                Item::Leaf { .. } => return Err(conflict(entry)),
            }
        }
        Ok(folder)
    }
}

fn conflict(path: &str) -> ImportError {
    ImportError::Archive { entry: path.to_owned(), fault: ArchiveFault::Conflict }
}
