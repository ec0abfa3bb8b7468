//! Signed answers (`docs/formats.md`, "Signed answers"): one template of RFC 9421, which clients and the ledger check alike. Pure; a
//! crash loses nothing.
//!
//! A signer fills in an [`Answer`] and asks for its [`Fields`]; a client hands what it got to [`check`], which takes nothing but
//! what the template makes.

mod check;
mod request;

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};

pub use check::{Checked, Lookup, OffTemplate, Unsound, check};
pub use request::{REQUEST_SECONDS, SignedRequest, check_request};

use crate::bundle::BundleId;
use crate::id::NodeId;
use crate::keys::AnswerKey;
use crate::merkle::Hash;

/// The digest of the whole answer without content coding (Unencoded-Digest, draft-ietf-httpbis-unencoded-digest).
pub const UNENCODED_DIGEST: &str = "unencoded-digest";
/// The bundle that the answer is of.
pub const BUNDLE: &str = "atoll-bundle";
/// The manifest's key that the path led to.
pub const KEY: &str = "atoll-key";
/// What the head says, hashed ([`crate::manifest::head`]).
pub const HEAD: &str = "atoll-head";
/// The asker's nonce, or zeros; a request's header too.
pub const NONCE: &str = "atoll-nonce";
/// What is signed (RFC 9421, section 4.1).
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The signature (RFC 9421, section 4.2).
pub const SIGNATURE: &str = "signature";
/// The nonce where nobody gave one.
pub const NO_NONCE: Hash = [0; 32];
/// How far the clocks of a signer and a client may lie apart, in seconds, and how long a signature counts at most.
pub const SKEW_SECONDS: u64 = 300;

/// The label of the signature.
const LABEL: &str = "atoll";
/// The components, in their order.
const COMPONENTS: &str = "(\"@status\" \"@authority\";req \"unencoded-digest\" \"atoll-bundle\" \"atoll-key\" \"atoll-head\" \"atoll-nonce\")";

/// What is said of an answer, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What is said.
    pub subject: Subject<'a>,
    /// Host and port that were asked, as [`authority`] writes them.
    pub authority: &'a str,
    /// The asker's nonce, or [`NO_NONCE`].
    pub nonce: Hash,
    /// When it was signed, in seconds since the Unix epoch.
    pub created: u64,
    /// When it counts no longer.
    pub expires: u64,
    /// Who signs.
    pub node: NodeId,
}

/// What is said, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The status.
    pub status: u16,
    /// SHA-256 of the whole answer without content coding.
    pub digest: Hash,
    /// The version of the site.
    pub bundle: BundleId,
    /// The key in its manifest.
    pub key: &'a str,
    /// What the head says, hashed.
    pub head: Hash,
}

/// The fields of a signed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `Unencoded-Digest`.
    pub unencoded_digest: String,
    /// `Atoll-Bundle`.
    pub bundle: String,
    /// `Atoll-Key`.
    pub key: String,
    /// `Atoll-Head`.
    pub head: String,
    /// `Atoll-Nonce`.
    pub nonce: String,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

impl Answer<'_> {
    /// The signature's parameters (RFC 9421, section 2.3).
    pub fn params(&self) -> String {
        format!(
            "{COMPONENTS};created={};expires={};keyid=\"{}\";alg=\"ecdsa-p256-sha256\";tag=\"atoll-1\"",
            self.created, self.expires, self.node
        )
    }

    /// What is signed (RFC 9421, section 2.5): lines with a line feed between them.
    pub fn base(&self) -> String {
        let Subject { status, digest, bundle, key, head } = self.subject;
        format!(
            "\"@status\": {status}\n\"@authority\";req: {}\n\"unencoded-digest\": {}\n\"atoll-bundle\": {bundle}\n\
             \"atoll-key\": {key}\n\"atoll-head\": {}\n\"atoll-nonce\": {}\n\"@signature-params\": {}",
            self.authority,
            unencoded_digest(&digest),
            hex(&head),
            hex(&self.nonce),
            self.params()
        )
    }

    /// Signs it.
    pub fn sign(&self, key: &AnswerKey) -> Fields {
        let Subject { digest, bundle, head, .. } = self.subject;
        let signature = key.sign(self.base().as_bytes());
        Fields {
            unencoded_digest: unencoded_digest(&digest),
            bundle: bundle.to_string(),
            key: self.subject.key.to_owned(),
            head: hex(&head),
            nonce: hex(&self.nonce),
            signature_input: format!("{LABEL}={}", self.params()),
            signature: format!("{LABEL}=:{}:", BASE64.encode(&signature)),
        }
    }
}

impl Fields {
    /// Names and values.
    pub fn pairs(&self) -> [(&'static str, &str); 7] {
        [
            (UNENCODED_DIGEST, &self.unencoded_digest),
            (BUNDLE, &self.bundle),
            (KEY, &self.key),
            (HEAD, &self.head),
            (NONCE, &self.nonce),
            (SIGNATURE_INPUT, &self.signature_input),
            (SIGNATURE, &self.signature),
        ]
    }
}

/// An authority as it is signed (RFC 9421, section 2.2.3): lower case, without the scheme's own port; `None` if it holds what
/// cannot be signed.
pub fn authority(written: &str, https: bool) -> Option<Cow<'_, str>> {
    if written.is_empty() || !written.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let own_port = if https { ":443" } else { ":80" };
    let short = written.strip_suffix(own_port).unwrap_or(written);
    let upper = short.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if upper { short.to_ascii_lowercase().into() } else { short.into() })
}

/// Reads 32 bytes as the template writes them: `0x` and 64 hexadecimal digits in lower case.
pub fn parse_hex(text: &str) -> Option<Hash> {
    let bytes = HEXLOWER.decode(text.strip_prefix("0x")?.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Writes 32 bytes so.
pub fn hex(hash: &Hash) -> String {
    format!("0x{}", HEXLOWER.encode(hash))
}

fn unencoded_digest(digest: &Hash) -> String {
    format!("sha-256=:{}:", BASE64.encode(digest))
}

#[cfg(test)]
mod tests;
