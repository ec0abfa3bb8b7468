//! Fifty nodes and twenty sites under random churn, many seeds: what must hold whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_routing::Config;
use atoll_testkit::{Fault, Network, Plan, Site, Weather};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

const NODES: usize = 50;
const SITES: u32 = 20;
const COPIES: u64 = 3;
const LIARS: usize = 2;
const MINUTE: Duration = Duration::from_secs(60);
/// How long after the last fault everything must be as it should be.
const BOUND: Duration = Duration::from_secs(10 * 60);

/// The defaults of the open internet, with a smaller sample of probes so that fifty nodes count as many.
fn config() -> Config {
    Config { probe_all_max: 12, let_go_after: 30 * MINUTE, ..Config::default() }
}

struct Churn {
    network: Network,
    sites: Vec<Site>,
    /// The newest version of each site, and the nodes that publish them.
    versions: BTreeMap<usize, u32>,
    rng: StdRng,
}

impl Churn {
    async fn start(seed: u64) -> Self {
        println!("seed {seed}");
        let operators = (0..NODES).map(|index| u8::try_from(index % 20).unwrap()).collect();
        let mut network = Network::start(Plan { operators, config: config(), seed }).await;
        for operator in 0..LIARS {
            network.add_liar(u8::try_from(200 + operator).unwrap()).await;
        }
        network.net.set_weather(Weather { loss: 0.005, ..Weather::default() });
        let sites = (0..SITES).map(|number| Site::new(number, 6)).collect();
        Self { network, sites, versions: BTreeMap::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Publishes the next version of a site through any node that is up, which then keeps its copy.
    async fn publish(&mut self, site: usize) {
        let version = self.versions.get(&site).copied().unwrap_or(0) + 1;
        self.versions.insert(site, version);
        let through = self.network.up().map(|(index, ..)| index).choose(&mut self.rng).unwrap();
        self.network.publish(through, &self.sites[site], version, COPIES).await;
    }

    /// One random fault, or the end of one.
    async fn happen(&mut self) {
        let index = self.rng.random_range(0..NODES);
        let address = self.network.nodes[index].address.clone();
        match self.rng.random_range(0..10) {
            0..3 => {
                let up = self.network.up().count();
                if self.network.nodes[index].router.is_none() {
                    self.network.restart(index).await;
                } else if up > NODES * 2 / 3 {
                    self.network.kill(index);
                }
            }
            3 => self.network.net.set_fault(&address, Fault::Slow(Duration::from_millis(800))),
            4 => self.network.net.set_fault(&address, Fault::CutsCars(2)),
            5 => self.network.net.set_fault(&address, Fault::Hangs),
            6 => self.network.net.set_fault(&address, Fault::None),
            7 => {
                let site = self.rng.random_range(0..self.sites.len());
                self.publish(site).await;
            }
            _ => {}
        }
        let pause = Duration::from_secs(self.rng.random_range(1..20));
        self.network.pass(pause).await;
        self.check_liars();
    }

    /// At no time does an honest node count a liar as holding anything.
    fn check_liars(&self) {
        for (index, _, router) in self.network.up() {
            for member in router.snapshot().members {
                let liar = self.network.nodes[NODES..].iter().any(|liar| liar.peer == member.peer);
                assert!(!liar || member.holds.is_empty(), "node {index} believes a liar: {member:?}");
            }
        }
    }

    /// Ends all faults.
    async fn calm(&mut self) {
        for index in 0..NODES {
            let address = self.network.nodes[index].address.clone();
            self.network.net.set_fault(&address, Fault::None);
            if self.network.nodes[index].router.is_none() {
                self.network.restart(index).await;
            }
        }
        self.network.net.set_weather(Weather::default());
    }

    /// Whether every site has its copies of its newest version, in truth, and all nodes agree who holds.
    fn is_settled(&self, network: &Network) -> bool {
        let views: Vec<_> = network.up().map(|(.., router)| router.snapshot().placements).collect();
        let agreed = |site: &Site| {
            let id = site.id().to_string();
            let mut ranks = views.iter().map(|view| {
                let view = view.iter().find(|placement| placement.site == id)?;
                Some((&view.ranked, &view.root))
            });
            let first = ranks.next()??;
            ranks.all(|rank| rank == Some(first)).then_some(first)
        };
        self.versions.iter().all(|(site, version)| {
            let site = &self.sites[*site];
            let holders: Vec<&str> =
                network.copies(site, *version).into_iter().map(|index| network.nodes[index].peer.as_str()).collect();
            agreed(site).is_some_and(|(ranked, root)| {
                *root == site.root(*version).to_string()
                    && ranked.len() as u64 == COPIES
                    && ranked.iter().all(|peer| holders.contains(&peer.as_str()))
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_nodes_twenty_sites() {
    let seeds: u64 = std::env::var("ATOLL_SEEDS").ok().map_or(3, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("ATOLL_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut churn = Churn::start(seed).await;
        for site in 0..churn.sites.len() {
            churn.publish(site).await;
        }
        for _ in 0..60 {
            churn.happen().await;
        }
        churn.calm().await;
        let took = churn.network.until("every site where it belongs", BOUND, |network| churn.is_settled(network)).await;
        let (pulls, minutes) = (churn.network.pulls(), churn.network.now());
        println!("seed {seed}: settled {took:?} after the last fault, {pulls} pulls, ended at {minutes:?}");
    }
}
