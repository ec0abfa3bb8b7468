//! Tests of manifests: order, absence, the way from a path to a key, and golden vectors (`testdata/bundle-v1.json`).

use proptest::prelude::*;

use super::*;
use crate::bundle::Bundle;

fn entry(key: &str, status: u16) -> Entry {
    Entry { key: key.into(), status, digest: digest(key.as_bytes()), head: [status.to_be_bytes()[1]; 32] }
}

fn manifest(keys: &[&str]) -> Manifest {
    Manifest::new(keys.iter().map(|key| entry(key, 200)).collect()).unwrap()
}

fn says<'a>(manifest: &'a Manifest, rules: &str, path: &str) -> Said<'a> {
    let segments: Vec<String> = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let asked = Asked { segments: &segments, slash: path.ends_with('/'), query: None };
    manifest.says(&Rules::parse(Some(rules.as_bytes()), None), &asked)
}

#[test]
fn keys_are_in_order_and_each_once() {
    let manifest = Manifest::new(vec![entry("/b", 200), entry("/a", 200), entry("/b", 301)]).unwrap();
    let keys: Vec<_> = manifest.entries().iter().map(|entry| (&*entry.key, entry.status)).collect();
    assert_eq!(keys, [("/a", 200), ("/b", 200)]);
}

#[test]
fn absence_is_between_two_neighbours() {
    let manifest = manifest(&["/b", "/d"]);
    let between = |key: &str| {
        manifest.between(key).map(|(before, after)| (before.map(|entry| &*entry.key), after.map(|entry| &*entry.key)))
    };
    assert_eq!(between("/a"), Some((None, Some("/b"))));
    assert_eq!(between("/c"), Some((Some("/b"), Some("/d"))));
    assert_eq!(between("/e"), Some((Some("/d"), None)));
    assert_eq!(between("/d"), None);
}

#[test]
fn paths_lead_to_keys_by_the_sites_rules() {
    let manifest = manifest(&["/", "/404.html", "/app/", "/index.html"]);
    let key = |said: Said<'_>| if let Said::Entry(entry) = said { entry.key.to_string() } else { format!("{said:?}") };
    let rules = "/spa/* /index.html 200\n/in/* /app 200\n/gone/* /404.html 410\n/moved/* /x 301\n/* /404.html 404";
    for (path, expected) in [
        ("/", "/"),
        ("/index.html", "/index.html"),
        ("/spa/deep/way", "/index.html"),
        ("/in/x", "/app/"),
        ("/gone/x", "Nothing"),
        ("/moved/x", "Nothing"),
        ("/x", "Absent"),
    ] {
        assert_eq!(key(says(&manifest, rules, path)), expected, "{path}");
    }
    assert_eq!(says(&manifest, "", "/x"), Said::Absent);
    assert_eq!(says(&manifest, "/x", "/x"), Said::Nothing, "rules that cannot be used");
}

#[test]
fn a_key_is_bounded_and_plain() {
    let long = "x".repeat(511);
    assert_eq!(key(&[&*long], false).map(|key| key.len()), Some(512));
    assert_eq!(key(&[&*long], true), None);
    assert_eq!(key(&["a b", "ą"], true).as_deref(), Some("/a%20b/%C4%85/"));
    assert_eq!(key(&[] as &[&str], false).as_deref(), Some("/"));
    assert!(is_key("/a%20b/") && !is_key("a") && !is_key("/a b") && !is_key("/ą") && !is_key(""));
}

#[test]
fn a_head_is_what_it_says_whatever_the_order() {
    let edits = |detached: &[&str], set: &[(&str, &str)]| site::Edits {
        detached: detached.iter().map(|&name| name.to_owned()).collect(),
        set: set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let one = head(Some("text/html"), None, &edits(&["b", "a"], &[("x-b", "1"), ("x-a", "2")]));
    let text = "atoll-head-1\ncontent-type: text/html\n! a\n! b\nx-a: 2\nx-b: 1\n";
    assert_eq!(one, digest(text.as_bytes()));
    assert_eq!(one, head(Some("text/html"), None, &edits(&["a", "b"], &[("x-a", "2"), ("x-b", "1")])));
    assert_ne!(one, head(Some("text/html"), Some("/"), &edits(&["a", "b"], &[("x-a", "2"), ("x-b", "1")])));
    assert_eq!(shown_type("a/b", &edits(&["content-type"], &[])), None);
    assert_eq!(shown_type("a/b", &edits(&["content-type"], &[("content-type", "c/d")])), Some("c/d"));
}

/// The vectors of `docs/formats.md`: another implementation can be checked against them.
#[test]
fn golden() {
    let manifest = Manifest::new(vec![
        Entry { key: "/".into(), status: 200, digest: [1; 32], head: [2; 32] },
        Entry { key: "/a".into(), status: 301, digest: [3; 32], head: [4; 32] },
        Entry { key: "/b".into(), status: 200, digest: [5; 32], head: [6; 32] },
    ]);
    let manifest = manifest.unwrap();
    let root = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m".parse().unwrap();
    let bundle = Bundle { root, car_root: [7; 32], leaves: 9, manifest };
    let read: serde_json::Value = serde_json::from_str(include_str!("../../testdata/bundle-v1.json")).unwrap();
    assert_eq!(crate::signed::hex(&bundle.manifest.root()), read["manifest"].as_str().unwrap());
    assert_eq!(bundle.id().to_string(), read["bundle"].as_str().unwrap());
}

#[test]
fn damaged_bytes_are_no_bundle() {
    let root = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m".parse().unwrap();
    let bundle = Bundle { root, car_root: [7; 32], leaves: 9, manifest: manifest(&["/", "/a"]) };
    let bytes = bundle.to_bytes();
    assert_eq!(Bundle::from_bytes(&bytes), Some(bundle));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(Bundle::from_bytes(&damaged), None, "{at}");
        assert_eq!(Bundle::from_bytes(&bytes[..at]), None, "{at}");
    }
}

proptest! {
    #[test]
    fn a_manifest_comes_back(keys in proptest::collection::vec("/[!-~]{0,20}", 0..20)) {
        let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        let manifest = manifest(&keys);
        prop_assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Ok(manifest));
    }

    #[test]
    fn whatever_is_read_is_written_so(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [b"atollmf1", &bytes[..]].concat();
        if let Ok(manifest) = Manifest::from_bytes(&bytes) {
            prop_assert_eq!(manifest.to_bytes(), bytes);
        }
    }
}
