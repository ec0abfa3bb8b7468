//! The two encodings of a record: protobuf outside, dag-cbor for what is signed (IPNS Record, "Record Serialization
//! Format").

use prost::Message;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The protobuf. Fields 1 to 6 are copies for readers of the first version.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) value: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) signature_v1: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "3")]
    pub(super) validity_type: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) validity: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) sequence: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub(super) ttl: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(super) pub_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(super) signature_v2: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(super) data: Option<Vec<u8>>,
}

impl Entry {
    /// Whether it claims anything to readers of the first version.
    pub(super) fn has_v1(&self) -> bool {
        filled(&self.signature_v1).is_some() || filled(&self.value).is_some()
    }
}

/// A field that is there and not empty.
pub(super) fn filled(field: &Option<Vec<u8>>) -> Option<&[u8]> {
    field.as_deref().filter(|bytes| !bytes.is_empty())
}

/// What is signed. Fields stand in dag-cbor's order of keys; others that an author adds are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Data {
    /// Nanoseconds. Old writers leave it out.
    #[serde(rename = "TTL", default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<u64>,
    pub(super) value: ByteBuf,
    pub(super) sequence: u64,
    pub(super) validity: ByteBuf,
    pub(super) validity_type: u64,
}

impl Data {
    /// The first field in which the protobuf's copies differ ("Record Verification", step 7).
    pub(super) fn differs_from(&self, entry: &Entry) -> Option<&'static str> {
        let bytes = |field: &Option<Vec<u8>>, ours: &ByteBuf| field.as_deref().unwrap_or_default() == ours.as_slice();
        let validity_type = u64::try_from(entry.validity_type.unwrap_or_default()).ok();
        [
            ("Value", bytes(&entry.value, &self.value)),
            ("Validity", bytes(&entry.validity, &self.validity)),
            ("ValidityType", validity_type == Some(self.validity_type)),
            ("Sequence", entry.sequence.unwrap_or_default() == self.sequence),
            ("TTL", Some(entry.ttl.unwrap_or_default()) == self.ttl),
        ]
        .into_iter()
        .find_map(|(field, is_same)| (!is_same).then_some(field))
    }
}
