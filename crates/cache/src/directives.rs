//! The directives of `Cache-Control` (RFC 9111, section 5.2) and of fields that are meant for caches like this one (RFC 9213).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::field;

/// The fields that are meant for this cache, most particular first (RFC 9213, section 2.2).
const TARGETED: [HeaderName; 2] =
    [HeaderName::from_static("atoll-cache-control"), HeaderName::from_static("cdn-cache-control")];
/// The most fields that one directive may name.
const FIELDS_MAX: usize = 32;

/// What a directive such as `no-cache` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// It is not there.
    #[default]
    None,
    /// These fields of the response.
    Some(Vec<HeaderName>),
    /// The whole response.
    All,
}

/// Directives of one message. Where one is repeated, the first counts; a time that cannot be read is none at all, so that what
/// depends on it is stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `no-cache`.
    pub no_cache: Fields,
    /// `private`.
    pub private: Fields,
    /// `no-store`.
    pub no_store: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `stale-while-revalidate` (RFC 5861, section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861, section 4).
    pub stale_if_error: Option<Duration>,
    /// `max-stale` of a request; without a time it is as long as can be.
    pub max_stale: Option<Duration>,
    /// `min-fresh` of a request.
    pub min_fresh: Option<Duration>,
    /// `only-if-cached` of a request.
    pub only_if_cached: bool,
    /// Whether they are from a field that is meant for this cache, so that `Expires` says nothing.
    pub targeted: bool,
}

impl Directives {
    /// Those of a response: of the first targeted field that can be read and says anything, else of `Cache-Control`.
    pub fn of_response(headers: &HeaderMap) -> Self {
        TARGETED.iter().find_map(|name| Self::targeted(headers, name)).unwrap_or_else(|| Self::cache_control(headers))
    }

    /// Those of a request. `Pragma: no-cache` counts where there is no `Cache-Control` (RFC 9111, section 5.4).
    pub fn of_request(headers: &HeaderMap) -> Self {
        let mut found = Self::cache_control(headers);
        if !headers.contains_key(header::CACHE_CONTROL)
            && field::members(headers, &header::PRAGMA).any(|member| member.eq_ignore_ascii_case(b"no-cache"))
        {
            found.no_cache = Fields::All;
        }
        found
    }

    fn cache_control(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for member in field::members(headers, &header::CACHE_CONTROL) {
            let mut parts = member.splitn(2, |byte| *byte == b'=');
            let name = parts.next().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
            let value = parts.next().map(|value| field::text(value).unwrap_or_default());
            match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => found.take(&name.to_ascii_lowercase(), value.as_deref()),
                false => found.take(name, value.as_deref()),
            }
        }
        found
    }

    /// `None` if the field is absent, empty, or no dictionary (RFC 9213, section 2.1).
    fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        if !headers.contains_key(name) {
            return None;
        }
        let joined = field::joined(headers, name);
        let parsed: Dictionary = Parser::new(&joined[..]).parse().ok()?;
        if parsed.is_empty() {
            return None;
        }
        let mut found = Self { targeted: true, ..Self::default() };
        for (name, entry) in &parsed {
            let ListEntry::Item(item) = entry else { continue };
            let name = name.as_str();
            match &item.bare_item {
                BareItem::Integer(number) if is_time(name) => {
                    found.take(name, Some(&i64::from(*number).max(0).to_string()));
                }
                // A time that is no number is wrong (section 2.1), and what else would be right then is not known.
                _ if is_time(name) => return None,
                BareItem::Boolean(true) => found.take(name, None),
                BareItem::String(text) => found.take(name, Some(text.as_str())),
                _ => {}
            }
        }
        Some(found)
    }

    /// Takes one directive, its name in lower case.
    fn take(&mut self, name: &str, value: Option<&str>) {
        match name {
            "max-age" => time(&mut self.max_age, value),
            "s-maxage" => time(&mut self.s_maxage, value),
            "stale-while-revalidate" => time(&mut self.stale_while_revalidate, value),
            "stale-if-error" => time(&mut self.stale_if_error, value),
            "min-fresh" => time(&mut self.min_fresh, value),
            "max-stale" if value.is_none() => {
                self.max_stale.get_or_insert(Duration::from_secs(field::SECONDS_MAX));
            }
            "max-stale" => time(&mut self.max_stale, value),
            "no-cache" => self.no_cache.add(value),
            "private" => self.private.add(value),
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

/// Whether a directive of a response is a time.
fn is_time(name: &str) -> bool {
    matches!(name, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error")
}

/// Sets a time that was not set before.
fn time(slot: &mut Option<Duration>, value: Option<&str>) {
    slot.get_or_insert_with(|| value.and_then(field::seconds).unwrap_or_default());
}

impl Fields {
    /// Adds what one more directive names: without a value, all.
    fn add(&mut self, value: Option<&str>) {
        let Some(value) = value else {
            *self = Self::All;
            return;
        };
        let named = value.split(',').map(str::trim).filter(|name| !name.is_empty()).take(FIELDS_MAX);
        let Ok(mut named) = named.map(str::parse::<HeaderName>).collect::<Result<Vec<_>, _>>() else {
            *self = Self::All;
            return;
        };
        match self {
            Self::None if named.is_empty() => *self = Self::All,
            Self::None => *self = Self::Some(named),
            Self::Some(fields) if fields.len() < FIELDS_MAX => fields.append(&mut named),
            Self::Some(_) => *self = Self::All,
            Self::All => {}
        }
    }

    /// The fields that it names.
    pub fn named(&self) -> &[HeaderName] {
        match self {
            Self::Some(fields) => fields,
            _ => &[],
        }
    }

    /// Whether it is about the whole response.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[(&'static str, &'static str)]) -> Directives {
        let line = |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            let name: HeaderName = name;
            headers.append(name, value);
        }
        Directives::of_response(&headers)
    }

    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn cache_control_is_read() {
        let found = response(&[
            ("cache-control", r#"foo, MaX-aGe=60, no-cache="a, b""#),
            ("cache-control", r#"s-maxage="9", stale-if-error=5, x="no-store, private""#),
        ]);
        assert_eq!((found.max_age, found.s_maxage, found.stale_if_error), (secs(60), secs(9), secs(5)));
        assert_eq!(found.no_cache, Fields::Some(vec!["a".parse().unwrap(), "b".parse().unwrap()]));
        assert!(!found.no_store && found.private == Fields::None && !found.targeted);
    }

    #[test]
    fn what_cannot_be_read_is_no_time_at_all() {
        for value in ["max-age=-1", "max-age='3600'", "max-age", "max-age=", "max-age=1.5", "max-age= 5"] {
            assert_eq!(response(&[("cache-control", value)]).max_age, secs(0), "{value}");
        }
        assert_eq!(response(&[("cache-control", "max-age=1, max-age=100")]).max_age, secs(1));
        assert_eq!(response(&[("cache-control", "max-age =100")]).max_age, None);
        assert_eq!(response(&[("cache-control", "no-cache=\"\\\"\"")]).no_cache, Fields::All);
    }

    #[test]
    fn a_targeted_field_wins_if_it_can_be_read() {
        let both = |targeted: &'static str| response(&[("cache-control", "no-store"), ("cdn-cache-control", targeted)]);
        let found = both("max-age=60, must-revalidate;x=1, foo=?0");
        assert!(found.targeted && !found.no_store && found.must_revalidate);
        assert_eq!(found.max_age, secs(60));
        for broken in ["", "max-age=", "MAX-AGE=60", "max-age=60,,", "max-age=\"60\"", "must-revalidate, max-age"] {
            assert!(both(broken).no_store, "{broken}");
        }
        assert_eq!(both("max-age=-5").max_age, secs(0));
        let own = response(&[("cdn-cache-control", "max-age=1"), ("atoll-cache-control", "max-age=2")]);
        assert_eq!(own.max_age, secs(2));
    }
}
