//! Which peers lie in a part of the DHT, found with few lookups. Pure: targets come out, peers go in.
//!
//! A lookup names the [`K`] peers nearest to its target. If the farthest of them has `n` bits in common with the target, then
//! everybody with more is among them: that part of the DHT is known whole. What is left of the region are the other
//! halves on the way down to it, each of which is looked up in turn. With a whole region of [`K`] peers or more known,
//! the peers nearest to any key in it are known too, and need no lookup.

use std::collections::BTreeMap;

use atoll_core::dht::{DhtPeer, K, Key, Place, Prefix};

/// The most lookups for one region. Each that is not wasted finds some ten new peers.
pub(super) const LOOKUPS_MAX: usize = 64;
/// How many keys are tried to find one that lies in a part of the region.
const TRIES_MAX: u32 = 1 << 18;

/// A part of the DHT that is being explored.
#[derive(Debug)]
pub(super) struct Region {
    prefix: Prefix,
    peers: BTreeMap<Place, DhtPeer>,
    /// Parts that are not known yet.
    open: Vec<Prefix>,
    /// There are no other peers anywhere.
    whole: bool,
    lookups: usize,
}

impl Region {
    /// Nothing is known of `prefix`.
    pub(super) fn new(prefix: Prefix) -> Self {
        Self { prefix, peers: BTreeMap::new(), open: vec![prefix], whole: false, lookups: 0 }
    }

    /// What to look up next, of `own` keys if one lies there; `None` when all is known.
    pub(super) fn target(&mut self, own: &[(Place, Key)]) -> Option<(Place, Key)> {
        while self.lookups < LOOKUPS_MAX {
            let Some(open) = self.open.last().copied() else {
                if !self.widen() {
                    return None;
                }
                continue;
            };
            let at = own.partition_point(|(place, _)| *place < open.first());
            let here = own.get(at).filter(|(place, _)| open.contains(place));
            match here.cloned().or_else(|| key_in(&open)) {
                Some(target) => {
                    self.lookups += 1;
                    return Some(target);
                }
                // So small a part that no key is found in it has no peers of account.
                None => drop(self.open.pop()),
            }
        }
        None
    }

    /// Takes the peers that are nearest to `target`, and all there are if they are fewer than [`K`].
    pub(super) fn found(&mut self, target: &Place, peers: Vec<DhtPeer>) {
        let places: Vec<Place> = peers.iter().map(|peer| Place::of(&peer.id.to_bytes())).collect();
        let shared = places.iter().map(|place| place.common(target)).min().unwrap_or(0);
        self.whole = peers.len() < K;
        let known = if self.whole { 0 } else { shared + 1 };
        self.peers.extend(places.into_iter().zip(peers));
        let known = Prefix::new(target, known);
        let mut open = Vec::new();
        for part in std::mem::take(&mut self.open) {
            if known.contains(&part.first()) && known.len() <= part.len() {
                continue;
            }
            if !part.contains(target) {
                open.push(part);
                continue;
            }
            // The halves on the way down, the smallest last, since it is looked up first.
            open.extend((part.len()..known.len()).map(|len| Prefix::new(&target.flipped(len), len + 1)));
        }
        self.open = open;
    }

    /// With too few peers, the half beside the region is explored too; `false` when there is none or there are enough.
    fn widen(&mut self) -> bool {
        let inside = self.peers.range(self.prefix.first()..=self.prefix.last()).count();
        let (Some(sibling), Some(parent)) = (self.prefix.sibling(), self.prefix.parent()) else { return false };
        if inside >= K || self.whole {
            return false;
        }
        self.prefix = parent;
        self.open.push(sibling);
        true
    }

    /// The peers nearest to a place, as far as they are known.
    pub(super) fn closest(&self, place: &Place) -> Vec<&DhtPeer> {
        let mut all: Vec<_> = self.peers.iter().map(|(peer, about)| (peer.distance(place), about)).collect();
        if all.len() > K {
            all.select_nth_unstable_by_key(K, |(distance, _)| *distance);
            all.truncate(K);
        }
        all.into_iter().map(|(_, peer)| peer).collect()
    }
}

/// A key whose place begins as `prefix` does: a multihash of no content.
fn key_in(prefix: &Prefix) -> Option<(Place, Key)> {
    let mut key = [0_u8; 34];
    key[..2].copy_from_slice(&[0x12, 32]);
    (0..TRIES_MAX).find_map(|number| {
        key[2..6].copy_from_slice(&number.to_be_bytes());
        let place = Place::of(&key);
        prefix.contains(&place).then(|| (place, Key::from(key)))
    })
}

#[cfg(test)]
mod tests {
    use atoll_core::keys::IdentityKey;

    use super::*;

    fn peers(count: u16) -> Vec<(Place, DhtPeer)> {
        let peer = |number: u16| {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            let id = IdentityKey::from_seed(&seed).peer_id();
            (Place::of(&id.to_bytes()), DhtPeer { id, addresses: Vec::new() })
        };
        (0..count).map(peer).collect()
    }

    fn nearest(all: &[(Place, DhtPeer)], place: &Place) -> Vec<DhtPeer> {
        let mut all: Vec<_> = all.iter().collect();
        all.sort_by_key(|(peer, _)| peer.distance(place));
        all.into_iter().take(K).map(|(_, peer)| peer.clone()).collect()
    }

    #[test]
    fn the_peers_of_every_key_in_a_region_are_found_with_few_lookups() {
        for (count, depth) in [(0, 0), (1, 0), (19, 0), (20, 0), (21, 2), (300, 3), (300, 6), (1000, 5)] {
            let all = peers(count);
            let prefix = Prefix::new(&Place::of(b"somewhere"), depth);
            let mut region = Region::new(prefix);
            while let Some((place, key)) = region.target(&[]) {
                assert_eq!(place, Place::of(&key));
                region.found(&place, nearest(&all, &place));
            }
            assert!(region.lookups <= if count < 20 { 1 } else { 14 }, "{count} peers: {} lookups", region.lookups);
            for number in 0..2000_u32 {
                let place = Place::of(&number.to_be_bytes());
                if prefix.contains(&place) {
                    let mut found: Vec<_> = region.closest(&place).into_iter().cloned().collect();
                    found.sort_by_key(|peer| Place::of(&peer.id.to_bytes()).distance(&place));
                    assert_eq!(found, nearest(&all, &place), "{count} peers, {depth} bits");
                }
            }
        }
    }

    #[test]
    fn a_network_that_makes_no_sense_costs_a_bounded_number_of_lookups() {
        let mut region = Region::new(Prefix::new(&Place::of(b"x"), 4));
        let far = peers(20).into_iter().map(|(_, peer)| peer).collect::<Vec<_>>();
        let mut lookups = 0;
        while let Some((place, _)) = region.target(&[]) {
            lookups += 1;
            // Always the same, as nobody honest answers.
            region.found(&place, far.clone());
        }
        assert!(lookups <= LOOKUPS_MAX);
    }
}
