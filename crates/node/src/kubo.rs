//! Taking over a repository of Kubo: blocks first, then a pin for each of its pins whose DAG is whole. Asks nobody for what is
//! missing. A crash leaves blocks without pins, which a second run pins and garbage collection removes.

use std::path::PathBuf;

use atoll_content::LocalBlocks;
use atoll_content::kubo::{KuboError, Mode, Pin, Repository, Taken};
use atoll_core::block::{DAG_PB, RAW};
use atoll_core::{Block, Cid, Storage as _, unixfs};

use crate::api::{KuboImported, PinStatus, Unpinned};
use crate::work::{StoreSink, WorkError, blocking};

/// The name of pins that have none in Kubo.
const NAMELESS: &str = "kubo";
/// The name of the pin of what `ipfs files` shows.
const FILES: &str = "kubo-files";

/// Takes blocks and pins of the repository in `dir`.
///
/// # Errors
/// What keeps the repository from being read, or blocks from being stored. A pin that cannot be made is no error.
pub async fn import(
    local: &LocalBlocks,
    dir: PathBuf,
    progress: impl Fn(&Taken) + Send + 'static,
) -> Result<KuboImported, String> {
    let store = local.store().clone();
    let _hold = store.hold();
    let writing = store.clone();
    let (taken, pins, files) = blocking(move || {
        let repository = Repository::open(&dir)?;
        // First the pins: whatever is wrong with them is told before everything is copied.
        let (pins, files) = repository.pins()?;
        let mut sink = StoreSink::new(&writing);
        let taken = repository.blocks(&mut sink, &mut |taken| progress(taken))?;
        sink.flush().map_err(KuboError::Sink)?;
        Ok::<_, WorkError>((taken, pins, files))
    })
    .await?;
    let refused = taken.refused.iter().map(|path| path.display().to_string()).collect();
    let mut imported = KuboImported { blocks: taken.blocks, bytes: taken.bytes, refused, ..KuboImported::default() };
    let files = files.map(|cid| Pin { cid, mode: Mode::Recursive, name: FILES.to_owned() });
    for pin in pins.into_iter().chain(files).filter(|pin| !is_empty_folder(&pin.cid)) {
        take(local, &pin, &mut imported).await;
    }
    Ok(imported)
}

async fn take(local: &LocalBlocks, pin: &Pin, imported: &mut KuboImported) {
    let name = if pin.name.is_empty() { NAMELESS } else { &pin.name };
    // Under a CID that says nothing of links, a pin keeps the one block.
    let cid = if pin.mode == Mode::Direct { Cid::new_v1(RAW, *pin.cid.hash()) } else { pin.cid };
    let (root, name) = (pin.cid.to_string(), name.to_owned());
    match local.pin(&cid, &name).await {
        Ok(()) => imported.pins.push(PinStatus { root, name }),
        Err(error) => imported.unpinned.push(Unpinned { root, name, error: error.to_string() }),
    }
}

/// Whether it is the folder of nothing, which Kubo pins by itself.
fn is_empty_folder(cid: &Cid) -> bool {
    let empty = Block::sha2_256(DAG_PB, unixfs::encode_directory(Vec::new()).into());
    empty.is_ok_and(|empty| empty.cid().hash() == cid.hash())
}
