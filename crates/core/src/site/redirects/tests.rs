//! Rules as authors write them, and as nobody should.

use proptest::prelude::*;

use super::*;

fn names(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn apply(file: &str, path: &str, query: Option<&str>) -> Option<Action> {
    Redirects::parse(file.as_bytes()).unwrap().apply(&names(path), query).unwrap()
}

fn location(file: &str, path: &str, query: Option<&str>) -> String {
    match apply(file, path, query) {
        Some(Action::Redirect { location, .. }) => location,
        other => panic!("{other:?}"),
    }
}

fn shown(file: &str, path: &str) -> (u16, String) {
    match apply(file, path, None) {
        Some(Action::Show { status, segments, .. }) => (status, segments.join("/")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let file = "# a comment\n\n/one /one.html\r\n/two /two.html 302\n\t/x/:b/:a  /y/:a/:b 307 \n/gone/* /410.html 410\n/* /index.html 200";
    assert_eq!(location(file, "/one", None), "/one.html");
    assert_eq!(location(file, "/x/1/2", None), "/y/2/1");
    assert_eq!(shown(file, "/gone/a/b"), (410, "410.html".to_owned()));
    assert_eq!(shown(file, "/gone"), (200, "index.html".to_owned()));
    assert_eq!(shown(file, "/any/thing"), (200, "index.html".to_owned()));
    assert_eq!(apply("/a /b", "/c", None), None);
    let Some(Action::Redirect { status, .. }) = apply(file, "/one", None) else { panic!() };
    assert_eq!(status, 301);
}

#[test]
fn slashes_at_the_end_say_nothing() {
    assert_eq!(location("/a/ /b", "/a", None), "/b");
    assert_eq!(apply("/a/* /b/:splat", "/a", None), None);
}

#[test]
fn names_match_however_they_are_written() {
    assert_eq!(location("/ą /ę", "/ą", None), "/%C4%99");
    assert_eq!(location("/%C4%85 /%c4%99", "/ą", None), "/%c4%99");
    assert_eq!(shown("/:x /d%3F/:x?:x 200", "/a b%3f?#"), (200, "d?/a b%3f?#".to_owned()));
}

#[test]
fn a_value_with_a_slash_names_no_host() {
    assert_eq!(location("/x* /:splat", "/x/evil.example", None), "/evil.example");
    assert_eq!(location("/x* //own.example/:splat", "/x/y", None), "//own.example//y");
}

#[test]
fn queries_are_kept_behind_the_targets_own() {
    let file = "/s/* /t?a=1 301\n/p/:c/:n /t?c=:c&n=:n\n/u/* https://example.net/t/:splat\n/f /g#h\n/q /r?";
    assert_eq!(location(file, "/s/x", Some("d=1&e")), "/t?a=1&d=1&e");
    assert_eq!(location(file, "/p/A&x=1/N", None), "/t?c=A%26x%3D1&n=N");
    assert_eq!(location(file, "/u/b/c", Some("d")), "https://example.net/t/b/c?d");
    assert_eq!(location(file, "/f", Some("d")), "/g?d#h");
    assert_eq!(location(file, "/q", Some("d")), "/r?d");
    assert_eq!(location(file, "/q", Some("")), "/r?");
}

#[test]
fn what_is_no_rule_names_its_line() {
    for (rule, text) in [
        ("/a /b 301!", "forced redirects"),
        ("/a /b 42", "status code"),
        ("/a /b x", "status code"),
        ("/a", "missing 'to' path"),
        ("/a /b 301 x", "from to [status]"),
        ("a /b", "begin with a slash"),
        ("/*/a /b", "asterisk"),
        ("/a/** /b", "asterisk"),
        ("/a b", "begin with a slash"),
        ("/a javascript:alert(1)", "begin with a slash"),
        ("/a https://", "no host"),
        ("/a ///b", "no host"),
        ("/:a https://:a/", "part of the host"),
        ("/:a //x.:a", "part of the host"),
        ("/%4 /b", "percent sign"),
        ("/a /%zz", "percent sign"),
        ("/a /\u{1}", "control"),
        ("/a /%2f 200", "encoded slash"),
        ("/:a/:a /:a", "twice"),
    ] {
        let error = Redirects::parse(format!("/x /y\n{rule}\n/z").as_bytes()).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("could not parse _redirects: line 2: ") && shown.contains(text), "{rule}: {shown}");
        assert_eq!(error.line, Some(2));
    }
    assert_eq!(Redirects::parse(b"/\xff /a").unwrap_err().cause, RedirectsCause::NotUtf8);
}

#[test]
fn files_lines_and_targets_have_limits() {
    let most = "/ /\n".repeat(RULES_MAX);
    assert_eq!((most.len(), Redirects::parse(most.as_bytes()).unwrap().len()), (FILE_BYTES_MAX, RULES_MAX));
    let error = Redirects::parse(format!("{most}#").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "could not parse _redirects: redirects file size cannot exceed 65536 bytes");
    let line = |len: usize| format!("/a /{}", "b".repeat(len - 4));
    assert!(Redirects::parse(line(LINE_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(Redirects::parse(line(LINE_BYTES_MAX + 1).as_bytes()).unwrap_err().line, Some(1));
    let many = Redirects::parse(format!("/:a /{}", ":a".repeat(4000)).as_bytes()).unwrap();
    assert!(many.apply(&["x".repeat(4)], None).is_ok());
    assert!(many.apply(&["x".repeat(5)], None).is_err());
}

#[test]
fn a_rule_that_leads_out_of_the_site_fails_alone() {
    let file = "/api/* https://api.example/:splat 200\n/up /../x 200\n/enc /%2e%2e 404\n/ok /a/../b 200\n/* /x 200";
    let rules = Redirects::parse(file.as_bytes()).unwrap();
    for (path, line) in [("/api/x", 1), ("/up", 2), ("/enc", 3)] {
        assert_eq!(rules.apply(&names(path), None).unwrap_err().line, Some(line), "{path}");
    }
    assert_eq!(shown(file, "/ok"), (200, "b".to_owned()));
}

proptest! {
    #[test]
    fn a_visitor_never_chooses_where_it_is_sent(
        rule in "/(:a|:a/:b|\\*|x/\\*) (/|/t/|https://e[.]example/|//e[.]example/)(:a|:b|:splat|y)?(\\?q=:a)? 30[1278]",
        path in proptest::collection::vec("x?|[^/\\x00]{1,8}", 1..4),
    ) {
        let Ok(rules) = Redirects::parse(rule.as_bytes()) else { return Ok(()) };
        let path: Vec<String> = path.into_iter().filter(|name| !matches!(&**name, "" | "." | "..")).collect();
        let Some(Action::Redirect { location, .. }) = rules.apply(&path, None).unwrap() else { return Ok(()) };
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
        let target = rule.split(' ').nth(1).unwrap();
        prop_assert_eq!(location.starts_with("//"), target.starts_with("//"), "{}", location);
        prop_assert_eq!(location.starts_with("https://e.example/"), target.starts_with("https"));
    }

    #[test]
    fn no_file_breaks_the_parser(file in proptest::collection::vec(any::<u8>(), 0..300), path in "(/[a-c:*%]{1,4}){0,4}") {
        if let Ok(rules) = Redirects::parse(&file) {
            let _ = rules.apply(&names(&path), Some("q"));
        }
    }
}
