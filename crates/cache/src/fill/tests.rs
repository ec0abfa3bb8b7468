//! Bodies that arrive, with several who read them.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn begin(object_bytes_max: u64) -> (Arc<Fill>, Writing) {
    Fill::begin(Budget::new(64 * 1024 * 1024, object_bytes_max))
}

async fn all(mut reading: Reading) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(part) = reading.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

#[tokio::test]
async fn readers_follow_the_writer() {
    let (fill, writing) = begin(100);
    let early = tokio::spawn(all(fill.read().unwrap()));
    assert_eq!(writing.push(Bytes::from_static(b"one ")).await, Pushed::Kept);
    let late = tokio::spawn(all(fill.read().unwrap()));
    let part = tokio::spawn(all(fill.read().unwrap().range(&(2..6))));
    assert_eq!(writing.push(Bytes::from_static(b"two")).await, Pushed::Kept);
    assert!(fill.whole().is_none());
    writing.end();
    assert_eq!(early.await.unwrap().unwrap(), b"one two");
    assert_eq!(late.await.unwrap().unwrap(), b"one two");
    assert_eq!(part.await.unwrap().unwrap(), b"e tw");
    let whole = fill.whole().unwrap();
    assert_eq!((whole.parts.concat(), whole.len), (b"one two".to_vec(), 7));
    assert_eq!(whole.range(&(3..5)).concat(), b" t");
    // Who comes late reads the whole.
    assert!(fill.is_sound());
}

#[tokio::test]
async fn a_broken_body_breaks_its_readers() {
    let (fill, writing) = begin(100);
    let reading = fill.read().unwrap();
    writing.push(Bytes::from_static(b"half")).await;
    drop(writing);
    assert_eq!(all(reading).await, Err(Broken));
    assert!(fill.read().is_none() && fill.whole().is_none() && !fill.is_sound());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_handed_on_as_fast_as_it_is_taken() {
    let (fill, writing) = begin(4);
    let mut slow = fill.read().unwrap();
    assert_eq!(writing.push(Bytes::from_static(b"abcd")).await, Pushed::Kept);
    let part = Bytes::from(vec![7; 1024 * 1024]);
    let waits = timeout(Duration::from_secs(1), writing.push(part.clone())).await;
    assert!(waits.is_err(), "the window is full");
    assert!(fill.read().is_none() && fill.whole().is_none());
    assert_eq!(slow.next().await.unwrap().unwrap(), "abcd");
    assert_eq!(slow.next().await.unwrap().unwrap().len(), part.len());
    assert_eq!(writing.push(Bytes::from_static(b"end")).await, Pushed::Passing);
    drop(slow);
    assert_eq!(writing.push(Bytes::from_static(b"more")).await, Pushed::Unread);
}

#[tokio::test]
async fn the_budget_is_given_back() {
    let budget = Budget::new(10, 10);
    let (_fill, first) = Fill::begin(Arc::clone(&budget));
    first.push(Bytes::from_static(b"12345678")).await;
    assert!(!budget.has_room(3) && budget.has_room(2));
    let (second_fill, second) = Fill::begin(Arc::clone(&budget));
    let _reading = second_fill.read().unwrap();
    assert_eq!(second.push(Bytes::from_static(b"123")).await, Pushed::Passing);
    first.end();
    assert!(budget.has_room(10));
}
