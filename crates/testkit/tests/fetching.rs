//! Fetching for visitors and for people: who is asked, who is dropped, and what is refused. All in simulated time.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::{Blocks, FetchError, Storage};
use atoll_routing::{Client, Config, FetchPolicy, RemoteBlocks, Root};
use atoll_testkit::{Fault, Network, Plan, Site};
use futures_util::future::join_all;

const BOUND: Duration = Duration::from_secs(15);

/// Five nodes, of which the copies of `site` version 1 are settled; the publisher's own copy is gone.
async fn published(seed: u64, site: &Site) -> (Network, Vec<usize>, Vec<usize>) {
    println!("seed {seed}");
    let config = Config { let_go_after: Duration::ZERO, ..Config::demo() };
    let network = Network::start(Plan { operators: vec![1, 1, 2, 2, 3], config, seed }).await;
    network.until("everybody knows everybody", BOUND, Network::is_converged).await;
    network.publish(0, site, 1, 3).await;
    let known = |network: &Network| {
        (0..5).all(|index| network.placement(index, site).is_some_and(|placement| placement.copies >= 3))
    };
    network.until("three copies", BOUND, known).await;
    network.release(0, site, 1).await;
    network.until("three copies, no more", BOUND, |network| network.copies(site, 1).len() == 3).await;
    network.pass(BOUND).await;
    let holders = network.copies(site, 1);
    let others = (0..5).filter(|index| !holders.contains(index)).collect();
    (network, holders, others)
}

/// Reads every block of a version.
async fn read_all(blocks: &dyn Blocks, site: &Site, version: u32) -> Result<(), FetchError> {
    let root = site.root(version);
    let wanted = site.blocks(version);
    let results = join_all(wanted.iter().map(|block| blocks.block(&root, block.cid()))).await;
    for (block, bytes) in wanted.iter().zip(results) {
        assert_eq!(block.bytes(), &bytes?);
    }
    Ok(())
}

/// The gateway of a node that may hold nothing itself.
fn gateway(network: &Network, index: usize, policy: FetchPolicy) -> RemoteBlocks {
    let node = &network.nodes[index];
    node.router.as_ref().unwrap().remote(Arc::clone(&node.storage) as Arc<dyn Blocks>, policy)
}

/// Forgets every block of a version, so that a read must go out.
fn forget(network: &Network, index: usize, site: &Site, version: u32) {
    for block in site.blocks(version) {
        network.nodes[index].storage.lose(block.cid());
    }
}

fn dropped(client: &Client) -> Vec<String> {
    client.dropped().into_iter().map(|(_, reason)| reason).collect()
}

#[tokio::test(start_paused = true)]
async fn policy_says_what_a_gateway_fetches() {
    let site = Site::new(1, 12);
    let (network, _, others) = published(1, &site).await;
    let (node, root) = (others[0], site.root(1));
    let listed = FetchPolicy::AllowList(vec![Root(root)]);
    for (policy, allowed) in [
        (FetchPolicy::Held, false),
        (FetchPolicy::AllowList(vec![]), false),
        (FetchPolicy::Placed, true),
        (listed, true),
        (FetchPolicy::Any, true),
    ] {
        forget(&network, node, &site, 1);
        let result = read_all(&gateway(&network, node, policy.clone()), &site, 1).await;
        assert_eq!(result.is_ok(), allowed, "{policy:?}: {result:?}");
        assert!(allowed || matches!(result, Err(FetchError::NotAllowed(_))), "{result:?}");
    }
    // Nobody placed this one, and nobody has it.
    let unknown = Site::new(2, 1).root(1);
    let result = gateway(&network, node, FetchPolicy::Placed).block(&unknown, &unknown).await;
    assert!(matches!(result, Err(FetchError::NotAllowed(_))), "{result:?}");
    let result = gateway(&network, node, FetchPolicy::Any).block(&unknown, &unknown).await;
    assert!(matches!(result, Err(FetchError::NotFound(_))), "{result:?}");
    // What was fetched is kept, and asked for no more.
    let served = |network: &Network| network.nodes.iter().map(|node| network.net.served(&node.address)).sum::<u64>();
    network.pass(Duration::from_millis(1)).await;
    assert!(network.nodes[node].storage.get(&root).await.unwrap().is_some());
    let (before, remote) = (served(&network), gateway(&network, node, FetchPolicy::Placed));
    read_all(&remote, &site, 1).await.unwrap();
    assert_eq!(served(&network), before);
}

#[tokio::test(start_paused = true)]
async fn many_visitors_of_one_block_cost_one_fetch() {
    let site = Site::new(3, 2);
    let (network, _, others) = published(2, &site).await;
    forget(&network, others[0], &site, 1);
    let remote = gateway(&network, others[0], FetchPolicy::Placed);
    let blocks = |network: &Network| -> u64 {
        let stats = network.nodes[others[0]].router.as_ref().unwrap().peer_stats();
        stats.iter().map(|peer| peer.blocks).sum()
    };
    let (root, before) = (site.root(1), blocks(&network));
    for result in join_all((0..200).map(|_| remote.block(&root, &root))).await {
        result.unwrap();
    }
    assert_eq!(blocks(&network) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_begins_to_lie_is_dropped_and_the_visitor_sees_nothing_of_it() {
    for seed in 10..14 {
        let site = Site::new(4, 30);
        let (network, holders, others) = published(seed, &site).await;
        forget(&network, others[0], &site, 1);
        let liar = holders[usize::try_from(seed).unwrap() % holders.len()];
        network.net.set_fault(&network.nodes[liar].address, Fault::Lies);
        read_all(&gateway(&network, others[0], FetchPolicy::Placed), &site, 1).await.unwrap();
        network.pass(BOUND).await;
        let members = network.snapshot(others[0]).members;
        let member = members.iter().find(|member| member.peer == network.nodes[liar].peer).unwrap();
        assert!(!member.live && member.dropped.as_ref().unwrap().contains("wrong bytes for"), "{member:?}");
        assert_eq!(member.holds, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_loads_everything_from_whoever_lives_and_tells_who_lied() {
    for seed in 20..24 {
        let site = Site::new(5, 60);
        let (mut network, holders, _) = published(seed, &site).await;
        let liar = network.add_liar(9).await;
        let everybody: Vec<usize> = (0..=5).collect();
        let client = network.client(&everybody);
        network.net.set_fault(&network.nodes[holders[0]].address, Fault::Hangs);
        read_all(&*client, &site, 1).await.unwrap();
        let bytes: usize = site.blocks(1).iter().map(|block| block.bytes().len()).sum();
        assert_eq!(client.stats().bytes, bytes as u64, "each block was taken once");
        network.kill(holders[1]);
        read_all(&*client, &site, 1).await.unwrap();
        let dropped = client.dropped();
        assert_eq!(dropped.len(), 1, "{dropped:?}");
        assert_eq!(dropped[0].0, network.nodes[liar].address);
        assert!(dropped[0].1.starts_with("dropped: wrong bytes for "), "{dropped:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_a_holder_to_return_until_its_deadline() {
    let site = Site::new(6, 4);
    let (mut network, holders, _) = published(30, &site).await;
    for holder in &holders {
        network.kill(*holder);
    }
    let client = network.client(&holders);
    let begun = network.now();
    let failed = read_all(&*client, &site, 1).await.unwrap_err();
    assert!(matches!(failed, FetchError::Unreachable { asked: 3, .. }), "{failed}");
    assert_eq!(network.now().since(begun), Duration::from_secs(10), "the deadline");

    let reading = tokio::spawn({
        let (client, root) = (Arc::clone(&client), site.root(1));
        async move { client.block(&root, &root).await }
    });
    network.pass(Duration::from_secs(5)).await;
    network.restart(holders[0]).await;
    assert!(reading.await.unwrap().is_ok());
    assert_eq!(dropped(&client), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_client_discovers_members_and_learns_who_is_slow() {
    let site = Site::new(7, 100);
    let (network, holders, others) = published(40, &site).await;
    let client = network.client(&others[..1]);
    assert_eq!(client.discover().await, 4);
    assert_eq!(client.discover().await, 0);
    let slow = &network.nodes[holders[0]].address;
    network.net.set_fault(slow, Fault::Slow(Duration::from_millis(900)));
    for block in site.blocks(1) {
        client.block(&site.root(1), block.cid()).await.unwrap();
    }
    let stats = client.stats();
    let blocks = |address: &atoll_core::Multiaddr| {
        stats.peers.iter().find(|peer| peer.address == *address).map_or(0, |peer| peer.blocks)
    };
    assert!(blocks(slow) <= 2, "a slow one is left aside: {stats:?}");
    assert!(
        holders[1..].iter().all(|holder| blocks(&network.nodes[*holder].address) >= 10),
        "work is shared: {stats:?}"
    );
}
