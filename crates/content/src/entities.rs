//! What of a DAG can be asked for by itself: its root, and the files and folders under it. Blocks inside of them are left out: the
//! chunks of files, and the inner nodes of folders that are spread over many blocks. Changes nothing, a crash loses nothing.

use std::collections::HashSet;

use atoll_core::Cid;
use atoll_core::block::{DAG_PB, IDENTITY, Multihash};
use atoll_core::hamt::Slot;
use atoll_core::unixfs::Node;

use crate::store::{Store, StoreError};

/// The most blocks of one DAG that are looked at; what is beyond is left out.
pub const ENTITIES_MAX: usize = 524_288;

/// The entities of the DAG under `root`, each once, in no order; what is missing or no UnixFS is only named. Reads every
/// folder, and the first block of every file that is more than one.
///
/// # Errors
/// When the store cannot be read.
pub fn entities(store: &Store, root: &Cid) -> Result<Vec<Multihash>, StoreError> {
    let (mut waiting, mut seen, mut found) = (vec![(*root, true)], HashSet::new(), Vec::new());
    while let Some((cid, named)) = waiting.pop() {
        if cid.hash().code() == IDENTITY || seen.len() >= ENTITIES_MAX || !seen.insert(*cid.hash()) {
            continue;
        }
        if named {
            found.push(*cid.hash());
        }
        if cid.codec() != DAG_PB {
            continue;
        }
        let bytes = match store.get(cid.hash()) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        match Node::decode(&cid, &bytes) {
            Ok(Node::Directory(folder)) => waiting.extend(folder.entries.iter().map(|entry| (entry.cid, true))),
            Ok(Node::Shard(shard)) => waiting.extend(shard.slots().map(|slot| match slot {
                Slot::Shard(cid) => (cid, false),
                Slot::Entry(entry) => (entry.cid, true),
            })),
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::import::Profile;
    use crate::import::{self, Options, Source};
    use crate::store::Options as StoreOptions;

    #[test]
    fn files_and_folders_are_entities_and_chunks_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("deep/wide")).unwrap();
        fs::write(site.join("page.html"), "calm").unwrap();
        fs::write(site.join("deep/large.bin"), (0..=255).cycle().take(700_000).collect::<Vec<u8>>()).unwrap();
        // So many that the folder is spread over several blocks.
        for number in 0..5000 {
            fs::write(site.join(format!("deep/wide/{number:055}")), number.to_string()).unwrap();
        }
        struct Into<'a>(&'a Store);
        impl import::Sink for Into<'_> {
            fn put(&mut self, block: atoll_core::Block) -> std::io::Result<()> {
                self.0.put(&block).map(|_| ()).map_err(std::io::Error::other)
            }
        }
        let options = Options { profile: Profile::default(), chunk_bytes: Some(100_000), hidden: false };
        let done = import::import_from(Source::Path(&site), options, &mut Into(&store), &mut |_| {}).unwrap();
        let found = entities(&store, &done.root).unwrap();
        let once: BTreeSet<_> = found.iter().map(|hash| hash.to_bytes()).collect();
        // The site, two folders, a page, a large file, and five thousand small ones.
        assert_eq!((found.len(), once.len()), (5005, 5005));
        assert!(store.stats().blocks > 5005 + 7);
    }
}
