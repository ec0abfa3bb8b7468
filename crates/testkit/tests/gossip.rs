//! A hundred sites on twenty nodes for an hour, placed over gossip that loses, delays and doubles messages, while nodes die and
//! come back: what must hold all the time, and what it costs.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use atoll_core::record::Accept;
use atoll_core::{Cid, Timestamp};
use atoll_routing::Config;
use atoll_testkit::{Network, Plan, Site, Weather};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

const NODES: usize = 20;
/// Each operator runs three nodes, or two.
const OPERATORS: usize = 7;
/// These nodes hold nothing for others.
const UNWILLING: [usize; 2] = [3, 11];
const SITES: u32 = 100;
const COPIES: usize = 3;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// So long after nodes died, all is as it should be: two probes missed, the pause for a stable rank, the pulls, two at a time.
const REPAIR: Duration = Duration::from_secs(240);

struct Hour {
    network: Network,
    sites: Vec<Site>,
    roots: Vec<Cid>,
    bytes: Vec<u64>,
    /// When nodes that are down come back.
    back: BTreeMap<usize, Timestamp>,
    /// Bytes of copies that were counted on and lost for long.
    lost: u64,
    rng: StdRng,
}

impl Hour {
    async fn start(seed: u64) -> Self {
        println!("seed {seed}");
        let operators = (0..NODES).map(|index| u8::try_from(index % OPERATORS).unwrap()).collect();
        // Probes are most of the work; a third of them will do.
        let config = Config {
            probe_interval: 30 * SECOND,
            probes_missed_max: 2,
            let_go_after: 20 * MINUTE,
            ..Config::default()
        };
        let mut network = Network::start_with_gossip(Plan { operators, config, seed }).await;
        for index in UNWILLING {
            network.kill(index);
            network.nodes[index].accept = Accept::None;
            network.restart(index).await;
        }
        network.net.set_weather(Weather { loss: 0.02, delay: Duration::from_millis(5)..Duration::from_millis(300) });
        network.rumours.as_ref().unwrap().set_doubled(0.1);
        let sites: Vec<Site> = (0..SITES).map(|number| Site::new(number, 4)).collect();
        let roots = sites.iter().map(|site| site.root(1)).collect();
        let size = |site: &Site| site.blocks(1).iter().map(|block| block.bytes().len() as u64).sum();
        let bytes = sites.iter().map(size).collect();
        let rng = StdRng::seed_from_u64(seed);
        Self { network, sites, roots, bytes, back: BTreeMap::new(), lost: 0, rng }
    }

    /// The nodes that are up and hold a site; no block is ever lost here, so that its pin says so.
    fn holders(&self, site: usize) -> Vec<usize> {
        let root = &self.roots[site];
        self.network.up().filter(|(_, node, _)| node.storage.is_pinned(root)).map(|(index, ..)| index).collect()
    }

    fn operators(holders: &[usize]) -> usize {
        holders.iter().map(|index| index % OPERATORS).collect::<BTreeSet<_>>().len()
    }

    /// Whether every site has its copies, with as many operators.
    fn is_restored(&self) -> bool {
        (0..self.sites.len()).all(|site| {
            let holders = self.holders(site);
            holders.len() >= COPIES && Self::operators(&holders) >= COPIES
        })
    }

    fn arrived(&self) -> u64 {
        self.network.nodes.iter().map(|node| node.storage.arrived()).sum()
    }

    /// Publishes all sites, and lets go of the publishers' own copies.
    async fn publish(&mut self) {
        for site in 0..self.sites.len() {
            let through = (0..NODES).filter(|index| !UNWILLING.contains(index)).choose(&mut self.rng).unwrap();
            self.network.publish(through, &self.sites[site], 1, COPIES as u64).await;
            self.network.pass(SECOND / 2).await;
        }
        let copies = |network: &Network| {
            let held = |root| network.up().filter(|(_, node, _)| node.storage.holds_whole(root)).count();
            self.roots.iter().all(|root| held(root) >= COPIES)
        };
        let took = self.network.until("all sites placed", 5 * MINUTE, copies).await;
        self.network.pass(REPAIR).await;
        for index in 0..NODES {
            for site in 0..self.sites.len() {
                self.network.release(index, &self.sites[site], 1).await;
            }
        }
        println!("placed {took:?} after the last was published");
    }

    /// Bytes of the copies on a node that are counted on: those of sites in whose rank the others see it.
    fn counted_on(&self, victim: usize) -> u64 {
        let peer = &self.network.nodes[victim].peer;
        let (witness, ..) = self.network.up().find(|(index, ..)| *index != victim).unwrap();
        let placements = self.network.snapshot(witness).placements;
        let ranked: BTreeSet<String> =
            placements.into_iter().filter(|view| view.ranked.contains(peer)).map(|view| view.site).collect();
        let counted = (0..self.sites.len()).filter(|site| {
            ranked.contains(&self.sites[*site].id().to_string()) && self.holders(*site).contains(&victim)
        });
        counted.map(|site| self.bytes[site]).sum()
    }

    /// Kills up to N − 1 nodes: for long enough that others take over, or so shortly that nobody should.
    fn strike(&mut self) {
        let count = self.rng.random_range(1..COPIES);
        for _ in 0..count {
            let up: Vec<usize> = self.network.up().map(|(index, ..)| index).collect();
            // So many stay that there are operators enough.
            if up.len() <= NODES - 5 {
                return;
            }
            let victim = up.into_iter().choose(&mut self.rng).unwrap();
            let counted = self.counted_on(victim);
            self.network.kill(victim);
            let long = self.rng.random_bool(0.7);
            let secs = if long { self.rng.random_range(240..900) } else { self.rng.random_range(5..25) };
            self.back.insert(victim, self.network.now().after(secs * SECOND));
            if long {
                self.lost += counted;
            }
        }
    }

    /// Starts the nodes whose time has come; whether there were any.
    async fn revive(&mut self) -> bool {
        let now = self.network.now();
        let due: Vec<usize> = self.back.iter().filter(|(_, at)| **at <= now).map(|(index, _)| *index).collect();
        for index in &due {
            self.back.remove(index);
            self.network.restart(*index).await;
        }
        !due.is_empty()
    }

    /// What holds at any time.
    fn check(&self) {
        for site in 0..self.sites.len() {
            assert!(!self.holders(site).is_empty(), "site {site} has no copy");
        }
        for index in UNWILLING {
            assert_eq!(
                self.network.nodes[index].storage.held_sites().len(),
                0,
                "node {index} holds what it does not want"
            );
        }
    }

    async fn pass(&mut self) {
        let until = self.network.now().after(60 * MINUTE);
        let mut worst = Duration::ZERO;
        while self.network.now() < until {
            self.strike();
            // Who comes back puts off the pause for a stable rank, as who dies does.
            let (struck, mut last) = (self.network.now(), self.network.now());
            while !self.is_restored() || self.network.now().since(struck) < REPAIR / 2 {
                self.check();
                self.network.pass(5 * SECOND).await;
                if self.revive().await {
                    last = self.network.now();
                }
                let took = self.network.now().since(last);
                assert!(took < REPAIR, "not restored {took:?} after nodes died or came back");
                if !self.is_restored() {
                    worst = worst.max(took);
                }
            }
            let pause = Duration::from_secs(self.rng.random_range(5..60));
            self.network.pass(pause).await;
            self.revive().await;
        }
        println!("restored within {worst:?} at worst");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_sites_on_twenty_nodes_for_an_hour_over_gossip() {
    let seeds: u64 = std::env::var("ATOLL_SEEDS").ok().map_or(1, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("ATOLL_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut hour = Hour::start(seed).await;
        hour.publish().await;
        let before = hour.arrived();
        hour.pass().await;
        let (moved, lost) = (hour.arrived() - before, hour.lost);
        let carried = hour.network.rumours.as_ref().unwrap().carried();
        let share = moved as f64 / lost as f64;
        println!("seed {seed}: {lost} bytes of copies lost, {moved} moved ({share:.2}), {carried} messages of gossip");
        assert!(share <= 1.3, "seed {seed}");
    }
}
