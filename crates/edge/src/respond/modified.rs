//! When a file was modified, if its publisher says so (UnixFS 1.5; RFC 9110, sections 8.8.2 and 13.1.3). Pure; a crash loses
//! nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atoll_core::unixfs::Meta;
use http::{HeaderMap, header};

use super::insert;

/// Sets `Last-Modified`. Without a time there is none, nor for one before 1970 or to come: it would say too much, or break
/// what caches reckon with.
pub(crate) fn set(headers: &mut HeaderMap, meta: &Meta) {
    if let Some(time) = date(meta).filter(|time| *time <= SystemTime::now()) {
        insert(headers, header::LAST_MODIFIED, httpdate::fmt_http_date(time));
    }
}

/// The time as people and HTTP write it, whatever it is; `None` for one that cannot be written so.
pub(super) fn text(meta: &Meta) -> Option<String> {
    // RFC 9110 has four digits for the year.
    const YEAR_10000: u64 = 253_402_300_800;
    let last = UNIX_EPOCH.checked_add(Duration::from_secs(YEAR_10000))?;
    date(meta).filter(|time| *time < last).map(httpdate::fmt_http_date)
}

fn date(meta: &Meta) -> Option<SystemTime> {
    let seconds = meta.mtime.and_then(|(seconds, _)| u64::try_from(seconds).ok())?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Whether a client has what the answer with `headers` has: it was modified at the very time that the client names. An older
/// time is not enough, since a name that is set back to an older version shows files of an older time. A client that names
/// tags is answered by them.
pub(crate) fn is_unmodified(request: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(since) = request.get(header::IF_MODIFIED_SINCE) else { return false };
    let Some(modified) = headers.get(header::LAST_MODIFIED) else { return false };
    let date = |value: &http::HeaderValue| value.to_str().ok().and_then(|value| httpdate::parse_http_date(value).ok());
    !request.contains_key(header::IF_NONE_MATCH)
        && date(modified).zip(date(since)).is_some_and(|(modified, since)| modified == since)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn modified(seconds: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, &Meta { mtime: Some((seconds, 5)), ..Meta::default() });
        headers
    }

    #[test]
    fn only_times_that_can_be_are_said() {
        assert_eq!(modified(784_111_777).get(header::LAST_MODIFIED).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        for impossible in [-1, i64::MIN, i64::MAX, 99_999_999_999] {
            assert!(modified(impossible).is_empty(), "{impossible}");
        }
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let unmodified = |name: header::HeaderName, value: &'static str| {
            let since = (header::IF_MODIFIED_SINCE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
            let request = HeaderMap::from_iter([since, (name, HeaderValue::from_static(value))]);
            [-1, 0, 1].map(|later| is_unmodified(&request, &modified(784_111_777 + later)))
        };
        assert_eq!(unmodified(header::ACCEPT, "*/*"), [false, true, false]);
        assert_eq!(unmodified(header::IF_NONE_MATCH, "\"other\""), [false; 3]);
        let malformed = HeaderMap::from_iter([(header::IF_MODIFIED_SINCE, HeaderValue::from_static("yesterday"))]);
        assert!(!is_unmodified(&malformed, &modified(5)) && !is_unmodified(&malformed, &HeaderMap::new()));
    }
}
