//! The golden vectors of "Site rules, version 1" in `docs/formats.md`: whoever implements them again can check itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in what tests call, a panic is the report")]

use atoll_core::site::{Asked, Found, Head, Rules, Shown, head};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    redirects: String,
    headers: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    path: String,
    query: Option<String>,
    found: String,
    status: Option<u16>,
    shown: Option<String>,
    page: Option<String>,
    location: Option<String>,
    error: Option<String>,
    set: Option<Vec<(String, String)>>,
    detached: Option<Vec<String>>,
}

#[test]
fn version_1_answers_as_written() {
    let sites: Vec<Site> = serde_json::from_str(include_str!("../testdata/site-rules-v1.json")).unwrap();
    for site in sites {
        let rules = Rules::parse(Some(site.redirects.as_bytes()), Some(site.headers.as_bytes()));
        for case in &site.cases {
            check(&rules, case);
        }
    }
}

fn check(rules: &Rules, case: &Case) {
    let segments: Vec<String> = case.path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let asked = Asked { segments: &segments, slash: case.path.ends_with('/'), query: case.query.as_deref() };
    let found = match &*case.found {
        "file" => Found::File,
        "directory" => Found::Directory { index: false },
        "directory with index" => Found::Directory { index: true },
        "absent" => Found::Absent,
        other => panic!("{other}"),
    };
    match head(rules, &asked, found) {
        Ok(answer) => check_head(&answer, case),
        Err(error) => assert_eq!(Some(error.to_string()), case.error, "{}", case.path),
    }
}

fn check_head(answer: &Head, case: &Case) {
    let (mut shown, mut page, mut location) = (None, None, None);
    match &answer.shown {
        Shown::Itself => shown = Some("itself"),
        Shown::Index => shown = Some("index"),
        Shown::Listing => shown = Some("listing"),
        Shown::Slash => shown = Some("slash"),
        Shown::Missing => shown = Some("missing"),
        Shown::Redirect(to) => location = Some(to.clone()),
        Shown::Page { segments, .. } => page = Some(segments.join("/")),
    }
    assert_eq!(Some(answer.status), case.status, "{}", case.path);
    assert_eq!(shown, case.shown.as_deref(), "{}", case.path);
    assert_eq!((page, location), (case.page.clone(), case.location.clone()), "{}", case.path);
    assert_eq!(answer.edits.set, case.set.clone().unwrap_or_default(), "{}", case.path);
    assert_eq!(answer.edits.detached, case.detached.clone().unwrap_or_default(), "{}", case.path);
}
