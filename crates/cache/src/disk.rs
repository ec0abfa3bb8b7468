//! Stored responses on disk, below those in memory: records in segments that only grow, an index of them in memory, and a journal of
//! what was purged.
//!
//! One thread writes. What is full makes room by its oldest segment, whose responses that were asked for since are written once more;
//! responses are written when they arrive while there is room, and at their second request once there is none. All that is read is
//! checked. A crash loses what was not yet written; what was purged stays purged, by moments that grow from start to start.

mod bytes;
mod index;
mod journal;
mod record;
mod segment;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::iter::Sum;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ::bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use crate::key::{Digest, Key};
use crate::purge::{self, Left, Noted, Purges};
use crate::store::Entry;
use crate::stored::Stored;
use crate::vary::Variant;
use index::{Index, Slot};
use journal::Journal;
use record::{Head, PART_BYTES, parts};
use segment::{CacheId, Segment};
use writer::{Op, Writer};

/// The smallest and the largest segment, in bytes; an object is in one as a whole.
const SEGMENT_BYTES: (u64, u64) = (1024 * 1024, 256 * 1024 * 1024);
/// Responses that wait to be written, and the bytes that they keep in memory.
const QUEUE_MAX: usize = 4096;
const QUEUE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How far ahead of the clock a response may have been received, by a clock that was set back since.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// What cannot be done with the folder of a cache.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process uses it.
    #[error("{} is used by another process: stop it, or set another folder", .0.display())]
    Locked(PathBuf),
    /// The operating system.
    #[error("the cache in {}: {source}", .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// What a cache on disk is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) bytes_max: u64,
    pub(crate) object_bytes_max: u64,
    pub(crate) variants_max: usize,
}

/// Figures of it since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Bytes of its segments.
    pub bytes: u64,
    /// URLs of which it holds something.
    pub urls: u64,
    /// Responses that were read from it.
    pub read: u64,
    /// Responses that were written.
    pub written: u64,
    /// Responses that were written once more, since they were asked for, when their segment was removed.
    pub kept: u64,
    /// Responses that were not written: there were too many at a time, or the disk failed.
    pub skipped: u64,
    /// Responses that were damaged, and forgotten.
    pub damaged: u64,
}

impl Sum for DiskFigures {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), |all, one| Self {
            bytes: all.bytes.saturating_add(one.bytes),
            urls: all.urls.saturating_add(one.urls),
            read: all.read.saturating_add(one.read),
            written: all.written.saturating_add(one.written),
            kept: all.kept.saturating_add(one.kept),
            skipped: all.skipped.saturating_add(one.skipped),
            damaged: all.damaged.saturating_add(one.damaged),
        })
    }
}

#[derive(Debug, Default)]
struct Tally {
    read: AtomicU64,
    written: AtomicU64,
    kept: AtomicU64,
    skipped: AtomicU64,
    damaged: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
    queue: Mutex<Option<SyncSender<Op>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    recovered: watch::Receiver<bool>,
}

/// What readers and the writer share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    id: CacheId,
    bytes_max: u64,
    segment_bytes: u64,
    index: Index,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Whether there is no room for one more segment.
    full: AtomicBool,
    journal: Journal,
    purges: Arc<Purges>,
    clock: Arc<AtomicU64>,
    /// Responses that wait to be written, by their URL.
    pending: Mutex<HashMap<Digest, usize>>,
    /// Bytes of them.
    queued: AtomicU64,
    tally: Tally,
    /// For this process alone; given up when the next one takes over.
    lock: Mutex<Option<File>>,
}

/// A response that was read. Its body is, in part.
#[derive(Debug)]
pub(crate) struct Revived {
    pub(crate) stored: Stored,
    pub(crate) variant: Variant,
    pub(crate) begun: u64,
    pub(crate) body: OnDisk,
    /// The first part of the body.
    pub(crate) first: Bytes,
}

/// A body on disk.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    segment: Arc<Segment>,
    head: Arc<Head>,
    at: u64,
}

/// What there is of a URL.
#[derive(Debug)]
pub(crate) enum Looked {
    Found(Box<Revived>),
    /// Only responses to other requests.
    Others,
    Nothing,
}

impl Disk {
    /// Opens the cache in a folder, which is made if it is not there. `clock` is set to a moment after all that it holds, and `purges`
    /// is filled.
    pub(crate) fn open(
        folder: &Path,
        plan: Plan,
        purges: &Arc<Purges>,
        clock: &Arc<AtomicU64>,
    ) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Io { folder: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = lock(folder)?;
        let kept = journal::read(&folder.join("purges")).map_err(failed)?;
        let segments = open_segments(folder, kept.id).map_err(failed)?;
        if let Some(oldest) = segments.values().map(|segment| segment.created).min() {
            kept.noted.iter().for_each(|(noted, moment)| purges.add(noted, *moment));
            purges.forget_removed(oldest);
        }
        let journal = Journal::begin(folder.join("purges"), &kept, purges).map_err(failed)?;
        clock.store(journal.first_moment(), Ordering::Release);
        let quarter = plan.bytes_max / 4;
        let segment_bytes = (plan.bytes_max / 32).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let segment_bytes = segment_bytes.max(plan.object_bytes_max.saturating_add(SEGMENT_BYTES.0)).min(quarter);
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            id: kept.id,
            bytes_max: plan.bytes_max,
            segment_bytes,
            index: Index::new(plan.variants_max),
            segments: RwLock::new(segments),
            full: AtomicBool::new(false),
            journal,
            purges: Arc::clone(purges),
            clock: Arc::clone(clock),
            pending: Mutex::default(),
            queued: AtomicU64::new(0),
            tally: Tally::default(),
            lock: Mutex::new(Some(lock)),
        });
        let (queue, ops) = sync_channel(QUEUE_MAX);
        let (has_recovered, recovered) = watch::channel(false);
        let writer = Writer::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("cache".to_owned());
        let thread = thread.spawn(move || writer.run(&ops, &has_recovered)).map_err(failed)?;
        Ok(Self { shared, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), recovered })
    }

    /// Returns once all that was there at the start is found again.
    pub(crate) async fn recovered(&self) {
        // An error says that the writer is gone; nothing is found after that.
        let _ = self.recovered.clone().wait_for(|recovered| *recovered).await;
    }

    /// Whether there may be something of a URL.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.shared.index.has(key.digest())
    }

    /// Whether there is room without taking something out.
    pub(crate) fn has_room(&self) -> bool {
        !self.shared.full.load(Ordering::Relaxed)
    }

    /// Notes that a response was asked for.
    pub(crate) fn used(&self, key: &Key, variant: &Variant) {
        if let Some(variant) = record::variant_of(variant) {
            self.shared.index.used(key.digest(), variant);
        }
    }

    /// Has a response written, unless too much waits for that already. Its body is all there.
    pub(crate) fn offer(&self, key: &Key, entry: &Arc<Entry>) {
        let shared = &self.shared;
        let bytes = entry.fill.whole().map_or(0, |whole| whole.len);
        if bytes.saturating_add(SEGMENT_BYTES.0 / 2) > shared.segment_bytes {
            return;
        }
        let digest = key.digest();
        *shared.pending().entry(digest).or_default() += 1;
        let waiting = shared.queued.fetch_add(bytes, Ordering::AcqRel);
        let op = Op::Write { key: key.clone(), digest, entry: Arc::clone(entry), bytes };
        if waiting.saturating_add(bytes) > QUEUE_BYTES_MAX || !self.send(op) {
            shared.tally.skipped.fetch_add(1, Ordering::Relaxed);
            shared.is_done(digest, bytes);
        }
    }

    fn send(&self, op: Op) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.try_send(op).is_ok())
    }

    /// Takes out all of a URL, as of a moment. What is to be added to the journal then, if anything was or will be there.
    pub(crate) fn remove(&self, key: &Key, moment: u64) -> Option<Noted> {
        let (shared, digest) = (&self.shared, key.digest());
        // What is written now is first in the one and then in the other.
        let is_pending = shared.pending().contains_key(&digest);
        if !is_pending && !shared.index.has(digest) {
            return None;
        }
        let noted = Noted::Removed(digest);
        shared.purges.add(&noted, moment);
        shared.index.remove(digest);
        Some(noted)
    }

    /// Adds what `purges` knows to the journal. It blocks.
    pub(crate) fn note(&self, noted: &Noted, moment: u64, synced: bool) -> io::Result<()> {
        let lock = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            // The folder is another process's.
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.shared.journal.add(noted, moment, synced, &self.shared.purges)
    }

    /// Lets another process have the folder. What is being read here goes on.
    pub(crate) fn give_up(&self) {
        self.close();
        *self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes all that was written up to now.
    pub(crate) fn clear(&self) {
        self.send(Op::Clear);
    }

    /// What there is for a request. It blocks.
    pub(crate) fn look(&self, key: &Key, request: &HeaderMap) -> Looked {
        self.shared.look(key, request)
    }

    /// A response was damaged where it was read.
    pub(crate) fn is_damaged(&self, body: &OnDisk) {
        self.shared.is_damaged(body.head.digest, (body.segment.number, body.at));
    }

    /// Figures.
    pub(crate) fn figures(&self) -> DiskFigures {
        let (shared, tally) = (&self.shared, &self.shared.tally);
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DiskFigures {
            bytes: shared.bytes(),
            urls: shared.index.len() as u64,
            read: of(&tally.read),
            written: of(&tally.written),
            kept: of(&tally.kept),
            skipped: of(&tally.skipped),
            damaged: of(&tally.damaged),
        }
    }

    /// Writes what waits for that, and ends. It blocks.
    pub(crate) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the cache has panicked");
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response no longer waits to be written.
    fn is_done(&self, digest: Digest, bytes: u64) {
        self.queued.fetch_sub(bytes, Ordering::AcqRel);
        let mut pending = self.pending();
        if let Some(count) = pending.get_mut(&digest) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                pending.remove(&digest);
            }
        }
    }

    fn bytes(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.values().map(|segment| segment.len()).sum()
    }

    fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    fn look(&self, key: &Key, request: &HeaderMap) -> Looked {
        let digest = key.digest();
        let mut looked = Looked::Nothing;
        for slot in self.index.find(digest) {
            // A segment that is gone took what is in it along.
            let Some(segment) = self.segment(slot.segment) else { continue };
            let place = (slot.segment, slot.at);
            match self.read(key, request, &segment, slot) {
                Ok(Read::Match(revived)) => {
                    self.tally.read.fetch_add(1, Ordering::Relaxed);
                    return Looked::Found(revived);
                }
                Ok(Read::Other) => looked = Looked::Others,
                Ok(Read::Purged) => self.index.remove_at(digest, place),
                Ok(Read::Damaged) => self.is_damaged(digest, place),
                Err(error) => {
                    tracing::warn!(%error, segment = slot.segment, "a stored response could not be read");
                    self.is_damaged(digest, place);
                }
            }
        }
        looked
    }

    fn read(&self, key: &Key, request: &HeaderMap, segment: &Arc<Segment>, slot: Slot) -> io::Result<Read> {
        let len = usize::try_from(slot.head).unwrap_or(usize::MAX);
        let head = segment.head(slot.at, len)?.filter(|head| head.digest == key.digest());
        let Some((head, said)) = head.and_then(|head| head.said().map(|said| (head, said))) else {
            return Ok(Read::Damaged);
        };
        let groups = purge::groups(said.stored.headers());
        let early = said.stored.received > SystemTime::now() + CLOCK_SLACK;
        if early || said.url != key.as_str() || self.purges.left(key.url(), &groups, head.begun) == Left::Nothing {
            return Ok(Read::Purged);
        }
        if !said.variant.matches(request, said.stored.headers()) {
            return Ok(Read::Other);
        }
        let begun = head.begun;
        let body = OnDisk { segment: Arc::clone(segment), head: Arc::new(head), at: slot.at };
        let first = if body.len() == 0 { Some(Bytes::new()) } else { body.part(0)? };
        let Some(first) = first else { return Ok(Read::Damaged) };
        let (stored, variant) = (said.stored, said.variant);
        Ok(Read::Match(Box::new(Revived { stored, variant, begun, body, first })))
    }

    fn is_damaged(&self, digest: Digest, place: (u32, u64)) {
        tracing::warn!(segment = place.0, at = place.1, "a stored response is damaged, and is forgotten");
        self.tally.damaged.fetch_add(1, Ordering::Relaxed);
        self.index.remove_at(digest, place);
    }
}

/// What a record is to a request.
enum Read {
    Match(Box<Revived>),
    Other,
    /// It counts no more.
    Purged,
    Damaged,
}

impl OnDisk {
    /// Bytes of the body.
    pub(crate) fn len(&self) -> u64 {
        self.head.body_len
    }

    /// How many parts it has.
    pub(crate) fn parts(&self) -> u64 {
        parts(self.len())
    }

    /// A part of it, by its number; `None` if it is not what was written. It blocks.
    pub(crate) fn part(&self, number: u64) -> io::Result<Option<Bytes>> {
        let start = number.saturating_mul(PART_BYTES);
        let len = self.len().saturating_sub(start).min(PART_BYTES);
        let at = self.at.saturating_add(self.head.head_bytes() as u64).saturating_add(start);
        let bytes = self.segment.read(at, usize::try_from(len).unwrap_or(0))?;
        Ok(self.head.is_part(&self.segment.salt, number, &bytes).then_some(bytes))
    }
}

fn lock(folder: &Path) -> Result<File, DiskError> {
    let failed = |source| DiskError::Io { folder: folder.to_owned(), source };
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DiskError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The segments of a cache. What is another's, or none, is removed.
fn open_segments(folder: &Path, id: CacheId) -> io::Result<BTreeMap<u32, Arc<Segment>>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(segment::number_of) else { continue };
        match Segment::open(folder, id, number)? {
            Some(segment) => drop(segments.insert(number, Arc::new(segment))),
            None => fs::remove_file(segment::path_of(folder, number))?,
        }
    }
    Ok(segments)
}

/// Reads bytes as each kind of file; for fuzzing.
pub fn fuzz(data: &[u8]) {
    record::fuzz(data);
    journal::fuzz(data);
}
