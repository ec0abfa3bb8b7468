//! The head of a stored response, and how old it is: RFC 9111, sections 3.2 and 4.2. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::directives::Directives;
use crate::field;
use crate::rules::{BrokenAge, Rules, Times, is_heuristic};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// A stored head.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) directives: Directives,
    pub(crate) lifetime: Duration,
    pub(crate) heuristic: bool,
    /// Its age when it was received.
    pub(crate) initial_age: Duration,
    pub(crate) received: SystemTime,
}

impl Stored {
    pub(crate) fn new(
        rules: &Rules,
        status: StatusCode,
        mut headers: HeaderMap,
        directives: Directives,
        times: Times,
    ) -> Self {
        for name in directives.no_cache.named().iter().chain(directives.private.named()) {
            headers.remove(name);
        }
        let explicit = explicit_lifetime(&headers, &directives, times);
        let lifetime = explicit.unwrap_or_else(|| guessed_lifetime(rules, status, &headers, &directives, times));
        let initial_age = initial_age(rules, &headers, times);
        headers.remove(header::AGE);
        let (heuristic, received) = (explicit.is_none(), times.response);
        Self { status, headers, directives, lifetime, heuristic, initial_age, received }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its fields, without `Age`.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What it says about caches.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }

    /// For how long it is fresh, from its origin's answer on.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether that is a guess.
    pub fn is_heuristic(&self) -> bool {
        self.heuristic
    }

    /// How long ago its origin gave it (RFC 9111, section 4.2.3).
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age.saturating_add(now.duration_since(self.received).unwrap_or_default())
    }

    /// Seconds for which it is still fresh; below zero since when it is not.
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// Whether it is fresh.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.lifetime
    }

    /// Its fields with its age, as it is sent.
    pub fn answer_headers(&self, now: SystemTime) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(header::AGE, HeaderValue::from(self.age(now).as_secs().min(field::SECONDS_MAX)));
        headers
    }

    /// Whether it can ever be of use: it was fresh, may be used when it is not, or can be validated.
    pub(crate) fn is_of_use(&self) -> bool {
        let later = self.directives.stale_if_error.or(self.directives.stale_while_revalidate);
        let validator = self.headers.contains_key(header::ETAG) || self.headers.contains_key(header::LAST_MODIFIED);
        self.initial_age < self.lifetime || validator || later.is_some_and(|time| !time.is_zero())
    }

    /// What it is after its origin said that it still holds, with the fields of that answer (RFC 9111, section 3.2). The tag stays
    /// that which was asked about, and what describes the stored bytes stays with them.
    #[must_use]
    pub fn freshened(&self, rules: &Rules, update: &HeaderMap, times: Times) -> Self {
        const KEPT: [HeaderName; 5] =
            [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE, header::ETAG, CONTENT_MD5];
        let mut headers = self.headers.clone();
        for name in update.keys().filter(|name| !KEPT.contains(name)) {
            headers.remove(name);
            for value in update.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        if !update.contains_key(header::DATE)
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(times.response))
        {
            headers.insert(header::DATE, date);
        }
        let directives = Directives::of_response(&headers);
        Self::new(rules, self.status, headers, directives, times)
    }

    /// Whether the head of an answer to HEAD describes the same body (RFC 9111, section 4.3.5).
    pub fn is_described_by(&self, status: StatusCode, head: &HeaderMap) -> bool {
        let same = |name: HeaderName| !head.contains_key(&name) || head.get(&name) == self.headers.get(&name);
        status == self.status && [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH].into_iter().all(same)
    }
}

/// The lifetime that a response gives itself (RFC 9111, section 4.2.1).
fn explicit_lifetime(headers: &HeaderMap, said: &Directives, times: Times) -> Option<Duration> {
    if let Some(lifetime) = said.s_maxage.or(said.max_age) {
        return Some(lifetime);
    }
    if said.targeted || !headers.contains_key(header::EXPIRES) {
        return None;
    }
    // Of several, the first counts; one that cannot be read is in the past (section 5.3).
    let Some(expires) = headers.get(header::EXPIRES).and_then(field::date_of) else { return Some(Duration::ZERO) };
    Some(expires.duration_since(date(headers, times)).unwrap_or_default())
}

/// The lifetime of a response that gives itself none (RFC 9111, section 4.2.2).
fn guessed_lifetime(
    rules: &Rules,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    times: Times,
) -> Duration {
    if !is_heuristic(status) && !said.public {
        return Duration::ZERO;
    }
    let Some(modified) = field::date(headers, &header::LAST_MODIFIED) else { return Duration::ZERO };
    let since = date(headers, times).duration_since(modified).unwrap_or_default();
    (since / 10).min(rules.heuristic)
}

/// When the origin made the response, as far as it says.
fn date(headers: &HeaderMap, times: Times) -> SystemTime {
    field::date(headers, &header::DATE).unwrap_or(times.response)
}

/// How old a response was when it was received (RFC 9111, section 4.2.3).
fn initial_age(rules: &Rules, headers: &HeaderMap, times: Times) -> Duration {
    let apparent = times.response.duration_since(date(headers, times)).unwrap_or_default();
    let delay = times.response.duration_since(times.request).unwrap_or_default();
    let said = said_age(headers, rules.broken_age);
    apparent.max(said.saturating_add(delay))
}

/// What `Age` says. Of a list the first member counts (RFC 9111, section 5.1).
fn said_age(headers: &HeaderMap, broken: BrokenAge) -> Duration {
    let worth = match broken {
        BrokenAge::Stale => Duration::from_secs(field::SECONDS_MAX),
        BrokenAge::Ignore => Duration::ZERO,
    };
    let mut lines = headers.get_all(header::AGE).iter();
    let (Some(line), second) = (lines.next(), lines.next()) else { return Duration::ZERO };
    let mut members = field::members_of(line.as_bytes());
    let Some(first) = members.next() else { return worth };
    // The same number twice is of a cache that adds to the field instead of replacing it.
    let odd = second.is_some() || members.any(|member| member == first);
    if odd && broken == BrokenAge::Stale {
        return worth;
    }
    std::str::from_utf8(first).ok().and_then(field::seconds).unwrap_or(worth)
}
