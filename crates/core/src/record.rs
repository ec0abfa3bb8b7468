//! The records that nodes and publishers sign, as `docs/formats.md` writes them byte by byte.

mod member;
mod placement;
mod probe;
mod purge;

pub use member::{Accept, LABEL_BYTES_MAX, MEMBER_ADDRESSES_MAX, Member, OperatorCertificate};
pub use placement::{ALLOWED_MEMBERS_MAX, Placement, REPLICAS_MAX};
pub use probe::{PROBE_ROOTS_MAX, ProbeAnswer};
pub use purge::{PURGE_BYTES_MAX, PURGES_BYTES_MAX, PURGES_MAX, PurgeAnswer, PurgeLog, SitePurge};

/// The version of every record written today.
pub const RECORD_VERSION: u64 = 1;

#[cfg(test)]
mod tests;
