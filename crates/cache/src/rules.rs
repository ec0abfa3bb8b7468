//! Whether a response may be stored, and whether a stored one answers a request: RFC 9111, sections 3 and 4. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode, header, response};
use serde::{Deserialize, Serialize};

use crate::coding;
use crate::directives::Directives;
use crate::field;
use crate::stored::Stored;

const CONTENT_LOCATION: HeaderName = header::CONTENT_LOCATION;

/// How closely the letter of RFC 9111 is followed where it is not safe, or not of use, for a cache in front of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For strangers' requests: responses that set cookies are not stored, and visitors cannot make the origin work by asking for
    /// what is not cached.
    #[default]
    Cdn,
    /// By the letter.
    Rfc9111,
}

/// What an `Age` is worth that no cache would write: no number, several lines, the same number twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokenAge {
    /// The response may be as old as can be, and is stale.
    #[default]
    Stale,
    /// Nothing, or its first member where that is a number (RFC 9111, section 5.1).
    Ignore,
}

/// The rules of one site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// `cdn`, or `rfc9111` for the letter of it.
    pub profile: Profile,
    /// The longest that a response without a lifetime of its own counts as fresh: a tenth of its age since `Last-Modified`, up to
    /// this.
    #[serde(with = "humantime_serde")]
    pub heuristic: Duration,
    /// How long a stale response is used when the origin fails, where the response does not say, or forbid, it.
    #[serde(with = "humantime_serde")]
    pub stale_if_error: Duration,
    /// `stale` or `ignore`: what an `Age` is worth that no cache would write.
    pub broken_age: BrokenAge,
    /// Whether text and the like that the origin sends plain is sent compressed to who takes it so.
    pub compress: bool,
}

impl Default for Rules {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            profile: Profile::Cdn,
            heuristic: DAY,
            stale_if_error: DAY,
            broken_age: BrokenAge::Stale,
            compress: true,
        }
    }
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// The method's answers are not.
    Method,
    /// The status is unknown, partial, or says nothing new.
    Status,
    /// The request or the response says `no-store`.
    NoStore,
    /// It is for one user: `private`, or the request had credentials and the response does not allow it.
    Private,
    /// It sets a cookie.
    Cookie,
    /// It varies by what no request says: `Vary: *`.
    Vary,
    /// It has no lifetime, and nothing to validate it by.
    Useless,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is the answer.
    Fresh,
    /// It is the answer, and is to be validated meanwhile (RFC 5861, section 3).
    Stale,
    /// It is to be validated first: it is stale.
    Validate,
    /// It is to be validated first: the request wants that.
    Wanted,
}

/// When a request was sent and the head of its response was received.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Sent.
    pub request: SystemTime,
    /// Received.
    pub response: SystemTime,
}

impl Times {
    /// Both at once, for tests.
    pub fn at(time: SystemTime) -> Self {
        Self { request: time, response: time }
    }
}

impl Rules {
    /// What is stored of a response, whose fields that concern only its connection are gone already.
    ///
    /// # Errors
    /// [`Unstored`] says why it may not be, or is not worth it.
    pub fn store(
        &self,
        (method, request): (&Method, &HeaderMap),
        response: &response::Parts,
        times: Times,
    ) -> Result<Stored, Unstored> {
        let directives = Directives::of_response(&response.headers);
        self.may_store((method, request), response, &directives)?;
        let stored = Stored::new(self, response.status, response.headers.clone(), directives, times);
        // Explicit freshness is what makes a response to POST one to GET (RFC 9110, section 9.3.3).
        if *method == Method::POST && (stored.is_heuristic() || stored.lifetime().is_zero()) {
            return Err(Unstored::Method);
        }
        if stored.is_of_use() { Ok(stored) } else { Err(Unstored::Useless) }
    }

    /// RFC 9111, section 3.
    fn may_store(
        &self,
        (method, request): (&Method, &HeaderMap),
        response: &response::Parts,
        directives: &Directives,
    ) -> Result<(), Unstored> {
        let headers = &response.headers;
        let by_post = *method == Method::POST && headers.contains_key(CONTENT_LOCATION);
        if *method != Method::GET && !by_post {
            return Err(Unstored::Method);
        }
        let understood = is_understood(response.status);
        if !is_storable(response.status) || (directives.must_understand && !understood) {
            return Err(Unstored::Status);
        }
        let no_store = directives.no_store && !directives.must_understand;
        if no_store || Directives::of_request(request).no_store {
            return Err(Unstored::NoStore);
        }
        let shared = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
        if directives.private.is_all() || (request.contains_key(header::AUTHORIZATION) && !shared) {
            return Err(Unstored::Private);
        }
        if self.profile == Profile::Cdn && headers.contains_key(header::SET_COOKIE) {
            return Err(Unstored::Cookie);
        }
        if field::members(headers, &header::VARY).any(|member| member == b"*") {
            return Err(Unstored::Vary);
        }
        Ok(())
    }

    /// Whether a stored response answers a request now: RFC 9111, section 4.
    pub fn reuse(&self, stored: &Stored, request: &HeaderMap, now: SystemTime) -> Reuse {
        let said = stored.directives();
        // Visitors do not decide how often the origin is asked.
        let asked = match self.profile {
            Profile::Cdn => Directives::default(),
            Profile::Rfc9111 => Directives::of_request(request),
        };
        let age = stored.age(now);
        if said.no_cache.is_all() {
            return Reuse::Validate;
        }
        let left = stored.lifetime().saturating_sub(age);
        let too_old = asked.max_age.is_some_and(|max| age > max);
        let too_short = asked.min_fresh.is_some_and(|min| left < min);
        if asked.no_cache.is_all() || asked.no_store || too_old || (too_short && !left.is_zero()) {
            return Reuse::Wanted;
        }
        if !left.is_zero() {
            return Reuse::Fresh;
        }
        let staleness = age.saturating_sub(stored.lifetime());
        let allowed = !self.is_strict(stored);
        if allowed && asked.max_stale.is_some_and(|max| staleness <= max) {
            return Reuse::Fresh;
        }
        if allowed && !too_short && said.stale_while_revalidate.is_some_and(|max| staleness <= max) {
            return Reuse::Stale;
        }
        Reuse::Validate
    }

    /// Whether a stored response may answer although its origin fails, with an error of this status or by not answering: RFC 5861,
    /// section 4, and RFC 9111, section 4.2.4.
    pub fn on_error(&self, stored: &Stored, status: Option<StatusCode>, now: SystemTime) -> bool {
        let said = stored.directives();
        let staleness = stored.age(now).saturating_sub(stored.lifetime());
        // By the letter, only who is disconnected may decide that by himself.
        let by_itself = status.is_none() || self.profile == Profile::Cdn;
        let of_itself = if by_itself { self.stale_if_error } else { Duration::ZERO };
        let allowed = said.stale_if_error.unwrap_or(of_itself);
        // An error that is stored is no better than the one that there is.
        let sound = !stored.status().is_server_error() && !said.no_cache.is_all() && !self.is_strict(stored);
        sound && staleness <= allowed && !allowed.is_zero()
    }

    /// Whether a stored response may be sent in another coding than the plain one that it is in, as far as is known; `len` is that of
    /// its body.
    pub fn is_codable(&self, stored: &Stored, len: Option<u64>) -> bool {
        self.compress && coding::is_codable(stored, len)
    }

    /// Whether it says that it must not be used when it is stale. `s-maxage` says so too (RFC 9111, section 5.2.2.10); sites that
    /// give it together with a time from RFC 5861 mean the latter.
    fn is_strict(&self, stored: &Stored) -> bool {
        let said = stored.directives();
        let explicit = said.stale_while_revalidate.is_some() || said.stale_if_error.is_some();
        let lenient = self.profile == Profile::Cdn && explicit;
        said.must_revalidate || said.proxy_revalidate || (said.s_maxage.is_some() && !lenient)
    }
}

/// Whether the meaning of a status for caches is known here.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 425 | 426 | 428 | 429 | 431 | 451 | 500..=505 | 511)
}

/// Final, no answer to a condition, no part: those need what is stored already.
fn is_storable(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 206 | 304)
}

/// Whether a status may be given a lifetime that its response does not have (RFC 9110, section 15.1).
pub(crate) fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests;
