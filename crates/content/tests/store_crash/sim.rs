//! A disk in memory that records what is done to it, and puts together what a crash would have left.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use atoll_content::store::StoreError;
use atoll_content::store::disk::{Disk, DiskFile, Lock, ReadAt};

/// What the store acknowledged, or is about to do, in the record between the operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Written(usize),
    Synced,
    PinBegins(usize),
    Pinned(usize, bool),
    Collecting,
}

/// One recorded operation; files are numbered as they were created.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create { name: String, file: usize },
    Remove { name: String },
    SyncDir { folder: String },
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    SetLen { file: usize, len: usize },
    Sync { file: usize },
    Note(Event),
}

impl Op {
    pub(crate) fn event(&self) -> Option<Event> {
        if let Self::Note(event) = self { Some(*event) } else { None }
    }
}

/// xorshift64*: enough to choose what is lost.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    record: Vec<Op>,
    sync_fails: bool,
    /// The next write stops after so many bytes.
    write_fails: Option<usize>,
    cut_fails: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn note(&self, event: Event) {
        self.state().record.push(Op::Note(event));
    }

    pub(crate) fn record(&self) -> Vec<Op> {
        self.state().record.clone()
    }

    pub(crate) fn fail_sync(&self) {
        self.state().sync_fails = true;
    }

    pub(crate) fn fail_write(&self, after: usize, cut_fails: bool) {
        let mut state = self.state();
        (state.write_fails, state.cut_fails) = (Some(after), cut_fails);
    }

    pub(crate) fn remove_index(&self) {
        self.remove("index.redb").unwrap();
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> Result<Lock, StoreError> {
        Ok(Lock::simulated())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = *self.state().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { state: self.state.clone(), file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let file = state.files.len();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.names.insert(name.to_owned(), file);
        state.files.push(Vec::new());
        state.record.push(Op::Create { name: name.to_owned(), file });
        Ok(Arc::new(SimFile { state: self.state.clone(), file }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        Ok(self.state().names.keys().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.record.push(Op::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.state().record.push(Op::SyncDir { folder: folder.to_owned() });
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl ReadAt for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().files[self.file].len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state.lock().unwrap().files[self.file].as_slice().read_at(offset, out)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let mut bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        let fails = state.write_fails.take();
        bytes.truncate(fails.unwrap_or(usize::MAX));
        let offset = usize::try_from(offset).unwrap();
        write(&mut state.files[self.file], offset, &bytes);
        state.record.push(Op::Write { file: self.file, offset, bytes });
        if fails.is_some() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.cut_fails) {
            return Err(io::Error::other("the disk is gone"));
        }
        let len = usize::try_from(len).unwrap();
        state.files[self.file].resize(len, 0);
        state.record.push(Op::SetLen { file: self.file, len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.sync_fails) {
            return Err(io::Error::other("the disk is gone"));
        }
        state.record.push(Op::Sync { file: self.file });
        Ok(())
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// How much of what was not synced a crash takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// The process was killed; the system lives.
    Nothing,
    /// Power was lost, and with it all that was not synced.
    Unsynced,
    /// Power was lost, and each write that was not synced is there, missing, or torn.
    Some,
}

/// A file as far as it is durable, and what was done to it since.
#[derive(Clone, Debug, Default)]
struct Durable {
    bytes: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(file, *offset, bytes),
            Self::SetLen(len) => file.resize(*len, 0),
        }
    }

    /// A part of a write, as a power loss or a kill in the middle leaves it.
    fn torn(&self, rng: &mut Rng) -> Option<Self> {
        let Self::Write { offset, bytes } = self else { return None };
        Some(Self::Write { offset: *offset, bytes: bytes[..rng.below(bytes.len().max(1))].to_vec() })
    }
}

/// The record as far as it was replayed.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    files: Vec<Durable>,
    names: BTreeMap<String, usize>,
    /// Creations (with the file) and removals not yet synced.
    pending: Vec<(String, Option<usize>)>,
}

impl Replay {
    /// Takes the next operation; for a write also gives the disk of a process killed in the middle of it.
    pub(crate) fn push(&mut self, op: Op, rng: &mut Rng) -> Option<SimDisk> {
        match op {
            Op::Create { name, file } => {
                assert_eq!(file, self.files.len());
                self.files.push(Durable::default());
                self.pending.push((name, Some(file)));
            }
            Op::Remove { name } => self.pending.push((name, None)),
            Op::SyncDir { folder } => self.sync_dir(&folder),
            Op::Write { file, offset, bytes } => {
                let change = Change::Write { offset, bytes };
                let mut torn = self.disk(rng, Loss::Nothing);
                change.torn(rng)?.apply(&mut Arc::get_mut(&mut torn.state)?.get_mut().unwrap().files[file]);
                self.files[file].pending.push(change);
                return Some(torn);
            }
            Op::SetLen { file, len } => self.files[file].pending.push(Change::SetLen(len)),
            Op::Sync { file } => {
                let file = &mut self.files[file];
                let pending = std::mem::take(&mut file.pending);
                pending.iter().for_each(|change| change.apply(&mut file.bytes));
            }
            Op::Note(_) => {}
        }
        None
    }

    fn sync_dir(&mut self, folder: &str) {
        let here = |name: &str| name.rsplit_once('/').map_or("", |(folder, _)| folder) == folder;
        let (synced, pending) = std::mem::take(&mut self.pending).into_iter().partition(|(name, _)| here(name));
        self.pending = pending;
        let synced: Vec<_> = synced;
        for (name, file) in synced {
            set_name(&mut self.names, name, file);
        }
    }

    /// A disk as a crash now could leave it.
    pub(crate) fn disk(&self, rng: &mut Rng, loss: Loss) -> SimDisk {
        let mut state = State { names: self.names.clone(), ..State::default() };
        for (name, file) in &self.pending {
            let happened = match loss {
                Loss::Nothing => true,
                Loss::Unsynced => false,
                Loss::Some => rng.below(4) > 0,
            };
            if happened {
                set_name(&mut state.names, name.clone(), *file);
            }
        }
        for file in &self.files {
            let mut bytes = file.bytes.clone();
            for change in &file.pending {
                match (loss, rng.below(4)) {
                    (Loss::Nothing, _) | (Loss::Some, 0 | 1) => change.apply(&mut bytes),
                    (Loss::Some, 2) => {
                        if let Some(part) = change.torn(rng) {
                            part.apply(&mut bytes);
                        }
                    }
                    _ => {}
                }
            }
            state.files.push(bytes);
        }
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }
}

fn set_name(names: &mut BTreeMap<String, usize>, name: String, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name, file),
        None => names.remove(&name),
    };
}
