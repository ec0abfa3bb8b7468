//! The rules of a list, ready to be looked up: 20 bytes a rule, in one sorted array with an index over it, so that millions
//! fit and a lookup touches a few cache lines. Rules with a prefix are kept beside, by what they are below.
//!
//! A rule is found by the first 16 bytes of the SHA-256 of what it is about. Two that collide would have to be made on
//! purpose with 2^64 hashes, by an author who could as well have written both rules. In memory only.

use std::collections::HashMap;

use atoll_core::block::Multihash;
use atoll_core::{Cid, Denied, Subject};
use multibase::Base;
use multihash_codetable::{Code, MultihashDigest};
use sha2::{Digest, Sha256};

use super::rule::{About, Rule, RulePath, SHA2_256, domain, multihash};
use crate::error::DenyError;

/// The most rules of a list that can be set: 200 MB of memory.
pub const RULES_MAX: usize = 10_000_000;
/// The most rules of a list with a prefix that is not empty, which take about 150 bytes each.
pub const PREFIXES_MAX: usize = 200_000;
/// The most of these below one root or name, which are looked through one by one.
pub const PREFIXES_BELOW_MAX: usize = 1_000;
/// The most hash functions of double hashes in a list, since each is computed for whatever is looked up.
pub const FUNCTIONS_MAX: usize = 4;
/// About how many rules lie between two entries of the index.
const INDEX_STRIDE_LOG2: u32 = 3;
/// The most bits of a key that the index tells apart.
const INDEX_BITS_MAX: u32 = 20;

/// What a rule is found by.
type Key = [u8; 16];

/// What a rule says: its line, and two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Says(u32);

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The line of the rule, counted from 1.
    pub line: u32,
    /// With what status it denies; `None` for an exception.
    pub denied: Option<Denied>,
}

/// The rules of a list.
#[derive(Debug, Default)]
pub struct Table {
    keys: Vec<Key>,
    says: Vec<Says>,
    /// Where in `keys` those begin whose first bits are the index.
    index: Vec<u32>,
    index_bits: u32,
    prefixes: HashMap<Key, Vec<(Box<str>, Says)>>,
    functions: Vec<u64>,
}

/// Rules as they are collected.
#[derive(Debug)]
pub struct Builder {
    max: usize,
    rules: Vec<(Key, Says)>,
    prefixes: HashMap<Key, Vec<(Box<str>, Says)>>,
    prefix_count: usize,
    functions: Vec<u64>,
}

impl Says {
    /// Lines beyond this cannot be told apart; far fewer rules are held.
    const LINE_MAX: u32 = u32::MAX >> 2;

    fn new(line: u32, allow: bool, denied: Denied) -> Self {
        let legal = denied == Denied::Legal;
        Self(line.min(Self::LINE_MAX) << 2 | u32::from(allow) << 1 | u32::from(legal))
    }

    fn verdict(self) -> Verdict {
        let denied = if self.0 & 1 == 1 { Denied::Legal } else { Denied::Gone };
        Verdict { line: self.0 >> 2, denied: (self.0 & 2 == 0).then_some(denied) }
    }
}

impl Builder {
    /// For so many rules.
    pub fn new(max: usize) -> Self {
        Self { max, rules: Vec::new(), prefixes: HashMap::new(), prefix_count: 0, functions: Vec::new() }
    }

    /// Adds a rule. The inner error says why it cannot be held, and is skipped.
    ///
    /// # Errors
    /// [`DenyError::TooManyRules`].
    pub fn add(&mut self, rule: &Rule, line: u32, denied: Denied) -> Result<Result<(), &'static str>, DenyError> {
        let says = Says::new(line, rule.allow, denied);
        match &rule.about {
            About::Content(hash, path) => self.path(Space::Content(&hash.to_bytes()), path, says),
            About::Key(hash, path) => self.path(Space::Key(&hash.to_bytes()), path, says),
            About::Domain(name, path) => self.path(Space::Domain(name), path, says),
            About::Hashed(hashes) => {
                for hash in hashes {
                    if !self.functions.contains(&hash.code()) {
                        if self.functions.len() == FUNCTIONS_MAX {
                            return Ok(Err("the list uses too many hash functions"));
                        }
                        self.functions.push(hash.code());
                    }
                    self.exact(hashed_key(&hash.to_bytes()), says)?;
                }
                Ok(Ok(()))
            }
        }
    }

    fn path(&mut self, space: Space<'_>, path: &RulePath, says: Says) -> Result<Result<(), &'static str>, DenyError> {
        if !path.prefix || path.text.is_empty() {
            let key = if path.prefix { space.all() } else { space.exact(&path.text) };
            return self.exact(key, says).map(Ok);
        }
        let below = self.prefixes.entry(space.all()).or_default();
        if below.len() == PREFIXES_BELOW_MAX || self.prefix_count == PREFIXES_MAX {
            return Ok(Err("there are too many rules with a prefix"));
        }
        self.prefix_count = self.prefix_count.saturating_add(1);
        below.push((path.text.as_str().into(), says));
        Ok(Ok(()))
    }

    fn exact(&mut self, key: Key, says: Says) -> Result<(), DenyError> {
        if self.rules.len() >= self.max {
            return Err(DenyError::TooManyRules(self.max));
        }
        self.rules.push((key, says));
        Ok(())
    }

    /// Makes them ready to be looked up. Of rules about the same the last stays.
    pub fn build(mut self) -> Table {
        self.rules.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        self.rules.dedup_by_key(|(key, _)| *key);
        let bits = self.rules.len().max(1).ilog2().saturating_sub(INDEX_STRIDE_LOG2).min(INDEX_BITS_MAX);
        let (keys, says): (Vec<_>, Vec<_>) = self.rules.into_iter().unzip();
        let mut table =
            Table { says, index_bits: bits, prefixes: self.prefixes, functions: self.functions, ..Table::default() };
        let mut at = 0_u32;
        for slot in 0..=1_usize << bits {
            while keys.get(at as usize).is_some_and(|key| table.slot(key) < slot) {
                at = at.saturating_add(1);
            }
            table.index.push(at);
        }
        table.keys = keys;
        table
    }
}

impl Table {
    /// How many rules it holds.
    pub fn len(&self) -> usize {
        self.keys.len().saturating_add(self.prefixes.values().map(Vec::len).sum())
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    /// About how much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let exact = self.keys.capacity().saturating_mul(size_of::<Key>());
        let says = self.says.capacity().saturating_mul(size_of::<Says>());
        let below =
            |rules: &Vec<(Box<str>, Says)>| rules.iter().map(|(path, _)| path.len().saturating_add(64)).sum::<usize>();
        let prefixes: usize = self.prefixes.values().map(|rules| below(rules).saturating_add(64)).sum();
        exact.saturating_add(says).saturating_add(self.index.len().saturating_mul(4)).saturating_add(prefixes)
    }

    /// What the last rule about `subject` says.
    pub fn decide(&self, subject: Subject<'_>) -> Option<Verdict> {
        if self.is_empty() {
            return None;
        }
        let last = match subject {
            Subject::Block(cid) => self.content(cid, ""),
            Subject::Path { root, names } => self.content(root, &names.join("/")),
            Subject::Name { name, names } => self.name(name, &names.join("/")),
        };
        last.map(Says::verdict)
    }

    fn content(&self, cid: &Cid, path: &str) -> Option<Says> {
        let hash = cid.hash().to_bytes();
        let found = self.below(Space::Content(&hash), path);
        found.max(self.hashed(|| (modern(cid.hash(), path), legacy(cid, path))))
    }

    fn name(&self, name: &str, path: &str) -> Option<Says> {
        if let Some(hash) = multihash(name) {
            let found = self.below(Space::Key(&hash.to_bytes()), path);
            let key = Cid::new_v1(LIBP2P_KEY, hash);
            return found.max(self.hashed(|| (modern(&hash, path), legacy(&key, path))));
        }
        let name = domain(name)?;
        let found = self.below(Space::Domain(&name), path);
        let modern = || if path.is_empty() { format!("/ipns/{name}") } else { format!("/ipns/{name}/{path}") };
        found.max(self.hashed(|| (modern(), format!("{name}/{path}"))))
    }

    /// The last rule about a path below a root or name, by its clear text.
    fn below(&self, space: Space<'_>, path: &str) -> Option<Says> {
        let all = space.all();
        let exact = self.find(&space.exact(path)).max(self.find(&all));
        let begins = self.prefixes.get(&all).into_iter().flatten().filter(|(prefix, _)| path.starts_with(&**prefix));
        exact.max(begins.map(|(_, says)| *says).max())
    }

    /// The last rule about the hash of either text; both are made only if there are such rules.
    fn hashed(&self, texts: impl Fn() -> (String, String)) -> Option<Says> {
        if self.functions.is_empty() {
            return None;
        }
        let (modern, legacy) = texts();
        let of = |function: &u64| {
            let code = Code::try_from(*function).ok()?;
            let find = |text: &str| self.find(&hashed_key(&code.digest(text.as_bytes()).to_bytes()));
            let legacy = if *function == SHA2_256 { find(&legacy) } else { None };
            find(&modern).max(legacy)
        };
        self.functions.iter().filter_map(of).max()
    }

    fn find(&self, key: &Key) -> Option<Says> {
        let slot = self.slot(key);
        let start = *self.index.get(slot)? as usize;
        let end = *self.index.get(slot.saturating_add(1))? as usize;
        let at = self.keys.get(start..end)?.binary_search(key).ok()?;
        self.says.get(start.saturating_add(at)).copied()
    }

    fn slot(&self, key: &Key) -> usize {
        let [a, b, c, d, ..] = *key;
        let first = u64::from(u32::from_be_bytes([a, b, c, d]));
        // At most 20 bits.
        usize::try_from(first << self.index_bits >> 32).unwrap_or(usize::MAX)
    }
}

/// Multicodec of the keys that IPNS names are.
const LIBP2P_KEY: u64 = 0x72;

/// What rules are below.
#[derive(Clone, Copy)]
enum Space<'a> {
    Content(&'a [u8]),
    Key(&'a [u8]),
    Domain(&'a str),
}

impl Space<'_> {
    /// The key of a path below it. Its parts are told apart by their lengths.
    fn exact(self, path: &str) -> Key {
        self.key(0, path)
    }

    /// The key of all that is below it.
    fn all(self) -> Key {
        self.key(1, "")
    }

    fn key(self, kind: u8, path: &str) -> Key {
        let (space, name) = match self {
            Self::Content(hash) => (0, hash),
            Self::Key(hash) => (1, hash),
            Self::Domain(name) => (2, name.as_bytes()),
        };
        let len = (name.len() as u64).to_be_bytes();
        cut(Sha256::new().chain_update([space, kind]).chain_update(len).chain_update(name).chain_update(path))
    }
}

fn hashed_key(hash: &[u8]) -> Key {
    cut(Sha256::new().chain_update([3]).chain_update(hash))
}

fn cut(hasher: Sha256) -> Key {
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// What a double hash is the hash of: the multihash in base58, and the path.
fn modern(hash: &Multihash, path: &str) -> String {
    let hash = Base::Base58Btc.encode(hash.to_bytes());
    if path.is_empty() { hash } else { format!("{hash}/{path}") }
}

/// What a legacy double hash is the SHA-256 of: CIDv1 in base32, a slash even without a path, the path.
fn legacy(cid: &Cid, path: &str) -> String {
    format!("{}/{path}", Cid::new_v1(cid.codec(), *cid.hash()))
}
