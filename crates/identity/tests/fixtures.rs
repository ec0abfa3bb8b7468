//! The records of gateway-conformance, loaded as they are: which lead to content, and which are named invalid.
//!
//! They lie beside a checkout or where `ATOLL_VECTORS` says; without them the test says that it did not run, and with
//! `CI` set that fails.

#![expect(clippy::unwrap_used, reason = "a test panics where its set-up fails")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use atoll_core::names::{NameError, Names as _, NoopNameExchange};
use atoll_identity::{Config, MapLinks, Parts, Resolver, Store};
use atoll_testkit::SimClock;
use atoll_testkit::trial::vectors;

/// The DNSLinks of the suite, and the domains among them.
fn dnslinks(folder: &Path) -> Config {
    let text = fs::read_to_string(folder.join("dnslinks.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dnslink = serde_json::from_value(json["domains"].clone()).unwrap();
    Config { dnslink, ..Config::default() }
}

#[tokio::test]
async fn nine_of_twelve_records_lead_to_content() {
    let Some(folder) = vectors("gateway") else { return };
    let (config, data) = (dnslinks(&folder), tempfile::tempdir().unwrap());
    assert_eq!(config.problems(), Vec::<String>::new());
    let store = Store::open(data.path(), &config, Arc::new(SimClock::start()), Box::new(HashSet::new)).unwrap();
    let mut names = Vec::new();
    for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(stem) = file.strip_suffix(".ipns-record") else { continue };
        let (name, about) = stem.split_once('_').unwrap();
        store.import(name.parse().unwrap(), fs::read(&path).unwrap().into()).await.unwrap();
        names.push((name.to_owned(), about.to_owned()));
    }
    assert_eq!(names.len(), 12);
    let links = Arc::new(MapLinks::new(&config));
    let domains: Vec<String> = config.dnslink.keys().cloned().collect();
    let parts =
        Parts { store, links, exchange: Arc::new(NoopNameExchange), clock: Arc::new(SimClock::start()), config };
    let resolver = Resolver::spawn(parts);
    let mut invalid = Vec::new();
    for (name, about) in &names {
        match resolver.resolve(name).await {
            Ok(found) => {
                assert!(found.max_age(found.fresh_until).is_zero(), "{name}");
                assert_eq!(
                    resolver.record(name).await.unwrap().name,
                    name.parse::<atoll_core::ipns::Name>().unwrap().to_cid()
                );
            }
            Err(NameError::Invalid { .. }) => invalid.push(about.rsplit_once('_').unwrap().0.to_owned()),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    invalid.sort();
    assert_eq!(invalid, ["v1", "v1-v2-broken-signature-v2", "v1-v2-broken-v1-value"]);
    // A record whose value has a path of its own, and the two names that a redirect is tested with.
    let below = resolver.resolve("k51qzi5uqu5djokp3m1keo36hoxtd6u3a1d2rg1camf6al7p3huy63dojlm57c").await.unwrap();
    assert_eq!(below.path, ["root2"]);
    let mut led = 0;
    for domain in &domains {
        led += usize::from(resolver.resolve(domain).await.is_ok());
    }
    assert_eq!(led, domains.len());
}
