//! Five nodes of three operators hold a site three times, whatever happens to them. All in simulated time.

use std::collections::BTreeSet;
use std::time::Duration;

use atoll_routing::{Config, Role};
use atoll_testkit::{Fault, Network, Plan, Site};

const SECOND: Duration = Duration::from_secs(1);
/// Discovery of a death, the pause for a stable rank, and the pull, with room to spare.
const BOUND: Duration = Duration::from_secs(15);
/// Instead of a day, since the demo's nodes probe twice a second.
const LET_GO: Duration = Duration::from_secs(10 * 60);

async fn five_nodes(seed: u64) -> Network {
    println!("seed {seed}");
    let config = Config { let_go_after: LET_GO, ..Config::demo() };
    let network = Network::start(Plan { operators: vec![1, 1, 2, 2, 3], config, seed }).await;
    network.until("everybody knows everybody", BOUND, Network::is_converged).await;
    network
}

/// Whether all nodes that are up rank alike, and the first three hold.
fn agreed(network: &Network, site: &Site) -> bool {
    let up: Vec<usize> = network.up().map(|(index, ..)| index).collect();
    let views: Vec<_> = up.iter().filter_map(|index| network.placement(*index, site)).collect();
    let ranks: BTreeSet<_> = views.iter().map(|view| view.ranked.clone()).collect();
    let roots: BTreeSet<_> = views.iter().map(|view| view.root.clone()).collect();
    views.len() == up.len() && ranks.len() == 1 && roots.len() == 1
}

/// Whether exactly the first `n` of the rank hold `version` in truth, and every node has seen it.
fn settled(network: &Network, site: &Site, version: u32, n: usize) -> bool {
    if !agreed(network, site) {
        return false;
    }
    let holders: BTreeSet<String> =
        network.copies(site, version).into_iter().map(|index| network.nodes[index].peer.clone()).collect();
    network.up().all(|(index, ..)| {
        network.placement(index, site).is_some_and(|view| {
            view.copies >= n as u64 && view.ranked.len() == n && view.ranked.iter().all(|peer| holders.contains(peer))
        })
    })
}

#[tokio::test(start_paused = true)]
async fn each_node_is_killed_in_turn_and_three_copies_come_back() {
    for seed in 0..4 {
        let mut network = five_nodes(seed).await;
        let site = Site::new(7, 40);
        network.publish(0, &site, 1, 3).await;
        let took = network.until("three copies", BOUND, |network| settled(network, &site, 1, 3)).await;
        println!("published in {took:?}");
        network.release(0, &site, 1).await;

        for victim in 0..5 {
            network.kill(victim);
            let took = network.until("three copies again", BOUND, |network| {
                network.copies(&site, 1).len() >= 3 && settled(network, &site, 1, 3)
            });
            println!("node {victim} killed, three copies after {:?}", took.await);
            network.restart(victim).await;
            network.until("everybody again", BOUND, Network::is_converged).await;
            network.until("the old rank again", BOUND, |network| settled(network, &site, 1, 3)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deploy_and_a_rollback_move_nothing() {
    let mut network = five_nodes(11).await;
    let site = Site::new(8, 20);
    network.publish(0, &site, 1, 3).await;
    network.until("version 1", BOUND, |network| settled(network, &site, 1, 3)).await;
    network.release(0, &site, 1).await;
    network.pass(2 * SECOND).await;
    let holders = network.copies(&site, 1);

    for version in [2, 3, 1] {
        network.publish(0, &site, version, 3).await;
        network.until("the next version", BOUND, |network| settled(network, &site, version, 3)).await;
        network.release(0, &site, version).await;
        network.pass(5 * SECOND).await;
        assert_eq!(network.copies(&site, version), holders, "version {version} moved");
    }
    for version in [2, 3] {
        assert_eq!(network.copies(&site, version), Vec::<usize>::new(), "an old version is still pinned");
    }
    // A restart of everybody loses nothing, and moves nothing.
    let pulls = network.pulls();
    for index in 0..5 {
        network.pass(5 * SECOND).await;
        network.kill(index);
        network.restart(index).await;
    }
    network.until("everybody again", BOUND, Network::is_converged).await;
    network.until("settled again", BOUND, |network| settled(network, &site, 1, 3)).await;
    assert_eq!(network.copies(&site, 1), holders);
    assert_eq!(network.pulls(), pulls);
}

#[tokio::test(start_paused = true)]
async fn copies_lie_with_as_many_operators_as_there_are() {
    for seed in 20..24 {
        let network = five_nodes(seed).await;
        let site = Site::new(u32::try_from(seed).unwrap(), 4);
        network.publish(1, &site, 1, 3).await;
        network.until("three copies", BOUND, |network| settled(network, &site, 1, 3)).await;
        network.release(1, &site, 1).await;
        network
            .until("the publisher's own copy is gone", 2 * LET_GO, |network| network.copies(&site, 1).len() == 3)
            .await;
        network.pass(2 * SECOND).await;
        let view = network.placement(0, &site).unwrap();
        assert_eq!((view.operators, view.copies, view.below_target), (3, 3, false), "seed {seed}: {view:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_and_goes_does_not_make_the_site_flap() {
    let mut network = five_nodes(31).await;
    let site = Site::new(9, 20);
    network.publish(0, &site, 1, 3).await;
    network.until("three copies", BOUND, |network| settled(network, &site, 1, 3)).await;
    network.release(0, &site, 1).await;
    network.pass(5 * SECOND).await;
    let first = network.copies(&site, 1);
    let (victim, before) = (first[0], network.pulls());
    // Away for longer than it takes to notice and to move: one pull. After that somebody holds for it already.
    for _ in 0..10 {
        network.kill(victim);
        network.pass(BOUND).await;
        assert!(network.copies(&site, 1).len() >= 3);
        network.restart(victim).await;
        network.pass(BOUND).await;
    }
    assert_eq!(network.pulls() - before, 1, "one more copy was made, once");
    // The substitute lets go only long after it fell out of the rank.
    assert_eq!(network.copies(&site, 1).len(), 4);
    network.pass(LET_GO - BOUND * 2).await;
    assert_eq!(network.copies(&site, 1).len(), 4);
    network.until("the substitute lets go", BOUND * 4, |network| network.copies(&site, 1) == first).await;
}

#[tokio::test(start_paused = true)]
async fn a_blink_shorter_than_the_pause_moves_nothing() {
    let mut network = five_nodes(32).await;
    let site = Site::new(10, 20);
    network.publish(0, &site, 1, 3).await;
    network.until("three copies", BOUND, |network| settled(network, &site, 1, 3)).await;
    let before = network.pulls();
    for index in [0, 1, 2, 3, 4, 0, 1, 2, 3, 4] {
        network.kill(index);
        network.pass(2 * SECOND).await;
        network.restart(index).await;
        network.pass(5 * SECOND).await;
    }
    assert_eq!(network.pulls(), before);
}

#[tokio::test(start_paused = true)]
async fn liars_are_never_live_and_nothing_is_taken_from_them() {
    for seed in 40..44 {
        let mut network = five_nodes(seed).await;
        let liars = [network.add_liar(7).await, network.add_liar(8).await];
        let site = Site::new(11, 20);
        network.publish(0, &site, 1, 3).await;
        network.until("three honest copies", BOUND, |network| network.copies(&site, 1).len() >= 3).await;
        network
            .until("the liars are dropped", BOUND, |network| {
                network.up().all(|(.., router)| {
                    let members = router.snapshot().members;
                    liars.iter().all(|liar| {
                        let liar = members.iter().find(|member| member.peer == network.nodes[*liar].peer);
                        liar.is_some_and(|liar| {
                            !liar.live && liar.dropped.as_ref().is_some_and(|why| why.contains("wrong bytes"))
                        })
                    })
                })
            })
            .await;
        network.until("settled on honest ones", BOUND, |network| settled(network, &site, 1, 3)).await;
        // Holders that begin to lie are found out, and replaced.
        let turned = network.copies(&site, 1)[1];
        network.net.set_fault(&network.nodes[turned].address, Fault::Lies);
        let honest = |network: &Network| network.copies(&site, 1).into_iter().filter(|copy| *copy != turned).count();
        network.until("three honest copies again", BOUND, |network| honest(network) >= 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_heals_into_one_view() {
    let network = five_nodes(51).await;
    let (site, other) = (Site::new(12, 10), Site::new(13, 10));
    network.publish(0, &site, 1, 3).await;
    network.until("three copies", BOUND, |network| settled(network, &site, 1, 3)).await;
    for index in [3, 4] {
        network.net.set_group(&network.nodes[index].address, 1);
    }
    network.pass(BOUND * 2).await;
    // Each side goes on with what it has; news does not cross.
    network.publish(0, &site, 2, 3).await;
    network.publish(4, &other, 1, 2).await;
    network.pass(BOUND).await;
    assert_eq!(network.placement(3, &site).unwrap().root, site.root(1).to_string());
    assert_eq!(network.placement(0, &other), None);
    for index in [3, 4] {
        network.net.set_group(&network.nodes[index].address, 0);
    }
    network.until("everybody again", BOUND * 2, Network::is_converged).await;
    network.until("the newest root everywhere", BOUND * 2, |network| settled(network, &site, 2, 3)).await;
    network.until("the other site too", BOUND * 2, |network| settled(network, &other, 1, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn cut_cars_and_lost_messages_delay_but_do_not_prevent() {
    let network = five_nodes(61).await;
    let site = Site::new(14, 60);
    for node in &network.nodes {
        network.net.set_fault(&node.address, Fault::CutsCars(5));
    }
    network.net.set_weather(atoll_testkit::Weather { loss: 0.02, ..Default::default() });
    network.publish(0, &site, 1, 3).await;
    network.until("three copies", BOUND * 8, |network| network.copies(&site, 1).len() >= 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_site_over_its_quota_is_not_pulled_and_says_why() {
    let network = five_nodes(71).await;
    let site = Site::new(15, 40);
    network.nodes[0].storage.fill(&site.blocks(1));
    atoll_core::Storage::pin(&*network.nodes[0].storage, &site.root(1), "publish").await.unwrap();
    let placement = atoll_core::record::Placement::new(site.root(1), 5, 100);
    let envelope = site.sign(placement, network.now());
    network.nodes[0].router.as_ref().unwrap().announce_placement(envelope).unwrap();
    network
        .until("a pull fails", BOUND, |network| {
            let role = network.placement(1, &site).map(|view| view.role);
            matches!(role, Some(Role::Failed { cause, .. }) if cause.contains("quota of 100 bytes"))
        })
        .await;
    assert_eq!(network.copies(&site, 1), [0]);
}
