//! Opening a store: what the packs hold behind the index's watermark is read, checked and indexed again.
//!
//! An index that is missing, unreadable, of another version or not of these packs is replaced by an empty one, whose
//! watermark is the beginning: a rebuild is the same walk, only longer, and goes on where it was interrupted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use atoll_core::block::Multihash;

use super::disk::{Disk, DiskFile, PACKS};
use super::error::{StoreError, hex};
use super::index::{self, Index, Loaded, Place, Watermark};
use super::log::Head;
use super::pack::{Found, PACK_HEADER_BYTES, PACK_VERSION, Pack, PackHeader, Scanner, pack_name, pack_number};
use super::record::Salt;
use super::table::Table;
use super::{Inner, Options};

/// How many damaged blocks a report names; more are only counted.
pub const DAMAGED_NAMED_MAX: usize = 10_000;

/// A block whose bytes on disk do not hash to its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBlock {
    /// Its name.
    pub hash: Multihash,
    /// The pack of the damaged copy.
    pub pack: u32,
    /// Where the record begins in that pack, in bytes.
    pub offset: u64,
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Why the index was rebuilt from the packs, if it was.
    pub rebuilt: Option<&'static str>,
    /// Records read behind the index's watermark.
    pub records: u64,
    /// Bytes of an unfinished write that were cut off.
    pub cut_bytes: u64,
    /// Bytes between records that are no records.
    pub gap_bytes: u64,
    /// Damaged blocks among the records read, at most [`DAMAGED_NAMED_MAX`].
    pub damaged: Vec<DamagedBlock>,
}

/// A pack file as found in the folder.
struct PackFile {
    file: Arc<dyn DiskFile>,
    len: u64,
    header: Option<PackHeader>,
}

/// Opens packs and index; the log behind the watermark is not yet read.
pub(crate) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Inner, Recovered), StoreError> {
    let lock = disk.lock()?;
    let files = open_packs(disk.as_ref())?;
    let (index, loaded, rebuilt) = open_index(&disk, &options, &files)?;
    let known_salt = loaded.salt.or_else(|| files.values().find_map(|file| file.header.map(|header| header.salt)));
    let salt = match known_salt {
        Some(salt) => salt,
        None => new_salt()?,
    };
    let next = files.keys().next_back().map_or(1, |last| last.saturating_add(1)).max(loaded.watermark.pack);
    let used = files.values().fold(0u64, |sum, file| sum.saturating_add(file.len));
    let committed = loaded.salt.is_some().then_some(loaded.watermark);
    let head = Head { next, known: loaded.watermark, committed, used, ..Head::default() };
    let packs = files.into_iter().map(|(number, file)| {
        let salt = file.header.map_or(salt, |header| header.salt);
        let pack = Pack::over(file.file, number, salt, file.len);
        pack.set_synced(match number.cmp(&loaded.watermark.pack) {
            std::cmp::Ordering::Less => file.len,
            std::cmp::Ordering::Equal => loaded.watermark.offset,
            std::cmp::Ordering::Greater => 0,
        });
        (number, Arc::new(pack))
    });
    let table = Table::new(packs.collect(), loaded.pins, loaded.live);
    let inner = Inner::new(disk, options, (index, salt, lock), head, table);
    Ok((inner, Recovered { rebuilt, ..Recovered::default() }))
}

/// Reads the log behind the watermark into the table.
pub(crate) fn replay(inner: &Inner, recovered: &mut Recovered) -> Result<(), StoreError> {
    let from = inner.head().known;
    inner.gate.moved(from);
    let packs: Vec<_> = inner.table().packs.range(from.pack..).map(|(_, pack)| pack.clone()).collect();
    for (index, pack) in packs.iter().enumerate() {
        let start = if pack.number == from.pack { from.offset } else { PACK_HEADER_BYTES };
        replay_pack(inner, pack, start, index.saturating_add(1) == packs.len(), recovered)?;
    }
    let healed = |damaged: &DamagedBlock| inner.lookup(&damaged.hash).map(|place| place.is_some_and(|at| !at.damaged));
    let mut still_damaged = Vec::new();
    for damaged in recovered.damaged.drain(..) {
        if !healed(&damaged)? {
            still_damaged.push(damaged);
        }
    }
    recovered.damaged = still_damaged;
    Ok(())
}

fn replay_pack(
    inner: &Inner,
    pack: &Arc<Pack>,
    start: u64,
    last: bool,
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    let reading = |error| StoreError::io("reading", pack_name(pack.number), error);
    let mut scanner = pack.scan(start);
    while let Some(found) = scanner.next().map_err(reading)? {
        let tail = matches!(found, Found::Tail { .. });
        apply(inner, pack, found, &scanner, last, recovered)?;
        if tail {
            break;
        }
        if inner.backlog(&inner.head()) > 0 {
            inner.flush()?;
        }
    }
    // Writing goes on in the last pack if its header can be trusted to be there for the next start.
    let sound = PackHeader::read(pack.file.as_ref()).map_err(reading)?.is_some();
    if last && sound && pack.len() < inner.options.pack_bytes {
        inner.head().pack = Some(pack.clone());
    }
    Ok(())
}

/// Takes one finding into the table.
fn apply(
    inner: &Inner,
    pack: &Pack,
    found: Found,
    scanner: &Scanner<'_>,
    last: bool,
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    let mut head = inner.head();
    let mut end = scanner.position();
    recovered.records = recovered.records.saturating_add(1);
    match found {
        Found::Block { at, hash, data } => {
            let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let place = Place { pack: pack.number, offset: offset(at), len, damaged: false };
            let old = inner.lookup(&hash)?;
            inner.table_mut().set_block(&hash, old, Some(place));
        }
        Found::Damaged { at, hash, len } => {
            tracing::warn!(hash = hex(&hash), pack = pack.number, offset = at, "a block is damaged on disk");
            if recovered.damaged.len() < DAMAGED_NAMED_MAX {
                recovered.damaged.push(DamagedBlock { hash, pack: pack.number, offset: at });
            }
            if inner.lookup(&hash)?.is_none() {
                let place = Place { pack: pack.number, offset: offset(at), len, damaged: true };
                inner.table_mut().set_block(&hash, None, Some(place));
            }
        }
        Found::Pin { at, pin, on } => inner.table_mut().set_pin(pin, on.then_some((pack.number, offset(at)))),
        Found::Gap { at, end } => {
            tracing::warn!(pack = pack.number, at, end, "bytes between records are no records");
            recovered.gap_bytes = recovered.gap_bytes.saturating_add(end.saturating_sub(at));
        }
        Found::Tail { at } => {
            recovered.records = recovered.records.saturating_sub(1);
            let bytes = end.saturating_sub(at);
            if last && PackHeader::read(pack.file.as_ref()).is_ok_and(|header| header.is_some()) {
                cut(pack, at)?;
                recovered.cut_bytes = recovered.cut_bytes.saturating_add(bytes);
                head.used = head.used.saturating_sub(bytes);
                end = at;
            } else {
                recovered.gap_bytes = recovered.gap_bytes.saturating_add(bytes);
            }
        }
    }
    inner.reached(&mut head, Watermark { pack: pack.number, offset: end });
    Ok(())
}

/// Cuts an unfinished write off, durably: what is written next must not be followed by its rest.
fn cut(pack: &Pack, at: u64) -> Result<(), StoreError> {
    let result = pack.file.set_len(at).and_then(|()| pack.file.sync_data());
    result.map_err(|error| StoreError::io("cutting", pack_name(pack.number), error))?;
    pack.set_valid(at);
    Ok(())
}

fn offset(at: u64) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn open_packs(disk: &dyn Disk) -> Result<BTreeMap<u32, PackFile>, StoreError> {
    let names = disk.list(PACKS).map_err(|error| StoreError::io("listing", PACKS, error))?;
    let mut files = BTreeMap::new();
    for number in names.iter().filter_map(|name| pack_number(name)) {
        let name = pack_name(number);
        let opening = |error| StoreError::io("opening", &name, error);
        let file = disk.open(&name).map_err(opening)?;
        let len = file.size().map_err(opening)?;
        let header = PackHeader::read(file.as_ref()).map_err(opening)?;
        if let Some(PackHeader { version, .. }) = header.filter(|header| header.version != PACK_VERSION) {
            return Err(StoreError::PackVersion { pack: number, version, known: PACK_VERSION });
        }
        if header.is_none() && len <= PACK_HEADER_BYTES {
            // Records come only after the header is durable, so this pack was being created and holds nothing.
            disk.remove(&name).map_err(|error| StoreError::io("removing", &name, error))?;
            continue;
        }
        files.insert(number, PackFile { file, len, header });
    }
    Ok(files)
}

/// The index if it belongs to these packs, otherwise an empty one and why.
fn open_index(
    disk: &Arc<dyn Disk>,
    options: &Options,
    packs: &BTreeMap<u32, PackFile>,
) -> Result<(Index, Loaded, Option<&'static str>), StoreError> {
    let opened = Index::open(disk.clone(), options.index_cache_bytes);
    let why = match opened.and_then(|index| Ok((index.load()?, index))) {
        Ok((Some(loaded), index)) if fits(&loaded, packs) => {
            let missing = loaded.salt.is_none() && !packs.is_empty();
            return Ok((index, loaded, missing.then_some("it was missing")));
        }
        Ok((Some(_), _)) => "it does not belong to these packs",
        Ok((None, _)) => "it is of another version",
        Err(error) if is_unreadable(&error) => "it was unreadable",
        Err(error) => return Err(error),
    };
    tracing::warn!(why, "the index is rebuilt from the packs");
    index::remove(disk.as_ref())?;
    let index = Index::open(disk.clone(), options.index_cache_bytes)?;
    Ok((index, Loaded::default(), Some(why)))
}

/// Whether an index describes these packs: all packs that it needs are there, and as long as it says.
fn fits(loaded: &Loaded, packs: &BTreeMap<u32, PackFile>) -> bool {
    let all_there = loaded.live.iter().all(|(pack, live)| live.blocks == 0 || packs.contains_key(pack));
    let mark = loaded.watermark;
    let same_salt = |pack: &PackFile| pack.header.is_none_or(|header| Some(header.salt) == loaded.salt);
    let reaches = |pack: &PackFile| pack.len >= mark.offset && same_salt(pack);
    all_there && (mark == Watermark::default() || packs.get(&mark.pack).is_some_and(reaches))
}

/// Whether an error tells of a bad file rather than of a bad disk.
fn is_unreadable(error: &StoreError) -> bool {
    match error {
        StoreError::Index(_) => true,
        StoreError::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn new_salt() -> Result<Salt, StoreError> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).map_err(|error| StoreError::io("reading", "the system's randomness", error.into()))?;
    Ok(salt)
}
