//! What a site may say about its heads, and what not.

use proptest::prelude::*;

use super::*;

fn set(file: &str, path: &str) -> Vec<(String, String)> {
    Headers::parse(file.as_bytes()).apply(path).set
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn all_rules_that_match_apply_in_order() {
    let file = "# all\n/*\n  X-Frame-Options: DENY\n  Link: </a>; rel=preload\r\n\n/movies/:title\n\tX-Movie: :title: the movie\n  link: </b>\n  ! X-Frame-Options\n/*.jpg\n Cache-Control: max-age=:splat\n";
    assert_eq!(set(file, "/"), pairs(&[("x-frame-options", "DENY"), ("link", "</a>; rel=preload")]));
    let movie = pairs(&[("link", "</a>; rel=preload, </b>"), ("x-movie", "a%0D%0Ab: the movie")]);
    assert_eq!(set(file, "/movies/a\r\nb"), movie);
    assert_eq!(set(file, "/1/2.jpg").last().unwrap().1, "max-age=1/2");
    assert_eq!(Headers::parse(file.as_bytes()).apply("/movies/x").detached, ["x-frame-options"]);
    assert_eq!(Headers::parse(file.as_bytes()).problems(), []);
}

#[test]
fn the_gateways_own_headers_are_not_a_sites_to_set() {
    for name in [
        "Connection",
        "Content-Length",
        "Content-Range",
        "Content-Encoding",
        "Transfer-Encoding",
        "ETag",
        "Date",
        "X-Ipfs-Path",
        "x-ipfs-roots",
        "Server-Timing",
        "Server",
        "Set-Cookie",
        "Clear-Site-Data",
        "Alt-Svc",
        "Age",
        "Location",
        "Trailer",
        "Upgrade",
        "Via",
        "Warning",
        "Vary",
        "X-Sendfile",
        "X-Accel-Redirect",
        "Retry-After",
        "Accept-Ranges",
        "Signature",
        "Unencoded-Digest",
        "Content-Location",
        "Last-Modified",
        "a b",
        "",
        "ą",
    ] {
        let headers = Headers::parse(format!("/*\n  {name}: x\n  ! {name}").as_bytes());
        assert_eq!((headers.apply("/").is_empty(), headers.problems().len()), (true, 2), "{name}");
    }
    assert!(NAMES.is_sorted());
}

#[test]
fn what_is_not_understood_is_skipped_alone() {
    let file = " X-A: 1\nnonsense\n  X-B: 2\n/a\n  X-C\n  X-D: \u{1}\n  X-E: 5\n/**\n  X-F: 6";
    let headers = Headers::parse(file.as_bytes());
    assert_eq!(headers.apply("/a").set, pairs(&[("x-e", "5")]));
    assert_eq!(headers.problems().iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3, 5, 6, 8, 9]);
    assert_eq!(Headers::parse(b"/a\n X-A: \xff").problems().len(), 1);
}

#[test]
fn files_lines_rules_and_values_have_limits() {
    let rules = |count: usize| (0..count).map(|at| format!("/{at}\n X-A: {at}\n")).collect::<String>();
    assert_eq!(set(&rules(RULES_MAX), "/99").len(), 1);
    let over = Headers::parse(rules(RULES_MAX + 1).as_bytes());
    assert_eq!((over.apply("/100").is_empty(), over.problems().len()), (true, 2));
    let line = |len: usize| format!("/*\n X-A: {}", "a".repeat(len - 6));
    assert_eq!(set(&line(LINE_BYTES_MAX), "/").len(), 1);
    assert_eq!(set(&line(LINE_BYTES_MAX + 1), "/").len(), 0);
    let fields = format!("/*\n{}", " X-A: 1\n".repeat(FIELDS_MAX + 1));
    assert_eq!(Headers::parse(fields.as_bytes()).problems().len(), 1);
    assert_eq!(set(&format!("/*\n X-A: {}", ":splat".repeat(300)), &format!("/{}", "x".repeat(100))), []);
    assert!(set(&fields, "/").first().is_some_and(|(_, value)| value.len() <= VALUE_BYTES_MAX));
    let names = format!("/*\n{}", (0..=APPLIED_MAX).map(|at| format!(" X-{at}: 1\n ! X-N{at}\n")).collect::<String>());
    let edits = Headers::parse(names.as_bytes()).apply("/");
    assert_eq!((edits.set.len(), edits.detached.len()), (APPLIED_MAX, APPLIED_MAX));
    let large = format!("/*\n X-A: 1\n#{}", "x".repeat(FILE_BYTES_MAX));
    assert_eq!(set(&large, "/"), []);
    assert_eq!(Headers::parse("x\n".repeat(100).as_bytes()).problems().len(), PROBLEMS_MAX);
}

proptest! {
    #[test]
    fn values_are_always_fit_for_a_head(file in "(/[a*:]{1,4}\\PC{0,3}\n( [Xx]-[ab]: \\PC{0,9}(:a|:splat)?\n){0,3}){0,4}", path in "/\\PC{0,9}") {
        for (name, value) in Headers::parse(file.as_bytes()).apply(&path).set {
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            prop_assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
        }
    }
}

#[test]
fn values_of_one_header_are_joined_up_to_the_limit() {
    // Two values, the second of which fills up the limit, or is one byte too many.
    for (spare, joined) in [(0, true), (1, false)] {
        let first = "a".repeat(1900);
        let second = "b".repeat(1900);
        let third = "c".repeat(VALUE_BYTES_MAX - 2 * 1900 - 2 * JOIN.len() + spare);
        let file = format!("/*\n x-a: {first}\n x-a: {second}\n x-a: {third}\n");
        let edits = Headers::parse(file.as_bytes()).apply("/");
        assert!(edits.set[0].1.len() <= VALUE_BYTES_MAX);
        assert_eq!(edits.set[0].1.ends_with('c'), joined);
    }
}
