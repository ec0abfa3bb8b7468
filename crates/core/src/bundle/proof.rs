//! Proofs of single paths (`docs/formats.md`, "Proofs"): what one version of a site answers under one key, for whoever knows the version's
//! name and nothing else. Pure; a crash loses nothing.

use super::{Bundle, BundleId, LEAVES_MAX};
use crate::block::Cid;
use crate::manifest::{ENTRIES_MAX, Entry};
use crate::merkle::{self, Hash};

/// What the bytes of a proof begin with.
const MAGIC: &[u8; 8] = b"atollpf1";

/// What a manifest has at one place, or at the two places between which something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    root: Cid,
    car_root: Hash,
    manifest_root: Hash,
    leaves: u64,
    entries: u64,
    /// One, or two that are neighbours; none if the manifest is empty.
    shown: Vec<Shown>,
}

/// An entry, where it stands, and the hashes beside its way up to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    at: u64,
    entry: Entry,
    beside: Vec<Hash>,
}

/// What a proof proves of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proved<'a> {
    /// That this is answered.
    Entry(&'a Entry),
    /// That there is nothing.
    Absent,
}

impl Bundle {
    /// Proves what is answered under a key, or that nothing is.
    pub fn prove(&self, key: &str) -> Proof {
        let places = match self.manifest.place(key) {
            Ok(at) => [Some(at), None],
            Err(at) => [at.checked_sub(1), Some(at)],
        };
        let show = |at: usize| {
            let entry = self.manifest.entries().get(at)?.clone();
            Some(Shown { at: at as u64, entry, beside: self.manifest.beside(at) })
        };
        Proof {
            root: self.root,
            car_root: self.car_root,
            manifest_root: self.manifest.root(),
            leaves: self.leaves,
            entries: self.manifest.entries().len() as u64,
            shown: places.into_iter().flatten().filter_map(show).collect(),
        }
    }
}

impl Proof {
    /// The most bytes of one.
    pub const BYTES_MAX: usize = 4096;

    /// The bundle that it is of: whoever wants another is not answered by it.
    pub fn bundle(&self) -> BundleId {
        BundleId::of(&self.root, [&self.car_root, &self.manifest_root], [self.leaves, self.entries])
    }

    /// The root of the site.
    pub fn root(&self) -> &Cid {
        &self.root
    }

    /// What it proves of a key; `None` if that is nothing.
    pub fn of(&self, key: &str) -> Option<Proved<'_>> {
        if let Some(shown) = self.shown.iter().find(|shown| *shown.entry.key == *key) {
            return Some(Proved::Entry(&shown.entry));
        }
        let last = self.entries.checked_sub(1);
        let absent = match &*self.shown {
            [] => last.is_none(),
            [one] => (one.at == 0 && *key < *one.entry.key) || (Some(one.at) == last && *key > *one.entry.key),
            [before, after, ..] => *key > *before.entry.key && *key < *after.entry.key,
        };
        absent.then_some(Proved::Absent)
    }

    /// Its bytes: a magic, length of the root's CID (1), that CID, root of the CAR's tree (32), of the manifest's (32), leaves of the
    /// CAR's (8), entries (8), then for each that is shown: its place (8), the entry as manifests have it, and the hashes beside its way.
    pub fn to_bytes(&self) -> Vec<u8> {
        let root = self.root.to_bytes();
        let len = [u8::try_from(root.len()).unwrap_or(u8::MAX)];
        let counts = [self.leaves.to_be_bytes(), self.entries.to_be_bytes()].concat();
        let mut bytes = [&MAGIC[..], &len, &root, &self.car_root, &self.manifest_root, &counts].concat();
        for Shown { at, entry, beside } in &self.shown {
            bytes.extend_from_slice(&at.to_be_bytes());
            entry.write(&mut bytes);
            beside.iter().for_each(|hash| bytes.extend_from_slice(hash));
        }
        bytes
    }

    /// Reads them; `None` for anything that [`Proof::to_bytes`] does not write, and for what does not prove what it shows.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(MAGIC).filter(|rest| rest.len() <= Self::BYTES_MAX)?;
        let (len, rest) = bytes.split_first()?;
        let (root, rest) = rest.split_at_checked(usize::from(*len))?;
        let (car_root, rest) = rest.split_first_chunk::<32>()?;
        let (manifest_root, rest) = rest.split_first_chunk::<32>()?;
        let (leaves, rest) = rest.split_first_chunk::<8>()?;
        let (entries, mut rest) = rest.split_first_chunk::<8>()?;
        let [leaves, entries] = [leaves, entries].map(|count| u64::from_be_bytes(*count));
        let root = Cid::try_from(root).ok().filter(|root| root.to_bytes().len() == usize::from(*len))?;
        let mut shown = Vec::new();
        while !rest.is_empty() {
            let (one, behind) = Shown::read(rest, entries)?;
            shown.push(one);
            rest = behind;
        }
        let proof = Self { root, car_root: *car_root, manifest_root: *manifest_root, leaves, entries, shown };
        let bounded = leaves <= LEAVES_MAX && entries <= ENTRIES_MAX as u64;
        (bounded && proof.is_sound()).then_some(proof)
    }

    /// Whether what is shown stands in the manifest, in order and beside one another.
    fn is_sound(&self) -> bool {
        let stands = |Shown { at, entry, beside }: &Shown| {
            *at < self.entries && merkle::root_over(entry.leaf(), *at, beside) == self.manifest_root
        };
        let beside = match &*self.shown {
            [] => self.entries == 0 && self.manifest_root == merkle::NO_LEAF,
            [_] => true,
            [before, after] => before.at.checked_add(1) == Some(after.at) && before.entry.key < after.entry.key,
            _ => false,
        };
        beside && self.shown.iter().all(stands)
    }
}

impl Shown {
    fn read(bytes: &[u8], entries: u64) -> Option<(Self, &[u8])> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (entry, rest) = Entry::read(rest)?;
        let (beside, rest) = rest.split_at_checked(merkle::height(entries).checked_mul(size_of::<Hash>())?)?;
        let (beside, _) = beside.as_chunks::<32>();
        Some((Self { at: u64::from_be_bytes(*at), entry, beside: beside.to_vec() }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, digest};

    fn bundle(entries: usize) -> Bundle {
        let entry = |number: usize| {
            let key = format!("/{number:05}").into();
            Entry { key, status: 200, digest: digest(&number.to_be_bytes()), head: [7; 32] }
        };
        let manifest = Manifest::new((0..entries).map(entry).collect()).unwrap();
        let root = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi".parse().unwrap();
        Bundle { root, car_root: [3; 32], leaves: 9, manifest }
    }

    #[test]
    fn every_key_and_every_gap_is_proved() {
        for entries in [0, 1, 2, 3, 300, 700] {
            let bundle = bundle(entries);
            for number in 0..entries {
                let key = format!("/{number:05}");
                let proof = Proof::from_bytes(&bundle.prove(&key).to_bytes()).unwrap();
                assert_eq!((proof.bundle(), proof.root()), (bundle.id(), &bundle.root));
                assert_eq!(proof.of(&key), bundle.manifest.get(&key).map(Proved::Entry));
                // Of the only one all others are neighbours.
                assert_eq!(proof.of("/00000x").is_none(), entries > 1, "it says nothing of others");
                let gap = format!("{key}x");
                let proof = Proof::from_bytes(&bundle.prove(&gap).to_bytes()).unwrap();
                assert_eq!((proof.of(&gap), proof.bundle()), (Some(Proved::Absent), bundle.id()));
            }
            for gap in ["/", "/x"] {
                let bytes = bundle.prove(gap).to_bytes();
                assert!(bytes.len() <= Proof::BYTES_MAX);
                assert_eq!(Proof::from_bytes(&bytes).unwrap().of(gap), Some(Proved::Absent), "{entries}");
            }
        }
    }

    #[test]
    fn what_is_changed_proves_nothing_or_is_of_another_bundle() {
        let bundle = bundle(300);
        for key in ["/00077", "/00077x", "/"] {
            let bytes = bundle.prove(key).to_bytes();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let other = Proof::from_bytes(&changed).filter(|proof| proof.bundle() == bundle.id());
                assert_eq!(other, None, "byte {at}");
                let cut = Proof::from_bytes(&bytes[..at]);
                assert_eq!(cut.as_ref().and_then(|proof| proof.of(key)), None, "cut at {at}");
            }
            assert_eq!(Proof::from_bytes(&[&bytes[..], b"x"].concat()), None);
        }
    }

    #[test]
    fn places_that_are_no_neighbours_prove_no_absence() {
        let bundle = bundle(300);
        let mut proof = bundle.prove("/00077x");
        proof.shown.remove(0);
        let one = Proof::from_bytes(&proof.to_bytes()).unwrap();
        assert_eq!(one.of("/00077x"), None);
        proof.shown.insert(0, bundle.prove("/00076").shown.remove(0));
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), None);
        proof.shown.clear();
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), None);
    }
}
