//! Publishers: who may pin what, and how much. Of a token only its hash is kept.

use std::collections::BTreeSet;

use atoll_core::Cid;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::wire::parse_cid;

/// The longest name of a publisher, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// What every token begins with, so that scanners for leaked secrets can tell.
const TOKEN_PREFIX: &str = "atoll-pin-";
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 256;

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token that somebody shows; `None` if it is too long to be one.
    pub(crate) fn of(token: &str) -> Option<Self> {
        (token.len() <= TOKEN_BYTES_MAX).then(|| Self(Sha256::digest(token).into()))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not the hash of a token")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        HEXLOWER.encode(&hash.0)
    }
}

/// A new token of 160 random bits, and its hash.
///
/// # Errors
/// [`StoreError::Randomness`].
pub(crate) fn new_token() -> Result<(String, TokenHash), StoreError> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Randomness)?;
    let token = format!("{TOKEN_PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
    let hash = TokenHash(Sha256::digest(&token).into());
    Ok((token, hash))
}

/// What a publisher may pin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AllowJson", into = "AllowJson")]
pub enum Allow {
    /// Whatever fits into its quota.
    #[default]
    Any,
    /// These roots, each in version 1.
    Roots(BTreeSet<Cid>),
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct AllowJson(Option<Vec<String>>);

impl Allow {
    /// Reads `any`, or CIDs; nothing is `any`, too.
    ///
    /// # Errors
    /// What is no CID.
    pub fn parse<T: AsRef<str>>(words: &[T]) -> Result<Self, String> {
        if words.is_empty() || words.iter().any(|word| word.as_ref() == "any") {
            return Ok(Self::Any);
        }
        let root = |word: &T| {
            let cid = parse_cid(word.as_ref()).and_then(|cid| cid.into_v1().ok());
            cid.ok_or_else(|| format!("`{}` is neither `any` nor a CID", word.as_ref()))
        };
        words.iter().map(root).collect::<Result<_, _>>().map(Self::Roots)
    }

    /// Whether `root` may be pinned.
    pub(crate) fn allows(&self, root: &Cid) -> bool {
        match self {
            Self::Any => true,
            Self::Roots(roots) => root.into_v1().is_ok_and(|root| roots.contains(&root)),
        }
    }

    /// As [`Self::parse`] reads it.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::Any => vec!["any".to_owned()],
            Self::Roots(roots) => roots.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<AllowJson> for Allow {
    type Error = String;

    fn try_from(json: AllowJson) -> Result<Self, String> {
        let Some(words) = json.0 else { return Ok(Self::Any) };
        // An empty list allows nothing, whoever wrote it.
        if words.is_empty() { Ok(Self::Roots(BTreeSet::new())) } else { Self::parse(&words) }
    }
}

impl From<Allow> for AllowJson {
    fn from(allow: Allow) -> Self {
        Self(match allow {
            Allow::Any => None,
            Allow::Roots(roots) => Some(roots.iter().map(ToString::to_string).collect()),
        })
    }
}

/// Who may pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// Its name, which is part of the reason under which its DAGs are pinned.
    pub name: String,
    /// The hash of its token; none once that was revoked.
    pub(crate) token: Option<TokenHash>,
    /// The most bytes of its DAGs.
    pub quota: u64,
    /// What it may pin.
    pub allow: Allow,
}

/// Checks the name of a publisher.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
    if fits { Ok(()) } else { Err(StoreError::PublisherName(name.chars().take(NAME_BYTES_MAX).collect())) }
}

/// A publisher as its operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherView {
    /// Its name.
    pub name: String,
    /// Whether it has a token that counts.
    pub live: bool,
    /// The most bytes of its DAGs.
    pub quota: u64,
    /// The bytes of its DAGs, those on their way included.
    pub used: u64,
    /// `any`, or the roots that it may pin.
    pub allow: Vec<String>,
    /// Its pin requests.
    pub requests: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_only_their_hash_is_kept() {
        let (one, hash) = new_token().unwrap();
        assert_ne!(one, new_token().unwrap().0);
        assert_eq!(TokenHash::of(&one), Some(hash));
        let publisher = Publisher { name: "a".to_owned(), token: Some(hash), quota: 1, allow: Allow::Any };
        let kept = serde_json::to_string(&publisher).unwrap();
        assert!(!kept.contains(&one));
        assert_eq!(serde_json::from_str::<Publisher>(&kept).unwrap(), publisher);
        assert_eq!(TokenHash::of(&"x".repeat(TOKEN_BYTES_MAX + 1)), None);
    }

    #[test]
    fn an_allow_list_allows_what_is_on_it() {
        let v0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
        let allow = Allow::parse(&[v0]).unwrap();
        assert!(allow.allows(&v0.parse().unwrap()) && !allow.allows(&"bafkqaaa".parse().unwrap()));
        let kept = serde_json::to_string(&allow).unwrap();
        assert_eq!(serde_json::from_str::<Allow>(&kept).unwrap(), allow);
        assert_eq!(Allow::parse::<&str>(&[]), Ok(Allow::Any));
        assert!(Allow::parse(&["all"]).is_err());
        assert!(!serde_json::from_str::<Allow>("[]").unwrap().allows(&v0.parse().unwrap()));
    }

    #[test]
    fn names_are_plain() {
        assert!(check_name("blog-2.example_x").is_ok());
        for wrong in ["", "a:b", "a b", "ü", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
