//! What a site says about its answers, and what an operator does not show.

use atoll_core::site::{Headers, Redirects, headers, redirects};
use atoll_core::{Cid, Subject};
use atoll_security::deny::table::RULES_MAX;
use atoll_security::deny::{List, PROBLEMS_MAX};

/// The first line is a path and a query, the rest a `_redirects` file.
pub fn redirects(data: &[u8]) {
    let (asked, file) = split_line(data);
    let asked = String::from_utf8_lossy(asked);
    let (path, query) = asked.split_once('?').unwrap_or((&asked, ""));
    // What no request can carry: the query is passed on as it is.
    if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    let names: Vec<String> =
        path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).map(str::to_owned).collect();
    let Ok(rules) = Redirects::parse(file) else { return };
    match rules.apply(&names, Some(query)) {
        Ok(Some(redirects::Action::Redirect { location, .. })) => {
            let own = location.replacen(query, "", 1);
            assert!(own.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
            assert!(own.len() <= redirects::TARGET_BYTES_MAX + query.len() + 1);
        }
        Ok(Some(redirects::Action::Show { segments, .. })) => {
            assert!(segments.iter().all(|name| !matches!(&**name, "" | "." | "..") && !name.contains('/')));
        }
        Ok(None) | Err(_) => {}
    }
}

/// The first line is a path, the rest a `_headers` file.
pub fn headers(data: &[u8]) {
    let (path, file) = split_line(data);
    let edits = Headers::parse(file).apply(&format!("/{}", String::from_utf8_lossy(path)));
    assert!(edits.set.len() <= headers::APPLIED_MAX && edits.detached.len() <= headers::APPLIED_MAX);
    for (name, value) in &edits.set {
        assert!(value.len() <= headers::VALUE_BYTES_MAX, "{name}");
        assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')), "{name}: {value}");
    }
}

/// The first line is what is asked about, the rest a deny list.
pub fn deny(data: &[u8]) {
    let (asked, file) = split_line(data);
    let Ok(list) = List::read(file, RULES_MAX) else { return };
    assert!(list.problems.len() <= PROBLEMS_MAX && list.problems.len() <= list.skipped);
    let asked = String::from_utf8_lossy(asked);
    let (name, path) = asked.split_once('/').unwrap_or((&asked, ""));
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let _ = list.table.decide(Subject::Name { name, names: &names });
    if let Ok(root) = Cid::try_from(name) {
        let path = list.table.decide(Subject::Path { root: &root, names: &[] });
        assert_eq!(path, list.table.decide(Subject::Block(&root)), "a root is a block");
    }
    let _ = atoll_security::local::rule_of(&asked);
}

fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (data.get(..at).unwrap_or_default(), data.get(at.saturating_add(1)..).unwrap_or_default())
}
