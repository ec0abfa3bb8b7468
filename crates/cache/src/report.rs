//! What a cache did with a request, in words for `Cache-Status` (RFC 9211). Pure.

use std::fmt::{self, Write as _};

use http::{HeaderValue, StatusCode};

/// About how long a report is, in bytes.
const TEXT_BYTES: usize = 48;

/// Why a request went on to the origin (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// The cache has nothing to do with it.
    Bypass,
    /// The method.
    Method,
    /// Nothing of the URL is stored.
    UriMiss,
    /// Only what answers other requests.
    VaryMiss,
    /// The request asks for it.
    Request,
    /// What is stored is stale.
    Stale,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why it was forwarded; `None` if what is stored answered it.
    pub forwarded: Option<Forwarded>,
    /// The status of the origin, where it is not that of the answer.
    pub status: Option<StatusCode>,
    /// Seconds for which the stored response is still fresh.
    pub ttl: Option<i64>,
    /// Whether the answer is stored.
    pub stored: bool,
    /// Whether it waited for the answer to another request.
    pub collapsed: bool,
    /// Whether what answered was read from the disk.
    pub disk: bool,
}

/// Who reports. What says nothing but why a request was forwarded is put into words once.
#[derive(Clone, Debug)]
pub struct Reporter {
    cache: String,
    forwarded: [Option<HeaderValue>; Forwarded::ALL.len()],
}

impl Reporter {
    /// In the name of a cache, a token.
    pub fn new(cache: &str) -> Self {
        let said = |why| Report { forwarded: Some(why), ..Report::default() }.value(cache);
        Self { cache: cache.to_owned(), forwarded: Forwarded::ALL.map(said) }
    }

    /// The member of the list.
    pub fn value(&self, report: &Report) -> Option<HeaderValue> {
        match *report {
            Report { forwarded: Some(why), status: None, ttl: None, stored: false, collapsed: false, disk: false } => {
                self.forwarded.get(why as usize).cloned().flatten()
            }
            _ => report.value(&self.cache),
        }
    }
}

impl Report {
    fn value(&self, cache: &str) -> Option<HeaderValue> {
        let mut text = String::with_capacity(cache.len().saturating_add(TEXT_BYTES));
        text.push_str(cache);
        write!(text, "{self}").ok()?;
        HeaderValue::try_from(text).ok()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.forwarded {
            None => f.write_str("; hit")?,
            Some(why) => {
                f.write_str("; fwd=")?;
                f.write_str(why.token())?;
            }
        }
        if let Some(status) = self.status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if self.disk {
            f.write_str("; detail=disk")?;
        }
        Ok(())
    }
}

impl Forwarded {
    const ALL: [Self; 6] = [Self::Bypass, Self::Method, Self::UriMiss, Self::VaryMiss, Self::Request, Self::Stale];

    fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_rfc_has_it() {
        let hit = Report { ttl: Some(-3), disk: true, ..Report::default() };
        assert_eq!(hit.value("atoll").unwrap(), "atoll; hit; ttl=-3; detail=disk");
        let miss = Report {
            forwarded: Some(Forwarded::Stale),
            status: Some(StatusCode::NOT_MODIFIED),
            ttl: Some(60),
            stored: true,
            collapsed: true,
            disk: false,
        };
        assert_eq!(miss.value("atoll").unwrap(), "atoll; fwd=stale; fwd-status=304; ttl=60; stored; collapsed");
        let reporter = Reporter::new("atoll");
        assert_eq!(reporter.value(&miss), miss.value("atoll"));
        for why in Forwarded::ALL {
            let plain = Report { forwarded: Some(why), ..Report::default() };
            assert_eq!(reporter.value(&plain).unwrap(), format!("atoll; fwd={}", why.token()));
        }
        let parsed: sfv::List = sfv::Parser::new(&miss.value("atoll").unwrap()).parse().unwrap();
        assert_eq!(parsed.len(), 1);
    }
}
