//! Which pins a publisher asks for: the query of `GET /pins`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atoll_core::{Cid, Timestamp, rfc3339};
use percent_encoding::percent_decode_str;

use crate::wire::{NAME_CHARS_MAX, Pin, Status, checked_meta, parse_cid};

/// The most pins in one answer (as the specification says).
pub const LIMIT_MAX: usize = 1000;
/// The most CIDs in one query (as the specification says).
pub const CIDS_MAX: usize = 10;
/// The longest query that is read, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;
/// The most parameters.
const PARAMETERS_MAX: usize = 64;

/// Why a query is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Too long, or not UTF-8.
    #[error("the query takes at most {QUERY_BYTES_MAX} bytes and {PARAMETERS_MAX} parameters, in UTF-8")]
    Form,
    /// Not CIDs.
    #[error("`cid` takes 1 to {CIDS_MAX} CIDs")]
    Cid,
    /// Too long a name.
    #[error("`name` is longer than {NAME_CHARS_MAX} characters")]
    Name,
    /// No such way to compare.
    #[error("`match` is one of exact, iexact, partial, ipartial")]
    Match,
    /// No such status.
    #[error("`status` is one or more of queued, pinning, pinned, failed")]
    Status,
    /// Not a moment.
    #[error("`before` and `after` take a moment such as 2020-07-27T17:32:28Z (RFC 3339)")]
    Time,
    /// Not such a number.
    #[error("`limit` is a number from 1 to {LIMIT_MAX}")]
    Limit,
    /// Not metadata.
    #[error("`meta` is a JSON object of strings")]
    Meta,
}

/// How names are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Match {
    /// All of it.
    #[default]
    Exact,
    /// All of it, whatever the case.
    Iexact,
    /// A part of it.
    Partial,
    /// A part of it, whatever the case.
    Ipartial,
}

/// What a pin must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    cids: Vec<Cid>,
    /// In lower case where case does not matter.
    name: Option<String>,
    how: Match,
    statuses: Vec<Status>,
    before: Option<SystemTime>,
    after: Option<SystemTime>,
    meta: BTreeMap<String, String>,
    /// The most pins in the answer.
    pub limit: usize,
}

impl Filter {
    /// Reads a query, without its `?`. `page_size` is the limit when none is named. Unknown parameters are left alone.
    ///
    /// # Errors
    /// [`QueryError`] names the parameter.
    pub fn parse(query: &str, page_size: usize) -> Result<Self, QueryError> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(QueryError::Form);
        }
        let mut filter = Self {
            cids: Vec::new(),
            name: None,
            how: Match::default(),
            statuses: Vec::new(),
            before: None,
            after: None,
            meta: BTreeMap::new(),
            limit: page_size,
        };
        for (at, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
            if at >= PARAMETERS_MAX {
                return Err(QueryError::Form);
            }
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            filter.take(&decode(key)?, &decode(value)?)?;
        }
        if matches!(filter.how, Match::Iexact | Match::Ipartial) {
            filter.name = filter.name.map(|name| name.to_lowercase());
        }
        if filter.statuses.is_empty() {
            filter.statuses.push(Status::Pinned);
        }
        Ok(filter)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), QueryError> {
        match key {
            // Lists come as repeated parameters or with commas: clients in use do either.
            "cid" => {
                for text in value.split(',') {
                    let cid = parse_cid(text).and_then(canonical).ok_or(QueryError::Cid)?;
                    if !self.cids.contains(&cid) {
                        self.cids.push(cid);
                    }
                    if self.cids.len() > CIDS_MAX {
                        return Err(QueryError::Cid);
                    }
                }
            }
            "name" if value.chars().count() > NAME_CHARS_MAX => return Err(QueryError::Name),
            "name" => self.name = Some(value.to_owned()),
            "match" => {
                self.how = match value {
                    "exact" => Match::Exact,
                    "iexact" => Match::Iexact,
                    "partial" => Match::Partial,
                    "ipartial" => Match::Ipartial,
                    _ => return Err(QueryError::Match),
                };
            }
            "status" => {
                for text in value.split(',') {
                    let status = Status::parse(text).ok_or(QueryError::Status)?;
                    if !self.statuses.contains(&status) {
                        self.statuses.push(status);
                    }
                }
            }
            "before" => self.before = Some(rfc3339::parse(value).ok_or(QueryError::Time)?),
            "after" => self.after = Some(rfc3339::parse(value).ok_or(QueryError::Time)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or(QueryError::Limit)?;
            }
            "meta" => {
                let meta = serde_json::from_str(value).ok().and_then(checked_meta);
                self.meta = meta.ok_or(QueryError::Meta)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a pin is one that is asked for.
    pub fn matches(&self, pin: &Pin, created: Timestamp, status: Status) -> bool {
        let created = UNIX_EPOCH.checked_add(Duration::from_millis(created.as_millis()));
        self.statuses.contains(&status)
            && self.before.is_none_or(|before| created.is_some_and(|created| created < before))
            && self.after.is_none_or(|after| created.is_some_and(|created| created > after))
            && (self.cids.is_empty() || canonical(pin.cid).is_some_and(|cid| self.cids.contains(&cid)))
            && self.name.as_ref().is_none_or(|name| self.matches_name(name, pin.name.as_deref().unwrap_or_default()))
            && self.meta.iter().all(|(key, value)| pin.meta.get(key) == Some(value))
    }

    fn matches_name(&self, wanted: &str, name: &str) -> bool {
        match self.how {
            Match::Exact => name == wanted,
            Match::Iexact => name.to_lowercase() == wanted,
            Match::Partial => name.contains(wanted),
            Match::Ipartial => name.to_lowercase().contains(wanted),
        }
    }
}

/// Version 1, so that both ways to write a CID are the same.
fn canonical(cid: Cid) -> Option<Cid> {
    cid.into_v1().ok()
}

/// A part of a query, as forms encode it.
fn decode(text: &str) -> Result<String, QueryError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| QueryError::Form)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
    const CID_V1: &str = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    fn pin(name: &str) -> Pin {
        let meta = BTreeMap::from([("app".to_owned(), "x".to_owned()), ("b".to_owned(), "y".to_owned())]);
        Pin { cid: CID.parse().unwrap(), name: Some(name.to_owned()), origins: Vec::new(), meta }
    }

    fn finds(query: &str, name: &str) -> bool {
        let created = Timestamp::from_millis(1_595_871_148_500);
        Filter::parse(query, 10).unwrap().matches(&pin(name), created, Status::Pinned)
    }

    #[test]
    fn pins_are_found_by_what_they_are() {
        assert!(finds("", "a") && finds("status=failed,pinned", "a") && finds("status=failed&status=pinned", "a"));
        assert!(!finds("status=queued", "a"));
        assert!(finds(&format!("cid={CID_V1}"), "a"), "the same in version 1");
        assert!(finds("name=Data.pdf", "Data.pdf") && !finds("name=data.pdf", "Data.pdf"));
        assert!(finds("name=dATA.pdf&match=iexact", "Data.pdf") && !finds("name=dATA&match=iexact", "Data.pdf"));
        assert!(finds("match=partial&name=ta.p", "Data.pdf") && !finds("match=partial&name=TA.p", "Data.pdf"));
        assert!(finds("match=ipartial&name=TA.P", "Data.pdf"));
        assert!(finds("name=two+words%21", "two words!"));
        assert!(finds("meta=%7B%22app%22%3A%22x%22%7D", "a") && !finds("meta=%7B%22app%22%3A%22z%22%7D", "a"));
        assert!(finds("before=2020-07-27T17:32:28.501Z&after=2020-07-27T19:32:28.499%2B02:00", "a"));
        assert!(!finds("before=2020-07-27T17:32:28.5Z", "a") && !finds("after=2020-07-27T17:32:28.5Z", "a"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let eleven: String = (0..11).map(|n| format!("cid={}&", raw(n))).collect();
        let long = format!("name={}", "x".repeat(NAME_CHARS_MAX + 1));
        for (query, error) in [
            ("cid=", QueryError::Cid),
            (&eleven, QueryError::Cid),
            (&long, QueryError::Name),
            ("match=like", QueryError::Match),
            ("status=done", QueryError::Status),
            ("status=", QueryError::Status),
            ("before=yesterday", QueryError::Time),
            ("limit=0", QueryError::Limit),
            ("limit=1001", QueryError::Limit),
            ("meta=[]", QueryError::Meta),
            ("name=%ff", QueryError::Form),
            (&"a&".repeat(PARAMETERS_MAX + 1), QueryError::Form),
            (&"a".repeat(QUERY_BYTES_MAX + 1), QueryError::Form),
        ] {
            assert_eq!(Filter::parse(query, 10), Err(error), "{query:.40}");
        }
        assert_eq!(Filter::parse("limit=1000&cursor=x", 10).unwrap().limit, 1000);
    }

    fn raw(n: u8) -> String {
        let block = atoll_core::Block::sha2_256(atoll_core::block::RAW, vec![n].into()).unwrap();
        block.cid().to_string()
    }
}
