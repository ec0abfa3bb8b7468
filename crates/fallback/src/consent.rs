//! Whether an origin agrees that a site stands before it. Without that, whoever publishes a site could have the network ask any server
//! for anything.
//!
//! An origin agrees by a document at `/.well-known/atoll`: text in UTF-8, a site's host, or its name, on each line; what follows `#` is a
//! remark. Or by TXT records of `_atoll.` and its host: `atoll-site=` and one of these. A crash loses what was found out, and it is asked
//! again.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Where the document is.
pub(crate) const PATH: &str = "/.well-known/atoll";
/// The label before an origin's host under which its TXT records are.
const RECORD: &str = "_atoll";
/// The largest document that is read, in bytes, and the most lines of it.
pub(crate) const BYTES_MAX: usize = 64 * 1024;
const LINES_MAX: usize = 1024;
/// How long an answer stands.
const AGREED: Duration = Duration::from_secs(3600);
const NOT_AGREED: Duration = Duration::from_secs(30);
/// How long agreement stands while nothing can be found out.
const UNKNOWN: Duration = Duration::from_secs(24 * 3600);

/// What was found out of one origin.
#[derive(Debug)]
pub(crate) struct Consent {
    /// The hosts of the site.
    sites: Vec<String>,
    known: Mutex<Known>,
    /// One finds out at a time.
    asking: Semaphore,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// When it was last found that it agrees.
    agreed: Option<Instant>,
    /// When it was last asked, and whether it agreed then.
    asked: Option<(Instant, bool)>,
}

impl Consent {
    pub(crate) fn new(sites: &[String]) -> Self {
        Self { sites: sites.to_vec(), known: Mutex::default(), asking: Semaphore::new(1) }
    }

    /// Whether the origin agrees, as far as that need not be found out anew.
    fn known(&self) -> Option<bool> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, agreed) = known.asked?;
        (at.elapsed() < if agreed { AGREED } else { NOT_AGREED }).then_some(agreed)
    }

    /// Whether the origin agrees. `fetch` gets its document, `texts` its TXT records: `None` if there is no telling.
    pub(crate) async fn is_given(
        &self,
        fetch: impl Future<Output = Option<Vec<u8>>>,
        texts: impl Future<Output = Option<Vec<String>>>,
    ) -> bool {
        if let Some(known) = self.known() {
            return known;
        }
        let Ok(_asking) = self.asking.acquire().await else { return false };
        if let Some(known) = self.known() {
            return known;
        }
        let (document, texts) = tokio::join!(fetch, texts);
        let document = document.map(|document| names(&document, &self.sites));
        let texts = texts.map(|texts| txt_names(texts.iter().map(String::as_str), &self.sites));
        let found = match (document, texts) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = known.agreed.is_some_and(|at| now.saturating_duration_since(at) < UNKNOWN);
        let agreed = found.unwrap_or(before);
        if found == Some(true) {
            known.agreed = Some(now);
        } else if found == Some(false) {
            known.agreed = None;
        }
        // What could not be found out is asked again soon.
        let at = if found.is_none() && agreed { now.checked_sub(AGREED - NOT_AGREED).unwrap_or(now) } else { now };
        known.asked = Some((at, agreed));
        agreed
    }
}

/// The name whose TXT records are looked at; `None` for a host that is an address.
pub(crate) fn record_of(host: &str) -> Option<String> {
    let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    is_name.then(|| format!("{RECORD}.{}", host.trim_end_matches('.')))
}

/// Whether TXT records name one of these sites.
pub fn txt_names<'a>(mut texts: impl Iterator<Item = &'a str>, sites: &[String]) -> bool {
    let is_one = |name: &str| sites.iter().any(|site| site != "*" && site.eq_ignore_ascii_case(name));
    texts.any(|text| text.trim().strip_prefix("atoll-site=").is_some_and(|name| is_one(name.trim())))
}

/// Whether a document names one of these sites.
pub fn names(document: &[u8], sites: &[String]) -> bool {
    let Ok(text) = std::str::from_utf8(document.get(..BYTES_MAX).unwrap_or(document)) else { return false };
    let lines = text.lines().take(LINES_MAX).map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut lines = lines.filter(|line| !line.is_empty());
    lines.any(|line| sites.iter().any(|site| site != "*" && site.eq_ignore_ascii_case(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_sites_a_line_each() {
        let sites = ["a.example".to_owned(), "*".to_owned()];
        assert!(names(b"# mine\r\n  A.example # and mine\n", &sites));
        for other in [&b""[..], b"b.example", b"# a.example", b"a.example b.example", b"*", b"\xff\na.example"] {
            assert!(!names(other, &sites), "{other:?}");
        }
        let long = [&b"\n".repeat(LINES_MAX)[..], b"a.example"].concat();
        assert!(!names(&long, &sites));
    }

    #[tokio::test]
    async fn a_txt_record_is_as_good_as_a_document() {
        assert_eq!(record_of("origin.example.").as_deref(), Some("_atoll.origin.example"));
        assert_eq!((record_of("192.0.2.1"), record_of("[2001:db8::1]")), (None, None));
        let found = async |document: Option<&str>, texts: Option<&str>| {
            let document = document.map(|text| text.as_bytes().to_vec());
            let texts = texts.map(|text| text.split('|').map(str::to_owned).collect());
            let consent = Consent::new(&["k51a".to_owned()]);
            consent.is_given(std::future::ready(document), std::future::ready(texts)).await
        };
        assert!(found(None, Some("v=spf1|atoll-site=k51A")).await && found(Some("k51a"), None).await);
        for other in ["", "k51a", "atoll-site=", "atoll-site=k51b", "atoll-site=k51a k51b", "atoll-site=*"] {
            assert!(!found(Some(""), Some(other)).await, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn agreement_stands_for_a_while_and_longer_if_nobody_can_be_asked() {
        let consent = Consent::new(&["a.example".to_owned()]);
        let found = async |document: Option<&str>| {
            let document = document.map(|text| text.as_bytes().to_vec());
            consent.is_given(std::future::ready(document), std::future::ready(Some(Vec::new()))).await
        };
        let advance = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        assert!(!found(None).await && !found(Some("a.example")).await, "asked again too soon");
        advance(31).await;
        assert!(found(Some("a.example")).await && found(Some("")).await, "asked again too soon");
        advance(3601).await;
        assert!(found(None).await, "the origin is away");
        advance(31).await;
        assert!(!found(Some("")).await, "taken back");
        advance(31).await;
        assert!(!found(None).await, "and it stays so");
        advance(31).await;
        assert!(found(Some("a.example")).await);
        for _ in 0..25 {
            advance(3601).await;
            found(None).await;
        }
        assert!(!found(None).await, "for a day at most");
    }
}
