//! The boundary between whoever shows content and whoever knows what this node's operator does not show.

use crate::block::Cid;

/// What may be denied.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A block, wherever it is used: by its multihash.
    Block(&'a Cid),
    /// A path below a root, before it is followed: `/ipfs/ROOT/names`.
    Path {
        /// Where it begins.
        root: &'a Cid,
        /// The names, decoded; none for the root itself.
        names: &'a [&'a str],
    },
    /// A path below a name, before it is resolved: `/ipns/NAME/names`.
    Name {
        /// An IPNS key in any encoding, or a host name (DNSLink) in lower case.
        name: &'a str,
        /// The names below it, decoded.
        names: &'a [&'a str],
    },
}

/// That something is not shown, and what a visitor is told of why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// 410: the operator does not show it.
    Gone,
    /// 451: the operator may not show it (RFC 7725).
    Legal,
}

impl Denied {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Gone => 410,
            Self::Legal => 451,
        }
    }
}

/// Decides what is denied. Asked for every block that is read and every path that is walked: no I/O, no lock held long.
pub trait Deny: Send + Sync + 'static {
    /// Whether `subject` is denied.
    fn decide(&self, subject: Subject<'_>) -> Option<Denied>;

    /// Changes whenever anything may be decided otherwise than before, so that what was decided can be kept until then.
    fn version(&self) -> u64;
}

/// Denies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopDeny;

impl Deny for NoopDeny {
    fn decide(&self, _subject: Subject<'_>) -> Option<Denied> {
        None
    }

    fn version(&self) -> u64 {
        0
    }
}
