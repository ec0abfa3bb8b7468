//! Signing a record, with the copies for readers of the first version, as Kubo and npm's `ipns` do unless told otherwise.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use serde_bytes::ByteBuf;

use super::record::{RECORD_BYTES_MAX, Record, RecordError};
use super::wire::{Data, Entry};
use super::{Eol, Name, signing_bytes};
use crate::clock::Timestamp;
use crate::content_path::ContentPath;
use crate::keys::{Role, SecretKey};

/// For how long a record counts unless its publisher says otherwise: nodes put it again until then.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// For how long a record may be shown before it is asked for again (IPNS Record, "TTL").
pub const TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// What a record is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What the name points at.
    pub target: ContentPath,
    /// Its version: higher than that of every record before.
    pub sequence: u64,
    /// When its life ends.
    pub eol: Timestamp,
    /// For how long it may be shown before it is asked for again.
    pub ttl: Duration,
}

impl NewRecord {
    /// Signs it with `key`, whose name it becomes a record of.
    ///
    /// # Errors
    /// [`RecordError`] when nobody could read it: too large, or ending after the year 9999.
    pub fn sign<R: Role>(&self, key: &SecretKey<R>) -> Result<Record, RecordError> {
        let name = Name::of(&key.public()).ok_or(RecordError::Unnamed)?;
        let data = self.data()?;
        let signed = serde_ipld_dagcbor::to_vec(&data).map_err(|_| RecordError::Data)?;
        let old = [data.value.as_slice(), data.validity.as_slice(), b"EOL"].concat();
        let entry = Entry {
            signature_v1: Some(key.sign(&old).to_vec()),
            validity_type: Some(0),
            sequence: Some(data.sequence),
            ttl: data.ttl,
            pub_key: None,
            signature_v2: Some(key.sign(&signing_bytes(&signed)).to_vec()),
            data: Some(signed),
            value: Some(data.value.into_vec()),
            validity: Some(data.validity.into_vec()),
        };
        if entry.encoded_len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(entry.encoded_len()));
        }
        Record::verify(&name, Bytes::from(entry.encode_to_vec()))
    }

    fn data(&self) -> Result<Data, RecordError> {
        let eol = Eol::from_timestamp(self.eol).ok_or(RecordError::EndTooLate)?;
        Ok(Data {
            ttl: Some(u64::try_from(self.ttl.as_nanos()).unwrap_or(u64::MAX)),
            value: ByteBuf::from(self.target.to_string()),
            sequence: self.sequence,
            validity: ByteBuf::from(eol.to_text()),
            validity_type: 0,
        })
    }
}
