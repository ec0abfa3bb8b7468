//! A stored response as bytes on disk (docs/formats.md, "Stored responses"). Pure: what is read back is checked as if it were a
//! stranger's.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::bytes::{Reader, checksum, put_counted};
use crate::directives::Directives;
use crate::fill::Filled;
use crate::key::{Digest, Key};
use crate::store::Entry;
use crate::stored::Stored;
use crate::vary::Variant;

/// A body is checked in parts of so many bytes.
pub(crate) const PART_BYTES: u64 = 1024 * 1024;
/// Bytes of a head before its text.
pub(crate) const FIXED_BYTES: usize = 56;
/// The longest head, in bytes, its text and the checksums of its body's parts included.
pub(crate) const HEAD_BYTES_MAX: usize = 512 * 1024;
/// The most fields of a response, and the most that it varies by.
const FIELDS_MAX: usize = 1024;
const MAGIC: [u8; 4] = *b"resp";

/// The bytes that checksums in one file are salted with.
pub(crate) type Salt = [u8; 12];

/// The head of a record. Its body follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// What is stored.
    pub(crate) digest: Digest,
    /// Which of its variants: equal ones replace one another.
    pub(crate) variant: u64,
    /// When its request began.
    pub(crate) begun: u64,
    /// Bytes of the body.
    pub(crate) body_len: u64,
    /// Key, head of the response, and what it varies by.
    text: Vec<u8>,
    /// Checksums of the parts of the body.
    sums: Vec<u32>,
}

/// What a head says of its response.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) url: String,
    pub(crate) stored: Stored,
    pub(crate) variant: Variant,
}

impl Head {
    /// That of a response whose body is all there; `None` for one that cannot be written so that it is read back as it is.
    pub(crate) fn of(key: &Key, entry: &Entry, body: &Filled, salt: &Salt) -> Option<Self> {
        // What it says to caches is read from its fields again; some could have been taken out of them.
        if Directives::of_response(entry.stored.headers()) != *entry.stored.directives() {
            return None;
        }
        let mut text = Vec::new();
        put_counted(&mut text, key.as_str().as_bytes())?;
        put_stored(&mut text, &entry.stored)?;
        put_variant(&mut text, &entry.variant)?;
        let part = |start| body.range(&(start..start.saturating_add(PART_BYTES).min(body.len)));
        let sum = |start| {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(salt);
            part(start).iter().for_each(|bytes| hasher.update(bytes));
            hasher.finalize()
        };
        let sums = (0..parts(body.len)).map(|n| sum(n.saturating_mul(PART_BYTES))).collect();
        let (digest, variant, begun) = (key.digest(), variant_of(&entry.variant)?, entry.begun);
        let head = Self { digest, variant, begun, body_len: body.len, text, sums };
        (head.head_bytes() <= HEAD_BYTES_MAX).then_some(head)
    }

    /// Bytes of the head.
    pub(crate) fn head_bytes(&self) -> usize {
        FIXED_BYTES.saturating_add(self.text.len()).saturating_add(self.sums.len().saturating_mul(4))
    }

    /// Bytes of head and body.
    pub(crate) fn bytes(&self) -> u64 {
        self.body_len.saturating_add(self.head_bytes() as u64)
    }

    /// The head as bytes.
    pub(crate) fn encode(&self, salt: &Salt) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.head_bytes());
        out.extend(MAGIC);
        out.extend(u32::try_from(self.text.len()).ok()?.to_be_bytes());
        out.extend(self.body_len.to_be_bytes());
        out.extend(self.digest.to_be_bytes());
        out.extend(self.variant.to_be_bytes());
        out.extend(self.begun.to_be_bytes());
        let sums: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        let whole = checksum(salt, &[&out[..], &self.text, &sums].concat());
        let fixed = checksum(salt, &out);
        out.extend(whole.to_be_bytes());
        out.extend(fixed.to_be_bytes());
        out.extend(&self.text);
        out.extend(sums);
        Some(out)
    }

    /// The length of a head and of its body, by its first [`FIXED_BYTES`] bytes; `None` if they are none.
    pub(crate) fn measure(salt: &Salt, fixed: &[u8]) -> Option<(usize, u64)> {
        let known = fixed.get(..FIXED_BYTES)?;
        let sum = Reader(known.get(FIXED_BYTES - 4..)?).u32()?;
        let said = known.get(..FIXED_BYTES - 8)?;
        let mut reader = Reader(said);
        if reader.array()? != MAGIC || checksum(salt, said) != sum {
            return None;
        }
        let (text, body) = (usize::try_from(reader.u32()?).ok()?, reader.u64()?);
        let sums = usize::try_from(parts(body)).ok()?.checked_mul(4)?;
        let len = FIXED_BYTES.checked_add(text)?.checked_add(sums)?;
        (len <= HEAD_BYTES_MAX).then_some((len, body))
    }

    /// Reads a head, of just as many bytes as it has.
    pub(crate) fn decode(salt: &Salt, bytes: &[u8]) -> Option<Self> {
        let (len, body_len) = Self::measure(salt, bytes)?;
        if len != bytes.len() {
            return None;
        }
        let mut reader = Reader(bytes);
        reader.take(4)?;
        let text_len = usize::try_from(reader.u32()?).ok()?;
        reader.take(8)?;
        let (digest, variant, begun, whole) = (reader.u128()?, reader.u64()?, reader.u64()?, reader.u32()?);
        reader.take(4)?;
        let said = bytes.get(..FIXED_BYTES - 8)?;
        if checksum(salt, &[said, reader.0].concat()) != whole {
            return None;
        }
        let text = reader.take(text_len)?.to_vec();
        let mut sums = Vec::new();
        while let Some(sum) = reader.u32() {
            sums.push(sum);
        }
        Some(Self { digest, variant, begun, body_len, text, sums })
    }

    /// The same record in another file, whose salt is another: `read` reads its body.
    pub(crate) fn resalted(&self, salt: &Salt, body: &[u8]) -> Self {
        let step = usize::try_from(PART_BYTES).unwrap_or(usize::MAX);
        Self { sums: body.chunks(step).map(|part| checksum(salt, part)).collect(), ..self.clone() }
    }

    /// Whether a part of the body, by its number, is what was written.
    pub(crate) fn is_part(&self, salt: &Salt, number: u64, bytes: &[u8]) -> bool {
        let sum = usize::try_from(number).ok().and_then(|number| self.sums.get(number));
        sum.is_some_and(|sum| checksum(salt, bytes) == *sum)
    }

    /// What it says.
    pub(crate) fn said(&self) -> Option<Said> {
        let mut reader = Reader(&self.text);
        let url = reader.text()?.to_owned();
        let stored = take_stored(&mut reader)?;
        let variant = take_variant(&mut reader)?;
        reader.0.is_empty().then_some(Said { url, stored, variant })
    }
}

/// How many parts a body has.
pub(crate) fn parts(body_len: u64) -> u64 {
    body_len.div_ceil(PART_BYTES)
}

/// The number of a variant.
pub(crate) fn variant_of(variant: &Variant) -> Option<u64> {
    let mut bytes = Vec::new();
    put_variant(&mut bytes, variant)?;
    let (low, high) = (checksum(b"low", &bytes), checksum(b"high", &bytes));
    Some((u64::from(high) << 32) | u64::from(low))
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    out.extend(duration.as_secs().to_be_bytes());
    out.extend(duration.subsec_nanos().to_be_bytes());
}

fn take_duration(reader: &mut Reader<'_>) -> Option<Duration> {
    let (seconds, nanos) = (reader.u64()?, reader.u32()?);
    // More would not be a time of ours, and adding to it could go wrong.
    (seconds <= 1 << 40 && nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

fn put_stored(out: &mut Vec<u8>, stored: &Stored) -> Option<()> {
    out.extend(stored.status.as_u16().to_be_bytes());
    put_duration(out, stored.received.duration_since(SystemTime::UNIX_EPOCH).ok()?);
    put_duration(out, stored.initial_age);
    put_duration(out, stored.lifetime);
    out.push(u8::from(stored.heuristic));
    out.extend(u16::try_from(stored.headers.len()).ok()?.to_be_bytes());
    for (name, value) in &stored.headers {
        put_counted(out, name.as_str().as_bytes())?;
        put_counted(out, value.as_bytes())?;
    }
    Some(())
}

fn take_stored(reader: &mut Reader<'_>) -> Option<Stored> {
    let status = StatusCode::from_u16(reader.u16()?).ok()?;
    let received = SystemTime::UNIX_EPOCH.checked_add(take_duration(reader)?)?;
    let (initial_age, lifetime) = (take_duration(reader)?, take_duration(reader)?);
    let heuristic = reader.u8()? != 0;
    let count = usize::from(reader.u16()?);
    if count > FIELDS_MAX {
        return None;
    }
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.counted()?).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(reader.counted()?).ok()?).ok()?;
    }
    let directives = Directives::of_response(&headers);
    Some(Stored { status, headers, directives, lifetime, heuristic, initial_age, received })
}

fn put_variant(out: &mut Vec<u8>, variant: &Variant) -> Option<()> {
    out.extend(u16::try_from(variant.0.len()).ok()?.to_be_bytes());
    for (name, value) in &variant.0 {
        put_counted(out, name.as_str().as_bytes())?;
        out.push(u8::from(value.is_some()));
        put_counted(out, value.as_deref().unwrap_or_default())?;
    }
    Some(())
}

fn take_variant(reader: &mut Reader<'_>) -> Option<Variant> {
    let count = usize::from(reader.u16()?);
    if count > FIELDS_MAX {
        return None;
    }
    let mut fields = Vec::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.counted()?).ok()?;
        let there = reader.u8()? != 0;
        let value = reader.counted()?.to_vec();
        fields.push((name, there.then_some(value)));
    }
    Some(Variant(fields))
}

/// Reads bytes as a head; for fuzzing. What is read is written as it was.
pub(crate) fn fuzz(data: &[u8]) {
    let salt = Salt::default();
    let text = Head { digest: 0, variant: 0, begun: 0, body_len: 0, text: data.to_vec(), sums: Vec::new() };
    for bytes in [Some(data.to_vec()), text.encode(&salt)].into_iter().flatten() {
        let Some(head) = Head::decode(&salt, &bytes) else { continue };
        assert_eq!(head.encode(&salt).as_deref(), Some(&bytes[..]));
        let Some(said) = head.said() else { continue };
        let mut again = Vec::new();
        let written = put_counted(&mut again, said.url.as_bytes())
            .and_then(|()| put_stored(&mut again, &said.stored))
            .and_then(|()| put_variant(&mut again, &said.variant));
        assert!(written.is_some() && again.len() <= head.text.len());
        let _ = variant_of(&said.variant);
    }
}
