//! IPNS records between members: passed on, asked for, bounded. All in simulated time.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]

use std::time::Duration;

use atoll_core::TransportError;
use atoll_core::ipns::{Name, NewRecord, Record};
use atoll_core::keys::SiteKey;
use atoll_core::names::{NameError, Names as _};
use atoll_core::transport::{NAMES_MAX, NamedRecord, Request, Response};
use atoll_identity::{Config as NamesConfig, Resolver};
use atoll_routing::Config;
use atoll_testkit::{Fault, Network, Plan, Site};
use serde_bytes::ByteBuf;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn network(nodes: u8, config: Config) -> Network {
    let plan = Plan { operators: (1..=nodes).collect(), config, seed: 4 };
    let network = Network::start_with_names(plan, NamesConfig::default()).await;
    network.until("everybody knows everybody", 600 * SECOND, Network::is_converged).await;
    network
}

fn key(seed: u32) -> SiteKey {
    let mut bytes = [0x52; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    SiteKey::from_seed(&bytes)
}

fn record(network: &Network, seed: u32, sequence: u64) -> Record {
    let target = format!("/ipfs/bafkqaaa/{sequence}").parse().unwrap();
    let eol = network.now().after(30 * 24 * HOUR);
    NewRecord { target, sequence, eol, ttl: 300 * SECOND }.sign(&key(seed)).unwrap()
}

fn names(network: &Network, node: usize) -> &Resolver {
    network.nodes[node].names.as_ref().unwrap()
}

/// The sequence that a node shows without asking.
fn shown(network: &Network, node: usize, name: &Name) -> Option<String> {
    names(network, node).cached(&name.to_string()).map(|found| found.path.join("/"))
}

async fn ask(network: &Network, node: usize, request: Request) -> Result<Response, TransportError> {
    network.nodes[node].router.as_ref().unwrap().answer().answer(request).await
}

fn named(record: &Record) -> NamedRecord {
    NamedRecord { name: ByteBuf::from(record.name().to_bytes()), record: ByteBuf::from(record.bytes().to_vec()) }
}

async fn tell(network: &Network, records: Vec<NamedRecord>) -> Result<u64, TransportError> {
    match ask(network, 0, Request::Names { records }).await? {
        Response::Named { accepted } => Ok(accepted),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn news_reaches_every_member_within_seconds_and_goes_round_once() {
    let network = network(40, Config::default()).await;
    let first = record(&network, 1, 1);
    names(&network, 7).publish(first.clone(), Some(None)).await.unwrap();
    let everywhere = |sequence: &str, network: &Network| {
        (0..40).all(|node| shown(network, node, first.name()).as_deref() == Some(sequence))
    };
    network.until("everybody was told", 3 * SECOND, |network| everywhere("1", network)).await;
    // The second record comes from another node, as from another machine of the same publisher.
    let second = record(&network, 1, 2);
    names(&network, 23).publish(second.clone(), Some(Some(1))).await.unwrap();
    network.until("everybody was told again", 3 * SECOND, |network| everywhere("2", network)).await;
    assert_eq!(tell(&network, vec![named(&second), named(&first)]).await, Ok(0), "neither is news");
    assert!(names(&network, 3).publish(first, None).await.is_err(), "newest wins");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_asks_whoever_is_there() {
    let mut network = network(5, Config::default()).await;
    network.kill(4);
    let first = record(&network, 1, 1);
    names(&network, 0).publish(first.clone(), None).await.unwrap();
    network.pass(10 * SECOND).await;
    // A member that hangs holds up nobody.
    network.net.set_fault(&network.nodes[1].address, Fault::Hangs);
    network.restart(4).await;
    network.pass(10 * SECOND).await;
    assert_eq!(shown(&network, 4, first.name()), None);
    let begun = network.now();
    let found = names(&network, 4).resolve(&first.name().to_string()).await.unwrap();
    assert_eq!(found.path, ["1"]);
    assert!(network.now().since(begun) < SECOND);
    // And it asks again once the TTL has passed, though nobody told it.
    network.kill(4);
    let second = record(&network, 1, 2);
    names(&network, 0).publish(second, None).await.unwrap();
    network.pass(10 * SECOND).await;
    network.restart(4).await;
    network.pass(10 * SECOND).await;
    let found = names(&network, 4).resolve(&first.name().to_string()).await.unwrap();
    assert_eq!(found.path, ["2"], "what was on disk is old, so that it is asked for first");
    let nobody = record(&network, 2, 1).name().to_string();
    assert_eq!(names(&network, 4).resolve(&nobody).await, Err(NameError::NotFound(nobody.clone())));
}

#[tokio::test(start_paused = true)]
async fn what_a_partition_missed_is_put_again() {
    let network = network(4, Config::default()).await;
    network.net.set_group(&network.nodes[3].address, 1);
    let first = record(&network, 1, 1);
    names(&network, 0).publish(first.clone(), None).await.unwrap();
    network.pass(60 * SECOND).await;
    network.net.set_group(&network.nodes[3].address, 0);
    let told = |network: &Network| shown(network, 3, first.name()).is_some();
    assert!(!told(&network));
    network.until("it was put again", 5 * HOUR, told).await;
}

#[tokio::test(start_paused = true)]
async fn hostile_records_are_refused_and_floods_are_bounded() {
    let config = Config { names_new_per_minute: 100, names_known_per_minute: 1000, ..Config::default() };
    let network = network(3, config).await;
    let own = record(&network, 1, 1);
    names(&network, 0).publish(own.clone(), None).await.unwrap();
    let site = Site::new(1, 2);
    network.publish(0, &site, 1, 3).await;
    network.pass(10 * SECOND).await;

    let good = named(&record(&network, 2, 1));
    let forged = |seed| NamedRecord { name: named(&record(&network, seed, 1)).name, record: good.record.clone() };
    assert_eq!(tell(&network, (10..18).map(forged).chain([good.clone()]).collect()).await, Ok(1));
    assert_eq!(
        tell(&network, (20..40).map(forged).chain([good.clone()]).collect()).await,
        Err(TransportError::Refused)
    );
    // Whoever sends nothing that is right did not look at it.
    assert_eq!(tell(&network, vec![forged(40)]).await, Err(TransportError::Malformed));
    assert_eq!(tell(&network, vec![good.clone(); NAMES_MAX + 1]).await, Err(TransportError::Refused));
    let nameless = NamedRecord { name: ByteBuf::from(vec![1, 2, 3]), record: good.record.clone() };
    assert_eq!(tell(&network, vec![nameless]).await, Err(TransportError::Malformed));
    assert_eq!(ask(&network, 0, Request::Name { name: ByteBuf::new() }).await, Err(TransportError::Malformed));

    network.pass(60 * SECOND).await;
    let mut accepted = 0;
    for start in (1000..3000).step_by(NAMES_MAX) {
        let flood = (start..start + 64).map(|seed| named(&record(&network, seed, 1))).collect();
        accepted += tell(&network, flood).await.unwrap();
    }
    assert!(accepted <= 101, "{accepted}");
    // The flood does not hold up an update of a known name, nor the first record of a placed site.
    assert_eq!(tell(&network, vec![named(&record(&network, 1, 2))]).await, Ok(1));
    let placed = NewRecord {
        target: "/ipfs/bafkqaaa".parse().unwrap(),
        sequence: 1,
        eol: network.now().after(HOUR),
        ttl: SECOND,
    };
    assert_eq!(tell(&network, vec![named(&placed.sign(site.key()).unwrap())]).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_site_and_its_name_outlive_their_publisher_and_all_nodes_that_first_had_them() {
    const NODES: u8 = 5;
    let mut network = network(NODES, Config::default()).await;
    let site = Site::new(3, 20);
    network.publish(0, &site, 1, 3).await;
    let eol = network.now().after(6 * HOUR);
    let target = format!("/ipfs/{}", site.root(1)).parse().unwrap();
    let record = NewRecord { target, sequence: 1, eol, ttl: 60 * SECOND }.sign(site.key()).unwrap();
    names(&network, 0).publish(record.clone(), None).await.unwrap();
    let name = record.name().to_string();
    let copies = |network: &Network| network.copies(&site, 1).len() >= 3;
    network.until("three copies", 600 * SECOND, copies).await;
    // One node after the other goes, that of the publisher too, each for one that knows nothing but the first and the last.
    for gone in [1, 2, 3, 0, 4] {
        let new = network.add(NODES + gone + 1, false);
        network.restart(new).await;
        network.until("everybody knows everybody", HOUR, Network::is_converged).await;
        network.kill(gone.into());
        network.until("three copies again", HOUR, copies).await;
        assert!(names(&network, new).resolve(&name).await.unwrap().path.is_empty());
    }
    assert!(network.copies(&site, 1).iter().all(|holder| *holder >= NODES.into()));
    let last = network.nodes.len() - 1;
    assert!(network.now() < eol && names(&network, last).resolve(&name).await.is_ok());
    network.pass(eol.since(network.now()) + HOUR).await;
    assert!(names(&network, last).resolve(&name).await.is_err(), "shown behind its end");
    // The site itself stays as long as its placement says.
    assert!(copies(&network));
}
