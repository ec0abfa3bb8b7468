//! Assembly: chunks to balanced file trees, entries to directories, directories to the root.
//!
//! Keeps the open folders' entries and one unfinished node per level of the open file. A crash loses it.

use atoll_core::dagpb::Link;
use atoll_core::hamt::{self, Entry};
use atoll_core::unixfs::{self, Child};
use atoll_core::{Block, Cid};
use bytes::Bytes;

use super::paths::{Folder, Item};
use super::profile::Leaf;
use super::{ImportError, Profile, Sink};

/// What is being assembled.
pub(super) struct Tree<'s> {
    profile: Profile,
    sink: &'s mut dyn Sink,
    /// Entries of the open folders, outermost first.
    folders: Vec<Vec<Entry>>,
    /// What an archive contains, which comes in any order.
    archive: Option<Folder>,
    file: Levels,
    root: Option<(Cid, u64)>,
}

/// The unfinished nodes of a file, leaves' parents first. Each child comes with its `Tsize`.
type Levels = Vec<Vec<(Child, u64)>>;

impl<'s> Tree<'s> {
    pub(super) fn new(profile: Profile, sink: &'s mut dyn Sink) -> Self {
        Self { profile, sink, folders: Vec::new(), archive: None, file: Vec::new(), root: None }
    }

    /// A tree of which paths come in any order.
    pub(super) fn of_archive(profile: Profile, sink: &'s mut dyn Sink) -> Self {
        Self { archive: Some(Folder::default()), ..Self::new(profile, sink) }
    }

    /// The CID and `Tsize` of what was imported, when no more comes.
    pub(super) fn finish(mut self) -> Result<(Cid, u64), ImportError> {
        if let Some(archive) = self.archive.take() {
            self.close_archive("".into(), archive)?;
        }
        self.root.ok_or(ImportError::Aborted)
    }

    /// Puts a folder of an archive, and what lies in it, into the folder around. As deep as paths may be.
    fn close_archive(&mut self, name: Box<str>, folder: Folder) -> Result<(), ImportError> {
        self.enter();
        for (name, item) in folder.into_items() {
            match item {
                Item::Folder(folder) => self.close_archive(name, folder)?,
                Item::Leaf { cid, tsize } => {
                    self.folders.last_mut().ok_or(ImportError::Aborted)?.push(Entry { name, cid, tsize });
                }
            }
        }
        self.leave(name)
    }

    pub(super) fn folder(&mut self, path: &str) -> Result<(), ImportError> {
        self.archive.as_mut().ok_or(ImportError::Aborted)?.folder(path)
    }

    pub(super) fn hard_link(&mut self, path: &str, first: &str) -> Result<(), ImportError> {
        self.archive.as_mut().ok_or(ImportError::Aborted)?.link(path, first)
    }

    pub(super) fn enter(&mut self) {
        self.folders.push(Vec::new());
    }

    pub(super) fn leave(&mut self, name: Box<str>) -> Result<(), ImportError> {
        let mut entries = self.folders.pop().ok_or(ImportError::Aborted)?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let (cid, tsize) = if self.profile.shards(&entries) {
            let version = self.profile.version();
            hamt::build(&entries, version, &mut |block| self.sink.put(block).map_err(ImportError::Sink))?
        } else {
            let bytes = unixfs::encode_directory(entries.iter().map(Entry::link).collect::<Vec<Link<'_>>>());
            self.put_node(bytes, entries.iter().map(|entry| entry.tsize))?
        };
        self.place(name, cid, tsize)
    }

    pub(super) fn chunk(&mut self, Leaf { block, len }: Leaf) -> Result<(), ImportError> {
        let child = (Child { cid: *block.cid(), len }, block.bytes().len() as u64);
        self.sink.put(block).map_err(ImportError::Sink)?;
        self.add(0, child)
    }

    pub(super) fn file_end(&mut self, name: Box<str>) -> Result<(), ImportError> {
        let mut level = 0;
        let (child, tsize) = loop {
            let above = self.file.iter().skip(level + 1).any(|nodes| !nodes.is_empty());
            match self.file.get(level).map(Vec::as_slice) {
                None => return Err(ImportError::Aborted),
                Some(&[only]) if !above => break only,
                Some([]) => {}
                Some(_) => self.close(level)?,
            }
            level += 1;
        };
        self.file.clear();
        self.place(name, child.cid, tsize)
    }

    pub(super) fn symlink(&mut self, name: Box<str>, target: &[u8]) -> Result<(), ImportError> {
        let (cid, tsize) = self.put_node(unixfs::encode_symlink(target)?, std::iter::empty())?;
        self.place(name, cid, tsize)
    }

    /// Adds a child to the unfinished node of `level`, which is closed when it is full.
    fn add(&mut self, level: usize, child: (Child, u64)) -> Result<(), ImportError> {
        if self.file.len() == level {
            self.file.push(Vec::new());
        }
        let Some(nodes) = self.file.get_mut(level) else { return Err(ImportError::Aborted) };
        nodes.push(child);
        if nodes.len() == self.profile.file_links_max() { self.close(level) } else { Ok(()) }
    }

    /// Turns the unfinished node of `level` into a child of the level above.
    fn close(&mut self, level: usize) -> Result<(), ImportError> {
        let children = self.file.get_mut(level).map(std::mem::take).unwrap_or_default();
        let len = children.iter().map(|(child, _)| child.len).sum();
        let (cid, tsize) = self.put_node(unixfs::encode_file(&children)?, children.iter().map(|(_, tsize)| *tsize))?;
        self.add(level + 1, (Child { cid, len }, tsize))
    }

    fn put_node(&mut self, bytes: Vec<u8>, tsizes: impl Iterator<Item = u64>) -> Result<(Cid, u64), ImportError> {
        let tsize = tsizes.fold(bytes.len() as u64, u64::saturating_add);
        let block = Block::dag_pb(self.profile.version(), Bytes::from(bytes))?;
        let cid = *block.cid();
        self.sink.put(block).map_err(ImportError::Sink)?;
        Ok((cid, tsize))
    }

    /// Puts what is complete into the folder around it, or makes it the root.
    fn place(&mut self, name: Box<str>, cid: Cid, tsize: u64) -> Result<(), ImportError> {
        match (&mut self.archive, self.folders.last_mut()) {
            (Some(archive), _) => archive.leaf(&name, cid, tsize)?,
            (None, Some(entries)) => entries.push(Entry { name, cid, tsize }),
            (None, None) => self.root = Some((cid, tsize)),
        }
        Ok(())
    }
}
