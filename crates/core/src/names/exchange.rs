//! How IPNS records travel between nodes: the two boundaries at which the layer that keeps them and the layer that knows
//! the members meet.

use bytes::Bytes;

use crate::blocks::BoxFuture;
use crate::ipns::{Name, Record};

/// The members, as whoever keeps records sees them.
pub trait NameExchange: Send + Sync + 'static {
    /// Asks members for what they hold of `name`, first those that are likely to. Nothing that comes back is verified.
    fn ask<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Asked>;

    /// Passes `record` on to members, soon. Those that know it already take no notice.
    fn tell(&self, record: &Record);
}

/// What came of asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Records, unverified, each at most [`crate::ipns::RECORD_BYTES_MAX`].
    pub records: Vec<Bytes>,
    /// How many members were asked.
    pub asked: usize,
    /// How many of them answered, be it that they have none.
    pub answered: usize,
}

impl Asked {
    /// Whether what is known now is all that can be known: somebody answered, or there is nobody.
    pub fn is_conclusive(&self) -> bool {
        self.asked == 0 || self.answered > 0
    }
}

/// Knows no members.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopNameExchange;

impl NameExchange for NoopNameExchange {
    fn ask<'a>(&'a self, _name: &'a Name) -> BoxFuture<'a, Asked> {
        Box::pin(async { Asked::default() })
    }

    fn tell(&self, _record: &Record) {}
}

/// The records that a node keeps, as members see them.
pub trait NameRecords: Send + Sync + 'static {
    /// The valid record of `name`, from memory.
    fn known(&self, name: &Name) -> Option<Bytes>;

    /// Verifies what members say and keeps what is news, as far as there is room; for each, whether it was news, and
    /// whether it was refused for what it is. What is kept survives power loss once this returns.
    fn offer(&self, records: Vec<(Name, Bytes)>) -> BoxFuture<'_, Vec<Offered>>;
}

/// What became of an offered record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is newer than all before, and worth passing on.
    News(Record),
    /// Nothing new, or no room for it.
    Old,
    /// No valid record of its name: whoever offers it should have known.
    Bad,
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopNameRecords;

impl NameRecords for NoopNameRecords {
    fn known(&self, _name: &Name) -> Option<Bytes> {
        None
    }

    fn offer(&self, records: Vec<(Name, Bytes)>) -> BoxFuture<'_, Vec<Offered>> {
        Box::pin(async move { records.iter().map(|_| Offered::Old).collect() })
    }
}
