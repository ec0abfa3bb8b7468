//! What attackers can do to a real node, and what a well-behaved visitor notices of it.
//!
//! For each attack: every answer has to be one that is allowed, and the node's memory has to stay within a named budget.
//! Times depend on the machine: they are printed, and `cargo xtask attack` writes them down, but nothing is asserted of them.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

#[path = "attack/client.rs"]
mod client;
#[path = "attack/hostile.rs"]
mod hostile;
#[path = "attack/report.rs"]
mod report;
#[path = "attack/target.rs"]
mod target;

use std::time::{Duration, Instant};

use atoll_core::Cid;
use client::{Asked, Tally, ask, flood, slow_readers};
use hostile::Dags;
use report::{Report, Row};
use target::Target;

/// How long each attack goes on, unless `ATOLL_ATTACK_SECONDS` says otherwise.
const SECONDS: u64 = 2;
/// Connections of an attacker.
const CLIENTS: usize = 16;
/// Readers that take almost nothing.
const SLOW_READERS: usize = 500;

/// An attack: what it is called, what may be answered, how much memory the node may take for it, and how it goes.
struct Attack {
    name: &'static str,
    /// Prepares what the node holds.
    make: fn(&mut Dags) -> Vec<Cid>,
    /// Statuses that may be seen. Whatever else is, fails.
    allowed: &'static [u16],
    growth_mib_max: u64,
    run: fn(&Target, &[Cid], Duration) -> Tally,
}

const ATTACKS: [Attack; 9] = [
    Attack {
        name: "HAMT that lies (hash, prefix, fan-out, bitfield, endless repeats)",
        make: hostile::lying_hamts,
        allowed: &[200, 404, 406, 502],
        growth_mib_max: 128,
        run: lying_hamt,
    },
    Attack {
        name: "a directory of a million links",
        make: hostile::million,
        allowed: &[200, 404],
        growth_mib_max: 320,
        run: million,
    },
    Attack {
        name: "listings of a folder that fills its block",
        make: hostile::flat,
        allowed: &[200],
        growth_mib_max: 384,
        run: listings,
    },
    Attack {
        name: "1,024 levels, and more",
        make: hostile::deep,
        allowed: &[200, 400, 404, 406, 502],
        growth_mib_max: 128,
        run: deep,
    },
    Attack {
        name: "one byte below nodes of 15,000 links, 40 levels down",
        make: hostile::wide_and_deep,
        allowed: &[206],
        growth_mib_max: 192,
        run: wide_ranges,
    },
    Attack {
        name: "`entity-bytes` of the same",
        make: hostile::wide_and_deep,
        allowed: &[200],
        growth_mib_max: 192,
        run: entity_bytes,
    },
    Attack {
        name: "ranges by the thousand in one header",
        make: hostile::large,
        allowed: &[206],
        growth_mib_max: 192,
        run: thousand_ranges,
    },
    Attack {
        name: "500 slow readers of a large CAR",
        make: hostile::large,
        allowed: &[200, 429, 503],
        growth_mib_max: 384,
        run: slow_car,
    },
    Attack {
        name: "500 slow readers, each elsewhere in a large file",
        make: hostile::large,
        allowed: &[206, 429, 503],
        growth_mib_max: 1280,
        run: slow_ranges,
    },
];

#[test]
fn attacks_are_bounded() {
    let seconds = std::env::var("ATOLL_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let only = std::env::var("ATOLL_ATTACK_ONLY").unwrap_or_default();
    let mut report = Report::default();
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        report.add(measure(attack, Duration::from_secs(seconds)));
    }
    report.print();
    if let Some(page) = std::env::var_os("ATOLL_ATTACK_PAGE") {
        std::fs::write(page, report.page(seconds)).unwrap();
    }
    assert_eq!(report.problems(), Vec::<String>::new());
}

/// One attack against a node of its own, with a visitor before, during and after it.
fn measure(attack: &Attack, length: Duration) -> Row {
    let mut dags = Dags::new();
    let roots = (attack.make)(&mut dags);
    let target = Target::start(dags);
    let before = target.watch(length, || {});
    let mut tally = Tally::default();
    let during = target.watch(length, || tally = (attack.run)(&target, &roots, length));
    let after = target.watch(length, || {});
    Row {
        name: attack.name,
        allowed: attack.allowed,
        growth_mib_max: attack.growth_mib_max,
        tally,
        before,
        during,
        after,
    }
}

fn lying_hamt(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    let tails = ["/?n=", "/name?n=", "/?format=car&dag-scope=entity&n=", "/?format=car&n=", "/?format=tar&n="];
    flood(target.address, CLIENTS, length, |at| {
        let (root, tail) = (roots[at % roots.len()], tails[at / roots.len() % tails.len()]);
        // Whatever is listed of it, is a lie.
        Asked::get(format!("/ipfs/{root}{tail}{at}")).refused_if(tail == "/?n=")
    })
}

fn million(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    let tails = ["/?n=", "/entry-999999?n=", "/entry-none?n=", "/?format=car&dag-scope=entity&n="];
    flood(target.address, CLIENTS, length, |at| {
        let tail = tails[at % tails.len()];
        // Nobody has to take all of it.
        Asked::get(format!("/ipfs/{}{tail}{at}", roots[0])).at_most(16 << 20)
    })
}

fn listings(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    flood(target.address, CLIENTS, length, |at| Asked::get(format!("/ipfs/{}/?n={at}", roots[at % roots.len()])))
}

fn deep(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    let [directories, too_deep, file] = roots else { panic!("three roots") };
    let path = |levels: usize| vec!["d"; levels].join("/");
    let (near, far) = (path(250), path(300));
    flood(target.address, CLIENTS, length, |at| match at % 6 {
        0 => Asked::get(format!("/ipfs/{directories}?format=car&n={at}")),
        1 => Asked::get(format!("/ipfs/{too_deep}?format=car&n={at}")).refused_if(true),
        2 => Asked::get(format!("/ipfs/{file}?n={at}")).refused_if(true),
        3 => Asked::get(format!("/ipfs/{directories}/{near}/?n={at}")),
        4 => Asked::get(format!("/ipfs/{directories}/{far}?n={at}")).refused_if(true),
        _ => Asked::get(format!("/ipfs/{directories}?format=tar&n={at}")).refused_if(true),
    })
}

fn wide_ranges(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    flood(target.address, CLIENTS, length, |at| {
        Asked::get(format!("/ipfs/{}?n={at}", roots[0])).header("Range: bytes=0-0".to_owned())
    })
}

fn entity_bytes(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    flood(target.address, CLIENTS, length, |at| {
        Asked::get(format!("/ipfs/{}?format=car&dag-scope=entity&entity-bytes=0:0&n={at}", roots[0])).at_most(64 << 20)
    })
}

fn thousand_ranges(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    flood(target.address, CLIENTS, length, |at| {
        let ranges: Vec<String> =
            (0..1_200).map(|n| (n + at % 100) * 20_000).map(|n| format!("{n}-{}", n + 9)).collect();
        Asked::get(format!("/ipfs/{}/large.bin", roots[0])).header(format!("Range: bytes={}", ranges.join(",")))
    })
}

fn slow_car(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    let car = |_| Asked::get(format!("/ipfs/{}?format=car", roots[0]));
    let tally = slow_readers(target.address, SLOW_READERS, length, car);
    // Whoever leaves, leaves nothing behind: a new visitor gets all of it at once.
    let start = Instant::now();
    let whole = ask(target.address, &car(0));
    assert!(whole.is_ok_and(|answer| answer.complete), "the CAR did not come after {:?}", start.elapsed());
    tally
}

fn slow_ranges(target: &Target, roots: &[Cid], length: Duration) -> Tally {
    slow_readers(target.address, SLOW_READERS, length, |at| {
        let from = at * (hostile::LARGE_BYTES / SLOW_READERS);
        Asked::get(format!("/ipfs/{}/large.bin", roots[0])).header(format!("Range: bytes={from}-"))
    })
}
