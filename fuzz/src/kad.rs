//! Messages of the DHT, and what a node saved of its announcements.

use std::time::Duration;

use atoll_core::dht::{Key, Place};
use atoll_core::kad::{PEERS_MAX, providers};
use atoll_core::{PeerId, Timestamp};
use atoll_routing::Schedule;
use bytes::Bytes;

/// A message without its length, and the same bytes as a file of announcements.
pub fn kad(data: &[u8]) {
    if let Ok(peers) = providers(Bytes::copy_from_slice(data)) {
        assert!(peers.len() <= PEERS_MAX);
    }
    let me = PeerId::from_bytes(&[&[0x12, 32][..], &[7; 32]].concat()).unwrap_or_else(|_| PeerId::random());
    let mut schedule = Schedule::new(&me, Duration::from_secs(3600));
    if !schedule.restore(data) {
        return;
    }
    // What is read is written and read again as the same, and a key that comes later fits in, whatever was restored.
    let saved = schedule.save();
    let mut again = Schedule::new(&me, Duration::from_secs(3600));
    assert!(again.restore(&saved));
    assert_eq!(again.save(), saved);
    let (key, now) = (Key::from(&b"key"[..]), Timestamp::from_secs(1_800_000_000));
    assert!(schedule.add(Place::of(&key), key, now));
    schedule.take(now);
}
