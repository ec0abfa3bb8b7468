//! Names followed over members that are made up, in simulated time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atoll_core::ipns::NewRecord;
use atoll_core::keys::SiteKey;
use atoll_core::names::{Asked, NameRecords as _};
use atoll_testkit::SimClock;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::dnslink::MapLinks;

const MINUTE: Duration = Duration::from_secs(60);

/// Members that say whatever they were given to say.
#[derive(Default)]
struct Members {
    says: Mutex<Vec<Record>>,
    asked: AtomicUsize,
    told: Mutex<Vec<Name>>,
    silent: std::sync::atomic::AtomicBool,
}

impl NameExchange for Members {
    fn ask<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Asked> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.silent.load(Ordering::Relaxed) {
                return Asked { records: Vec::new(), asked: 3, answered: 0 };
            }
            let says = self.says.lock().unwrap();
            let records = says.iter().filter(|record| record.name() == name);
            Asked { records: records.map(|record| record.bytes().clone()).collect(), asked: 3, answered: 3 }
        })
    }

    fn tell(&self, record: &Record) {
        self.told.lock().unwrap().push(*record.name());
    }
}

struct World {
    resolver: Resolver,
    members: Arc<Members>,
    clock: SimClock,
    _folder: TempDir,
}

impl World {
    fn new(dnslink: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dnslink = dnslink.iter().map(|(domain, target)| ((*domain).to_owned(), (*target).to_owned())).collect();
        let config = Config { dnslink, ..Config::default() };
        assert_eq!(config.problems(), Vec::<String>::new());
        let (clock, members) = (SimClock::start(), Arc::new(Members::default()));
        let store = Store::open(folder.path(), &config, Arc::new(clock), Box::new(HashSet::new)).unwrap();
        let links = Arc::new(MapLinks::new(&config));
        let exchange = Arc::clone(&members) as _;
        let parts = Parts { store, links, exchange, clock: Arc::new(clock), config };
        Self { resolver: Resolver::spawn(parts), members, clock, _folder: folder }
    }

    fn record(&self, seed: u8, sequence: u64, target: &str, (ttl, life): (Duration, Duration)) -> Record {
        let (target, eol) = (target.parse().unwrap(), self.clock.now().after(life));
        NewRecord { target, sequence, eol, ttl }.sign(&SiteKey::from_seed(&[seed; 32])).unwrap()
    }

    /// Members know it from now on.
    fn say(&self, record: Record) -> String {
        let name = record.name().to_string();
        self.members.says.lock().unwrap().push(record);
        name
    }

    fn asked(&self) -> usize {
        self.members.asked.load(Ordering::Relaxed)
    }

    async fn path(&self, name: &str) -> Result<String, NameError> {
        self.resolver.resolve(name).await.map(|found| format!("{}/{}", found.root, found.path.join("/")))
    }

    fn cached(&self, name: &str) -> Option<Arc<Resolution>> {
        self.resolver.cached(name)
    }
}

const LONG: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(30 * 86_400));

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_once_and_then_known() {
    let world = World::new(&[]);
    let name = world.say(world.record(1, 1, "/ipfs/bafkqaaa/a", LONG));
    assert_eq!(world.cached(&name), None);
    let (one, two) = tokio::join!(world.path(&name), world.path(&name));
    assert_eq!((one, two), (Ok("bafkqaaa/a".to_owned()), Ok("bafkqaaa/a".to_owned())));
    assert_eq!(world.asked(), 1, "two visitors, one question");
    let known = world.cached(&name).unwrap();
    assert_eq!(known.max_age(world.clock.now()), LONG.0);
    assert!(Arc::ptr_eq(&known, &world.cached(&name).unwrap()));
    // The same in its other forms.
    let peer_id = SiteKey::from_seed(&[1; 32]).public().to_peer_id().unwrap().to_string();
    assert_eq!(world.cached(&peer_id).as_deref(), Some(&*known));
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_shown_while_it_is_asked_for_again() {
    let world = World::new(&[]);
    let name = world.say(world.record(1, 1, "/ipfs/bafkqaaa/old", LONG));
    world.path(&name).await.unwrap();
    world.say(world.record(1, 2, "/ipfs/bafkqaaa/new", LONG));
    tokio::time::sleep(LONG.0).await;
    let stale = world.cached(&name).unwrap();
    assert_eq!((stale.path.join("/"), stale.max_age(world.clock.now())), ("old".to_owned(), Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.cached(&name).unwrap().path, ["new"]);
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_asked_for_first_and_still_shown_when_nobody_answers() {
    let world = World::new(&[]);
    let name = world.say(world.record(1, 1, "/ipfs/bafkqaaa/old", LONG));
    world.path(&name).await.unwrap();
    world.say(world.record(1, 2, "/ipfs/bafkqaaa/new", LONG));
    tokio::time::sleep(2 * Config::default().stale_max).await;
    assert_eq!(world.cached(&name), None);
    assert_eq!(world.path(&name).await.unwrap(), "bafkqaaa/new");
    let third = world.record(1, 3, "/ipfs/bafkqaaa/new", LONG);
    world.say(third.clone());
    tokio::time::sleep(2 * Config::default().stale_max).await;
    assert_eq!(world.resolver.record(&name).await.unwrap().bytes, third.bytes());
    world.members.silent.store(true, Ordering::Relaxed);
    tokio::time::sleep(2 * Config::default().stale_max).await;
    assert_eq!(world.path(&name).await.unwrap(), "bafkqaaa/new");
    let asked = world.asked();
    assert!(world.cached(&name).is_some(), "asked lately, in vain");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_not_shown_after_its_end_of_life() {
    let world = World::new(&[]);
    let short = world.record(1, 1, "/ipfs/bafkqaaa", (LONG.0, Duration::from_secs(100)));
    let name = world.say(short);
    let found = world.resolver.resolve(&name).await.unwrap();
    assert!(found.max_age(world.clock.now()) < Duration::from_secs(100), "{found:?}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.cached(&name), None);
    assert_eq!(world.path(&name).await, Err(NameError::Expired(name.clone())));
    assert_eq!(world.resolver.record(&name).await, Err(NameError::Expired(name.clone())));
    world.say(world.record(1, 2, "/ipfs/bafkqaaa/b", LONG));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.path(&name).await.unwrap(), "bafkqaaa/b");
}

#[tokio::test(start_paused = true)]
async fn names_lead_over_names_and_paths_add_up() {
    let world = World::new(&[]);
    let second = world.record(2, 1, "/ipns/example.org/c", (MINUTE, LONG.1));
    // The key of seed 5 is the one in the DNSLink.
    let third = world.record(5, 1, "/ipfs/bafkqaaa/e", LONG);
    let domain = format!("/ipns/{}/d", third.name());
    let world_links = World::new(&[("example.org", domain.as_str())]);
    drop(world);
    let world = world_links;
    let first = world.say(world.record(1, 1, &format!("/ipns/{}/b", second.name()), LONG));
    world.say(second);
    world.say(third);
    let found = world.resolver.resolve(&first).await.unwrap();
    assert_eq!(found.path, ["e", "d", "c", "b"]);
    assert!(found.max_age(world.clock.now()) <= MINUTE, "the shortest TTL on the way");
    assert_eq!(world.asked(), 3);
    assert_eq!(world.path("Example.ORG").await.unwrap(), "bafkqaaa/e/d");
}

#[tokio::test(start_paused = true)]
async fn circles_and_chains_end() {
    let world = World::new(&[("a.example", "/ipns/b.example"), ("b.example", "/ipns/a.example/x")]);
    assert_eq!(world.path("a.example").await, Err(NameError::TooDeep("a.example".to_owned())));
    let chain = |n: usize| {
        (format!("n{n}.example"), if n == 0 { "/ipfs/bafkqaaa".into() } else { format!("/ipns/n{}.example", n - 1) })
    };
    let links: Vec<_> = (0..=RECURSION_MAX).map(chain).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|(domain, target)| (domain.as_str(), target.as_str())).collect();
    let world = World::new(&links);
    assert!(world.path(&format!("n{}.example", RECURSION_MAX - 1)).await.is_ok());
    assert!(matches!(world.path(&format!("n{RECURSION_MAX}.example")).await, Err(NameError::TooDeep(_))));
}

#[tokio::test(start_paused = true)]
async fn the_unknown_is_asked_for_seldom() {
    let world = World::new(&[]);
    let name = world.record(1, 1, "/ipfs/bafkqaaa", LONG).name().to_string();
    for _ in 0..5 {
        assert_eq!(world.path(&name).await, Err(NameError::NotFound(name.clone())));
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.path("unknown.example").await, Err(NameError::NotFound("unknown.example".to_owned())));
    assert_eq!(world.path("localhost").await, Err(NameError::Malformed("localhost".to_owned())));
    tokio::time::sleep(MINUTE).await;
    world.say(world.record(1, 1, "/ipfs/bafkqaaa", LONG));
    assert!(world.path(&name).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_and_is_invalid_is_named() {
    let world = World::new(&[]);
    let good = world.record(1, 1, "/ipfs/bafkqaaa", LONG);
    let name = good.name().to_string();
    let store = &world.resolver.inner.parts.store;
    store.import(*good.name(), Bytes::from_static(b"no record")).await.unwrap();
    assert!(matches!(world.path(&name).await, Err(NameError::Invalid { .. })));
    assert!(matches!(world.resolver.record(&name).await, Err(NameError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_path_that_adds_up_to_more_than_a_record_holds_is_refused() {
    let world = World::new(&[]);
    let part = "a".repeat(4000);
    let mut target = format!("/ipfs/bafkqaaa/{part}");
    for seed in 1..=3 {
        let record = world.record(seed, 1, &target, LONG);
        target = format!("/ipns/{}/{part}", record.name());
        let name = world.say(record);
        assert_eq!(world.path(&name).await.is_ok(), seed < 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_visitor_waits_no_longer_than_the_deadline() {
    let world = World::new(&[]);
    let mut names: Vec<Record> = Vec::new();
    // Each name on the way takes a tenth of a second; over more than a hundred nobody waits.
    for seed in 1..=30 {
        let target = names.last().map_or("/ipfs/bafkqaaa".to_owned(), |next: &Record| format!("/ipns/{}", next.name()));
        names.push(world.record(seed, 1, &target, LONG));
    }
    let start = names.last().unwrap().name().to_string();
    names.into_iter().for_each(|record| drop(world.say(record)));
    let begun = world.clock.now();
    let config = Config { resolve_timeout: Duration::from_secs(2), ..Config::default() };
    let inner = &world.resolver.inner.parts;
    let parts = Parts {
        store: inner.store.clone(),
        links: Arc::clone(&inner.links),
        exchange: Arc::clone(&inner.exchange),
        clock: Arc::clone(&inner.clock),
        config,
    };
    let hasty = Resolver::spawn(parts);
    let error = hasty.resolve(&start).await.unwrap_err();
    assert!(matches!(error, NameError::TimedOut { limit_ms: 2000, .. }), "{error}");
    assert_eq!(world.clock.now().since(begun), Duration::from_secs(2));
    assert!(world.path(&start).await.is_ok(), "what was learned on the way stays");
}

#[tokio::test(start_paused = true)]
async fn what_this_node_stands_for_is_put_again_until_it_expires() {
    let world = World::new(&[]);
    let (life, interval) = (Duration::from_secs(10 * 60 * 60), Config::default().put_interval);
    let own = world.record(1, 1, "/ipfs/bafkqaaa", (MINUTE, life));
    world.resolver.publish(own.clone(), Some(None)).await.unwrap();
    let other = world.record(2, 1, "/ipfs/bafkqaaa", LONG);
    world.resolver.inner.parts.store.offer(vec![(*other.name(), other.bytes().clone())]).await;
    tokio::time::sleep(5 * interval).await;
    let told = world.members.told.lock().unwrap().clone();
    assert_eq!(told, [*own.name(); 3], "once at first, and twice within its ten hours");
}

#[tokio::test(start_paused = true)]
async fn records_are_given_as_they_were_signed() {
    let world = World::new(&[("example.org", "/ipfs/bafkqaaa")]);
    let record = world.record(1, 1, "/ipfs/bafkqaaa", LONG);
    let name = world.say(record.clone());
    let signed = world.resolver.record(&name).await.unwrap();
    assert_eq!(
        (signed.bytes, signed.ttl, signed.name.to_string()),
        (record.bytes().clone(), LONG.0, record.name().to_cid().to_string())
    );
    let domain = world.resolver.record("example.org").await;
    assert_eq!(domain, Err(NameError::Malformed("example.org".to_owned())), "a host name has no record");
    assert_eq!(world.resolver.latest(record.name()).await.unwrap().record, Ok(record));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_is_asked_for_in_turn_and_has_an_end() {
    let world = World::new(&[]);
    let inner = &world.resolver.inner.parts;
    let parts = Parts {
        store: inner.store.clone(),
        links: Arc::clone(&inner.links),
        exchange: Arc::clone(&inner.exchange),
        clock: Arc::clone(&inner.clock),
        config: Config { lookups_max: 1, ..Config::default() },
    };
    let narrow = Arc::new(Resolver::spawn(parts));
    let mut visitors = JoinSet::new();
    for seed in 1..=40 {
        let (narrow, name) = (Arc::clone(&narrow), world.record(seed, 1, "/ipfs/bafkqaaa", LONG).name().to_string());
        visitors.spawn(async move { narrow.resolve(&name).await.unwrap_err() });
    }
    let errors = visitors.join_all().await;
    let turned_away = errors.iter().filter(|error| matches!(error, NameError::TimedOut { .. })).count();
    assert_eq!((turned_away, world.asked()), (40 - 32, 32), "{errors:?}");
}
