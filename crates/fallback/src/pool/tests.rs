//! Pools over hours of told time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// As many origins as there are weights; a negative one is a backup.
fn pool(weights: &[i32], set: impl FnOnce(&mut PoolConfig)) -> (Pool, Instant) {
    let mut rules = PoolConfig::default();
    set(&mut rules);
    let origin =
        |weight: &i32| OriginConfig { weight: weight.unsigned_abs(), backup: *weight < 0, ..OriginConfig::default() };
    let origins: Vec<_> = weights.iter().map(origin).collect();
    let now = Instant::now();
    (Pool::new(&origins, &rules, now), now)
}

fn all(pool: &Pool) -> Vec<usize> {
    (0..pool.members.len()).collect()
}

/// How often each is asked first, in so many requests.
fn asked(pool: &mut Pool, count: usize, now: Instant) -> Vec<usize> {
    let among = all(pool);
    let mut asked = vec![0; among.len()];
    for _ in 0..count {
        asked[pool.plan(&among, now).order[0]] += 1;
    }
    asked
}

fn fail(pool: &mut Pool, n: usize, times: usize, now: Instant) -> bool {
    (0..times).any(|_| pool.bad(n, now))
}

#[test]
fn requests_are_shared_by_weight_and_backups_wait() {
    let (mut pool, now) = pool(&[3, 1, -5], |rules| rules.choose = Choose::Weight);
    assert_eq!(asked(&mut pool, 400, now), [300, 100, 0]);
    let mut turns = (0..4).map(|_| pool.plan(&[0, 1, 2], now).order[0]).collect::<Vec<_>>();
    turns.dedup();
    assert!(turns.len() >= 3, "turns do not come in a row: {turns:?}");
    assert!(fail(&mut pool, 0, 3, now));
    assert_eq!(asked(&mut pool, 100, now), [0, 100, 0]);
    assert!(fail(&mut pool, 1, 3, now));
    assert_eq!(asked(&mut pool, 100, now), [0, 0, 100]);
    // The last one is never left out.
    assert!(!fail(&mut pool, 2, 100, now));
    assert_eq!(pool.plan(&[0, 1, 2], now).ready, 1);
}

#[test]
fn in_order_the_first_that_is_ready_is_asked() {
    let (mut pool, now) = pool(&[1, 1, 1], |_| ());
    assert_eq!(pool.plan(&[0, 1, 2], now).order[..], [0, 1, 2]);
    assert!(!fail(&mut pool, 0, 2, now));
    pool.good(0, SECOND, now);
    assert!(!fail(&mut pool, 0, 2, now), "an answer begins the count anew");
    assert!(fail(&mut pool, 0, 1, now));
    assert_eq!(pool.plan(&[0, 1, 2], now), Plan { order: smallvec![1, 2, 0], ready: 2, hedge: Some(2 * SECOND) });
    assert_eq!(pool.plan(&[0, 2], now).order[..], [2, 0]);
}

#[test]
fn each_time_an_origin_is_left_out_twice_as_long_and_comes_back_slowly() {
    let (mut pool, mut now) = pool(&[1, 1], |_| ());
    assert!(fail(&mut pool, 0, 3, now));
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        now += SECOND * (seconds - 1);
        assert_eq!(asked(&mut pool, 10, now), [0, 10], "{seconds}");
        now += SECOND;
        let (back, other) = (asked(&mut pool, 100, now)[0], 10);
        assert!((other - 1..=other + 1).contains(&back), "a tenth at first: {back}");
        // One failure is enough for whoever has shown nothing since.
        assert!(fail(&mut pool, 0, 1, now));
    }
    now += SECOND * 300;
    assert!(asked(&mut pool, 10, now)[0] > 0);
    pool.good(0, SECOND, now);
    now += SECOND * 5;
    let half = asked(&mut pool, 100, now)[0];
    assert!((50..60).contains(&half), "{half}");
    now += SECOND * 5;
    assert_eq!(asked(&mut pool, 100, now), [100, 0]);
    // After some minutes without failures all is forgotten.
    for _ in 0..20 {
        now += WINDOW;
        pool.good(0, SECOND, now);
    }
    assert!(fail(&mut pool, 0, 3, now));
    now += SECOND * 10;
    assert!(asked(&mut pool, 100, now)[0] > 0);
}

#[test]
fn whoever_fails_much_more_than_the_others_is_left_out() {
    let (mut pool, now) = pool(&[1, 1, 1], |rules| rules.choose = Choose::Weight);
    for n in 0..300 {
        // Never three in a row; every other request to the last one fails.
        if n % 3 == 2 && n % 2 == 0 {
            assert!(!pool.bad(n % 3, now));
        } else {
            pool.good(n % 3, SECOND, now);
        }
    }
    pool.good(0, SECOND, now + WINDOW);
    assert_eq!(asked(&mut pool, 100, now + WINDOW)[2], 0);
    // Where all fail alike, nobody is.
    let (mut pool, now) = self::pool(&[1, 1], |rules| rules.choose = Choose::Weight);
    for n in 0..400 {
        if n / 2 % 2 == 0 { pool.good(n % 2, SECOND, now) } else { assert!(!pool.bad(n % 2, now)) }
    }
    pool.good(0, SECOND, now + WINDOW);
    assert_eq!(asked(&mut pool, 100, now + WINDOW), [50, 50]);
}

#[test]
fn probes_take_origins_out_and_bring_them_back() {
    let (mut pool, now) = pool(&[1, 1], |_| ());
    assert!(!pool.probed(0, false, now) && !pool.probed(0, false, now));
    assert!(!pool.probed(0, true, now), "one that goes well begins the count anew");
    assert!(!pool.probed(0, false, now) && !pool.probed(0, false, now) && pool.probed(0, false, now));
    assert_eq!(asked(&mut pool, 10, now + SECOND * 3600), [0, 10]);
    pool.probed(0, true, now);
    pool.probed(0, true, now);
    assert_eq!(asked(&mut pool, 10, now)[0], 1, "back, and slowly");
    // When nobody is well, all are asked all the same.
    for n in [0, 1] {
        for _ in 0..3 {
            pool.probed(n, false, now);
        }
    }
    let plan = pool.plan(&[0, 1], now);
    assert_eq!((plan.order.len(), plan.ready), (2, 0));
}

#[test]
fn at_most_a_share_is_left_out() {
    let (mut pool, now) = pool(&[1; 10], |rules| rules.ejected_percent_max = 30);
    let out = (0..10).filter(|n| fail(&mut pool, *n, 5, now)).count();
    assert_eq!(out, 3);
    let (mut pool, now) = self::pool(&[1], |_| ());
    assert!(!fail(&mut pool, 0, 100, now));
}

#[test]
fn another_is_asked_too_when_an_answer_is_later_than_most() {
    let (mut pool, now) = pool(&[1, 1], |rules| rules.hedge = Hedge::P95);
    assert_eq!(pool.plan(&[0, 1], now).hedge, Some(LATE));
    for _ in 0..100 {
        pool.good(0, Duration::from_millis(10), now);
    }
    let hedge = pool.plan(&[0, 1], now).hedge.unwrap();
    assert!(hedge >= Duration::from_millis(10) && hedge < Duration::from_millis(14), "{hedge:?}");
    assert_eq!(pool.plan(&[0], now).hedge, None);
}
