//! A site's purges: what its publisher has taken back of what is stored of its servers' answers, signed with the site key; and a node's
//! word that it obeys them.
//!
//! All of a site's purges are one record, so that whoever was away learns of all by the newest, and an old one that comes again says
//! nothing new. Too many of them become one of everything up to then, which is always right.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::RECORD_VERSION;
use crate::envelope::{Record, RecordError, Signed};
use crate::id::{PublicKey, SiteId};
use crate::keys::{Identity, Site};

/// The most purges that one record tells one by one.
pub const PURGES_MAX: usize = 64;
/// The most bytes of what they name, together; with the envelope around them that is below 4 KiB.
pub const PURGES_BYTES_MAX: usize = 2048;
/// The longest URL or group that one names, in bytes.
pub const PURGE_BYTES_MAX: usize = 1024;
/// What one purge is counted with beyond what it names, in bytes.
const ENTRY_BYTES: usize = 24;

/// The purges of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeLog {
    /// Format version, [`RECORD_VERSION`].
    pub v: u64,
    /// Sequence: that of the last purge. By convention milliseconds since the Unix epoch at signing.
    pub seq: u64,
    /// Expiry, in seconds since the Unix epoch: who is away for longer does not hear of them.
    pub exp: u64,
    /// All that was stored before the node heard of this sequence is purged; 0: nothing.
    pub all: u64,
    /// The purges since, in ascending order.
    pub since: Vec<SitePurge>,
}

/// One purge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SitePurge {
    /// Its sequence.
    pub seq: u64,
    /// Path and query, on every host of the site; or a URL, on that host; empty with a group, on every host, or for everything.
    pub url: String,
    /// Whether all that begin with it are meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prefix: bool,
    /// The group that is meant instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it is only to be validated before it is used again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub soft: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl SitePurge {
    /// Whether it can be obeyed.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), &'static str> {
        let visible = |text: &str| text.len() <= PURGE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let whole = ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme));
        if !visible(&self.url) || !self.group.as_deref().is_none_or(visible) {
            return Err("a URL or group is over 1024 bytes, or has bytes that none has");
        }
        match (&*self.url, self.prefix, &self.group) {
            (_, true, Some(_)) => Err("a group is no prefix"),
            (_, _, Some(group)) if group.is_empty() => Err("a group has no name"),
            ("", false, _) => Ok(()),
            ("", true, None) => Err("a prefix is a path or a URL"),
            (url, ..) if whole || url.starts_with('/') => Ok(()),
            _ => Err("neither a path nor a URL"),
        }
    }

    fn bytes(&self) -> usize {
        self.url.len().saturating_add(self.group.as_ref().map_or(0, String::len)).saturating_add(ENTRY_BYTES)
    }
}

impl PurgeLog {
    /// None yet.
    pub fn new() -> Self {
        Self { v: RECORD_VERSION, ..Self::default() }
    }

    /// Adds one more, at a time in milliseconds since the Unix epoch. If there are too many then, the older half becomes one of
    /// everything.
    pub fn add(&mut self, purge: SitePurge, now: u64) {
        self.seq = now.max(self.seq.saturating_add(1));
        self.since.push(SitePurge { seq: self.seq, ..purge });
        while self.is_over() {
            let half = self.since.len().div_ceil(2);
            self.all = self.since.drain(..half).next_back().map_or(self.all, |purge| purge.seq);
        }
    }

    fn is_over(&self) -> bool {
        let bytes: usize = self.since.iter().map(SitePurge::bytes).sum();
        self.since.len() > PURGES_MAX || bytes > PURGES_BYTES_MAX
    }

    /// What a node that has obeyed all up to a sequence has still to do: everything first, if so, then the others.
    pub fn after(&self, seq: u64) -> (bool, impl Iterator<Item = &SitePurge>) {
        (self.all > seq, self.since.iter().filter(move |purge| purge.seq > seq))
    }
}

impl Signed<PurgeLog> {
    /// The site that the signer speaks for.
    pub fn site(&self) -> SiteId {
        SiteId::of(self.signer())
    }
}

impl Record for PurgeLog {
    type Signer = Site;
    const DOMAIN: &'static str = "atoll-purge-1";
    const PAYLOAD_TYPE: &'static str = "/atoll/purge";

    fn check(&self, _signer: &PublicKey) -> Result<(), RecordError> {
        if self.v != RECORD_VERSION {
            return Err(RecordError::Version(self.v));
        }
        let before = std::iter::once(self.all).chain(self.since.iter().map(|purge| purge.seq));
        let ascends = before.zip(&self.since).all(|(before, purge)| before < purge.seq);
        let last = self.since.last().map_or(self.all, |purge| purge.seq);
        if self.is_over() || !ascends || last != self.seq || self.since.iter().any(|purge| purge.check().is_err()) {
            return Err(RecordError::Bounds("since"));
        }
        Ok(())
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn expires(&self) -> u64 {
        self.exp
    }
}

/// A node's word on how far it obeys the purges of a site, signed over the asker's nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeAnswer {
    /// Format version, [`RECORD_VERSION`].
    pub v: u64,
    /// The asker's nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// Expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// The id of the site.
    site: ByteBuf,
    /// The sequence up to which nothing that was purged is shown, whatever happens to the node; 0: it knows of none.
    pub done: u64,
    /// Whether it holds the site, or has what its servers answer.
    pub shows: bool,
}

impl PurgeAnswer {
    /// The answer to `nonce`.
    pub fn new(nonce: [u8; 32], exp: u64, site: &SiteId, (done, shows): (u64, bool)) -> Self {
        Self { v: RECORD_VERSION, nonce, exp, site: ByteBuf::from(site.0), done, shows }
    }

    /// Whether it is about this site.
    pub fn is_of(&self, site: &SiteId) -> bool {
        self.site.as_ref() == site.0
    }
}

impl Record for PurgeAnswer {
    type Signer = Identity;
    const DOMAIN: &'static str = "atoll-purged-1";
    const PAYLOAD_TYPE: &'static str = "/atoll/purged";

    fn check(&self, _signer: &PublicKey) -> Result<(), RecordError> {
        if self.v != RECORD_VERSION {
            return Err(RecordError::Version(self.v));
        }
        if self.site.len() == 32 { Ok(()) } else { Err(RecordError::Bounds("site")) }
    }

    fn seq(&self) -> u64 {
        self.exp
    }

    fn expires(&self) -> u64 {
        self.exp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SiteKey;

    fn of(url: &str) -> SitePurge {
        SitePurge { url: url.to_owned(), ..SitePurge::default() }
    }

    #[test]
    fn whoever_was_away_hears_of_all_that_it_missed() {
        let mut log = PurgeLog::new();
        let key = SiteKey::from_seed(&[1; 32]);
        for n in 1..=10 {
            log.add(of(&format!("/{n}")), n);
        }
        let missed = |log: &PurgeLog, seq| {
            let (all, since) = log.after(seq);
            (all, since.map(|purge| purge.url.clone()).collect::<Vec<_>>())
        };
        assert_eq!(missed(&log, 8), (false, vec!["/9".to_owned(), "/10".to_owned()]));
        assert_eq!((missed(&log, 10), missed(&log, 99)), ((false, vec![]), (false, vec![])));
        // A clock that stands still or was set back.
        log.add(of("/11"), 3);
        assert_eq!((log.seq, log.since[10].seq), (11, 11));
        for n in 12..=1000 {
            log.add(of(&format!("/{}{n}", "a".repeat(usize::try_from(n).unwrap()))), n);
            let sealed = Signed::seal(log.clone(), &key).unwrap();
            assert_eq!(Signed::<PurgeLog>::open(sealed.bytes().clone()).unwrap().record(), &log);
        }
        assert!(log.all > 900 && log.after(10).0 && !log.after(log.all).0);
    }

    #[test]
    fn the_most_purges_fit_an_envelope_and_others_are_refused() {
        let key = SiteKey::from_seed(&[2; 32]);
        let mut log = PurgeLog::new();
        for n in 1..=PURGES_MAX as u64 {
            log.add(SitePurge { group: Some("g".repeat(7)), soft: true, ..SitePurge::default() }, u64::MAX / 2 + n);
        }
        assert_eq!((log.since.len(), log.all), (PURGES_MAX, 0));
        assert!(Signed::seal(log.clone(), &key).is_ok());
        for wrong in ["x", "ftp://a/", "/a b", "//\u{e4}"] {
            assert!(of(wrong).check().is_err(), "{wrong}");
        }
        assert!(of("").check().is_ok() && of("/a?b").check().is_ok() && of("https://a.example/").check().is_ok());
        assert!(SitePurge { prefix: true, ..of("") }.check().is_err());
        assert!(SitePurge { group: Some(String::new()), ..of("") }.check().is_err());
        let refused = |change: &dyn Fn(&mut PurgeLog)| {
            let mut log = log.clone();
            change(&mut log);
            Signed::seal(log, &key).is_err()
        };
        assert!(refused(&|log| log.v = 2) && refused(&|log| log.seq += 1) && refused(&|log| log.since[0].seq = 0));
        assert!(refused(&|log| log.since.push(of("/a"))) && refused(&|log| log.since[1].seq = log.since[0].seq));
        assert!(refused(&|log| log.since[0].url = "x".to_owned()));
    }
}
