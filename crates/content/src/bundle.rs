//! The bundle of a site, made of its blocks (`docs/formats.md`, "Bundles"): the tree over its CAR, and the manifest of what is answered.
//!
//! Two walks over the DAG, with the memory of the manifest and some bytes per distinct file. Everything is hostile and bounded: what
//! makes a manifest too large says so, and what is malformed is left out, as no node can show it. Nothing is kept, a crash
//! loses nothing.

mod rules;
mod walk;

use std::sync::Arc;

use atoll_core::bundle::{Bundle, LEAVES_MAX};
use atoll_core::manifest::ManifestError;
use atoll_core::merkle;
use atoll_core::{Blocks, Cid};
use futures_util::StreamExt as _;

pub use rules::rules;

use crate::error::ReadError;
use crate::export::{Scope, export};
use crate::reader::{Resolved, resolve};

/// The most bytes of distinct files that are hashed for a manifest: 8 GiB.
pub const HASHED_BYTES_MAX: u64 = 8 << 30;
/// The most entries of directories that are looked at, each as often as a path leads there.
pub const LOOKED_MAX: usize = 1 << 22;

/// Makes the bundle of `root`.
///
/// # Errors
/// [`BundleError`]: a block that cannot be had, or a site that is over a limit.
pub async fn bundle(blocks: Arc<dyn Blocks>, root: &Cid) -> Result<Bundle, BundleError> {
    let root = Cid::new_v1(root.codec(), *root.hash());
    let resolved = resolve::<&str>(&*blocks, &root, &[]).await?;
    let (car_root, leaves) = car(Arc::clone(&blocks), &resolved).await?;
    let manifest = walk::manifest(blocks, resolved).await?;
    Ok(Bundle { root, car_root, leaves, manifest })
}

/// The tree over the CAR of a DAG.
async fn car(blocks: Arc<dyn Blocks>, resolved: &Resolved) -> Result<(merkle::Hash, u64), BundleError> {
    let mut car = export(blocks, resolved, Scope::All)?;
    let mut tree = merkle::Bytes::default();
    while let Some(part) = car.next().await {
        tree.push(&part?);
        if tree.leaves() > LEAVES_MAX {
            return Err(BundleError::CarTooLarge);
        }
    }
    let tree = tree.finish();
    if tree.leaves() > LEAVES_MAX { Err(BundleError::CarTooLarge) } else { Ok((tree.root(), tree.leaves())) }
}

/// Why a site has no bundle, here and now or at all.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Its blocks cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Over [`LEAVES_MAX`].
    #[error("its CAR is over 1 GiB")]
    CarTooLarge,
    /// Its manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Over [`HASHED_BYTES_MAX`].
    #[error("its files hold more than 8 GiB")]
    FilesTooLarge,
    /// Over [`LOOKED_MAX`].
    #[error("its directories have more than {LOOKED_MAX} entries")]
    TooManyEntries,
}

impl BundleError {
    /// Whether it may go well another time: it is about blocks that could not be had, not about the site.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Read(error) if is_passing(error))
    }
}

fn is_passing(error: &ReadError) -> bool {
    matches!(error, ReadError::Crowded | ReadError::Fetch(_))
}

#[cfg(test)]
mod tests;
