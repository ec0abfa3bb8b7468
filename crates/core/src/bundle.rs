//! Bundles (`docs/formats.md`, "Bundles"): one version of a site, named by what it holds and by what is answered of it, and the boundary
//! between whoever makes them and whoever signs by them. Pure; a crash loses nothing.

mod proof;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::block::Cid;
use crate::manifest::Manifest;
use crate::merkle::Hash;

pub use proof::{Proof, Proved};

/// The most leaves of a bundle's CAR, of 256 bytes each: 1 GiB.
pub const LEAVES_MAX: u64 = 1 << 22;

/// What the bytes of a bundle begin with.
const MAGIC: &[u8; 8] = b"atollbd1";

/// What a bundle is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId(pub Hash);

/// One version of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its root, as a CIDv1.
    pub root: Cid,
    /// The root of the tree over its CAR.
    pub car_root: Hash,
    /// The leaves of that tree.
    pub leaves: u64,
    /// What is answered.
    pub manifest: Manifest,
}

impl Bundle {
    /// Its bytes, as a node keeps it: a magic, SHA-256 of the rest, length of the root's CID (1), that CID, root of the CAR's tree (32),
    /// leaves (8), the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let root = self.root.to_bytes();
        let len = [u8::try_from(root.len()).unwrap_or(u8::MAX)];
        let rest = [&len, &*root, &self.car_root, &self.leaves.to_be_bytes(), &*self.manifest.to_bytes()].concat();
        [&MAGIC[..], &Sha256::digest(&rest), &rest].concat()
    }

    /// Reads them; `None` for anything that [`Bundle::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sum, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        if Sha256::digest(rest)[..] != sum[..] {
            return None;
        }
        let (len, rest) = rest.split_first()?;
        let (root, rest) = rest.split_at_checked(usize::from(*len))?;
        let (car_root, rest) = rest.split_first_chunk::<32>()?;
        let (leaves, manifest) = rest.split_first_chunk::<8>()?;
        let (root, leaves) = (Cid::try_from(root).ok()?, u64::from_be_bytes(*leaves));
        let bundle = Self { root, car_root: *car_root, leaves, manifest: Manifest::from_bytes(manifest).ok()? };
        (bundle.root.to_bytes().len() == usize::from(*len) && leaves <= LEAVES_MAX).then_some(bundle)
    }

    /// Its name: SHA-256(`"atoll-bundle-1"` ‖ SHA-256 of the root's CID ‖ root of the CAR's tree ‖ root of the manifest ‖ leaves ‖
    /// entries), both counts as 8 bytes.
    pub fn id(&self) -> BundleId {
        let entries = self.manifest.entries().len() as u64;
        BundleId::of(&self.root, [&self.car_root, &self.manifest.root()], [self.leaves, entries])
    }
}

impl BundleId {
    /// Of a root, the roots of both trees, and how many leaves each has.
    fn of(root: &Cid, trees: [&Hash; 2], counts: [u64; 2]) -> Self {
        let mut hash = Sha256::new_with_prefix("atoll-bundle-1").chain_update(Sha256::digest(root.to_bytes()));
        trees.iter().for_each(|tree| hash.update(tree));
        counts.iter().for_each(|count| hash.update(count.to_be_bytes()));
        Self(hash.finalize().into())
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleId({self})")
    }
}

/// Who knows bundles: those that this node made itself of blocks that it holds.
pub trait Bundles: Send + Sync + 'static {
    /// The bundle of a root, if it is ready, and its name. No I/O, no lock held long.
    fn bundle(&self, root: &Cid) -> Option<Arc<Named>>;
}

/// A bundle and its name.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub id: BundleId,
    /// It.
    pub bundle: Bundle,
}

impl From<Bundle> for Named {
    fn from(bundle: Bundle) -> Self {
        Self { id: bundle.id(), bundle }
    }
}

/// Knows none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopBundles;

impl Bundles for NoopBundles {
    fn bundle(&self, _root: &Cid) -> Option<Arc<Named>> {
        None
    }
}
