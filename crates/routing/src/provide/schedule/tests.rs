//! The schedule against a clock of numbers.

use atoll_core::keys::IdentityKey;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const CYCLE: Duration = Duration::from_secs(21 * 3600);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn key(number: u32) -> (Place, Key) {
    let key = Key::from(number.to_be_bytes());
    (Place::of(&key), key)
}

fn schedule(keys: u32) -> Schedule {
    let mut schedule = Schedule::new(&IdentityKey::from_seed(&[1; 32]).peer_id(), CYCLE);
    for (place, key) in (0..keys).map(key) {
        assert!(schedule.add(place, key, START));
    }
    schedule
}

/// Makes it believe that there are some 2^`bits` peers.
fn teach(schedule: &mut Schedule, bits: u32) {
    let target = Place([0; 32]);
    let found: Vec<Place> = (0..K as u64)
        .map(|at| {
            let mut place = [0; 32];
            place[..8].copy_from_slice(&((at + 1) * (u64::MAX >> bits)).to_be_bytes());
            Place(place)
        })
        .collect();
    (0..64).for_each(|_| schedule.learn(&target, &found));
}

fn announce_all(schedule: &mut Schedule, now: Timestamp) -> usize {
    let mut count = 0;
    while let Some(batch) = schedule.take(now) {
        assert!(batch.keys.iter().all(|(place, _)| batch.prefix.contains(place)));
        count += batch.keys.len();
        batch.keys.iter().for_each(|(place, _)| schedule.done(place, true, now));
    }
    count
}

#[test]
fn new_keys_are_due_at_once_and_each_again_within_a_cycle() {
    let mut schedule = schedule(2000);
    teach(&mut schedule, 10);
    assert_eq!(schedule.depth(), Some(5));
    assert_eq!(announce_all(&mut schedule, START), 2000);
    assert_eq!(schedule.standing(START), Standing { keys: 2000, ..Standing::default() });
    let step = Duration::from_secs(60);
    let mut now = START;
    let (mut most, mut all) = (0, 0);
    while now < START.after(CYCLE) {
        now = now.after(step);
        let count = announce_all(&mut schedule, now);
        (most, all) = (most.max(count), all + count);
        assert!(schedule.standing(now).oldest <= CYCLE + step);
    }
    // Evenly: of 32 slots, each at a time of its own.
    assert_eq!(all, 2000);
    assert!(most < 110, "{most} at once");
}

#[test]
fn a_restart_resumes_and_announces_what_came_due_meanwhile() {
    let mut before = schedule(500);
    teach(&mut before, 10);
    announce_all(&mut before, START);
    let saved = before.save();
    let mut after = Schedule::new(&IdentityKey::from_seed(&[1; 32]).peer_id(), CYCLE);
    assert!(after.restore(&saved));
    teach(&mut after, 10);
    let later = START.after(7 * HOUR);
    for (place, key) in (0..600).map(key) {
        assert!(after.add(place, key, later));
    }
    after.forget_earlier();
    let standing = after.standing(later);
    assert_eq!((standing.keys, standing.unannounced), (600, 100));
    // The new ones, and a third of the others.
    let count = announce_all(&mut after, later);
    assert!((100 + 120..100 + 215).contains(&count), "{count}");
    assert_eq!(after.standing(later).lag, Duration::ZERO);
    // What was saved of a time that has not come, or of nothing, counts for nothing.
    let mut odd = schedule(0);
    assert!(odd.restore(&saved) && odd.add(key(1).0, key(1).1, START.after(Duration::ZERO)));
    let mut back = schedule(0);
    assert!(back.restore(&saved) && back.add(key(1).0, key(1).1, Timestamp::from_secs(1)));
    assert_eq!((odd.standing(START).unannounced, back.standing(START).unannounced), (0, 1));
    for bytes in [&[][..], b"atollpr0", &saved[..saved.len() - 1]] {
        assert!(!schedule(0).restore(bytes));
    }
}

#[test]
fn what_fails_is_tried_again_ever_later_and_holds_up_nothing() {
    let mut schedule = schedule(1);
    let (place, _) = key(0);
    let mut now = START;
    let mut waits = Vec::new();
    for _ in 0..10 {
        assert_eq!(schedule.take(now).unwrap().keys.len(), 1);
        assert_eq!(schedule.take(now), None, "taken already");
        schedule.done(&place, false, now);
        let begun = now;
        while schedule.sample(now, 1).is_empty() {
            assert_eq!(schedule.take(now), None);
            now = now.after(Duration::from_secs(5));
        }
        waits.push(now.since(begun).as_secs());
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 640, 640]);
    assert_eq!(schedule.standing(now).lag, now.since(START));
    let (other, new) = key(1);
    schedule.add(other, new, now);
    let taken = schedule.take(now).unwrap();
    schedule.release(&taken.keys);
    assert_eq!(schedule.take(now), Some(taken));
    schedule.remove(&place);
    schedule.done(&place, true, now);
    assert!(!schedule.contains(&place) && schedule.contains(&other));
}

#[test]
fn keys_have_a_limit() {
    let mut schedule = schedule(0);
    let place = |number: usize| {
        let mut place = [0; 32];
        place[..8].copy_from_slice(&number.to_be_bytes());
        Place(place)
    };
    let (_, some) = key(0);
    assert!((0..KEYS_MAX).all(|number| schedule.add(place(number), Key::clone(&some), START)));
    assert!(!schedule.add(place(KEYS_MAX), Key::clone(&some), START));
    assert!(schedule.add(place(1), some, START));
    assert_eq!(schedule.take(START).unwrap().keys.len(), BATCH_MAX);
}
