//! What is found, replaced and forgotten.

mod disk;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use super::*;
use crate::rules::{Rules, Times};

fn store() -> Store {
    Store::new(&Config { memory_mib: 4, object_mib: 1, variants: 2, ..Config::default() })
}

fn entry(store: &Store, request: &HeaderMap, vary: &str, begun: u64) -> (Arc<Entry>, Writing) {
    let (parts, ()) =
        Response::builder().header("cache-control", "max-age=60").header("vary", vary).body(()).unwrap().into_parts();
    let times = Times::at(std::time::SystemTime::now());
    let stored = Rules::default().store((&Method::GET, request), &parts, times).unwrap();
    let variant = Variant::of(request, &parts.headers).unwrap();
    let (fill, writing) = store.begin(None).unwrap();
    (Entry::new(stored, variant, fill, begun), writing)
}

fn foo(value: &str) -> HeaderMap {
    HeaderMap::from_iter([("foo".parse().unwrap(), value.parse().unwrap())])
}

#[tokio::test]
async fn each_variant_is_found_and_few_are_kept() {
    let (store, key) = (store(), Key::of("http", "a", "/"));
    for value in ["1", "2", "3"] {
        let (entry, writing) = entry(&store, &foo(value), "foo", store.now());
        store.insert(&key, Arc::clone(&entry));
        writing.push(Bytes::from_static(b"body")).await;
        writing.end();
        store.settle(&key, &entry);
    }
    assert!(matches!(store.find(&key, &foo("3")), Found::Entry(_)));
    assert!(matches!(store.find(&key, &foo("2")), Found::Entry(_)));
    assert!(matches!(store.find(&key, &foo("1")), Found::Others));
    assert!(matches!(store.find(&Key::of("http", "A", "/x"), &foo("1")), Found::Nothing));
}

#[test]
fn a_body_that_broke_off_is_forgotten() {
    let (store, key) = (store(), Key::of("http", "a", "/"));
    let (entry, writing) = entry(&store, &HeaderMap::new(), "", store.now());
    store.insert(&key, Arc::clone(&entry));
    drop(writing);
    store.settle(&key, &entry);
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Nothing));
}

#[tokio::test]
async fn what_was_on_its_way_when_it_changed_is_not_stored() {
    let (store, key) = (store(), Key::of("http", "a", "/"));
    let begun = store.now();
    store.remove(&key).await;
    store.insert(&key, entry(&store, &HeaderMap::new(), "", begun).0);
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Nothing));
    store.insert(&key, entry(&store, &HeaderMap::new(), "", store.now()).0);
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Entry(_)));
    let begun = store.now();
    store.purge(&Purge::Everything, Degree::Hard).await.unwrap();
    store.insert(&key, entry(&store, &HeaderMap::new(), "", begun).0);
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Nothing));
}

#[tokio::test]
async fn memory_is_bounded() {
    let store = store();
    for n in 0..64 {
        let key = Key::of("http", "a", &format!("/{n}"));
        let (entry, writing) = entry(&store, &HeaderMap::new(), "", store.now());
        store.insert(&key, Arc::clone(&entry));
        writing.push(Bytes::from(vec![0; 512 * 1024])).await;
        writing.end();
        store.settle(&key, &entry);
        assert!(store.weight() <= 4 * 1024 * 1024);
    }
    assert!(!store.is_empty());
}

#[tokio::test]
async fn a_soft_purge_leaves_what_is_stale() {
    let (store, key) = (store(), Key::of("https", "a", "/x"));
    store.insert(&key, entry(&store, &HeaderMap::new(), "", store.now()).0);
    store.purge(&Purge::of("http://a/", true, None).unwrap(), Degree::Soft).await.unwrap();
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Stale(_)));
    store.insert(&key, entry(&store, &HeaderMap::new(), "", store.now()).0);
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Entry(_)));
    store.purge(&Purge::of("http://a/x", false, None).unwrap(), Degree::Hard).await.unwrap();
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Nothing));
}
