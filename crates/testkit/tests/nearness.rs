//! Who is near is asked first, and equals share the work. All in simulated time.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]
#![expect(clippy::cast_precision_loss, reason = "counts of some thousands")]

use std::sync::Arc;
use std::time::Duration;

use atoll_core::Blocks;
use atoll_routing::{Config, FetchConfig, FetchPolicy, PeerStats};
use atoll_testkit::{Network, Node, Plan, Site, Weather};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

const BOUND: Duration = Duration::from_secs(60);
/// One way to the near holders and to the far ones, from where all visitors are.
const NEAR: Duration = Duration::from_millis(5);
const FAR: Duration = Duration::from_millis(40);

/// Three holders of a site that are near to all other nodes, three that are far, and three nodes with visitors.
struct World {
    network: Network,
    site: Site,
    near: Vec<usize>,
    far: Vec<usize>,
    visited: Vec<usize>,
}

/// What visitors saw, and who did the work.
#[derive(Debug)]
struct Seen {
    /// Share of the blocks that near holders gave.
    near: f64,
    /// What the busiest near holder gave, in shares of the mean of the near ones.
    busiest: f64,
    mean: Duration,
    p99: Duration,
}

impl World {
    async fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let fetch = FetchConfig { keep: false, ..FetchConfig::default() };
        let probe_interval = Duration::from_secs(5);
        let config = Config { let_go_after: Duration::ZERO, probe_interval, fetch, ..Config::demo() };
        let network = Network::start(Plan { operators: (1..=9).collect(), config, seed }).await;
        network.until("everybody knows everybody", BOUND, Network::is_converged).await;
        let site = Site::new(1, 600);
        network.publish(0, &site, 1, 6).await;
        let known = |network: &Network| {
            (0..9).all(|index| network.placement(index, &site).is_some_and(|placement| placement.copies >= 6))
        };
        network.until("six copies", BOUND, known).await;
        network.release(0, &site, 1).await;
        network.until("six copies, no more", BOUND, |network| network.copies(&site, 1).len() == 6).await;
        let holders = network.copies(&site, 1);
        let (near, far) = (holders[..3].to_vec(), holders[3..].to_vec());
        let visited: Vec<usize> = (0..9).filter(|index| !near.contains(index) && !far.contains(index)).collect();
        network.net.set_weather(Weather { delay: Duration::from_micros(200)..Duration::from_millis(1), loss: 0.0 });
        for (holders, place) in [(&near, NEAR), (&far, FAR)] {
            holders.iter().for_each(|index| network.net.set_place(&network.nodes[*index].address, place));
        }
        for index in &visited {
            site.blocks(1).iter().for_each(|block| network.nodes[*index].storage.lose(block.cid()));
        }
        // Long enough for many probes.
        network.pass(BOUND * 10).await;
        Self { network, site, near, far, visited }
    }

    /// Visitors ask every visited node for a block each `interval`, all blocks of the site in turn.
    async fn visit(&self, interval: Duration) -> Seen {
        let before = self.gave();
        let blocks = self.site.blocks(1);
        let begun = Instant::now();
        let visits = self.visited.iter().flat_map(|index| {
            let node = &self.network.nodes[*index];
            let local = Arc::clone(&node.storage) as Arc<dyn Blocks>;
            let remote = Arc::new(node.router.as_ref().unwrap().remote(local, FetchPolicy::Any));
            (1..).zip(&blocks).map(move |(turn, block)| {
                let remote = Arc::clone(&remote);
                async move {
                    let at = begun + interval * turn;
                    sleep_until(at).await;
                    remote.block(&self.site.root(1), block.cid()).await.unwrap();
                    at.elapsed()
                }
            })
        });
        let mut times = join_all(visits.collect::<Vec<_>>()).await;
        times.sort_unstable();
        let gave: Vec<u64> = self.gave().iter().zip(before).map(|(now, then)| now - then).collect();
        let of = |holders: &[usize]| -> u64 { holders.iter().map(|index| gave[*index]).sum() };
        let (near, far) = (of(&self.near), of(&self.far));
        let busiest = self.near.iter().map(|index| gave[*index]).max().unwrap();
        let seen = Seen {
            near: near as f64 / (near + far) as f64,
            busiest: busiest as f64 * self.near.len() as f64 / near as f64,
            mean: times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap(),
            p99: times[times.len() * 99 / 100],
        };
        println!("every {interval:?} at each of three: {seen:?}");
        seen
    }

    /// How many blocks visitors had of each node.
    fn gave(&self) -> Vec<u64> {
        let stats =
            self.visited.iter().flat_map(|index| self.network.nodes[*index].router.as_ref().unwrap().peer_stats());
        let stats: Vec<PeerStats> = stats.collect();
        let of = |node: &Node| stats.iter().filter(|peer| peer.address == node.address).map(|peer| peer.blocks).sum();
        self.network.nodes.iter().map(of).collect()
    }

    fn set_pace(&self, pace: Duration) {
        for node in self.near.iter().chain(&self.far) {
            self.network.net.set_pace(&self.network.nodes[*node].address, pace);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_near_are_asked_and_share_the_work_evenly() {
    for seed in 1..5 {
        let world = World::new(seed).await;
        for index in &world.visited {
            let snapshot = world.network.snapshot(*index);
            for (holders, least, most) in [(&world.near, 9, 14), (&world.far, 79, 84)] {
                for holder in holders {
                    let peer = &world.network.nodes[*holder].peer;
                    let member = snapshot.members.iter().find(|member| member.peer == *peer).unwrap();
                    let round_trip = member.rtt_us.unwrap() / 1000;
                    assert!((least..=most).contains(&round_trip), "{member:?}");
                }
            }
        }
        let seen = world.visit(Duration::from_millis(20)).await;
        assert!(seen.near > 0.97 && seen.busiest < 1.15 && seen.mean < FAR / 4, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_near_cannot_bear_the_far_take() {
    for seed in 11..14 {
        let world = World::new(seed).await;
        // The near ones can do 150 blocks a second, and 214 are asked for.
        world.set_pace(Duration::from_millis(20));
        let seen = world.visit(Duration::from_millis(14)).await;
        assert!(seen.near > 0.4 && seen.near < 0.9 && seen.busiest < 1.3, "{seen:?}");
        assert!(seen.p99 < Duration::from_millis(500), "{seen:?}");
    }
}
