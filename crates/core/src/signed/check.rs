//! A client's side: whether an answer is signed, by whom, and whether what is signed is the template. Pure; a crash loses nothing.

use std::borrow::Cow;

use data_encoding::BASE64;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser};

use super::{
    Answer, BUNDLE, HEAD, KEY, LABEL, NONCE, SIGNATURE, SIGNATURE_INPUT, SKEW_SECONDS, Subject, UNENCODED_DIGEST,
    parse_hex,
};
use crate::bundle::BundleId;
use crate::id::NodeId;
use crate::keys::{AnswerPublicKey, signer_p256};
use crate::manifest::is_key;

/// The most bytes of a field that is looked at.
const FIELD_BYTES_MAX: usize = 8 * 1024;

/// The value of a field by its name in lower case; of several lines of one field, all of them joined by `, `.
pub type Lookup<'f> = &'f dyn Fn(&str) -> Option<Cow<'f, str>>;

/// An answer whose signature is right. Its body is not part of it: that it hashes to `digest` is the caller's to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// SHA-256 of the whole answer without content coding.
    pub digest: [u8; 32],
    /// The version of the site.
    pub bundle: BundleId,
    /// The key in its manifest.
    pub key: String,
    /// What the head says, hashed.
    pub head: [u8; 32],
    /// The nonce.
    pub nonce: [u8; 32],
    /// When it was signed, in seconds since the Unix epoch.
    pub created: u64,
    /// When it counts no longer.
    pub expires: u64,
    /// Who signed.
    pub node: NodeId,
    /// With which key.
    pub signer: AnswerPublicKey,
}

/// Why an answer is not one that its node has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsound {
    /// No signature of ours. No fault: much is never signed.
    #[error("the answer carries no signature labelled `atoll`")]
    Unsigned,
    /// The signature's time is over, as in a copy that somebody kept. No fault.
    #[error("the signature counts no longer: it expired {0} s ago")]
    Expired(u64),
    /// The clocks lie too far apart. No fault that could be told from ours.
    #[error("the signature was made {0} s ahead of the clock of this machine")]
    Early(u64),
    /// Another form than the template.
    #[error("the signature is not of the template: {0}")]
    OffTemplate(OffTemplate),
    /// The node that is named did not sign this.
    #[error("the signature is not one of node {0} over this answer")]
    Forged(NodeId),
}

/// What is not as the template has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OffTemplate {
    /// A field.
    #[error("the field {0} is missing or malformed")]
    Field(&'static str),
    /// Components or parameters: which, their order, their form.
    #[error("its components and parameters are others")]
    Params,
    /// It counts for longer than any may.
    #[error("it counts for longer than {SKEW_SECONDS} s")]
    Lifetime,
}

/// Checks an answer with that status to a request for that authority (as [`super::authority`] writes it), at a time in seconds
/// since the Unix epoch.
///
/// # Errors
/// [`Unsound`].
pub fn check(status: u16, authority: &str, field: Lookup<'_>, now: u64) -> Result<Checked, Unsound> {
    let Some(params) = member(field, SIGNATURE_INPUT)? else { return Err(Unsound::Unsigned) };
    let ListEntry::InnerList(params) = params else { return Err(off(OffTemplate::Params)) };
    let signature = match member(field, SIGNATURE)? {
        Some(ListEntry::Item(item)) if item.params.is_empty() => item.bare_item,
        _ => return Err(field_off(SIGNATURE)),
    };
    let BareItem::ByteSequence(signature) = signature else { return Err(field_off(SIGNATURE)) };
    let signature: [u8; 64] = signature.try_into().map_err(|_| field_off(SIGNATURE))?;
    let times = Times::of(&params).ok_or(off(OffTemplate::Params))?;
    let key = text(field, KEY).filter(|key| is_key(key)).ok_or(field_off(KEY))?;
    let hash = |name| text(field, name).and_then(|text| parse_hex(&text)).ok_or(field_off(name));
    let subject = Subject {
        status,
        digest: text(field, UNENCODED_DIGEST)
            .and_then(|text| parse_digest(&text))
            .ok_or(field_off(UNENCODED_DIGEST))?,
        bundle: BundleId(hash(BUNDLE)?),
        key: &key,
        head: hash(HEAD)?,
    };
    let Times { created, expires, node } = times;
    let answer = Answer { subject, authority, nonce: hash(NONCE)?, created, expires, node };
    if vec![ListEntry::InnerList(params)].serialize().as_deref() != Some(&answer.params()) {
        return Err(off(OffTemplate::Params));
    }
    if !(1..=SKEW_SECONDS).contains(&expires.saturating_sub(created)) {
        return Err(off(OffTemplate::Lifetime));
    }
    let signer = signer_p256(&node, answer.base().as_bytes(), &signature).ok_or(Unsound::Forged(node))?;
    if created > now.saturating_add(SKEW_SECONDS) {
        return Err(Unsound::Early(created.saturating_sub(now)));
    }
    if expires <= now {
        return Err(Unsound::Expired(now.saturating_sub(expires)));
    }
    let Subject { digest, bundle, head, .. } = subject;
    let nonce = answer.nonce;
    Ok(Checked { digest, bundle, key: key.clone(), head, nonce, created, expires, node, signer })
}

/// What the parameters say that the answer's fields do not.
struct Times {
    created: u64,
    expires: u64,
    node: NodeId,
}

impl Times {
    fn of(params: &InnerList) -> Option<Self> {
        let integer = |name: &str| match params.params.get(name) {
            Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        };
        let Some(BareItem::String(node)) = params.params.get("keyid") else { return None };
        Some(Self { created: integer("created")?, expires: integer("expires")?, node: node.as_str().parse().ok()? })
    }
}

/// Our member of a dictionary of signatures. What is no dictionary is not ours.
fn member(field: Lookup<'_>, name: &'static str) -> Result<Option<ListEntry>, Unsound> {
    let Some(value) = field(name) else { return Ok(None) };
    if value.len() > FIELD_BYTES_MAX {
        return Err(field_off(name));
    }
    let parsed: Dictionary = Parser::new(value.as_bytes()).parse().map_err(|_| field_off(name))?;
    Ok(parsed.get(LABEL).cloned())
}

fn text(field: Lookup<'_>, name: &'static str) -> Option<String> {
    field(name).filter(|value| value.len() <= FIELD_BYTES_MAX).map(Cow::into_owned)
}

/// Reads `sha-256=:…:`, that and nothing else.
fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha-256=:")?.strip_suffix(':')?;
    BASE64.decode(digits.as_bytes()).ok()?.try_into().ok()
}

fn field_off(name: &'static str) -> Unsound {
    off(OffTemplate::Field(name))
}

fn off(what: OffTemplate) -> Unsound {
    Unsound::OffTemplate(what)
}
