//! dag-cbor (IPLD spec `codecs/dag-cbor`). `serde_ipld_dagcbor` refuses what is not canonical: longer numbers than needed,
//! keys out of order or twice, tags but that of links, indefinite lengths, floats that are not finite. Keeps nothing.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_ipld_dagcbor::error::DecodeError;

use super::{DEPTH_MAX, DataError, Event};
use crate::block::binary_cid;

/// What the decoder is told when a block goes deeper than allowed; it takes only texts.
const TOO_DEEP: &str = "too deep";

pub(super) fn walk(bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
    let mut decoder = serde_ipld_dagcbor::de::Deserializer::from_slice(bytes);
    let read = decoder.deserialize_any(Value { sink, depth: 0 }).and_then(|()| decoder.end());
    read.map_err(|cause| match cause {
        DecodeError::Msg(text) if text == TOO_DEEP => DataError::TooDeep,
        cause => DataError::DagCbor(cause.to_string()),
    })
}

/// Reads one value and whatever is in it.
struct Value<'s> {
    sink: &'s mut dyn FnMut(Event<'_>),
    /// Lists and maps around it.
    depth: usize,
}

impl Value<'_> {
    /// A value in this one.
    fn inner(&mut self) -> Value<'_> {
        Value { sink: &mut *self.sink, depth: self.depth + 1 }
    }

    fn start<E: Error>(&mut self, event: Event<'_>) -> Result<(), E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(TOO_DEEP));
        }
        (self.sink)(event);
        Ok(())
    }

    /// Says what the value is, if it is one without others in it.
    fn say<E>(self, event: Event<'_>) -> Result<(), E> {
        (self.sink)(event);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        // `deserialize_ignored_any` would not check what it skips.
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IPLD data")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        self.say(Event::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.say(Event::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.say(Event::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.say(Event::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<(), E> {
        self.say(Event::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.say(Event::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.say(Event::Text(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<(), E> {
        self.say(Event::Bytes(value))
    }

    /// The decoder hands over links in this guise.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_bytes(Link(self))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.start(Event::ListStart)?;
        while list.next_element_seed(self.inner())?.is_some() {}
        self.say(Event::ListEnd)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.start(Event::MapStart)?;
        while map.next_key_seed(Key(&mut *self.sink))?.is_some() {
            map.next_value_seed(self.inner())?;
        }
        self.say(Event::MapEnd)
    }
}

/// Reads the key of a map.
struct Key<'s>(&'s mut dyn FnMut(Event<'_>));

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        (self.0)(Event::Key(key));
        Ok(())
    }
}

/// Reads the bytes of a link.
struct Link<'s>(Value<'s>);

impl Visitor<'_> for Link<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a CID")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        match binary_cid(bytes) {
            Some(cid) => self.0.say(Event::Link(cid)),
            None => Err(E::custom("a link is no CID")),
        }
    }
}
