//! The policy beside another: `http-cache-semantics`, where both say what RFC 9111 says. Where that crate is known to differ, nothing
//! is generated: it stores no answer to a status that it does not know, reads a directive's value up to any comma, knows neither
//! RFC 5861 nor RFC 9213, does not tell an age by `Date`, and takes `immutable` and `Set-Cookie` for what they are in browsers.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::time::{Duration, SystemTime};

use atoll_cache::{Profile, Reuse, Rules, Times, Unstored, Variant};
use http::{HeaderMap, Method, Request, Response};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// A response, and when it is asked for again.
#[derive(Clone, Debug)]
struct Case {
    status: u16,
    directives: Vec<String>,
    date: Option<i64>,
    expires: Option<i64>,
    modified: Option<i64>,
    age: Option<u64>,
    vary: Option<&'static str>,
    authorized: bool,
    wish: Option<&'static str>,
    languages: (&'static str, &'static str),
    later: u64,
}

fn base() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn at(offset: i64) -> String {
    let offset_of = Duration::from_secs(offset.unsigned_abs());
    httpdate::fmt_http_date(if offset < 0 { base() - offset_of } else { base() + offset_of })
}

fn cases() -> impl Strategy<Value = Case> {
    let seconds = || prop_oneof![Just(0_u64), 1..50_u64, 50..5000_u64];
    let directives = (seconds(), seconds()).prop_flat_map(|(max, shared)| {
        let all = [
            format!("max-age={max}"),
            format!("s-maxage={shared}"),
            "no-cache".to_owned(),
            "no-store".to_owned(),
            "private".to_owned(),
            "public".to_owned(),
            "must-revalidate".to_owned(),
            "other=\"x\"".to_owned(),
        ];
        subsequence(all.to_vec(), 0..4)
    });
    let language = || select(vec!["en", "de"]);
    (
        (select(vec![200_u16, 203, 204, 301, 302, 404, 410, 500]), directives),
        (
            proptest::option::of(Just(0_i64)),
            proptest::option::of(-100..200_i64),
            proptest::option::of(-100_000..-100_i64),
            proptest::option::of(0..200_u64),
        ),
        (proptest::option::of(select(vec!["accept-language", "accept-language, x"])), any::<bool>()),
        proptest::option::of(select(vec!["no-cache", "max-age=10", "min-fresh=20", "no-store"])),
        (language(), language()),
        0..300_u64,
    )
        .prop_map(
            |((status, directives), (date, expires, modified, age), (vary, authorized), wish, languages, later)| Case {
                status,
                directives,
                date,
                expires,
                modified,
                age,
                vary,
                authorized,
                wish,
                languages,
                later,
            },
        )
}

impl Case {
    fn request(&self, language: &str, wish: Option<&str>, authorized: bool) -> Request<()> {
        let mut builder = Request::builder().uri("http://a.example/").header("host", "a.example");
        builder = builder.header("accept-language", language);
        if let Some(wish) = wish {
            builder = builder.header("cache-control", wish);
        }
        if authorized {
            builder = builder.header("authorization", "x");
        }
        builder.body(()).unwrap()
    }

    fn response(&self) -> Response<()> {
        let mut builder = Response::builder().status(self.status);
        let fields = [
            ("date", self.date.map(at)),
            ("expires", self.expires.map(at)),
            ("last-modified", self.modified.map(at)),
            ("age", self.age.map(|age| age.to_string())),
            ("vary", self.vary.map(str::to_owned)),
            ("cache-control", (!self.directives.is_empty()).then(|| self.directives.join(", "))),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        builder.body(()).unwrap()
    }

    fn says(&self, directive: &str) -> bool {
        self.directives.iter().any(|said| said.starts_with(directive))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn both_say_the_same(case in cases()) {
        let (first, response) = (case.request(case.languages.0, None, case.authorized), case.response());
        let options = CacheOptions { shared: true, cache_heuristic: 0.1, ..CacheOptions::default() };
        let oracle = CachePolicy::new_options(&first, &response, base(), options);
        let rules = Rules {
            profile: Profile::Rfc9111,
            heuristic: Duration::from_secs(1 << 40),
            ..Rules::default()
        };
        let (parts, ()) = response.into_parts();
        let stored = rules.store((&Method::GET, first.headers()), &parts, Times::at(base()));
        let stored = match stored {
            // That it may be stored, and is of no use, is not a question of the other.
            Err(Unstored::Useless) => return Ok(()),
            stored => stored,
        };
        // The other wants a lifetime, or a status that has one by itself; here a validator is enough.
        let of_itself = oracle.is_storable() || ![200, 203, 204, 301, 404, 410].contains(&case.status);
        prop_assert!(stored.is_err() || of_itself, "{case:?}");
        let Ok(stored) = stored else {
            prop_assert!(!oracle.is_storable(), "{case:?} is not stored");
            return Ok(());
        };
        if !oracle.is_storable() {
            return Ok(());
        }
        let now = base() + Duration::from_secs(case.later);
        let again = case.request(case.languages.1, case.wish, false);
        let variant = Variant::of(first.headers(), &parts.headers).unwrap();
        let reused = variant.matches(again.headers(), stored.headers())
            && rules.reuse(&stored, again.headers(), now) == Reuse::Fresh;
        let fresh = matches!(oracle.before_request(&again, now), http_cache_semantics::BeforeRequest::Fresh(_));
        // Asked not to store, the other still answers with what it has; and it knows lifetimes to the second only.
        let asked_otherwise = case.wish == Some("no-store");
        let on_the_edge = stored.ttl(now).abs() <= 1 || (case.wish == Some("min-fresh=20") && (stored.ttl(now) - 20).abs() <= 1);
        let wish_of_age = case.wish == Some("max-age=10") && stored.age(now).as_secs().abs_diff(10) <= 1;
        // A guess is made of other statuses there, and `private` is said to a cache that is not.
        let guessed = stored.is_heuristic() && (case.says("public") || case.modified.is_some());
        if !asked_otherwise && !on_the_edge && !wish_of_age && !guessed {
            prop_assert_eq!(reused, fresh, "{:?}: lifetime {:?}, age {:?}; the other: {:?}, {:?}", case,
                stored.lifetime(), stored.age(now), oracle.time_to_live(now), oracle.age(now));
        }
    }

    #[test]
    fn nothing_is_stored_or_reused_against_its_word(
        lines in proptest::collection::vec(("[a-zA-Z=,\" 0-9-]{0,40}", select(vec!["cache-control", "cdn-cache-control", "expires", "age", "vary", "date"])), 0..6),
        later in 0..10_000_u64,
    ) {
        let mut headers = HeaderMap::new();
        for (value, name) in &lines {
            headers.append(*name, value.parse().unwrap());
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.headers = headers;
        for rules in [Rules::default(), Rules { profile: Profile::Rfc9111, ..Rules::default() }] {
            if let Ok(stored) = rules.store((&Method::GET, &HeaderMap::new()), &parts, Times::at(base())) {
                let now = base() + Duration::from_secs(later);
                let fresh = rules.reuse(&stored, &HeaderMap::new(), now) == Reuse::Fresh;
                prop_assert_eq!(fresh, stored.age(now) < stored.lifetime() && !stored.directives().no_cache.is_all());
                prop_assert!(!stored.directives().no_store || stored.directives().must_understand);
            }
        }
    }
}
