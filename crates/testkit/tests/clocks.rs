//! Nodes whose clocks are wrong, a little or by a year, by accident or because somebody else sets them: the others do not suffer,
//! a site stays where it is read, and whoever's clock is right again is one of them again. All in simulated time.

use std::time::Duration;

use atoll_routing::Config;
use atoll_testkit::{Network, Plan, Site};

const BOUND: Duration = Duration::from_secs(15);
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

/// Six nodes of as many operators, three of which hold a site.
async fn six_nodes(site: &Site, config: Config, seed: u64) -> Network {
    println!("seed {seed}");
    let bound = BOUND * 20;
    let network = Network::start(Plan { operators: (1..=6).collect(), config, seed }).await;
    network.until("everybody knows everybody", bound, Network::is_converged).await;
    network.publish(0, site, 1, 3).await;
    network.until("three copies", bound, |network| is_settled(network, site)).await;
    network.release(0, site, 1).await;
    network.pass(BOUND).await;
    network
}

/// Whether every node knows of three copies, by the same three nodes, which have them.
fn is_settled(network: &Network, site: &Site) -> bool {
    let copies = network.copies(site, 1);
    network.up().all(|(index, ..)| {
        network.placement(index, site).is_some_and(|view| {
            let holds = |peer: &String| copies.iter().any(|copy| network.nodes[*copy].peer == *peer);
            view.copies >= 3 && view.ranked.len() == 3 && view.ranked.iter().all(holds)
        })
    })
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_by_less_than_half_a_records_life_change_nothing() {
    let site = Site::new(3, 20);
    let network = six_nodes(&site, Config::default(), 1).await;
    let (holders, pulls) = (network.copies(&site, 1), network.pulls());
    for (index, ahead) in (0..).zip([-5 * HOUR, -2 * HOUR, -5 * MINUTE, 0, 5 * MINUTE, 6 * HOUR]) {
        network.set_clock(index, ahead);
    }
    // Longer than a member's record is valid, so that all were renewed by their own clocks.
    for _ in 0..60 {
        network.pass(Duration::from_secs(30 * 60)).await;
        assert!(network.is_converged(), "after {:?}", network.now());
        assert_eq!(network.copies(&site, 1), holders);
    }
    assert!(is_settled(&network, &site));
    assert_eq!(network.pulls(), pulls, "a copy was moved");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_by_a_year_harms_its_own_node_only_and_not_for_longer() {
    for (seed, ahead) in [(2, YEAR), (3, -YEAR), (4, 2 * YEAR), (5, -9 * YEAR)] {
        let site = Site::new(4, 20);
        let network = six_nodes(&site, Config::demo(), seed).await;
        let victim = network.copies(&site, 1)[0];
        let pulls = network.pulls();
        network.set_clock(victim, ahead);
        let right = |network: &Network| network.copies(&site, 1).into_iter().filter(|index| *index != victim).count();
        for _ in 0..10 {
            network.pass(Duration::from_secs(60)).await;
            assert!(right(&network) >= 2, "a copy of another was lost");
            // Those whose clocks are right know one another all the while.
            let others = network.up().filter(|(index, ..)| *index != victim);
            for (_, _, router) in others {
                let members = router.snapshot().members;
                let live = members.iter().filter(|member| member.live && member.peer != network.nodes[victim].peer);
                assert_eq!(live.count(), 5);
            }
        }
        println!("{ahead} s: {} copies with right clocks, {} pulls", right(&network), network.pulls() - pulls);
        network.set_clock(victim, 0);
        let took = network.until("everybody is one of them again", BOUND * 4, Network::is_converged).await;
        let settled = network.until("three copies", BOUND * 4, |network| is_settled(network, &site)).await;
        println!("{ahead} s: converged {took:?} after the clock was right again, settled {settled:?} later");
        assert!(network.pulls() - pulls <= 4, "{} pulls", network.pulls() - pulls);
    }
}
