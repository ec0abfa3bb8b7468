//! The walk that makes a manifest: every path of a site, what is answered there, and its head. Nothing is kept, a crash loses
//! nothing.

use std::collections::HashMap;
use std::sync::Arc;

use atoll_core::manifest::{
    self, ENTRIES_MAX, Entry, MOVED, Manifest, ManifestError, head, is_listed_redirect, shown_type,
};
use atoll_core::merkle::Hash;
use atoll_core::site::{self, Asked, Edits, Found, INDEX, Rules, Shown, mime};
use atoll_core::{Blocks, Cid};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{BundleError, HASHED_BYTES_MAX, LOOKED_MAX, is_passing, rules};
use crate::error::ReadError;
use crate::reader::{Kind, Resolved, list, read, resolve};

/// Makes the manifest of the site whose root `resolved` is.
pub(super) async fn manifest(blocks: Arc<dyn Blocks>, resolved: Resolved) -> Result<Manifest, BundleError> {
    let root = resolved.cid;
    let rules = match resolved.kind {
        Kind::Directory { .. } => rules(&blocks, &root).await?,
        _ => Rules::default(),
    };
    let mut walk = Walk { blocks, root, rules, entries: Vec::new(), known: HashMap::new(), hashed: 0, looked: 0 };
    match resolved.kind {
        Kind::Directory { .. } => walk.directories(resolved).await?,
        Kind::File { .. } => walk.lone_file().await?,
        _ => {}
    }
    Ok(Manifest::new(walk.entries)?)
}

struct Walk {
    blocks: Arc<dyn Blocks>,
    root: Cid,
    rules: Rules,
    entries: Vec<Entry>,
    /// What blocks are the beginning of.
    known: HashMap<Cid, Known>,
    /// Bytes of files so far.
    hashed: u64,
    /// Entries of directories so far.
    looked: usize,
}

#[derive(Clone, Copy)]
enum Known {
    File {
        digest: Hash,
        /// The type that its bytes suggest.
        natural: &'static str,
    },
    Directory,
    /// What is not shown as a file: symlinks, data, what is malformed.
    Other,
}

impl Walk {
    /// All below the root, and what the site redirects.
    async fn directories(&mut self, root: Resolved) -> Result<(), BundleError> {
        let mut waiting = self.directory(&[], &root).await?;
        while let Some((names, cid)) = waiting.pop() {
            let below = match resolve::<&str>(&*self.blocks, &cid, &[]).await {
                Ok(directory) => self.directory(&names, &directory).await?,
                Err(error) => skip(error)?,
            };
            waiting.extend(below);
        }
        self.redirects().await
    }

    /// The files of one directory; returns the directories in it.
    async fn directory(
        &mut self,
        names: &[String],
        directory: &Resolved,
    ) -> Result<Vec<(Vec<String>, Cid)>, BundleError> {
        let mut below = Vec::new();
        let mut list = list(Arc::clone(&self.blocks), directory);
        while let Some(entry) = list.next().await {
            self.looked = self.looked.saturating_add(1);
            if self.looked > LOOKED_MAX {
                return Err(BundleError::TooManyEntries);
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    skip::<()>(error)?;
                    break;
                }
            };
            if !is_name(&entry.name) {
                continue;
            }
            let path = [names, std::slice::from_ref(&entry.name)].concat();
            let Some(key) = manifest::key(&path, false) else { continue };
            match self.known(&entry.cid).await? {
                Known::File { digest, natural } => {
                    self.file(key, &path, (digest, natural), Found::File)?;
                    if entry.name == INDEX {
                        self.index(names, (digest, natural))?;
                    }
                }
                Known::Directory => {
                    self.slash(key, &path)?;
                    below.push((path, entry.cid));
                }
                Known::Other => {}
            }
        }
        Ok(below)
    }

    /// A file under its own path.
    fn file(&mut self, key: String, path: &[String], file: (Hash, &str), found: Found) -> Result<(), BundleError> {
        let asked = Asked { segments: path, slash: found != Found::File, query: None };
        let name = if found == Found::File { path.last().map(String::as_str) } else { Some(INDEX) };
        // Only what is absent asks the rules that can fail.
        let edits = site::head(&self.rules, &asked, found).map_or_else(|_| Edits::default(), |head| head.edits);
        let by_name = name.and_then(mime::by_name);
        let shown = shown_type(by_name.as_deref().unwrap_or(file.1), &edits);
        let head = head(shown, None, &edits);
        self.push(Entry { key: key.into(), status: 200, digest: file.0, head })
    }

    /// The directory that a file is the index of.
    fn index(&mut self, names: &[String], file: (Hash, &str)) -> Result<(), BundleError> {
        match manifest::key(names, true) {
            Some(key) => self.file(key, names, file, Found::Directory { index: true }),
            None => Ok(()),
        }
    }

    /// A directory's path without its slash.
    fn slash(&mut self, key: String, path: &[String]) -> Result<(), BundleError> {
        match manifest::key(path, true) {
            Some(location) => self.moved(key, 301, &location),
            None => Ok(()),
        }
    }

    fn moved(&mut self, key: String, status: u16, location: &str) -> Result<(), BundleError> {
        let head = head(Some(mime::TEXT), Some(location), &Edits::default());
        self.push(Entry { key: key.into(), status, digest: manifest::digest(MOVED.as_bytes()), head })
    }

    fn push(&mut self, entry: Entry) -> Result<(), BundleError> {
        if self.entries.len() >= ENTRIES_MAX {
            return Err(ManifestError::TooMany.into());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// A site that is one file.
    async fn lone_file(&mut self) -> Result<(), BundleError> {
        let root = self.root;
        let Known::File { digest, natural } = self.known(&root).await? else { return Ok(()) };
        let head = head(Some(natural), None, &Edits::default());
        self.push(Entry { key: "/".into(), status: 200, digest, head })
    }

    /// The paths that the site's rules redirect by name.
    async fn redirects(&mut self) -> Result<(), BundleError> {
        let paths: Vec<Vec<String>> = match &self.rules.redirects {
            Ok(redirects) => redirects.literal_paths().collect(),
            Err(_) => return Ok(()),
        };
        for path in paths {
            if path.is_empty() || !path.iter().all(|name| is_name(name)) || self.exists(&path).await? {
                continue;
            }
            for slash in [false, true] {
                self.redirect(&path, slash)?;
            }
        }
        Ok(())
    }

    fn redirect(&mut self, path: &[String], slash: bool) -> Result<(), BundleError> {
        let Some(key) = manifest::key(path, slash) else { return Ok(()) };
        let asked = Asked { segments: path, slash, query: None };
        match site::head(&self.rules, &asked, Found::Absent).map(|head| (head.status, head.shown)) {
            Ok((status, Shown::Redirect(location))) if is_listed_redirect(status) => self.moved(key, status, &location),
            _ => Ok(()),
        }
    }

    async fn exists(&self, path: &[String]) -> Result<bool, BundleError> {
        match resolve(&*self.blocks, &self.root, path).await {
            Err(error) if error.is_absence() => Ok(false),
            Err(error) if is_passing(&error) => Err(error.into()),
            _ => Ok(true),
        }
    }

    /// What a block is the beginning of.
    async fn known(&mut self, cid: &Cid) -> Result<Known, BundleError> {
        if let Some(known) = self.known.get(cid) {
            return Ok(*known);
        }
        let known = match self.look(cid).await {
            Err(BundleError::Read(error)) if !is_passing(&error) => Known::Other,
            known => known?,
        };
        self.known.insert(*cid, known);
        Ok(known)
    }

    async fn look(&mut self, cid: &Cid) -> Result<Known, BundleError> {
        let found = resolve::<&str>(&*self.blocks, cid, &[]).await?;
        let len = match found.kind {
            Kind::File { len } => len,
            Kind::Directory { .. } => return Ok(Known::Directory),
            _ => return Ok(Known::Other),
        };
        self.hashed = self.hashed.saturating_add(len);
        if self.hashed > HASHED_BYTES_MAX {
            return Err(BundleError::FilesTooLarge);
        }
        let (mut hasher, mut start) = (Sha256::new(), Vec::new());
        let mut file = read(Arc::clone(&self.blocks), &found, 0..len)?;
        while let Some(part) = file.next().await {
            let part = part?;
            hasher.update(&part);
            let missing = mime::SNIFF_BYTES.saturating_sub(start.len());
            start.extend_from_slice(part.get(..missing).unwrap_or(&part));
        }
        Ok(Known::File { digest: hasher.finalize().into(), natural: mime::by_content(&start) })
    }
}

/// What cannot be read is left out, unless it may be had another time.
fn skip<T: Default>(error: ReadError) -> Result<T, BundleError> {
    if is_passing(&error) { Err(error.into()) } else { Ok(T::default()) }
}

/// Whether a path can lead through an entry of that name: what a gateway takes as a name.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}
