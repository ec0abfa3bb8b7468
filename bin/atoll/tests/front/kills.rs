//! `atoll front`, killed at any moment while visitors come and things are purged: what was purged is never seen again, and most of what
//! was stored is.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use atoll_testkit::http::Reply;
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::noise;

/// URLs, in folders of ten.
const URLS: u64 = 200;
const VISITORS: u64 = 3;
const HOST: &str = "shop.example";

/// A stream of numbers from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

fn path(n: u64) -> String {
    format!("/{}/{n}", n / 10)
}

/// What is known of the URLs.
#[derive(Default)]
struct Known {
    /// Versions up to these were purged, which was acknowledged.
    purged: HashMap<u64, u64>,
    /// What visitors have seen last, as a whole.
    seen: HashMap<u64, u64>,
}

/// An origin whose answers are versions, each later than all before, of bodies of different length.
fn versions(count: &Arc<AtomicU64>) -> Origin {
    let count = Arc::clone(count);
    Origin::answering(move |asked: &Asked| {
        let version = count.fetch_add(1, Ordering::SeqCst) + 1;
        let len = usize::try_from(version * 7919 % 40_000).unwrap();
        let body = [format!("{} {version}\n", asked.target()).into_bytes(), noise(version, len)].concat();
        ("Cache-Control: max-age=86400\r\nSurrogate-Key: all\r\n".to_owned(), body)
    })
}

/// The version that answers, and whether from the cache; `None` if the node is killed meanwhile.
fn ask(to: SocketAddr, n: u64) -> Option<(u64, bool)> {
    let mut tcp = TcpStream::connect(to).ok()?;
    let target = path(n);
    let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).ok()?;
    bytes.windows(4).any(|four| four == b"\r\n\r\n").then_some(())?;
    let reply = Reply::parse(&bytes, false);
    if reply.status != 200 || !reply.complete {
        return None;
    }
    let end = reply.body.iter().position(|byte| *byte == b'\n').unwrap();
    let line = std::str::from_utf8(&reply.body[..end]).unwrap();
    let version: u64 = line.strip_prefix(&format!("{target} ")).unwrap().parse().unwrap();
    let len = usize::try_from(version * 7919 % 40_000).unwrap();
    assert_eq!(reply.body[end + 1..], noise(version, len), "{target}, version {version}: not as the origin sent it");
    Some((version, reply.header("cache-status").unwrap().contains("; hit")))
}

/// Checks an answer against what was purged before it was asked for.
fn check(to: SocketAddr, n: u64, known: &Mutex<Known>) -> Option<bool> {
    let purged = known.lock().unwrap().purged.get(&n).copied().unwrap_or(0);
    let (version, hit) = ask(to, n)?;
    assert!(version > purged, "{}: version {version}, although all up to {purged} were purged", path(n));
    known.lock().unwrap().seen.insert(n, version);
    Some(hit)
}

/// Purges something; what is acknowledged is remembered.
fn purge(front: &Node, dice: &mut Dice, count: &AtomicU64, known: &Mutex<Known>) {
    let n = dice.next(URLS);
    let (url, prefix) = (format!("https://{HOST}{}", path(n)), format!("https://{HOST}/{}/", n / 10));
    let (args, hit): (Vec<&str>, Box<dyn Fn(u64) -> bool>) = match dice.next(60) {
        0 => (vec!["purge", "--all"], Box::new(|_| true)),
        1 => (vec!["purge", &url, "--group", "all"], Box::new(|_| true)),
        2..12 => (vec!["purge", &prefix, "--prefix"], Box::new(move |other| other / 10 == n / 10)),
        _ => (vec!["purge", &url], Box::new(move |other| other == n)),
    };
    let before = count.load(Ordering::SeqCst);
    if front.run(&args).status.success() {
        let mut known = known.lock().unwrap();
        for n in (0..URLS).filter(|n| hit(*n)) {
            let purged = known.purged.entry(n).or_default();
            *purged = before.max(*purged);
        }
    }
}

/// Visits and purges for a while, and kills.
fn round(front: &Node, dice: &mut Dice, count: &AtomicU64, known: &Mutex<Known>) {
    let (to, over) = (front.gateway(), AtomicBool::new(false));
    let life = Duration::from_millis(20 + dice.next(250));
    thread::scope(|scope| {
        for _ in 0..VISITORS {
            let (mut dice, over) = (Dice(dice.next(u64::MAX)), &over);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    check(to, dice.next(URLS), known);
                }
            });
        }
        let (mut purges, ended) = (Dice(dice.next(u64::MAX)), &over);
        scope.spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                purge(front, &mut purges, count, known);
            }
        });
        thread::sleep(life);
        front.strike();
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn what_was_purged_never_comes_back_and_most_of_the_rest_does() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("ATOLL_KILL_SEED").map_or(seed, |seed| seed.parse().unwrap());
    let rounds = if std::env::var_os("ATOLL_TEST_LONG").is_some() { 1000 } else { 50 };
    println!("ATOLL_KILL_SEED={seed}, {rounds} rounds");
    let mut dice = Dice(seed);
    let count = Arc::new(AtomicU64::new(0));
    let origin = versions(&count);
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["cache.disk_mib=64"]);
    front.start_as(&["front", &origin.url()]);
    let known = Mutex::new(Known::default());
    let (mut expected, mut hits) = (0_u64, 0_u64);
    for _ in 0..rounds {
        round(&front, &mut dice, &count, &known);
        front.kill();
        front.start_as(&["front", &origin.url()]);
        for n in 0..URLS {
            let stored = {
                let known = known.lock().unwrap();
                let purged = known.purged.get(&n).copied().unwrap_or(0);
                known.seen.get(&n).is_some_and(|seen| *seen > purged)
            };
            let hit = check(front.gateway(), n, &known).unwrap();
            expected += u64::from(stored);
            hits += u64::from(stored && hit);
        }
    }
    println!(
        "{hits} of {expected} were still there after {rounds} kills; the origin answered {}",
        count.load(Ordering::SeqCst)
    );
    assert!(hits * 10 > expected * 8, "{hits} of {expected}");
}
