//! Who obeys publishers' purges, so that members can be told how far.

use crate::id::SiteId;

/// How far a node obeys the purges of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Obeyed {
    /// The sequence up to which nothing that was purged is shown, whatever happens to the node.
    pub seq: u64,
    /// Whether it holds the site, or has what its servers answer.
    pub shows: bool,
}

/// See the module.
pub trait Purges: Send + Sync + 'static {
    /// How far the purges of a site are obeyed here.
    fn obeyed(&self, site: &SiteId) -> Obeyed;
}

/// Has nothing that could be purged.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopPurges;

impl Purges for NoopPurges {
    fn obeyed(&self, _site: &SiteId) -> Obeyed {
        Obeyed::default()
    }
}
