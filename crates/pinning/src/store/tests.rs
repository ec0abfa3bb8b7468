//! What is kept, who may what, and what counts for a quota.

use atoll_core::block::RAW;
use atoll_core::{Block, Cid};
use atoll_testkit::SimClock;
use tempfile::TempDir;

use super::*;
use crate::wire::Status;

fn root(n: u8) -> Cid {
    *Block::sha2_256(RAW, vec![n].into()).unwrap().cid()
}

fn pin(n: u8) -> Pin {
    Pin { cid: root(n), name: Some(format!("pin {n}")), origins: Vec::new(), meta: Default::default() }
}

fn open(folder: &TempDir) -> Store {
    Store::open(folder.path(), Arc::new(SimClock::start())).unwrap()
}

async fn create(store: &Store, publisher: &str, n: u8) -> View {
    store.create(publisher, pin(n), None, 100).await.unwrap()
}

/// Works on a request until it is pinned.
async fn work(store: &Store, bytes: usize) -> RequestId {
    let job = store.next(10).unwrap();
    store.charge(&job.id, bytes).unwrap();
    let (bytes, blocks) = store.counted(&job.id);
    store.finish(job.id, State::Pinned { bytes, blocks }).await.unwrap().unwrap();
    job.id
}

fn used(store: &Store, publisher: &str) -> u64 {
    store.publishers().into_iter().find(|view| view.name == publisher).unwrap().used
}

fn all() -> Filter {
    Filter::parse("status=queued,pinning,pinned,failed&limit=1000", 10).unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let token = store.add_publisher("a", 100, Allow::Any).await.unwrap();
    let (one, two) = (create(&store, "a", 1).await, create(&store, "a", 2).await);
    assert!(one.created < two.created, "each has a moment of its own");
    let done = work(&store, 7).await;
    drop(store);
    let store = open(&folder);
    assert_eq!(store.authenticate(&token).unwrap().name, "a");
    let (count, views) = store.list("a", &all());
    assert_eq!((count, views[0].id, views[1].id), (2, two.id, one.id), "the newest first");
    assert_eq!(store.get("a", &done).unwrap().status, Status::Pinned);
    assert_eq!(used(&store, "a"), 7);
    let three = create(&store, "a", 3).await;
    assert!(three.created > two.created);
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_and_pins_stay_unless_they_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let token = store.add_publisher("a", 100, Allow::Any).await.unwrap();
    assert_eq!(store.add_publisher("a", 1, Allow::Any).await, Err(StoreError::HasToken("a".to_owned())));
    create(&store, "a", 1).await;
    work(&store, 7).await;
    assert_eq!(store.revoke("a", false).await.unwrap(), []);
    assert!(store.authenticate(&token).is_none());
    assert!(matches!(store.create("a", pin(2), None, 9).await, Err(StoreError::NoPublisher(_))));
    let again = store.add_publisher("a", 50, Allow::Any).await.unwrap();
    assert_ne!(again, token);
    assert_eq!((used(&store, "a"), store.held().len()), (7, 1));
    assert_eq!(store.revoke("a", true).await.unwrap().len(), 1);
    assert!(store.held().is_empty() && store.publishers().is_empty());
    drop(store);
    let store = open(&folder);
    assert!(store.authenticate(&again).is_none() && store.held().is_empty());
    assert!(matches!(store.revoke("a", true).await, Err(StoreError::NoPublisher(_))));
}

#[tokio::test]
async fn bytes_count_once_for_each_publisher_and_root() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for name in ["a", "b"] {
        store.add_publisher(name, 10, Allow::Any).await.unwrap();
        create(&store, name, 1).await;
    }
    let twice = create(&store, "a", 1).await;
    for _ in 0..3 {
        work(&store, 6).await;
    }
    assert_eq!((used(&store, "a"), used(&store, "b")), (6, 6));
    // Four are left, and the fifth is refused.
    let other = create(&store, "a", 2).await;
    let job = store.next(10).unwrap();
    assert_eq!(job.id, other.id);
    assert_eq!(store.charge(&job.id, 4), Ok(()));
    assert!(matches!(store.create("a", pin(3), None, 9).await, Err(StoreError::QuotaUsed { used: 10, quota: 10 })));
    assert_eq!(store.charge(&job.id, 1), Err(10));
    let why = "too large".to_owned();
    assert_eq!(store.finish(job.id, State::Failed { why }).await, Ok(Some(Vec::new())));
    assert_eq!(used(&store, "a"), 6, "what failed counts for nothing");
    store.remove("a", twice.id).await.unwrap();
    assert_eq!(used(&store, "a"), 6, "the other request stands for the root still");
}

#[tokio::test]
async fn publishers_neither_see_nor_change_what_others_have() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.add_publisher("a", 100, Allow::Any).await.unwrap();
    store.add_publisher("b", 100, Allow::parse(&[root(9).to_string()]).unwrap()).await.unwrap();
    let own = create(&store, "a", 1).await;
    assert_eq!(store.get("b", &own.id), None);
    assert_eq!(store.list("b", &all()).0, 0);
    assert_eq!(store.remove("b", own.id).await, Err(StoreError::NoRequest(own.id)));
    assert!(matches!(store.create("b", pin(9), Some(own.id), 9).await, Err(StoreError::NoRequest(_))));
    assert!(matches!(store.create("b", pin(1), None, 9).await, Err(StoreError::NotAllowed(_))));
    assert_eq!(store.create("a", pin(1), None, 1).await, Err(StoreError::RequestsMax(1)));
}

#[tokio::test]
async fn what_is_replaced_is_held_until_the_fate_of_the_new_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.add_publisher("a", 100, Allow::Any).await.unwrap();
    create(&store, "a", 1).await;
    let old = work(&store, 6).await;
    let held = Held { root: root(1), reason: format!("remote:a:{old}") };
    let second = store.create("a", pin(2), Some(old), 9).await.unwrap();
    assert_eq!((store.get("a", &old), used(&store, "a")), (None, 0));
    // Replaced once more, before it came to anything.
    let third = store.create("a", pin(3), Some(second.id), 9).await.unwrap();
    assert!(store.held().contains(&held) && store.held().len() == 2);
    drop(store);
    let store = open(&folder);
    let job = store.next(10).unwrap();
    assert_eq!(job.id, third.id);
    let released = store.finish(job.id, State::Pinned { bytes: 1, blocks: 1 }).await.unwrap();
    assert_eq!(released, Some(vec![held]));
    assert_eq!(store.held(), HashSet::from([job.held]));
}

#[tokio::test]
async fn turns_are_fair_and_retries_wait() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimClock::start());
    let store = Store::open(folder.path(), Arc::clone(&clock) as _).unwrap();
    store.add_publisher("a", 100, Allow::Any).await.unwrap();
    store.add_publisher("b", 100, Allow::Any).await.unwrap();
    for n in 0..4 {
        create(&store, "a", n).await;
    }
    let late = create(&store, "b", 5).await;
    let first = store.next(2).unwrap();
    assert_eq!(store.next(2).unwrap().id, late.id, "who has nothing under way is next");
    assert!(store.next(2).is_some() && store.next(2).is_none(), "two of each at most");
    store.put_off(&first.id, clock.now().after(std::time::Duration::from_secs(3600)), "later".to_owned());
    assert_eq!(store.get("a", &first.id).unwrap().note, "later");
    assert_ne!(store.next(2).unwrap().id, first.id);
    assert_eq!(store.next_due(2), None);
}

#[tokio::test]
async fn work_on_a_request_that_is_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.add_publisher("a", 100, Allow::Any).await.unwrap();
    let view = create(&store, "a", 1).await;
    let mut job = store.next(1).unwrap();
    assert!(job.gone.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    store.remove("a", view.id).await.unwrap();
    assert!(job.gone.await.is_err());
    assert_eq!(store.finish(view.id, State::Pinned { bytes: 1, blocks: 1 }).await, Ok(None));
    assert_eq!(store.charge(&view.id, 1000), Ok(()));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let db = redb::Database::open(folder.path().join("pinning.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("requests-1");
    txn.open_table(table).unwrap().insert([7; 16].as_slice(), b"{}".as_slice()).unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Store::open(folder.path(), Arc::new(SimClock::start())).unwrap_err();
    assert!(error.to_string().contains("pin request 0707"), "{error}");
}
