//! Bitswap messages (specs.ipfs.tech/bitswap-protocol, versions 1.0 to 1.2): what a peer wants, has, lacks and sends.
//!
//! The decoder reads hostile bytes: entries beyond a limit are left out, names that are no CID too, and nothing is reserved
//! on a peer's word. Blocks share the message's memory, and are named by what they hash to, never by what a peer calls
//! them. Nothing is kept, a crash loses nothing.

use bytes::{Buf as _, Bytes};
use multihash_codetable::{Code, MultihashDigest as _};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use crate::block::{BLOCK_BYTES_MAX, Block, Cid, DAG_PB, DIGEST_BYTES_MIN, SHA2_256, Version, binary_cid};

/// The largest message, in bytes (Bitswap 1.2: 4 MiB).
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most entries, and the most presences, that are read of one message; the others are left out.
pub const ENTRIES_MAX: usize = 8192;
/// The most blocks in one message.
pub const BLOCKS_MAX: usize = 4096;
/// Blocks up to this size are copied into a message, larger ones travel beside it without a copy.
const COPIED_BYTES_MAX: usize = 8 * 1024;

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Whether the entries are all that the sender wants; otherwise they are changes.
    pub full: bool,
    /// What is wanted, and what no longer.
    pub entries: Vec<Entry>,
    /// Blocks.
    pub payload: Vec<Payload>,
    /// What the sender has (`true`) or lacks.
    pub presences: Vec<(Cid, bool)>,
}

/// One entry of a want-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub cid: Cid,
    /// Higher ones first.
    pub priority: i32,
    /// What is asked for.
    pub wish: Wish,
    /// Whether the sender wants to be told when the block is not there.
    pub send_dont_have: bool,
}

/// What an entry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The block.
    Block,
    /// Whether it is there.
    Have,
    /// Nothing more: what was wanted before is not wanted now.
    Cancel,
}

/// A block as it travels: its bytes, and all of its CID but the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The CID without its digest.
    pub prefix: Prefix,
    /// The bytes.
    pub bytes: Bytes,
}

/// A CID without its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Version 0 or 1.
    pub version: Version,
    /// The multicodec.
    pub codec: u64,
    /// The multihash code.
    pub hash: u64,
    /// Bytes of the digest.
    pub digest_len: usize,
}

impl Prefix {
    /// That of blocks in messages of version 1.0, which have no prefix.
    const V0: Self = Self { version: Version::V0, codec: DAG_PB, hash: SHA2_256, digest_len: 32 };

    /// That of a CID.
    pub fn of(cid: &Cid) -> Self {
        let hash = cid.hash();
        Self { version: cid.version(), codec: cid.codec(), hash: hash.code(), digest_len: hash.digest().len() }
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        let version = u64::from(self.version == Version::V1);
        for value in [version, self.codec, self.hash, self.digest_len as u64] {
            encode_varint(value, &mut out);
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || decode_varint(&mut bytes).ok();
        let version = match next()? {
            0 => Version::V0,
            1 => Version::V1,
            _ => return None,
        };
        let prefix = Self { version, codec: next()?, hash: next()?, digest_len: usize::try_from(next()?).ok()? };
        bytes.is_empty().then_some(prefix)
    }
}

impl Payload {
    /// A block that was verified.
    pub fn new(cid: &Cid, bytes: Bytes) -> Self {
        Self { prefix: Prefix::of(cid), bytes }
    }

    /// The name that the bytes have, by hashing them; `None` if the prefix is none that can be verified, or they are over
    /// [`BLOCK_BYTES_MAX`].
    pub fn cid(&self) -> Option<Cid> {
        let Prefix { version, codec, hash, digest_len } = self.prefix;
        if self.bytes.len() > BLOCK_BYTES_MAX || digest_len < DIGEST_BYTES_MIN {
            return None;
        }
        // Identity digests are no code of the table: a block that is its own name need not be sent.
        let digest = Code::try_from(hash).ok()?.digest(&self.bytes);
        if digest.digest().len() != digest_len {
            return None;
        }
        Cid::new(version, codec, digest.resize().ok()?).ok()
    }

    /// The block that it is, named by hashing it once; `None` where [`Self::cid`] is.
    pub fn into_block(self) -> Option<Block> {
        self.cid().map(|cid| Block::hashed(cid, self.bytes))
    }

    /// Bytes that it adds to a message, about.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len().saturating_add(24)
    }
}

impl Message {
    /// Decodes one message, without the length before it.
    ///
    /// # Errors
    /// [`BitswapError`] names the first rule that the bytes break.
    pub fn decode(bytes: Bytes) -> Result<Self, BitswapError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(BitswapError::TooLarge(bytes.len()));
        }
        let mut message = Self::default();
        fields(bytes, |tag, value| match value {
            Value::Bytes(bytes) => message.take(tag, bytes),
            Value::Number(_) => Ok(()),
        })?;
        Ok(message)
    }

    /// Takes one field of a message that is read field by field; unknown ones are passed over.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn take(&mut self, tag: u32, value: Bytes) -> Result<(), BitswapError> {
        match tag {
            1 => self.read_list(value)?,
            2 => self.add_payload(Payload { prefix: Prefix::V0, bytes: value })?,
            3 => {
                let block = wire::Block::decode(value)?;
                // A prefix that nobody can read names nothing that was asked for.
                if let Some(prefix) = Prefix::decode(&block.prefix) {
                    self.add_payload(Payload { prefix, bytes: block.data })?;
                }
            }
            4 if self.presences.len() < ENTRIES_MAX => {
                let presence = wire::Presence::decode(value)?;
                self.presences.extend(binary_cid(&presence.cid).map(|cid| (cid, presence.kind == wire::HAVE)));
            }
            _ => {}
        }
        Ok(())
    }

    fn read_list(&mut self, list: Bytes) -> Result<(), BitswapError> {
        fields(list, |tag, value| {
            match (tag, value) {
                (1, Value::Bytes(entry)) if self.entries.len() < ENTRIES_MAX => {
                    self.entries.extend(wire::Entry::decode(entry)?.read());
                }
                (2, Value::Number(full)) => self.full = full != 0,
                _ => {}
            }
            Ok(())
        })
    }

    fn add_payload(&mut self, payload: Payload) -> Result<(), BitswapError> {
        if self.payload.len() == BLOCKS_MAX {
            return Err(BitswapError::TooManyBlocks);
        }
        self.payload.push(payload);
        Ok(())
    }

    /// Encodes the message with its length before it, as it is written to a stream.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_parts().concat()
    }

    /// As [`Self::encode`], in parts that follow each other: large blocks are not copied.
    pub fn encode_parts(&self) -> Vec<Bytes> {
        let entries: Vec<_> = self.entries.iter().map(wire::Entry::of).collect();
        let wantlist = (self.full || !entries.is_empty()).then_some(wire::Wantlist { entries, full: self.full });
        let presence = |(cid, have): &(Cid, bool)| wire::Presence {
            cid: cid.to_bytes().into(),
            kind: if *have { wire::HAVE } else { wire::DONT_HAVE },
        };
        let presences = self.presences.iter().map(presence).collect();
        let mut parts = Parts::default();
        parts.buffer.extend_from_slice(&wire::Message { wantlist, presences }.encode_to_vec());
        for payload in &self.payload {
            parts.push(payload);
        }
        parts.finish()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        !self.full && self.entries.is_empty() && self.payload.is_empty() && self.presences.is_empty()
    }
}

/// A message on its way out.
#[derive(Default)]
struct Parts {
    done: Vec<Bytes>,
    buffer: Vec<u8>,
}

impl Parts {
    /// Adds a block: field 3, with its prefix as field 1 and its bytes as field 2.
    fn push(&mut self, payload: &Payload) {
        let (prefix, len) = (payload.prefix.encode(), payload.bytes.len() as u64);
        let mut head = Vec::with_capacity(prefix.len() + 16);
        encode_key(1, WireType::LengthDelimited, &mut head);
        encode_varint(prefix.len() as u64, &mut head);
        head.extend_from_slice(&prefix);
        encode_key(2, WireType::LengthDelimited, &mut head);
        encode_varint(len, &mut head);
        encode_key(3, WireType::LengthDelimited, &mut self.buffer);
        encode_varint((head.len() as u64).saturating_add(len), &mut self.buffer);
        self.buffer.extend_from_slice(&head);
        if payload.bytes.len() > COPIED_BYTES_MAX {
            self.done.push(std::mem::take(&mut self.buffer).into());
            self.done.push(payload.bytes.clone());
        } else {
            self.buffer.extend_from_slice(&payload.bytes);
        }
    }

    /// All of it, with its length before it.
    fn finish(mut self) -> Vec<Bytes> {
        if !self.buffer.is_empty() {
            self.done.push(self.buffer.into());
        }
        let len = self.done.iter().fold(0_u64, |sum, part| sum.saturating_add(part.len() as u64));
        let mut length = Vec::with_capacity(4);
        encode_varint(len, &mut length);
        match self.done.first_mut() {
            Some(first) if first.len() <= COPIED_BYTES_MAX => *first = [&length, &first[..]].concat().into(),
            _ => self.done.insert(0, length.into()),
        }
        self.done
    }
}

/// A field's value. Other wire types are passed over.
enum Value {
    Number(u64),
    Bytes(Bytes),
}

/// Hands the fields of a message over, one at a time.
fn fields(mut bytes: Bytes, mut each: impl FnMut(u32, Value) -> Result<(), BitswapError>) -> Result<(), BitswapError> {
    while bytes.has_remaining() {
        let (tag, kind) = decode_key(&mut bytes)?;
        match kind {
            WireType::Varint => each(tag, Value::Number(decode_varint(&mut bytes)?))?,
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
                if len > bytes.len() {
                    return Err(BitswapError::Truncated);
                }
                each(tag, Value::Bytes(bytes.split_to(len)))?;
            }
            _ => skip_field(kind, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(())
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitswapError {
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// Over [`BLOCKS_MAX`].
    #[error("more than {BLOCKS_MAX} blocks in one message")]
    TooManyBlocks,
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// No protobuf.
    #[error("{0}")]
    Wire(#[from] prost::DecodeError),
}

/// The messages as protobuf has them.
mod wire {
    use bytes::Bytes;

    use crate::block::binary_cid;

    pub(super) const HAVE: i32 = 0;
    pub(super) const DONT_HAVE: i32 = 1;
    const WANT_BLOCK: i32 = 0;
    const WANT_HAVE: i32 = 1;

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Message {
        #[prost(message, optional, tag = "1")]
        pub(super) wantlist: Option<Wantlist>,
        #[prost(message, repeated, tag = "4")]
        pub(super) presences: Vec<Presence>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Wantlist {
        #[prost(message, repeated, tag = "1")]
        pub(super) entries: Vec<Entry>,
        #[prost(bool, tag = "2")]
        pub(super) full: bool,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Entry {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) block: Bytes,
        #[prost(int32, tag = "2")]
        pub(super) priority: i32,
        #[prost(bool, tag = "3")]
        pub(super) cancel: bool,
        #[prost(int32, tag = "4")]
        pub(super) want_type: i32,
        #[prost(bool, tag = "5")]
        pub(super) send_dont_have: bool,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Block {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) prefix: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) data: Bytes,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Presence {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) cid: Bytes,
        #[prost(int32, tag = "2")]
        pub(super) kind: i32,
    }

    impl Entry {
        pub(super) fn of(entry: &super::Entry) -> Self {
            Self {
                block: entry.cid.to_bytes().into(),
                priority: entry.priority,
                cancel: entry.wish == super::Wish::Cancel,
                want_type: if entry.wish == super::Wish::Have { WANT_HAVE } else { WANT_BLOCK },
                send_dont_have: entry.send_dont_have,
            }
        }

        /// `None` if it names no CID, or asks for what is not known.
        pub(super) fn read(self) -> Option<super::Entry> {
            let wish = match (self.cancel, self.want_type) {
                (true, _) => super::Wish::Cancel,
                (false, WANT_BLOCK) => super::Wish::Block,
                (false, WANT_HAVE) => super::Wish::Have,
                _ => return None,
            };
            let cid = binary_cid(&self.block)?;
            Some(super::Entry { cid, priority: self.priority, wish, send_dont_have: self.send_dont_have })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::{Block, RAW};

    fn block(text: &'static str) -> Block {
        Block::sha2_256(RAW, Bytes::from_static(text.as_bytes())).unwrap()
    }

    /// Without the length before it.
    fn body(message: &Message) -> Bytes {
        let mut bytes = Bytes::from(message.encode());
        let len = decode_varint(&mut bytes).unwrap();
        assert_eq!(len, bytes.len() as u64);
        bytes
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let [calm, deep] = [block("calm"), block("deep")];
        let v0 = Block::dag_pb(Version::V0, Bytes::from_static(b"\x0a\x02\x08\x01")).unwrap();
        let wish = |cid: &Block, wish| Entry { cid: *cid.cid(), priority: 7, wish, send_dont_have: true };
        let message = Message {
            full: true,
            entries: vec![wish(&calm, Wish::Block), wish(&deep, Wish::Have), wish(&v0, Wish::Cancel)],
            payload: vec![Payload::new(calm.cid(), calm.bytes().clone()), Payload::new(v0.cid(), v0.bytes().clone())],
            presences: vec![(*deep.cid(), true), (*v0.cid(), false)],
        };
        let decoded = Message::decode(body(&message)).unwrap();
        assert_eq!(decoded, message);
        assert_eq!(decoded.payload[0].cid(), Some(*calm.cid()));
        assert_eq!(decoded.payload[1].cid(), Some(*v0.cid()));
        assert!(Message::decode(body(&Message::default())).unwrap().is_empty());
    }

    #[test]
    fn blocks_of_version_1_0_are_named_by_cids_of_version_0() {
        let node = Block::dag_pb(Version::V0, Bytes::from_static(b"\x0a\x02\x08\x01")).unwrap();
        let bytes = [&[0x12, 4][..], node.bytes()].concat();
        assert_eq!(Message::decode(bytes.into()).unwrap().payload[0].cid(), Some(*node.cid()));
    }

    #[test]
    fn a_name_comes_from_the_bytes_alone() {
        let calm = block("calm");
        let mut payload = Payload::new(calm.cid(), Bytes::from_static(b"Calm"));
        assert_ne!(payload.cid().unwrap(), *calm.cid());
        for (hash, digest_len) in [(SHA2_256, 31), (SHA2_256, 33), (0, 4), (0x11, 20)] {
            payload.prefix = Prefix { hash, digest_len, ..payload.prefix };
            assert_eq!(payload.cid(), None, "0x{hash:x} of {digest_len} bytes");
        }
        let large = Payload { prefix: Prefix::of(calm.cid()), bytes: vec![0; BLOCK_BYTES_MAX + 1].into() };
        assert_eq!(large.cid(), None);
    }

    #[test]
    fn messages_have_limits() {
        assert!(matches!(Message::decode(vec![0; MESSAGE_BYTES_MAX + 1].into()), Err(BitswapError::TooLarge(_))));
        let entry = Entry { cid: *block("calm").cid(), priority: 1, wish: Wish::Block, send_dont_have: false };
        let many = Message { entries: vec![entry; ENTRIES_MAX + 1], ..Message::default() };
        assert_eq!(Message::decode(body(&many)).unwrap().entries.len(), ENTRIES_MAX);
        let blocks: Vec<u8> = [0x12, 0].repeat(BLOCKS_MAX + 1);
        assert_eq!(Message::decode(blocks.into()), Err(BitswapError::TooManyBlocks));
        assert_eq!(Message::decode(Bytes::from_static(&[0x12, 9, 1])), Err(BitswapError::Truncated));
    }

    #[test]
    fn entries_that_name_nothing_are_left_out() {
        let list = wire::Wantlist {
            entries: vec![wire::Entry { block: Bytes::from_static(b"no cid"), ..wire::Entry::default() }],
            full: false,
        };
        let message = wire::Message { wantlist: Some(list), ..wire::Message::default() };
        assert!(Message::decode(message.encode_to_vec().into()).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(message) = Message::decode(bytes.into()) {
                prop_assert_eq!(Message::decode(body(&message)).unwrap(), message);
            }
        }
    }
}
