//! `atoll status` and `atoll peers`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use atoll_core::{Cid, SiteId};
use atoll_node::api::{PeerView, Status};

use crate::args::{PeersArgs, StatusArgs};
use crate::control::Control;
use crate::keyring::{AnyKey, Keyring};
use crate::output::{Output, bytes, plural, table};

pub(crate) async fn run(
    args: StatusArgs,
    control: &Control,
    keyring: impl Fn() -> Result<Keyring>,
    output: &Output,
) -> Result<ExitCode> {
    let status: Status = control.get("/v1/status").await?;
    let Some(target) = args.target else {
        output.result(&status, || node_text(&status))?;
        return Ok(ExitCode::SUCCESS);
    };
    let matches = selector(&target, &keyring()?)?;
    let Some(placement) = status.network.placements.iter().find(|p| matches(&p.site, &p.root)) else {
        bail!("this node knows no placement of `{target}`; `atoll status` shows what it knows");
    };
    output.result(placement, || {
        let rows: Vec<_> = placement
            .holders
            .iter()
            .filter_map(|holder| status.network.members.iter().find(|member| member.peer == *holder))
            .map(|member| vec![member.peer.clone(), member.operator_label.clone(), member.addresses.join(" ")])
            .collect();
        let (copies, target) = (placement.copies, placement.target);
        format!("site {}\nroot {}\n{copies} of {target} copies\n{}", placement.site, placement.root, {
            table(&["HOLDER", "OPERATOR", "ADDRESS"], &rows)
        })
    })?;
    let below = placement.copies < placement.target;
    Ok(if below { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) async fn peers(args: &PeersArgs, control: &Control, output: &Output) -> Result<()> {
    let status: Status = control.get("/v1/status").await?;
    if args.swarm {
        let swarm = status.swarm.context("the node has no swarm; set swarm.listen")?;
        return Ok(output.result(&swarm.peers, || swarm_text(&swarm.peers))?);
    }
    let members = &status.network.members;
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            let state = match (&member.dropped, member.peer == status.peer_id, member.live) {
                (_, true, _) => "this node".to_owned(),
                (Some(why), ..) => format!("dropped: {why}"),
                (None, false, true) => "live".to_owned(),
                (None, false, false) => "not seen".to_owned(),
            };
            let rtt = round_trip(member.rtt_us);
            vec![member.peer.clone(), member.operator_label.clone(), member.addresses.join(" "), rtt, state]
        })
        .collect();
    Ok(output.result(members, || table(&["PEER", "OPERATOR", "ADDRESS", "RTT", "STATE"], &rows))?)
}

/// A time of so many microseconds.
fn round_trip(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{}.{:03} ms", us / 1000, us % 1000))
}

fn swarm_text(peers: &[PeerView]) -> String {
    let rows: Vec<_> = peers
        .iter()
        .map(|peer| {
            let rtt = round_trip(peer.round_trip_us);
            let way = if peer.outbound { "out" } else { "in" };
            let found_by = format!("{:?}", peer.found_by).to_lowercase();
            let agent = if peer.agent.is_empty() { "-" } else { &peer.agent };
            vec![peer.peer.clone(), peer.address.to_string(), way.to_owned(), agent.to_owned(), rtt, found_by]
        })
        .collect();
    table(&["PEER", "ADDRESS", "WAY", "AGENT", "RTT", "FOUND BY"], &rows)
}

/// Tells of a site id and a root whether they are the ones that were asked for.
type Selector = Box<dyn Fn(&str, &str) -> bool>;

/// Whether a placement, by site id and root, is the one that was asked for.
fn selector(target: &str, keyring: &Keyring) -> Result<Selector> {
    if let Ok(cid) = target.parse::<Cid>() {
        let root = cid.into_v1().map(|cid| cid.to_string()).unwrap_or_default();
        return Ok(Box::new(move |_, of| of == root));
    }
    let site = match target.parse::<SiteId>() {
        Ok(site) => site.to_string(),
        Err(_) => match keyring.find(target)? {
            Some(AnyKey::Site(key)) => key.site_id().to_string(),
            _ => bail!("`{target}` is neither a CID, nor a site id, nor the name of a site key"),
        },
    };
    Ok(Box::new(move |of, _| of == site))
}

fn node_text(status: &Status) -> String {
    let (store, traffic) = (&status.store, &status.traffic);
    let live = status.network.members.iter().filter(|member| member.live && member.peer != status.peer_id).count();
    let below = status.network.placements.iter().filter(|placement| placement.copies < placement.target).count();
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2} ms"));
    let mut text = format!("peer id   {}\noperator  {} ({})\n", status.peer_id, status.operator, status.operator_label);
    text += &format!("node id   {}\n", status.node_id);
    text += &format!("gateway   {}\nstatus    {}/\n", status.gateway, status.admin);
    text += &format!("state     {}\n", if status.ready { "ready" } else { "not ready" });
    text += &format!(
        "store     {} blocks, {} on disk of {}\n",
        store.blocks,
        bytes(store.disk_bytes),
        bytes(store.bytes_max)
    );
    text += &format!(
        "traffic   {} requests, {} hits, {} errors, {}",
        traffic.requests,
        traffic.hits,
        traffic.errors,
        bytes(traffic.bytes)
    );
    text += &format!(", p50 {}, p99 {}\n", ms(traffic.p50_ms), ms(traffic.p99_ms));
    if let Some(pinning) = &status.pinning {
        text += &format!(
            "pinning   {} for {}, {} under way, {} waiting, {} failed: {}\n",
            pinning.pinned,
            plural(pinning.publishers, "publisher"),
            pinning.pinning,
            pinning.queued,
            pinning.failed,
            bytes(pinning.bytes)
        );
    }
    for sweep in &status.providing {
        let late = if sweep.late { ", LATE" } else { "" };
        text += &format!(
            "announced {} of {} keys to the {} DHT, lag {} s{late}\n",
            sweep.keys.saturating_sub(sweep.unannounced),
            sweep.keys,
            sweep.network,
            sweep.lag_seconds
        );
    }
    text += &format!("members   {live} live of {} others known\n", status.network.members.len().saturating_sub(1));
    text += &format!("sites     {}, {below} below target", status.network.placements.len());
    let refused = status.bundles.iter().filter_map(|bundle| Some((&bundle.root, bundle.why.as_ref()?)));
    for (root, why) in refused {
        text += &format!("\nunsigned  {root}: {why}");
    }
    text
}
