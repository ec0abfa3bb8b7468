//! How members come to know each other, and what they refuse to believe. All in simulated time.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]

use std::time::Duration;

use atoll_core::record::{PROBE_ROOTS_MAX, ProbeAnswer};
use atoll_core::transport::{RECORDS_MAX, Request, Response};
use atoll_core::{Signed, TransportError};
use atoll_routing::Config;
use atoll_testkit::{Network, Plan, Site};
use bytes::Bytes;
use serde_bytes::ByteBuf;

const BOUND: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn three_nodes(config: Config) -> Network {
    let network = Network::start(Plan { operators: vec![1, 2, 3], config, seed: 1 }).await;
    network.until("everybody knows everybody", BOUND * 10, Network::is_converged).await;
    network
}

async fn ask(network: &Network, node: usize, request: Request) -> Result<Response, TransportError> {
    network.nodes[node].router.as_ref().unwrap().answer().answer(request).await
}

async fn announce(network: &Network, records: Vec<Bytes>) -> Result<Response, TransportError> {
    let records = records.into_iter().map(|record| ByteBuf::from(record.to_vec())).collect();
    ask(network, 0, Request::Announce { records }).await
}

#[tokio::test(start_paused = true)]
async fn a_record_is_news_once() {
    let network = three_nodes(Config::demo()).await;
    let record = Site::new(1, 2).placement(1, 2, network.now());
    let told = announce(&network, vec![record.clone(), record.clone()]).await;
    assert_eq!(told, Ok(Response::Announced { accepted: 1 }));
    assert_eq!(announce(&network, vec![record]).await, Ok(Response::Announced { accepted: 0 }));
    let known = |network: &Network| (0..3).all(|index| network.placement(index, &Site::new(1, 2)).is_some());
    network.until("everybody was told", Duration::from_secs(1), known).await;
}

#[tokio::test(start_paused = true)]
async fn hostile_announcements_are_refused_and_counted() {
    let network = three_nodes(Config::demo()).await;
    let before = network.snapshot(0);
    let good = Site::new(1, 2).placement(1, 2, network.now());
    let mut forged = good.to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    let huge = Bytes::from(vec![0; 5000]);
    // Whoever sends nothing but what is wrong by itself is told so, and gossip counts it against them.
    let told = announce(&network, vec![Bytes::from(forged.clone()), huge]).await;
    assert_eq!(told, Err(TransportError::Malformed));
    assert_eq!(network.snapshot(0).records_refused - before.records_refused, 2);
    // A kind that nobody knows yet may be a later version's.
    assert_eq!(announce(&network, vec![Bytes::new()]).await, Ok(Response::Announced { accepted: 0 }));
    let Ok(Response::Records { records, .. }) = ask(&network, 0, Request::Records { epoch: 0, since: 0 }).await else {
        panic!("no records")
    };
    let known = Bytes::from(records.into_iter().next().unwrap().into_vec());
    let told = announce(&network, vec![Bytes::from(forged), known]).await;
    assert_eq!(told, Ok(Response::Announced { accepted: 0 }));
    // After a few bad ones the rest is not read.
    let garbage: Vec<Bytes> = (0..100u8).map(|index| Bytes::from(vec![index; 10])).chain([good.clone()]).collect();
    assert_eq!(announce(&network, garbage).await, Err(TransportError::Refused));
    assert!(network.snapshot(0).records_refused < 20);
    assert_eq!(announce(&network, vec![good; RECORDS_MAX + 1]).await, Err(TransportError::Refused));
    assert_eq!(network.snapshot(0).placements, before.placements);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_answered_for_pins_only_and_with_the_asked_nonce() {
    let network = three_nodes(Config::demo()).await;
    let (site, other) = (Site::new(1, 4), Site::new(2, 4));
    network.publish(0, &site, 1, 3).await;
    network.nodes[0].storage.fill(&other.blocks(1));
    // The list of pins may be a second old.
    network.pass(Duration::from_secs(1)).await;
    let roots = vec![site.root(1), other.root(1)];
    let Ok(Response::Probe { answer }) = ask(&network, 0, Request::Probe { nonce: [5; 32], roots }).await else {
        panic!("no answer");
    };
    let answer = Signed::<ProbeAnswer>::open(Bytes::from(answer.into_vec())).unwrap();
    assert_eq!((answer.record().nonce, &answer.record().holds), ([5; 32], &vec![site.root(1)]));
    assert_eq!(answer.signer().to_peer_id().unwrap().to_string(), network.nodes[0].peer);
    let roots = vec![site.root(1); PROBE_ROOTS_MAX + 1];
    assert_eq!(ask(&network, 0, Request::Probe { nonce: [5; 32], roots }).await, Err(TransportError::Malformed));
}

#[tokio::test(start_paused = true)]
async fn records_are_told_from_the_askers_place_on() {
    let network = three_nodes(Config::demo()).await;
    let read = |epoch, since| ask(&network, 0, Request::Records { epoch, since });
    let Ok(Response::Records { epoch, next, records, more }) = read(0, 0).await else { panic!("no records") };
    assert_eq!((records.len(), more), (3, false));
    let Ok(Response::Records { records, .. }) = read(epoch, next).await else { panic!("no records") };
    assert_eq!(records.len(), 0);
    let Ok(Response::Records { records, .. }) = read(epoch + 1, next).await else { panic!("no records") };
    assert_eq!(records.len(), 3, "whoever knows another order is told everything");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_knows_its_network_without_seeds() {
    let mut network = three_nodes(Config::demo()).await;
    let site = Site::new(1, 4);
    network.publish(0, &site, 1, 1).await;
    network.until("told", BOUND, |network| network.placement(1, &site).is_some()).await;
    network.pass(BOUND).await;
    for index in 0..3 {
        network.kill(index);
    }
    // Nodes 0 and 2 are the seeds.
    network.restart(1).await;
    assert_eq!(network.snapshot(1).members.len(), 3);
    assert!(network.placement(1, &site).is_some());
    // Its own record goes on from the one it had.
    network.restart(0).await;
    network.until("they find each other", BOUND, Network::is_converged).await;
}

#[tokio::test(start_paused = true)]
async fn member_records_are_renewed_long_before_they_expire_and_the_dead_expire() {
    let slow = Duration::from_secs(120);
    let config = Config { probe_interval: slow, gossip_interval: slow, plan_interval: slow, ..Config::default() };
    let mut network = three_nodes(config).await;
    for _ in 0..60 {
        network.pass(HOUR).await;
        let live = |index| network.snapshot(index).members.iter().filter(|member| member.live).count();
        assert_eq!([live(0), live(1), live(2)], [3, 3, 3]);
    }
    network.kill(1);
    network.pass(25 * HOUR).await;
    assert_eq!(network.snapshot(0).members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_answers_at_anothers_address_is_not_taken_for_it() {
    let mut network = three_nodes(Config::demo()).await;
    network.kill(1);
    let (address, other) = (&network.nodes[1].address, &network.nodes[2]);
    let answer = other.router.as_ref().unwrap().answer();
    network.net.up(address, answer, std::sync::Arc::clone(&other.storage));
    let dead = |network: &Network| {
        let members = network.snapshot(0).members;
        members.into_iter().any(|member| member.peer == network.nodes[1].peer && !member.live)
    };
    network.until("the impostor is noticed", BOUND, dead).await;
    network.pass(BOUND).await;
    assert!(dead(&network));
    let members = network.snapshot(0).members;
    let trouble = members.into_iter().find_map(|member| member.trouble);
    assert_eq!(trouble.as_deref(), Some("somebody else answers at its address"));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_names_everything_and_serialises() {
    let network = three_nodes(Config::demo()).await;
    let mut changes = network.nodes[0].router.as_ref().unwrap().subscribe();
    let site = Site::new(1, 4);
    network.publish(0, &site, 1, 3).await;
    changes.changed().await.unwrap();
    network
        .until("three copies", BOUND, |network| {
            (0..3).all(|index| network.placement(index, &site).is_some_and(|placement| placement.copies == 3))
        })
        .await;
    let view = network.placement(1, &site).unwrap();
    assert_eq!((view.target, view.operators, view.below_target), (3, 3, false));
    let text = serde_json::to_string(&network.snapshot(1)).unwrap();
    for word in [site.id().to_string(), site.root(1).to_string(), "\"role\":{\"is\":\"holds\"}".to_owned()] {
        assert!(text.contains(&word), "{word} is not in {text}");
    }
}
