//! What comes back after a restart, and what does not.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::store::Looked;

const PLAN: Config = Config { memory_mib: 8, disk_mib: 16, object_mib: 3, variants: 2 };

async fn open(folder: &Path) -> Arc<Store> {
    let store = Arc::new(Store::open(&PLAN, folder).unwrap());
    store.recovered().await;
    store
}

/// What a crash would leave of a folder now.
fn crashed(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn key(path: &str) -> Key {
    Key::of("https", "a.example", path).within(7)
}

/// Stores a body.
async fn put(store: &Store, path: &str, body: &[u8]) {
    put_as(store, path, body, &HeaderMap::new(), store.now()).await;
}

async fn put_as(store: &Store, path: &str, body: &[u8], request: &HeaderMap, begun: u64) {
    let response = Response::builder()
        .header("cache-control", "max-age=600")
        .header("surrogate-key", "g")
        .header("vary", "foo")
        .header("x-own", format!("of {path}"));
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let times = Times::at(SystemTime::now());
    let stored = Rules::default().store((&Method::GET, request), &parts, times).unwrap();
    let variant = Variant::of(request, &parts.headers).unwrap();
    let (fill, writing) = store.begin(None).unwrap();
    let entry = Entry::new(stored, variant, fill, begun);
    store.insert(&key(path), Arc::clone(&entry));
    for part in body.chunks(100_000) {
        assert_eq!(writing.push(Bytes::copy_from_slice(part)).await, crate::Pushed::Kept);
    }
    writing.end();
    store.settle(&key(path), &entry);
}

/// The body that is found, and whether it was on disk; checked against what was stored beside it.
async fn get(store: &Arc<Store>, path: &str) -> Option<(Vec<u8>, bool)> {
    get_as(store, path, &HeaderMap::new()).await
}

async fn get_as(store: &Arc<Store>, path: &str, request: &HeaderMap) -> Option<(Vec<u8>, bool)> {
    let Looked { found: Found::Entry(entry), disk } = store.look(&key(path), request).await else { return None };
    assert_eq!(entry.stored.headers()["x-own"], format!("of {path}"));
    assert_eq!((entry.stored.status(), entry.stored.lifetime()), (http::StatusCode::OK, Duration::from_secs(600)));
    if let Some(whole) = entry.fill.whole() {
        return Some((whole.parts.concat(), disk));
    }
    let (mut reading, mut body) = (entry.fill.read()?, Vec::new());
    while let Some(part) = reading.next().await.ok()? {
        body.extend_from_slice(&part);
    }
    Some((body, disk))
}

/// Bytes of no pattern.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[tokio::test]
async fn what_is_stored_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let large = noise(1, 2_500_000);
    put(&store, "/small", b"small").await;
    put(&store, "/empty", b"").await;
    put(&store, "/large", &large).await;
    put_as(&store, "/small", b"other", &foo("1"), store.now()).await;
    assert_eq!(get(&store, "/small").await, Some((b"small".to_vec(), false)));
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.disk().unwrap().urls, 3);
    assert_eq!(get(&store, "/large").await, Some((large.clone(), true)));
    assert_eq!(get(&store, "/small").await, Some((b"small".to_vec(), true)));
    assert_eq!(get(&store, "/small").await, Some((b"small".to_vec(), false)));
    assert_eq!(get_as(&store, "/small", &foo("1")).await, Some((b"other".to_vec(), true)));
    assert_eq!(get_as(&store, "/small", &foo("2")).await, None);
    assert_eq!(get(&store, "/empty").await, Some((Vec::new(), true)));
    assert_eq!(get(&store, "/none").await, None);
    // Of another site, or of another server of this one, it is not.
    let others = store.look(&key("/small").within(8), &HeaderMap::new()).await;
    assert!(matches!(others.found, Found::Nothing));
}

#[tokio::test]
async fn who_reads_the_same_at_once_reads_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "/", &noise(1, 2_500_000)).await;
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    let found = futures_util::future::join_all((0..50).map(|_| get(&store, "/"))).await;
    assert!(found.iter().all(|found| found.as_ref().unwrap().0.len() == 2_500_000));
    assert_eq!(found.iter().filter(|found| found.as_ref().unwrap().1).count(), 1);
    assert_eq!(store.disk().unwrap().read, 1);
}

#[tokio::test]
async fn what_was_purged_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for path in ["/a/1", "/a/2", "/b", "/c", "/d", "/e"] {
        put(&store, path, path.as_bytes()).await;
    }
    store.close().await;
    drop(store);
    // One start later, so that the moments of two starts are compared.
    let store = open(folder.path()).await;
    let begun = store.now();
    let url = |path: &str, prefix| Purge::of(&format!("https://a.example{path}"), prefix, None).unwrap();
    store.purge(&url("/a/", true), Degree::Hard).await.unwrap();
    store.purge(&url("/b", false), Degree::Hard).await.unwrap();
    store.purge(&url("/c", false), Degree::Soft).await.unwrap();
    store.remove(&key("/d")).await;
    // What was on its way then is not written either.
    put_as(&store, "/a/1", b"old", &HeaderMap::new(), begun).await;
    put(&store, "/a/2", b"new").await;
    let crashed = crashed(folder.path());
    store.close().await;
    let again = open(crashed.path()).await;
    assert_eq!(get(&again, "/a/1").await, None);
    assert!(get(&again, "/a/2").await.is_none_or(|(body, _)| body == b"new"));
    assert_eq!((get(&again, "/b").await, get(&again, "/d").await), (None, None));
    assert!(matches!(again.look(&key("/c"), &HeaderMap::new()).await.found, Found::Stale(_)));
    assert_eq!(get(&again, "/e").await, Some((b"/e".to_vec(), true)));
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(get(&store, "/a/2").await, Some((b"new".to_vec(), true)));
    assert_eq!((get(&store, "/a/1").await, get(&store, "/d").await), (None, None));
    store.purge(&Purge::Group { host: "a.example".to_owned(), group: "g".to_owned() }, Degree::Hard).await.unwrap();
    assert_eq!((get(&store, "/a/2").await, get(&store, "/e").await), (None, None));
    put(&store, "/f", b"f").await;
    store.purge(&Purge::Everything, Degree::Hard).await.unwrap();
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!((get(&store, "/f").await, store.disk().unwrap().urls), (None, 0));
}

#[tokio::test]
async fn damage_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "/1", b"one").await;
    put(&store, "/2", b"two").await;
    store.close().await;
    drop(store);
    let file = folder.path().join("00000001.seg");
    let bytes = fs::read(&file).unwrap();
    let mut lost = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        let store = open(folder.path()).await;
        for (path, body) in [("/1", "one"), ("/2", "two")] {
            match get(&store, path).await {
                Some((found, _)) => assert_eq!(found, body.as_bytes(), "byte {at}"),
                None => lost += 1,
            }
        }
        store.close().await;
        drop(store);
        assert!(!file.exists() || fs::metadata(&file).unwrap().len() <= bytes.len() as u64);
    }
    assert!(lost >= bytes.len(), "each flipped bit costs a response: {lost} of {}", bytes.len());
}

#[tokio::test]
async fn an_unfinished_record_is_cut_off_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "/1", b"one").await;
    put(&store, "/2", &noise(2, 5000)).await;
    store.close().await;
    drop(store);
    let file = folder.path().join("00000001.seg");
    let bytes = fs::read(&file).unwrap();
    for cut in [1, 4999, 5000, 5001, 5200] {
        fs::write(&file, &bytes[..bytes.len() - cut]).unwrap();
        let store = open(folder.path()).await;
        assert_eq!((get(&store, "/1").await.unwrap().0, get(&store, "/2").await), (b"one".to_vec(), None));
        put(&store, "/3", b"three").await;
        store.close().await;
        drop(store);
        let store = open(folder.path()).await;
        assert_eq!(get(&store, "/3").await, Some((b"three".to_vec(), true)));
        store.close().await;
    }
}

#[tokio::test]
async fn a_lost_journal_empties_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "/1", b"one").await;
    store.close().await;
    drop(store);
    fs::remove_file(folder.path().join("purges")).unwrap();
    let store = open(folder.path()).await;
    assert_eq!((get(&store, "/1").await, store.disk().unwrap().bytes), (None, 0));
    assert!(matches!(Store::open(&PLAN, folder.path()), Err(DiskError::Locked(_))));
}

#[tokio::test]
async fn the_disk_is_bounded_and_what_is_used_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).await;
    put(&store, "/used", b"used").await;
    for n in 0..300 {
        put(&store, &format!("/{n}"), &noise(n, 500_000)).await;
        // Each is asked for again at once, so that it is written although the disk is full.
        assert!(get(&store, &format!("/{n}")).await.is_some());
        if n % 10 == 9 {
            store.close().await;
            drop(store);
            store = open(folder.path()).await;
            assert_eq!(get(&store, "/used").await, Some((b"used".to_vec(), true)), "{n}");
        }
        assert!(store.disk().unwrap().bytes <= 16 * 1024 * 1024);
    }
    let urls = store.disk().unwrap().urls;
    assert!((15..35).contains(&urls), "{urls}");
    // What is asked for once does not come in any more.
    for n in 1000..1030 {
        put(&store, &format!("/{n}"), &noise(n, 500_000)).await;
    }
    store.close().await;
    assert!(store.disk().unwrap().written <= 1, "{:?}", store.disk());
}

#[tokio::test]
async fn what_still_holds_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "/1", b"one").await;
    let Found::Entry(entry) = store.find(&key("/1"), &HeaderMap::new()) else { panic!("it is stored") };
    let update = HeaderMap::from_iter([("cache-control".parse().unwrap(), "max-age=5".parse().unwrap())]);
    let stored = entry.stored.freshened(&Rules::default(), &update, Times::at(SystemTime::now()));
    store.freshen(&key("/1"), &entry, stored, store.now());
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    let Looked { found: Found::Entry(entry), .. } = store.look(&key("/1"), &HeaderMap::new()).await else {
        panic!("it is on disk")
    };
    assert_eq!(entry.stored.lifetime(), Duration::from_secs(5));
}
