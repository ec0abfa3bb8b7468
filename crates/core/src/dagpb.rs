//! dag-pb: the protobuf node, links and data, that carries UnixFS (IPLD spec `codecs/dag-pb`, "DAG-PB logical format").
//!
//! The decoder is strict, borrows from the block, and allocates one list of links. It refuses what the spec refuses:
//! unknown fields, fields out of order, data between links, a link without a hash. Nothing is kept, a crash loses
//! nothing. Why it is our own: `docs/decisions/0003-unixfs-codec.md`.

use unsigned_varint::{decode, encode};

use crate::block::{BLOCK_BYTES_MAX, Cid, binary_cid};

/// The most links one node may have: more would not fit a block with hashes of 32 bytes.
pub const LINKS_MAX: usize = 65_536;

/// A decoded node. Links keep the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node<'a> {
    /// The `Links` field.
    pub links: Vec<Link<'a>>,
    /// The `Data` field: for UnixFS the message that [`crate::unixfs`] decodes.
    pub data: Option<&'a [u8]>,
}

/// One link of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The block that is linked.
    pub cid: Cid,
    /// The `Name` field.
    pub name: Option<&'a str>,
    /// The `Tsize` field: by convention the bytes of all blocks below, counting repeats. A claim of whoever wrote the
    /// node, nothing may be reserved or skipped on its word.
    pub tsize: Option<u64>,
}

impl<'a> Node<'a> {
    /// Decodes a block.
    ///
    /// # Errors
    /// [`DagPbError`] names the first rule that the bytes break.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DagPbError> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(DagPbError::TooLarge(bytes.len()));
        }
        let mut node = Self { links: Vec::with_capacity(count_links(bytes)), data: None };
        let mut rest = bytes;
        // Either all links and then data, as canonical, or data and then all links, as old writers did.
        let mut links_done = false;
        while !rest.is_empty() {
            let (tag, value, after) = delimited(rest)?;
            match tag {
                LINKS if links_done => return Err(DagPbError::LinksTwice),
                LINKS if node.links.len() == LINKS_MAX => return Err(DagPbError::TooManyLinks),
                LINKS => node.links.push(Link::decode(value)?),
                DATA if node.data.is_some() => return Err(DagPbError::DataTwice),
                DATA => {
                    node.data = Some(value);
                    links_done = !node.links.is_empty();
                }
                other => return Err(DagPbError::UnknownField(other)),
            }
            rest = after;
        }
        Ok(node)
    }

    /// Encodes the node canonically but for the order of links, which is the caller's: links, then data.
    pub fn encode(&self) -> Vec<u8> {
        let links: usize = self.links.iter().map(Link::encoded_len).sum();
        let mut out = Vec::with_capacity(links.saturating_add(self.data.map_or(0, |data| field_len(data.len()))));
        for link in &self.links {
            link.encode(&mut out);
        }
        if let Some(data) = self.data {
            put_bytes(&mut out, DATA, data);
        }
        out
    }
}

/// The first link at or behind `at`, and where the next may begin: a walk over the links of a node that [`Node::decode`]
/// accepted, without a list of them. `None` behind the last.
///
/// # Errors
/// [`DagPbError`], if the bytes were not accepted or `at` is no place that this function returned, nor 0.
pub fn link_at(bytes: &[u8], at: usize) -> Result<Option<(Link<'_>, usize)>, DagPbError> {
    let mut rest = bytes.get(at..).ok_or(DagPbError::Truncated)?;
    while !rest.is_empty() {
        let (tag, value, after) = delimited(rest)?;
        match tag {
            LINKS => return Ok(Some((Link::decode(value)?, bytes.len() - after.len()))),
            DATA => rest = after,
            other => return Err(DagPbError::UnknownField(other)),
        }
    }
    Ok(None)
}

/// How many links a node has, as far as it is sound: those of a large one take megabytes, which are not to be moved about
/// while their list grows.
fn count_links(bytes: &[u8]) -> usize {
    let (mut rest, mut links) = (bytes, 0);
    while let Ok((tag, _, after)) = delimited(rest) {
        links += usize::from(tag == LINKS);
        if after.is_empty() || links == LINKS_MAX {
            break;
        }
        rest = after;
    }
    links
}

impl<'a> Link<'a> {
    /// A link with all three fields.
    pub fn new(cid: Cid, name: &'a str, tsize: u64) -> Self {
        Self { cid, name: Some(name), tsize: Some(tsize) }
    }

    /// The name, empty if there is none.
    pub fn name(&self) -> &'a str {
        self.name.unwrap_or_default()
    }

    /// The bytes that this link adds to a node: IPIP-499 counts with it when a directory is to be sharded.
    pub fn encoded_len(&self) -> usize {
        field_len(self.body_len())
    }

    fn body_len(&self) -> usize {
        let name = self.name.map_or(0, |name| field_len(name.len()));
        let tsize = self.tsize.map_or(0, |tsize| 1 + varint_len(tsize));
        field_len(self.cid.encoded_len()) + name + tsize
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(LINKS);
        put_varint(out, self.body_len() as u64);
        put_bytes(out, HASH, &self.cid.to_bytes());
        if let Some(name) = self.name {
            put_bytes(out, NAME, name.as_bytes());
        }
        if let Some(tsize) = self.tsize {
            out.push(TSIZE);
            put_varint(out, tsize);
        }
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, DagPbError> {
        let (tag, hash, mut rest) = if bytes.is_empty() { (0, bytes, bytes) } else { delimited(bytes)? };
        if tag != HASH {
            return Err(DagPbError::NoHash);
        }
        let cid = binary_cid(hash).ok_or(DagPbError::BadCid)?;
        let mut link = Link { cid, name: None, tsize: None };
        if rest.first() == Some(&NAME) {
            let (_, name, after) = delimited(rest)?;
            link.name = Some(std::str::from_utf8(name).map_err(|_| DagPbError::NameNotUtf8)?);
            rest = after;
        }
        if let Some((&TSIZE, after)) = rest.split_first() {
            let (tsize, after) = varint(after)?;
            link.tsize = Some(tsize);
            rest = after;
        }
        match rest.first() {
            None => Ok(link),
            Some(&tag) => Err(DagPbError::UnknownField(tag)),
        }
    }
}

// Tags: field number << 3 | wire type.
const DATA: u8 = 0x0a;
const LINKS: u8 = 0x12;
const HASH: u8 = 0x0a;
const NAME: u8 = 0x12;
const TSIZE: u8 = 0x18;

/// Splits a length-delimited field off: its tag, its value, and what follows.
fn delimited(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), DagPbError> {
    let (&tag, rest) = bytes.split_first().ok_or(DagPbError::Truncated)?;
    if tag & 7 != 2 {
        return Err(DagPbError::UnknownField(tag));
    }
    let (len, rest) = varint(rest)?;
    let len = usize::try_from(len).map_err(|_| DagPbError::Truncated)?;
    let (value, rest) = rest.split_at_checked(len).ok_or(DagPbError::Truncated)?;
    Ok((tag, value, rest))
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), DagPbError> {
    decode::u64(bytes).map_err(|cause| match cause {
        decode::Error::Insufficient => DagPbError::Truncated,
        _ => DagPbError::BadVarint,
    })
}

/// The bytes of a length-delimited field whose tag is one byte.
pub(crate) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// The bytes of a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(encode::u64(value, &mut encode::u64_buffer()));
}

/// Why bytes are not a dag-pb node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagPbError {
    /// Larger than any block.
    #[error("a node of {0} bytes is over the limit of {BLOCK_BYTES_MAX}")]
    TooLarge(usize),
    /// More links than [`LINKS_MAX`].
    #[error("more than {LINKS_MAX} links")]
    TooManyLinks,
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A varint over 64 bits, or longer than it need be.
    #[error("a varint is over 64 bits or not minimal")]
    BadVarint,
    /// A field that dag-pb does not have, or one out of order; the number is its tag.
    #[error("unknown or misplaced field with tag 0x{0:02x}")]
    UnknownField(u8),
    /// Data stands between links.
    #[error("data stands between links")]
    LinksTwice,
    /// Two data fields.
    #[error("two data fields")]
    DataTwice,
    /// A link without its hash.
    #[error("a link has no hash")]
    NoHash,
    /// A hash that is no CID.
    #[error("the hash of a link is not a CID")]
    BadCid,
    /// A link name that is not UTF-8.
    #[error("the name of a link is not UTF-8")]
    NameNotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Block, RAW};

    fn cid(text: &'static str) -> Cid {
        *Block::sha2_256(RAW, bytes::Bytes::from_static(text.as_bytes())).unwrap().cid()
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let node = Node {
            links: vec![
                Link::new(cid("a"), "a", 1),
                Link { cid: cid("b"), name: None, tsize: Some(u64::MAX) },
                Link { cid: cid("c"), name: Some("é"), tsize: None },
            ],
            data: Some(b"\x08\x01"),
        };
        let bytes = node.encode();
        assert_eq!(Node::decode(&bytes).unwrap(), node);
        let links: usize = node.links.iter().map(Link::encoded_len).sum();
        assert_eq!(bytes.len(), links + 4);
    }

    #[test]
    fn links_one_at_a_time_are_those_of_the_list() {
        let links = vec![Link::new(cid("a"), "a", 1), Link::new(cid("b"), "b", 2)];
        let canonical = Node { links: links.clone(), data: Some(b"data") }.encode();
        let (links_only, data) = canonical.split_at(canonical.len() - 6);
        for bytes in [&canonical[..], &[data, links_only].concat(), links_only] {
            let (mut found, mut at) = (Vec::new(), 0);
            while let Some((link, next)) = link_at(bytes, at).unwrap() {
                found.push(link);
                at = next;
            }
            assert_eq!(found, links);
        }
        assert_eq!(link_at(&canonical, canonical.len() + 1), Err(DagPbError::Truncated));
        assert!(link_at(&canonical, 1).is_err());
    }

    #[test]
    fn every_truncation_is_refused_or_shorter() {
        let node = Node { links: vec![Link::new(cid("a"), "name", 300)], data: Some(b"data") };
        let bytes = node.encode();
        for len in 0..bytes.len() {
            assert!(Node::decode(&bytes[..len]).map_or(true, |short| short != node), "cut at {len}");
        }
    }

    #[test]
    fn a_length_over_64_bits_is_refused() {
        assert_eq!(Node::decode(&[&[DATA][..], &[0xff; 11]].concat()), Err(DagPbError::BadVarint));
        assert_eq!(Node::decode(&[DATA, 0x80, 0x00]), Err(DagPbError::BadVarint));
        assert_eq!(Node::decode(&[DATA, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(DagPbError::Truncated));
    }

    #[test]
    fn fields_must_come_in_order_and_once() {
        let link = Node { links: vec![Link::new(cid("a"), "n", 1)], data: None }.encode();
        let data = [DATA, 1, 7];
        assert!(Node::decode(&[&data[..], &link, &link].concat()).is_ok());
        assert_eq!(Node::decode(&[&link[..], &data, &link].concat()), Err(DagPbError::LinksTwice));
        assert_eq!(Node::decode(&[data, data].concat()), Err(DagPbError::DataTwice));
        assert_eq!(Node::decode(&[0x18, 1]), Err(DagPbError::UnknownField(0x18)));
    }

    #[test]
    fn too_many_links_are_refused() {
        // The smallest link there is: an identity CID of nothing.
        let link: &[u8] = &[LINKS, 6, HASH, 4, 1, 0x55, 0, 0];
        assert_eq!(Node::decode(&link.repeat(LINKS_MAX)).unwrap().links.len(), LINKS_MAX);
        assert_eq!(Node::decode(&link.repeat(LINKS_MAX + 1)), Err(DagPbError::TooManyLinks));
    }
}
