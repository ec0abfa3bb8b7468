//! Which of the requests for one URL a stored response answers: RFC 9111, section 4.1. Pure.

use http::{HeaderMap, HeaderName, header};

use crate::field;

/// The most fields that a response may vary by.
const FIELDS_MAX: usize = 32;

/// What a response varies by, and what the request that it answered said there, brought into one form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant(pub(crate) Vec<(HeaderName, Option<Vec<u8>>)>);

impl Variant {
    /// That of a response to a request. `None` if it varies by too much, or by what cannot be said.
    pub fn of(request: &HeaderMap, response: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for member in field::members(response, &header::VARY) {
            let name = HeaderName::from_bytes(member).ok()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let values = |name: HeaderName| (normal(request, &name), name);
        let fits = names.len() <= FIELDS_MAX;
        fits.then(|| Self(names.into_iter().map(values).map(|(value, name)| (name, value)).collect()))
    }

    /// Whether a request says the same, or prefers the language that the `stored` response is in before all others.
    pub fn matches(&self, request: &HeaderMap, stored: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| {
            normal(request, name) == *value || (*name == header::ACCEPT_LANGUAGE && is_preferred(request, stored))
        })
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|(name, value)| 64 + name.as_str().len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// The value of a field in a form that all values of the same meaning have, as far as that is known of the field.
fn normal(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !request.contains_key(name) {
        return None;
    }
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        let mut ranked = ranked(request, name);
        ranked.sort();
        let members: Vec<_> = ranked.into_iter().map(|(less, tag)| format!("{tag};{less}")).collect();
        return Some(members.join(",").into_bytes());
    }
    let members: Vec<&[u8]> = field::members(request, name).collect();
    Some(members.join(&b','))
}

/// The members of a list of preferences in lower case, with how much less than wholly each is preferred, in thousandths.
pub(crate) fn ranked(request: &HeaderMap, name: &HeaderName) -> Vec<(u16, String)> {
    let read = |member: &[u8]| {
        let text = String::from_utf8_lossy(member).to_ascii_lowercase();
        let (tag, rest) = text.split_once(';').map_or((text.trim(), ""), |(tag, rest)| (tag.trim(), rest.trim()));
        let weight = rest.strip_prefix("q=").and_then(thousandths);
        match (rest.is_empty(), weight) {
            (true, _) => (0, tag.to_owned()),
            (false, Some(weight)) => (1000 - weight, tag.to_owned()),
            (false, None) => (0, text.clone()),
        }
    };
    field::members(request, name).map(read).collect()
}

/// A weight (RFC 9110, section 12.4.2) in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

/// Whether the stored response is in the one language that the request prefers before all others.
fn is_preferred(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(language) = stored.get(header::CONTENT_LANGUAGE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut ranked = ranked(request, &header::ACCEPT_LANGUAGE);
    ranked.sort();
    match ranked.as_slice() {
        [(_, first)] => first.eq_ignore_ascii_case(language.trim()),
        [(best, first), (next, _), ..] => best < next && first.eq_ignore_ascii_case(language.trim()),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn same(
        vary: &'static str,
        first: &[(&'static str, &'static str)],
        second: &[(&'static str, &'static str)],
    ) -> bool {
        let response = headers(&[("vary", vary)]);
        Variant::of(&headers(first), &response).unwrap().matches(&headers(second), &response)
    }

    #[test]
    fn spaces_and_lines_make_no_difference() {
        assert!(same("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", " 2")]));
        assert!(same("Foo, Bar", &[("foo", "1")], &[("foo", "1")]));
        assert!(!same("foo", &[("foo", "1")], &[]));
        assert!(!same("foo", &[], &[("foo", "1")]));
        assert!(!same("foo, bar", &[("foo", "1"), ("bar", "2")], &[("foo", "1"), ("bar", "3")]));
        assert!(!same("foo", &[("foo", "1,2")], &[("foo", "2,1")]));
        assert!(same("", &[], &[("foo", "1")]));
    }

    #[test]
    fn preferences_are_compared_by_weight() {
        let language =
            |first, second| same("accept-language", &[("accept-language", first)], &[("accept-language", second)]);
        assert!(language("en, de", " De ,EN;q=1.0"));
        assert!(language("en;q=0.5, de", "de, en;q=0.50"));
        assert!(!language("en;q=0.5, de", "de;q=0.5, en"));
        assert!(same("accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "BR,gzip")]));
    }

    #[test]
    fn the_language_that_is_preferred_is_taken() {
        let response = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let variant = Variant::of(&headers(&[("accept-language", "en, de")]), &response).unwrap();
        assert!(variant.matches(&headers(&[("accept-language", "fr;q=0.5, DE;q=1.0")]), &response));
        assert!(!variant.matches(&headers(&[("accept-language", "fr, de")]), &response));
        assert!(!variant.matches(&headers(&[("accept-language", "fr")]), &response));
    }

    #[test]
    fn what_cannot_be_named_is_no_variant() {
        assert_eq!(Variant::of(&HeaderMap::new(), &headers(&[("vary", "a b")])), None);
    }
}
