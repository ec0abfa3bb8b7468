//! What is kept, what goes, and what is refused.

use std::time::Duration;

use atoll_core::SystemClock;
use atoll_core::ipns::{NewRecord, RECORD_BYTES_MAX};
use atoll_core::keys::SiteKey;
use atoll_testkit::SimClock;
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(seed: u8) -> SiteKey {
    SiteKey::from_seed(&[seed; 32])
}

fn record(seed: u8, sequence: u64, life: Duration) -> Record {
    let target = "/ipfs/bafkqaaa".parse().unwrap();
    let eol = SimClock::start().now().after(life);
    NewRecord { target, sequence, eol, ttl: Duration::from_secs(60) }.sign(&key(seed)).unwrap()
}

fn open_with(folder: &TempDir, config: &Config, held: &[SiteId]) -> Store {
    let held: HashSet<SiteId> = held.iter().copied().collect();
    Store::open(folder.path(), config, Arc::new(SimClock::start()), Box::new(move || held.clone())).unwrap()
}

fn open(folder: &TempDir) -> Store {
    open_with(folder, &Config::default(), &[])
}

async fn offer(store: &Store, record: &Record) -> Offered {
    store.offer(vec![(*record.name(), record.bytes().clone())]).await.pop().unwrap()
}

fn names(store: &Store) -> Vec<Name> {
    store.list().into_iter().map(|kept| kept.name).collect()
}

#[tokio::test]
async fn newest_wins_whoever_brings_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (one, two) = (record(1, 1, DAY), record(1, 2, DAY));
    assert_eq!(store.put(two.clone(), Origin::Own, None).await, Ok(true));
    assert_eq!(store.put(two.clone(), Origin::Own, None).await, Ok(false));
    assert_eq!(store.put(one.clone(), Origin::Own, None).await, Err(StoreError::Older(2)));
    assert_eq!(store.import(*one.name(), one.bytes().clone()).await, Err(StoreError::Older(2)));
    assert_eq!(offer(&store, &one).await, Offered::Old);
    assert_eq!(store.known(one.name()), Some(two.bytes().clone()));
    let three = record(1, 3, DAY);
    assert_eq!(offer(&store, &three).await, Offered::News(three.clone()));
    assert_eq!(
        store.get(one.name()).unwrap().origin,
        Origin::Own,
        "it stays this node's, whoever brought the newer one"
    );
    drop(store);
    assert_eq!(open(&folder).known(one.name()), Some(three.bytes().clone()));
}

#[tokio::test]
async fn of_two_publishers_with_one_key_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let put = |sequence, expected| store.put(record(1, sequence, DAY), Origin::Own, Some(expected));
    assert_eq!(put(1, None).await, Ok(true));
    assert_eq!(put(2, None).await, Err(StoreError::Changed { expected: None, found: Some(1) }));
    let (one, two) = tokio::join!(put(2, Some(1)), put(3, Some(1)));
    assert_eq!([one.is_ok(), two.is_ok()].into_iter().filter(|ok| *ok).count(), 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn what_an_operator_loads_need_not_be_valid_but_replaces_nothing_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let good = record(1, 1, DAY);
    let garbage = Bytes::from_static(b"no record");
    let imported = store.import(*good.name(), garbage.clone()).await;
    assert_eq!(imported, Ok(Imported::Invalid(RecordError::Protobuf)));
    assert_eq!(store.known(good.name()), None, "members are not told of it");
    drop(store);
    let store = open(&folder);
    assert_eq!(store.get(good.name()).unwrap().record, Err(RecordError::Protobuf));
    assert_eq!(offer(&store, &good).await, Offered::News(good.clone()), "a valid one replaces it");
    assert_eq!(store.import(*good.name(), garbage).await, Err(StoreError::Record(RecordError::Protobuf)));
    let huge = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
    assert!(matches!(store.import(*good.name(), huge).await, Err(StoreError::Record(RecordError::TooLarge(_)))));
}

#[tokio::test]
async fn members_cannot_bring_what_is_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (good, other) = (record(1, 1, DAY), record(2, 1, DAY));
    let swapped = (*other.name(), good.bytes().clone());
    let late = record(3, 1, Duration::ZERO);
    let late = (*late.name(), late.bytes().clone());
    let offered = store.offer(vec![swapped, late, (*good.name(), good.bytes().clone())]).await;
    assert_eq!(offered, [Offered::Bad, Offered::Old, Offered::News(good.clone())]);
    assert_eq!(store.put(record(3, 1, Duration::ZERO), Origin::Own, None).await, Err(StoreError::Expired));
    assert_eq!(names(&store), [*good.name()]);
}

#[tokio::test]
async fn strangers_names_push_out_strangers_names_only() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { records_max: 4, ..Config::default() };
    let store = open_with(&folder, &config, &[key(2).site_id()]);
    let mine = record(1, 1, DAY);
    store.put(mine.clone(), Origin::Own, None).await.unwrap();
    let (held, asked) = (record(2, 1, DAY), record(3, 1, DAY));
    offer(&store, &held).await;
    offer(&store, &asked).await;
    store.entry(asked.name()).unwrap().set_used(SystemClock::now());
    for seed in 10..30 {
        let stranger = record(seed, 1, DAY);
        assert_eq!(offer(&store, &stranger).await, Offered::News(stranger));
    }
    let kept = names(&store);
    assert_eq!(kept.len(), 4);
    assert!([mine, held, asked].iter().all(|record| kept.contains(record.name())), "{kept:?}");
    drop(store);
    assert_eq!(names(&open(&folder)), kept, "on disk as in memory");
}

#[tokio::test]
async fn a_store_full_of_its_own_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(&folder, &Config { records_max: 2, ..Config::default() }, &[]);
    store.put(record(1, 1, DAY), Origin::Own, None).await.unwrap();
    store.put(record(2, 1, DAY), Origin::Own, None).await.unwrap();
    assert_eq!(store.put(record(3, 1, DAY), Origin::Own, None).await, Err(StoreError::Full));
    assert_eq!(offer(&store, &record(4, 1, DAY)).await, Offered::Old);
    assert_eq!(store.put(record(2, 2, DAY), Origin::Own, None).await, Ok(true), "a newer one of a known name has room");
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let folder = tempfile::tempdir().unwrap();
    let one = record(1, 1, DAY).bytes().len() + 256;
    let store = open_with(&folder, &Config { bytes_max: one * 3, ..Config::default() }, &[]);
    for seed in 1..10 {
        offer(&store, &record(seed, 1, DAY)).await;
    }
    assert!((2..=3).contains(&names(&store).len()));
}

#[tokio::test(start_paused = true)]
async fn the_expired_go_first_even_if_they_were_this_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(&folder, &Config { records_max: 2, ..Config::default() }, &[]);
    let short = record(1, 1, Duration::from_secs(60));
    store.put(short.clone(), Origin::Own, None).await.unwrap();
    offer(&store, &record(2, 1, DAY)).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(store.known(short.name()), None);
    assert!(store.own_records().is_empty());
    offer(&store, &record(3, 1, DAY)).await;
    assert!(!names(&store).contains(short.name()));
    assert_eq!(names(&store).len(), 2);
}
