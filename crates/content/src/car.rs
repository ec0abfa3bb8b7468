//! Reading CARs: each block is verified before it is handed on, each error names the byte at which the file is wrong.
//!
//! A CAR names its roots first and proves nothing by it: whoever reads one asks [`crate::dag::missing`] before a root is
//! pinned or shown. Blocks that were taken before an error are harmless, since no root names them. Keeps one section. A
//! crash loses what the sink had not kept.

use std::io::{self, Read};

use atoll_core::block::IDENTITY;
use atoll_core::car::{CarError, CarFault, Decoder, Item};
use atoll_core::{Block, BlockError, Cid};

use crate::import::Sink;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Takes a CAR chunk by chunk.
#[derive(Debug, Default)]
pub struct CarImporter {
    decoder: Decoder,
    loaded: Loaded,
}

/// What a CAR contained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The roots that the header claims.
    pub roots: Vec<Cid>,
    /// Sections, repeats included.
    pub blocks: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

impl CarImporter {
    /// Takes the next bytes and hands the blocks that are complete to `sink`.
    ///
    /// # Errors
    /// [`CarImportError`] names the offset; nothing can be pushed after it.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn Sink) -> Result<(), CarImportError> {
        // In pieces, so that the decoder holds no more than a section and a piece of whatever is pushed.
        for piece in chunk.chunks(READ_BYTES) {
            self.decoder.push(piece);
            while let Some(item) = self.decoder.next_item()? {
                self.take(item, sink)?;
            }
        }
        Ok(())
    }

    /// To be called at the end of the CAR.
    ///
    /// # Errors
    /// [`CarImportError::Car`] if it ends inside a section.
    pub fn finish(self) -> Result<Loaded, CarImportError> {
        self.decoder.finish()?;
        Ok(self.loaded)
    }

    fn take(&mut self, item: Item, sink: &mut dyn Sink) -> Result<(), CarImportError> {
        let section = match item {
            Item::Header(roots) => {
                self.loaded.roots = roots;
                return Ok(());
            }
            Item::Section(section) => section,
        };
        let offset = section.offset;
        let block =
            Block::verified(section.cid, section.bytes).map_err(|cause| CarImportError::Block { offset, cause })?;
        self.loaded.blocks += 1;
        self.loaded.bytes = self.loaded.bytes.saturating_add(block.bytes().len() as u64);
        // What an identity CID names needs no keeping.
        if block.cid().hash().code() != IDENTITY {
            sink.put(block).map_err(|source| CarImportError::Sink { offset, source })?;
        }
        Ok(())
    }
}

/// Reads a whole CAR; blocks the calling thread.
///
/// # Errors
/// As [`CarImporter`], and [`CarImportError::Read`].
pub fn import_car(mut reader: impl Read, sink: &mut dyn Sink) -> Result<Loaded, CarImportError> {
    let mut importer = CarImporter::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return importer.finish(),
            Ok(len) => importer.push(buffer.get(..len).unwrap_or_default(), sink)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CarImportError::Read(error)),
        }
    }
}

/// Why a CAR was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarImportError {
    /// The framing is wrong.
    #[error(transparent)]
    Car(#[from] CarError),
    /// A block does not hash to its CID.
    #[error("at byte {offset} of the CAR: {cause}")]
    Block {
        /// Where its section begins.
        offset: u64,
        /// What is wrong with it.
        cause: BlockError,
    },
    /// The sink did not take a block.
    #[error("the block at byte {offset} of the CAR could not be stored: {source}")]
    Sink {
        /// Where its section begins.
        offset: u64,
        /// What the sink said.
        source: io::Error,
    },
    /// The CAR could not be read.
    #[error("the CAR could not be read: {0}")]
    Read(#[source] io::Error),
}

impl CarImportError {
    /// Whether the file ends too early, so that more of it may help.
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Car(CarError { fault: CarFault::Truncated, .. }))
    }
}

#[cfg(test)]
mod tests;
