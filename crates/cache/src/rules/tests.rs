//! The rules by the words of RFC 9111.

use http::Response;

use super::*;

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

fn after(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

fn parts(status: u16, lines: &[(&str, &str)]) -> response::Parts {
    let mut builder = Response::builder().status(status);
    for (name, value) in lines {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    parts(200, lines).headers
}

fn store(rules: &Rules, request: &[(&str, &str)], response: &[(&str, &str)]) -> Result<Stored, Unstored> {
    rules.store((&Method::GET, &headers(request)), &parts(200, response), Times::at(now()))
}

fn rfc() -> Rules {
    Rules { profile: Profile::Rfc9111, ..Rules::default() }
}

#[test]
fn what_may_not_be_stored_is_not() {
    let why = |request: &[(&str, &str)], response: &[(&str, &str)]| store(&Rules::default(), request, response).err();
    for (response, expected) in [
        (vec![("cache-control", "no-store, max-age=60")], Unstored::NoStore),
        (vec![("cache-control", "private, max-age=60")], Unstored::Private),
        (vec![("cache-control", "max-age=60"), ("set-cookie", "a=b")], Unstored::Cookie),
        (vec![("cache-control", "max-age=60"), ("vary", "foo, *")], Unstored::Vary),
        (vec![], Unstored::Useless),
        (vec![("cache-control", "max-age=0")], Unstored::Useless),
    ] {
        assert_eq!(why(&[], &response), Some(expected), "{response:?}");
    }
    let authorization = [("authorization", "x")];
    assert_eq!(why(&authorization, &[("cache-control", "max-age=60")]), Some(Unstored::Private));
    for allowed in ["public, max-age=60", "must-revalidate, max-age=60", "s-maxage=60"] {
        assert_eq!(why(&authorization, &[("cache-control", allowed)]), None, "{allowed}");
    }
    assert_eq!(why(&[("cache-control", "no-store")], &[("cache-control", "max-age=60")]), Some(Unstored::NoStore));
    assert!(store(&rfc(), &[], &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]).is_ok());
}

#[test]
fn methods_and_statuses_count() {
    let fresh = [("cache-control", "max-age=60")];
    let of = |method: Method, status, lines: &[(&str, &str)]| {
        Rules::default().store((&method, &HeaderMap::new()), &parts(status, lines), Times::at(now())).err()
    };
    assert_eq!(of(Method::PUT, 200, &fresh), Some(Unstored::Method));
    assert_eq!(of(Method::POST, 200, &fresh), Some(Unstored::Method));
    assert_eq!(of(Method::POST, 200, &[("cache-control", "max-age=60"), ("content-location", "/")]), None);
    assert_eq!(of(Method::GET, 206, &fresh), Some(Unstored::Status));
    assert_eq!(of(Method::GET, 599, &fresh), None);
    assert_eq!(of(Method::GET, 599, &[("cache-control", "max-age=60, must-understand")]), Some(Unstored::Status));
    assert_eq!(of(Method::GET, 200, &[("cache-control", "max-age=60, no-store, must-understand")]), None);
}

#[test]
fn lifetimes_are_from_the_strongest_word() {
    let date = httpdate::fmt_http_date(now());
    let later = httpdate::fmt_http_date(after(100));
    let before = httpdate::fmt_http_date(now() - Duration::from_secs(1000));
    for (lines, seconds) in [
        (vec![("cache-control", "s-maxage=9, max-age=60")], 9),
        (vec![("cache-control", "max-age=60"), ("expires", "0")], 60),
        (vec![("date", &*date), ("expires", &*later)], 100),
        (vec![("date", &*date), ("expires", "0"), ("etag", "\"a\"")], 0),
        (vec![("date", &*date), ("last-modified", &*before)], 100),
        (vec![("cache-control", "max-age=60"), ("cdn-cache-control", "max-age=5")], 5),
        (vec![("cdn-cache-control", "public"), ("expires", &*later), ("etag", "\"a\"")], 0),
    ] {
        let stored = store(&Rules::default(), &[], &lines).unwrap();
        assert_eq!(stored.lifetime(), Duration::from_secs(seconds), "{lines:?}");
    }
}

#[test]
fn age_is_counted_from_the_origin_on() {
    let aged = |lines: &[(&str, &str)]| {
        let mut lines = lines.to_vec();
        lines.push(("cache-control", "max-age=99999"));
        lines.push(("etag", "\"a\""));
        store(&Rules::default(), &[], &lines).unwrap().age(after(10)).as_secs()
    };
    let date = httpdate::fmt_http_date(now() - Duration::from_secs(50));
    assert_eq!(aged(&[("date", &date)]), 60);
    assert_eq!(aged(&[("date", &date), ("age", "70")]), 80);
    assert_eq!(aged(&[("age", "0,7200")]), 10);
    for broken in ["abc", "-7200", "7200.0", "0, 0", "7200;foo=bar"] {
        assert!(aged(&[("age", broken)]) > 99_999, "{broken}");
    }
    assert!(aged(&[("age", "0"), ("age", "7200")]) > 99_999);
    let rules = Rules { broken_age: BrokenAge::Ignore, ..rfc() };
    for (age, seconds) in [("abc", 10), ("-1", 10), ("5, 5", 15), ("7;a=b", 10)] {
        let stored = store(&rules, &[], &[("age", age), ("cache-control", "max-age=60")]).unwrap();
        assert_eq!(stored.age(after(10)).as_secs(), seconds, "{age}");
    }
}

#[test]
fn freshness_decides_about_reuse() {
    let at = |rules: &Rules, request: &[(&str, &str)], response: &str, seconds| {
        let stored = store(rules, &[], &[("cache-control", response), ("etag", "\"a\"")]).unwrap();
        rules.reuse(&stored, &headers(request), after(seconds))
    };
    let cdn = Rules::default();
    assert_eq!(at(&cdn, &[], "max-age=60", 59), Reuse::Fresh);
    assert_eq!(at(&cdn, &[], "max-age=60", 60), Reuse::Validate);
    assert_eq!(at(&cdn, &[], "max-age=60, no-cache", 1), Reuse::Validate);
    assert_eq!(at(&cdn, &[], "max-age=60, no-cache=\"a\"", 1), Reuse::Fresh);
    assert_eq!(at(&cdn, &[], "max-age=60, stale-while-revalidate=10", 70), Reuse::Stale);
    assert_eq!(at(&cdn, &[], "max-age=60, stale-while-revalidate=10", 71), Reuse::Validate);
    assert_eq!(at(&cdn, &[], "max-age=60, stale-while-revalidate=10, must-revalidate", 61), Reuse::Validate);
    assert_eq!(at(&cdn, &[], "s-maxage=60, stale-while-revalidate=10", 61), Reuse::Stale);
    assert_eq!(at(&rfc(), &[], "s-maxage=60, stale-while-revalidate=10", 61), Reuse::Validate);
    for wish in ["no-cache", "max-age=0", "min-fresh=100", "no-store"] {
        assert_eq!(at(&cdn, &[("cache-control", wish)], "max-age=60", 1), Reuse::Fresh, "{wish}");
        assert_eq!(at(&rfc(), &[("cache-control", wish)], "max-age=60", 1), Reuse::Wanted, "{wish}");
    }
    assert_eq!(at(&rfc(), &[("pragma", "no-cache")], "max-age=60", 1), Reuse::Wanted);
    assert_eq!(at(&rfc(), &[("cache-control", "max-stale=10")], "max-age=60", 70), Reuse::Fresh);
    assert_eq!(at(&rfc(), &[("cache-control", "max-stale=10")], "max-age=60", 71), Reuse::Validate);
    assert_eq!(at(&rfc(), &[("cache-control", "max-stale")], "max-age=60, must-revalidate", 70), Reuse::Validate);
}

#[test]
fn errors_allow_what_is_stale() {
    let at = |rules: &Rules, response: &str, seconds| {
        let stored = store(rules, &[], &[("cache-control", response), ("etag", "\"a\"")]).unwrap();
        rules.on_error(&stored, Some(StatusCode::BAD_GATEWAY), after(seconds))
    };
    let cdn = Rules::default();
    assert!(at(&cdn, "max-age=60", 3600));
    assert!(!at(&rfc(), "max-age=60", 61));
    let stored = store(&rfc(), &[], &[("cache-control", "max-age=60"), ("etag", "\"a\"")]).unwrap();
    assert!(rfc().on_error(&stored, None, after(61)), "it is disconnected");
    assert!(at(&rfc(), "max-age=60, stale-if-error=10", 70));
    assert!(!at(&cdn, "max-age=60, stale-if-error=10", 71));
    for strict in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"] {
        assert!(!at(&cdn, &format!("max-age=60, {strict}"), 61), "{strict}");
    }
}

#[test]
fn an_answer_that_nothing_changed_freshens() {
    let rules = Rules::default();
    let lines = [("cache-control", "max-age=2"), ("etag", "\"a\""), ("x", "1"), ("y", "1"), ("content-length", "5")];
    let stored = store(&rules, &[], &lines).unwrap();
    let update = headers(&[
        ("cache-control", "max-age=100"),
        ("etag", "\"b\""),
        ("x", "2"),
        ("x", "3"),
        ("content-length", "9"),
        ("age", "7"),
    ]);
    let fresh = stored.freshened(&rules, &update, Times::at(after(50)));
    assert_eq!((fresh.lifetime().as_secs(), fresh.age(after(50)).as_secs()), (100, 7));
    assert_eq!(fresh.headers().get_all("x").iter().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!((&fresh.headers()["y"], &fresh.headers()["etag"]), (&"1".parse().unwrap(), &"\"a\"".parse().unwrap()));
    assert_eq!(fresh.headers()["content-length"], "5");
    assert!(!fresh.headers().contains_key("age"));
}
