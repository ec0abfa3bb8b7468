//! From the disk into memory: a response that is asked for is read, and sent while it is read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;

use super::{Entry, Found, Store};
use crate::disk::{Disk, Looked as OnDisk, OnDisk as Body, Revived};
use crate::fill::{Pushed, Writing};
use crate::flight::{Flight, Landed};
use crate::key::Key;
use crate::purge::Left;

/// How often a request waits for another that reads from the disk; then it reads for itself.
const ROUNDS: usize = 2;

/// What is stored for a request, in memory or on disk.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What.
    pub found: Found,
    /// Whether it was read from the disk for this request.
    pub disk: bool,
}

impl Store {
    /// What is stored for a request, on disk too. One reads for all who ask for the same.
    pub async fn look(self: &Arc<Self>, key: &Key, request: &HeaderMap) -> Looked {
        self.look_on(self.find(key, request), key, request).await
    }

    /// The same, after what was `found` in memory.
    pub async fn look_on(self: &Arc<Self>, mut found: Found, key: &Key, request: &HeaderMap) -> Looked {
        let Some(disk) = self.disk.as_ref().filter(|_| !self.is_given_up()) else {
            return Looked { found, disk: false };
        };
        let mut rounds = 0..ROUNDS;
        while !found.is_a_response() && disk.has(key) {
            let leader = match self.readings.board(key) {
                Flight::Follow(landing) if rounds.next().is_some() => {
                    landing.wait().await;
                    found = self.find(key, request);
                    continue;
                }
                Flight::Follow(_) => None,
                Flight::Lead(leader) => Some(leader),
            };
            // Boxed, since it is large, and most look-ups end in memory.
            let revived = Box::pin(self.read(disk, key, request)).await;
            if let Some(leader) = leader {
                leader.land(Landed::Answered);
            }
            return match (revived, &found) {
                (Found::Nothing, Found::Others) => Looked { found, disk: false },
                (found, _) => Looked { disk: found.is_a_response(), found },
            };
        }
        Looked { found, disk: false }
    }

    /// Reads from the disk.
    async fn read(self: &Arc<Self>, disk: &Arc<Disk>, key: &Key, request: &HeaderMap) -> Found {
        let (reader, what, wanted) = (Arc::clone(disk), key.clone(), request.clone());
        let looked = tokio::task::spawn_blocking(move || reader.look(&what, &wanted)).await;
        let revived = match looked {
            Ok(OnDisk::Found(revived)) => revived,
            Ok(OnDisk::Others) => return Found::Others,
            Ok(OnDisk::Nothing) | Err(_) => return Found::Nothing,
        };
        let Some(entry) = self.revive(disk, key, *revived).await else { return Found::Nothing };
        // What was purged meanwhile is seen here.
        match self.left(key, &entry) {
            Left::All => Found::Entry(entry),
            Left::Stale => Found::Stale(entry),
            Left::Nothing => Found::Nothing,
        }
    }

    /// Brings a response into memory, its body as it is read.
    async fn revive(self: &Arc<Self>, disk: &Arc<Disk>, key: &Key, revived: Revived) -> Option<Arc<Entry>> {
        let Revived { stored, variant, begun, body, first } = revived;
        let (fill, writing) = self.begin(Some(body.len()))?;
        let entry = Entry::new(stored, variant, fill, begun);
        entry.written.store(true, Ordering::Release);
        if !first.is_empty() && writing.push(first).await != Pushed::Kept {
            return None;
        }
        self.put_back(key, &entry);
        disk.used(key, &entry.variant);
        if body.parts() <= 1 {
            writing.end();
            self.settle(key, &entry);
        } else {
            let (store, disk, key, entry) = (Arc::clone(self), Arc::clone(disk), key.clone(), Arc::clone(&entry));
            tokio::spawn(async move {
                if read_on(&body, writing).await.is_none() {
                    disk.is_damaged(&body);
                }
                store.settle(&key, &entry);
            });
        }
        Some(entry)
    }

    /// Stores what was on disk, unless something newer has come.
    fn put_back(&self, key: &Key, entry: &Arc<Entry>) {
        let _lock = self.lock(key);
        let mut entries = self.cache.get(key).map(|resource| resource.entries.clone()).unwrap_or_default();
        let changed = self.changed.get(key).is_some_and(|changed| changed > entry.begun);
        let known =
            entries.iter().any(|other| other.variant == entry.variant && self.left(key, other) != Left::Nothing);
        if changed || known || self.left(key, entry) == Left::Nothing {
            return;
        }
        entries.retain(|other| other.variant != entry.variant);
        // Behind what came from the origin since.
        entries.push(Arc::clone(entry));
        entries.truncate(self.variants_max);
        self.cache.insert(key.clone(), super::Resource::new(key, entries));
    }
}

/// Reads a body behind its first part; `None` if it is damaged.
async fn read_on(body: &Body, writing: Writing) -> Option<()> {
    for number in 1..body.parts() {
        let reader = body.clone();
        let part = tokio::task::spawn_blocking(move || reader.part(number)).await;
        let part = part.ok()?.ok()??;
        if writing.push(part).await == Pushed::Unread {
            return Some(());
        }
    }
    writing.end();
    Some(())
}

impl Found {
    /// Whether it is a response to the request.
    fn is_a_response(&self) -> bool {
        matches!(self, Self::Entry(_) | Self::Stale(_))
    }
}
