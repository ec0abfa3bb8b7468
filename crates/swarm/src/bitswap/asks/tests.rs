//! Who is asked for what, as a peer sees it.

use atoll_core::block::RAW;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn block(n: usize) -> Block {
    Block::sha2_256(RAW, n.to_be_bytes().to_vec().into()).unwrap()
}

fn root() -> Key {
    Key::Root(*block(usize::MAX).cid())
}

fn peers<const N: usize>() -> [PeerId; N] {
    std::array::from_fn(|_| PeerId::random())
}

/// An exchange whose time stands still until it is moved.
struct Test {
    asks: Asks,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        Self { asks: Asks::default(), now: Instant::now() }
    }

    fn want(&mut self, n: usize, peers: &[PeerId]) -> oneshot::Receiver<Answer> {
        self.asks.want(root(), *block(n).cid(), peers.iter().copied(), self.now).unwrap()
    }

    /// What a peer is told.
    fn told(&mut self, peer: PeerId) -> Vec<(usize, Wish)> {
        let entries = self.asks.take(peer, usize::MAX);
        let number = |cid: &Cid| (0..5000).find(|n| block(*n).cid() == cid).unwrap();
        entries.iter().map(|entry| (number(&entry.cid), entry.wish)).collect()
    }

    fn gives(&mut self, peer: PeerId, n: usize) -> bool {
        self.asks.block(peer, &block(n), self.now)
    }

    fn says(&mut self, peer: PeerId, n: usize, has: bool) {
        self.asks.presence(peer, *block(n).cid(), has, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.asks.tick(self.now);
    }
}

#[test]
fn one_is_asked_for_the_block_and_the_others_whether_they_have_it_until_they_answer() {
    let (mut test, [a, b, c]) = (Test::new(), peers());
    let mut answer = test.want(1, &[a, b, c]);
    assert_eq!(test.told(a), [(1, Wish::Block)]);
    assert_eq!((test.told(b), test.told(c)), (vec![(1, Wish::Have)], vec![(1, Wish::Have)]));
    test.says(b, 1, true);
    assert!(test.gives(a, 1));
    assert_eq!(answer.try_recv().unwrap(), Ok(block(1)));
    // It came from another: they are told so.
    assert_eq!((test.told(b), test.told(c)), (vec![(1, Wish::Cancel)], vec![(1, Wish::Cancel)]));
    assert_eq!(test.told(a), []);
    // Of `c` nothing is known yet, and it was asked already.
    let _wanted: Vec<_> = (2..4).map(|n| test.want(n, &[])).collect();
    assert!(test.told(c).iter().all(|(_, wish)| *wish == Wish::Have));
}

#[test]
fn three_sources_are_used_at_once_each_as_it_is_fast() {
    let (mut test, sources) = (Test::new(), peers::<3>());
    // They take 1, 2 and 4 ms for a block, one after another.
    let (mut queues, mut given) = ([const { VecDeque::new() }; 3], [0; 3]);
    let mut wanted: Vec<_> = (0..32).map(|n| test.want(n, &sources)).collect();
    let mut next = wanted.len();
    for time in 1..=2000 {
        for (at, source) in sources.into_iter().enumerate() {
            for (n, wish) in test.told(source) {
                match wish {
                    Wish::Block => queues[at].push_back(n),
                    Wish::Have => test.says(source, n, true),
                    Wish::Cancel => queues[at].retain(|other| *other != n),
                }
            }
            if time % (1 << at) == 0
                && let Some(n) = queues[at].pop_front()
                && test.gives(source, n)
            {
                given[at] += 1;
                wanted.push(test.want(next, &[]));
                next += 1;
            }
        }
        test.pass(MS);
    }
    let [fast, middle, slow] = given;
    assert!(fast + middle + slow > 3200, "of 3500 that could be: {given:?}");
    assert!(slow > 300 && middle > slow && fast > middle, "{given:?}");
}

#[test]
fn a_want_moves_on_when_a_peer_lacks_it_or_takes_long_and_is_not_asked_of_the_first_again() {
    let (mut test, [a, b]) = (Test::new(), peers());
    let mut answer = test.want(1, &[a, b]);
    test.told(a);
    test.told(b);
    test.says(a, 1, false);
    assert_eq!(test.told(b), [(1, Wish::Block)]);
    // Nobody is left to be asked, but it may still come.
    test.pass(Duration::from_secs(2));
    assert!(answer.try_recv().is_err() && test.told(a).is_empty());
    // It came to `a` meanwhile.
    test.says(a, 1, true);
    assert_eq!(test.told(a), [(1, Wish::Block)]);
    assert!(test.gives(b, 1));
    assert_eq!(answer.try_recv().unwrap(), Ok(block(1)));
    assert_eq!(test.told(a), [(1, Wish::Cancel)]);
    // What crosses a cancel was asked for; what comes twice was not.
    assert!(test.gives(a, 1) && !test.gives(a, 1));
}

#[test]
fn nobody_has_it_is_known_as_soon_as_all_have_said_so() {
    let (mut test, [a, b, stranger]) = (Test::new(), peers());
    test.asks.came(stranger);
    let mut answer = test.want(1, &[a, b]);
    test.says(b, 1, false);
    test.says(a, 1, false);
    // Then whoever else is connected is asked.
    assert_eq!(test.told(stranger), [(1, Wish::Have)]);
    assert!(answer.try_recv().is_err());
    test.says(stranger, 1, false);
    assert_eq!(answer.try_recv().unwrap(), Err(TransportError::NotFound));
    assert_eq!(test.told(stranger), [(1, Wish::Cancel)]);
    // With nobody to ask it is known at once; and a stranger that has one belongs to the session.
    let mut second = test.want(2, &[]);
    test.says(a, 2, false);
    test.says(b, 2, false);
    test.told(stranger);
    test.says(stranger, 2, true);
    assert_eq!(test.told(stranger), [(2, Wish::Block)]);
    assert!(test.gives(stranger, 2) && second.try_recv().unwrap().is_ok());
    let mut nobody = Test::new();
    assert_eq!(nobody.want(1, &[]).try_recv().unwrap(), Err(TransportError::NotFound));
}

#[test]
fn a_peer_that_promises_and_never_sends_sinks_but_is_not_given_up() {
    let (mut test, [liar, honest]) = (Test::new(), peers());
    let (mut asked_of_liar, mut late) = (0, 0);
    for n in 0..200 {
        let mut answer = test.want(n, &[liar, honest]);
        for waited in 0..100 {
            for (n, wish) in test.told(liar) {
                asked_of_liar += usize::from(wish == Wish::Block);
                test.says(liar, n, true);
            }
            let asked: Vec<_> = test.told(honest).into_iter().filter(|(_, wish)| *wish == Wish::Block).collect();
            test.pass(10 * MS);
            for (n, _) in asked {
                test.gives(honest, n);
            }
            if answer.try_recv().is_ok() {
                late += usize::from(waited > 10);
                break;
            }
        }
    }
    assert!(late <= 10 && asked_of_liar <= 10, "{late} came late, {asked_of_liar} were asked of the liar");
    // Alone it is asked all the same.
    test.asks.went(honest, test.now);
    let _last = test.asks.want(Key::Peer(liar), *block(4999).cid(), [liar].into_iter(), test.now).unwrap();
    assert_eq!(test.told(liar).last(), Some(&(4999, Wish::Block)));
}

#[test]
fn who_sends_wrong_blocks_sinks() {
    let (mut test, [liar, honest]) = (Test::new(), peers());
    let first = [test.want(1, &[liar, honest]), test.want(2, &[liar, honest])];
    for (peer, n) in [(liar, 1), (honest, 2)] {
        test.told(peer);
        assert!(test.gives(peer, n));
    }
    drop(first);
    test.asks.wrong(liar, test.now);
    let _wanted: Vec<_> = (10..20).map(|n| test.want(n, &[])).collect();
    assert_eq!(test.told(liar).iter().filter(|(_, wish)| *wish == Wish::Block).count(), 0);
    assert_eq!(test.told(honest).len(), 10);
}

#[test]
fn what_is_asked_of_a_peer_that_goes_is_asked_of_another() {
    let (mut test, [a, b]) = (Test::new(), peers());
    test.asks.came(a);
    let mut answer = test.want(1, &[a, b]);
    assert_eq!((test.told(a).len(), test.told(b).len()), (1, 1));
    test.asks.went(a, test.now);
    assert_eq!(test.told(b), [(1, Wish::Block)]);
    test.asks.lost(b, &TransportError::Connect("gone".to_owned()), test.now);
    assert!(matches!(answer.try_recv().unwrap(), Err(TransportError::Connect(_))));
    assert!(test.asks.is_idle());
}

#[test]
fn nobody_waits_any_more_is_told_unless_the_want_was_not() {
    let (mut test, [a]) = (Test::new(), peers());
    drop(test.want(1, &[a]));
    test.asks.give_up(block(1).cid());
    assert_eq!(test.told(a), []);
    let first = test.want(2, &[]);
    let second = test.want(2, &[]);
    assert_eq!(test.told(a), [(2, Wish::Block)]);
    drop(first);
    test.asks.give_up(block(2).cid());
    assert_eq!(test.told(a), []);
    drop(second);
    test.asks.give_up(block(2).cid());
    assert_eq!(test.told(a), [(2, Wish::Cancel)]);
    assert!(test.asks.is_idle());
    // Without end, and without anybody who takes the entries.
    for n in 0..20_000 {
        drop(test.want(n % 4000, &[]));
        test.asks.give_up(block(n % 4000).cid());
    }
    assert!(test.asks.peers[&a].outbox.len() <= 4 * TOLD_MAX && test.asks.peers[&a].told.is_empty());
}

#[test]
fn what_is_wanted_again_is_not_taken_back_even_if_the_block_came_meanwhile() {
    let (mut test, [a]) = (Test::new(), peers());
    for came_meanwhile in [false, true] {
        drop(test.want(1, &[a]));
        assert_eq!(test.told(a), [(1, Wish::Block)]);
        test.asks.give_up(block(1).cid());
        if came_meanwhile {
            assert!(test.gives(a, 1));
        }
        let mut again = test.want(1, &[]);
        // In one message, some peers heed only that it is taken back.
        assert_eq!(test.told(a), [(1, Wish::Block)]);
        assert!(test.gives(a, 1) && again.try_recv().unwrap().is_ok());
        assert_eq!(test.told(a), []);
    }
    // Nothing of a want stays at a peer that was taken back, wanted again, and given up before that was told.
    drop(test.want(2, &[]));
    assert_eq!(test.told(a), [(2, Wish::Block)]);
    test.asks.give_up(block(2).cid());
    drop(test.want(2, &[]));
    test.asks.give_up(block(2).cid());
    assert_eq!(test.told(a), [(2, Wish::Cancel)]);
}

#[test]
fn a_peer_that_is_alone_is_asked_once_more() {
    let (mut test, [a]) = (Test::new(), peers());
    let mut answer = test.want(1, &[a]);
    assert_eq!(test.told(a), [(1, Wish::Block)]);
    let mut asked = 0;
    for _ in 0..80 {
        test.pass(100 * MS);
        asked += test.told(a).len();
    }
    assert_eq!(asked, 1);
    assert!(test.gives(a, 1) && answer.try_recv().unwrap().is_ok());
    // The second answer may be on its way.
    assert_eq!(test.told(a), [(1, Wish::Cancel)]);
    assert!(test.gives(a, 1) && !test.gives(a, 1));
}

#[test]
fn a_peer_is_told_of_no_more_than_it_keeps() {
    let (mut test, [a]) = (Test::new(), peers());
    let wanted: Vec<_> = (0..TOLD_MAX + 2).map(|n| test.want(n, &[a])).collect();
    assert_eq!(test.told(a).len(), TOLD_MAX);
    assert!(test.gives(a, 0));
    assert_eq!(test.told(a), [(TOLD_MAX, Wish::Block)]);
    drop(wanted);
}

#[test]
fn wants_and_sessions_have_limits() {
    let mut test = Test::new();
    let [a, b] = peers();
    for n in 0..2 * SESSIONS_MAX {
        test.now += MS;
        test.asks.join(Key::Root(*block(n).cid()), [a].into_iter(), test.now).unwrap();
    }
    assert_eq!(test.asks.sessions.len(), SESSIONS_MAX);
    let cids: Vec<Cid> = (0..=WANTS_MAX).map(|n| *block(n).cid()).collect();
    let wants: Vec<_> = cids.iter().map(|cid| test.asks.want(root(), *cid, [a, b].into_iter(), test.now)).collect();
    assert_eq!(wants.iter().filter(|want| want.is_ok()).count(), WANTS_MAX);
    assert_eq!(wants.last().unwrap().as_ref().err(), Some(&TransportError::Refused));
    drop(wants);
    cids.iter().for_each(|cid| test.asks.give_up(cid));
    assert!(test.asks.is_idle() && test.asks.peers[&a].told.is_empty());
}
