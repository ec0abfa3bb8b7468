//! The objects of the API: what is read of strangers, bounded, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use atoll_core::{Cid, Timestamp};
use serde::{Deserialize, Serialize};

/// The largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The longest name, in characters (as the specification says).
pub const NAME_CHARS_MAX: usize = 255;
/// The most origins (as the specification says).
pub const ORIGINS_MAX: usize = 20;
/// The longest origin, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 512;
/// The most keys of metadata (as the specification says).
pub const META_KEYS_MAX: usize = 1000;
/// The most bytes of metadata, keys and values together.
pub const META_BYTES_MAX: usize = 8 * 1024;
/// The longest CID in text, in bytes: identity CIDs of 128 bytes in the longest of the usual bases fit.
pub const CID_BYTES_MAX: usize = 320;
/// The most delegates (as the specification says).
pub const DELEGATES_MAX: usize = 20;

/// Why a body is no `Pin` object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// Not JSON of this form.
    #[error("the body is no Pin object: {0}")]
    Json(String),
    /// Not a CID.
    #[error("`cid` is not a CID")]
    Cid,
    /// Too long a name.
    #[error("`name` is longer than {NAME_CHARS_MAX} characters")]
    Name,
    /// Too many or too long origins, or one twice.
    #[error("`origins` takes at most {ORIGINS_MAX} different multiaddrs of at most {ORIGIN_BYTES_MAX} bytes")]
    Origins,
    /// Too much metadata.
    #[error("`meta` takes at most {META_KEYS_MAX} keys, and {META_BYTES_MAX} bytes in all")]
    Meta,
}

/// The `Pin` object as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PinJson {
    cid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origins: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<BTreeMap<String, String>>,
}

/// What is to be pinned, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PinJson", into = "PinJson")]
pub struct Pin {
    /// Root of the DAG.
    pub cid: Cid,
    /// Name, for lookups; need not be unique.
    pub name: Option<String>,
    /// Multiaddrs of peers that are known to have it, as they came: those that are none are of no use.
    pub origins: Vec<String>,
    /// Whatever the publisher wants to be kept with it.
    pub meta: BTreeMap<String, String>,
}

impl Pin {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`PinError`] names the field.
    pub fn parse(body: &[u8]) -> Result<Self, PinError> {
        let json: PinJson = serde_json::from_slice(body).map_err(|error| PinError::Json(error.to_string()))?;
        Self::try_from(json)
    }
}

impl TryFrom<PinJson> for Pin {
    type Error = PinError;

    fn try_from(json: PinJson) -> Result<Self, PinError> {
        let cid = parse_cid(&json.cid).ok_or(PinError::Cid)?;
        if json.name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return Err(PinError::Name);
        }
        let origins = json.origins.unwrap_or_default();
        let mut sorted: Vec<&String> = origins.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let too_long = origins.iter().any(|origin| origin.len() > ORIGIN_BYTES_MAX);
        if origins.len() > ORIGINS_MAX || sorted.len() < origins.len() || too_long {
            return Err(PinError::Origins);
        }
        let meta = json.meta.unwrap_or_default();
        let meta = checked_meta(meta).ok_or(PinError::Meta)?;
        Ok(Self { cid, name: json.name, origins, meta })
    }
}

impl From<Pin> for PinJson {
    fn from(pin: Pin) -> Self {
        Self {
            cid: pin.cid.to_string(),
            name: pin.name,
            origins: (!pin.origins.is_empty()).then_some(pin.origins),
            meta: (!pin.meta.is_empty()).then_some(pin.meta),
        }
    }
}

/// Metadata within its limits.
pub(crate) fn checked_meta(meta: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let bytes: usize = meta.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
    (meta.len() <= META_KEYS_MAX && bytes <= META_BYTES_MAX).then_some(meta)
}

/// A CID in text.
pub(crate) fn parse_cid(text: &str) -> Option<Cid> {
    if text.len() > CID_BYTES_MAX { None } else { text.parse().ok() }
}

/// Where a pin request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// It is worked on.
    Pinning,
    /// It is kept.
    Pinned,
    /// It is not tried any more.
    Failed,
}

impl Status {
    /// Reads its name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "queued" => Self::Queued,
            "pinning" => Self::Pinning,
            "pinned" => Self::Pinned,
            "failed" => Self::Failed,
            _ => return None,
        })
    }
}

/// The `PinStatus` object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinStatus {
    /// Names the request.
    pub requestid: String,
    /// Where it stands.
    pub status: Status,
    /// When it was made: RFC 3339, to the millisecond, different for each request.
    pub created: String,
    /// What is to be pinned.
    pub pin: Pin,
    /// Where the publisher's node should connect to.
    pub delegates: Vec<String>,
    /// For people.
    pub info: BTreeMap<&'static str, String>,
}

/// The `PinResults` object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinResults {
    /// How many there are, beyond this page too.
    pub count: usize,
    /// A page of them, the newest first.
    pub results: Vec<PinStatus>,
}

/// A moment as the API writes it.
pub(crate) fn to_rfc3339(at: Timestamp) -> String {
    const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;
    let since = Duration::from_millis(at.as_millis().min(YEAR_10000_MILLIS - 1));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

    #[test]
    fn a_pin_is_read_and_written_as_it_came() {
        let text = format!(r#"{{"cid":"{CID}","name":"n","origins":["/p2p/x"],"meta":{{"a":"b"}}}}"#);
        let pin = Pin::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&pin).unwrap(), text);
        let bare = Pin::parse(format!(r#"{{"cid":"{CID}","name":null,"origins":null,"more":1}}"#).as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&bare).unwrap(), format!(r#"{{"cid":"{CID}"}}"#));
    }

    #[test]
    fn every_limit_is_met() {
        let pin = |fields: String| Pin::parse(format!(r#"{{"cid":"{CID}"{fields}}}"#).as_bytes());
        let name = |len: usize| pin(format!(r#","name":"{}""#, "ü".repeat(len)));
        assert!(name(NAME_CHARS_MAX).is_ok());
        assert_eq!(name(NAME_CHARS_MAX + 1), Err(PinError::Name));
        let origins = |count: usize| {
            let all: Vec<String> = (0..count).map(|n| format!("\"/p2p/{n}\"")).collect();
            pin(format!(r#","origins":[{}]"#, all.join(",")))
        };
        assert!(origins(ORIGINS_MAX).is_ok());
        assert_eq!(origins(ORIGINS_MAX + 1), Err(PinError::Origins));
        assert_eq!(pin(r#","origins":["/a","/a"]"#.to_owned()), Err(PinError::Origins));
        assert_eq!(pin(format!(r#","origins":["{}"]"#, "a".repeat(ORIGIN_BYTES_MAX + 1))), Err(PinError::Origins));
        let meta = |len: usize| pin(format!(r#","meta":{{"k":"{}"}}"#, "v".repeat(len)));
        assert!(meta(META_BYTES_MAX - 1).is_ok());
        assert_eq!(meta(META_BYTES_MAX), Err(PinError::Meta));
        assert!(matches!(pin(r#","meta":{"k":1}"#.to_owned()), Err(PinError::Json(_))));
        assert_eq!(Pin::parse(br#"{"cid":"x"}"#), Err(PinError::Cid));
        assert!(matches!(Pin::parse(b"{}"), Err(PinError::Json(_))));
    }
}
