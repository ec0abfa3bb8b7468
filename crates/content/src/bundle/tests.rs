//! Tests of bundles: every path of a site, and what cannot be had.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use atoll_core::manifest::{Entry, Said, digest, head};
use atoll_core::merkle::Bytes as Leaves;
use atoll_core::site::{Asked, Edits, Rules, mime};
use atoll_core::{Blocks, Cid};
use futures_util::TryStreamExt as _;

use super::*;
use crate::import::{Options, Source, import_from};
use crate::memory::Memory;

const FILES: [(&str, &str); 11] = [
    ("index.html", "<!doctype html>home"),
    ("a b.txt", "calm"),
    ("dir/index.html", "<!doctype html>inside"),
    ("dir/deep/data.bin", "\u{1}\u{2}"),
    ("bare/style.css", "b{}"),
    ("odd/index.html/file", "an index that is a directory"),
    ("404.html", "lost"),
    ("app.html", "app"),
    ("noext", "{\"a\":1}"),
    (
        "_redirects",
        "/old /new 301\n/old /never 302\n/see /there 303\n/temp http://else.example/ 307\n/keep/ /kept 308\n/index.html /x 301\n\
         /app/* /app.html 200\n/wild/* /x 301\n/* /404.html 404\n",
    ),
    ("_headers", "/dir/*\n  X-Own: 1\n/app.html\n  Content-Type: text/plain\n/404.html\n  ! Content-Type\n"),
];

fn import(files: &[(&str, &str)]) -> (Cid, Memory) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut memory = Memory::default();
    let source: Source<'_> = Source::Path(Path::new(folder.path()));
    let imported = import_from(source, Options::default(), &mut memory, &mut |_| {}).unwrap();
    (imported.root, memory)
}

fn edits(detached: &[&str], set: &[(&str, &str)]) -> Edits {
    Edits {
        detached: detached.iter().map(|&name| name.to_owned()).collect(),
        set: set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn file(key: &str, content: &str, content_type: Option<&str>, edits: &Edits) -> Entry {
    Entry { key: key.into(), status: 200, digest: digest(content.as_bytes()), head: head(content_type, None, edits) }
}

fn moved(key: &str, status: u16, location: &str) -> Entry {
    let head = head(Some(mime::TEXT), Some(location), &Edits::default());
    Entry { key: key.into(), status, digest: digest(b"Moved.\n"), head }
}

#[tokio::test]
async fn every_path_of_a_site_is_in_its_manifest() {
    let (root, memory) = import(&FILES);
    let bundle = bundle(Arc::new(memory), &root).await.unwrap();
    let none = Edits::default();
    let own = edits(&[], &[("x-own", "1")]);
    let text = |name: &str| FILES.iter().find(|(known, _)| *known == name).unwrap().1;
    let html = Some(mime::HTML);
    let mut expected = vec![
        file("/", text("index.html"), html, &none),
        file("/index.html", text("index.html"), html, &none),
        file("/a%20b.txt", "calm", Some(mime::TEXT), &none),
        moved("/dir", 301, "/dir/"),
        file("/dir/", text("dir/index.html"), html, &own),
        file("/dir/index.html", text("dir/index.html"), html, &own),
        moved("/dir/deep", 301, "/dir/deep/"),
        file("/dir/deep/data.bin", text("dir/deep/data.bin"), Some("application/octet-stream"), &own),
        moved("/bare", 301, "/bare/"),
        file("/bare/style.css", "b{}", Some("text/css; charset=utf-8"), &none),
        moved("/odd", 301, "/odd/"),
        moved("/odd/index.html", 301, "/odd/index.html/"),
        file("/odd/index.html/file", text("odd/index.html/file"), Some(mime::TEXT), &none),
        file("/404.html", "lost", None, &edits(&["content-type"], &[])),
        file("/app.html", "app", Some("text/plain"), &edits(&[], &[("content-type", "text/plain")])),
        file("/noext", text("noext"), Some(mime::JSON), &none),
        file("/_redirects", text("_redirects"), Some(mime::TEXT), &none),
        file("/_headers", text("_headers"), Some(mime::TEXT), &none),
        moved("/old", 301, "/new"),
        moved("/old/", 301, "/new"),
        moved("/temp", 307, "http://else.example/"),
        moved("/temp/", 307, "http://else.example/"),
        moved("/keep", 308, "/kept"),
        moved("/keep/", 308, "/kept"),
    ];
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    for (actual, expected) in bundle.manifest.entries().iter().zip(&expected) {
        assert_eq!(actual, expected, "{} and {}", actual.key, expected.key);
    }
    assert_eq!(bundle.manifest.entries().len(), expected.len());
}

#[tokio::test]
async fn rules_lead_to_what_is_in_the_manifest() {
    let (root, memory) = import(&FILES);
    let blocks: Arc<dyn Blocks> = Arc::new(memory);
    let rules: Rules = rules(&blocks, &root).await.unwrap();
    let manifest = bundle(blocks, &root).await.unwrap().manifest;
    let says = |names: &[&str]| {
        let segments: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        match manifest.says(&rules, &Asked { segments: &segments, slash: false, query: None }) {
            Said::Entry(entry) => entry.key.to_string(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!([says(&["app", "x"]), says(&["wild", "x"]), says(&["nowhere"])], ["/app.html", "Nothing", "Absent"]);
}

#[tokio::test]
async fn the_car_is_the_one_that_is_exported() {
    let (root, memory) = import(&FILES);
    let blocks: Arc<dyn Blocks> = Arc::new(memory);
    let resolved = resolve::<&str>(&*blocks, &root, &[]).await.unwrap();
    let car: Vec<bytes::Bytes> =
        export(Arc::clone(&blocks), &resolved, Scope::All).unwrap().try_collect().await.unwrap();
    let car = car.concat();
    let mut leaves = Leaves::default();
    leaves.push(&car);
    let tree = leaves.finish();
    let made = bundle(Arc::clone(&blocks), &root).await.unwrap();
    assert_eq!((made.car_root, made.leaves), (tree.root(), car.len().div_ceil(256) as u64));
    assert_eq!(made, bundle(blocks, &root).await.unwrap());
}

#[tokio::test]
async fn one_file_is_a_site_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    fs::write(&path, "<html>alone").unwrap();
    let mut memory = Memory::default();
    let imported = import_from(Source::Path(&path), Options::default(), &mut memory, &mut |_| {}).unwrap();
    let bundle = bundle(Arc::new(memory), &imported.root).await.unwrap();
    assert_eq!(bundle.manifest.entries(), [file("/", "<html>alone", Some(mime::HTML), &Edits::default())]);
}

#[tokio::test]
async fn what_lacks_a_block_has_no_bundle_yet() {
    let (root, mut memory) = import(&FILES);
    let lost = memory.cids().find(|cid| **cid != root).copied().unwrap();
    memory.remove(&lost);
    let error = bundle(Arc::new(memory), &root).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
}
