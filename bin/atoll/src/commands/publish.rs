//! `atoll publish`: import, sign, place, wait, fetch back.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use atoll_core::bundle::BundleId;
use atoll_core::ipns::TTL_DEFAULT;
use atoll_core::links::links;
use atoll_core::record::Placement;
use atoll_core::signed::parse_hex;
use atoll_core::{Block, Cid, Multiaddr, Signed, SystemClock, Transport, car};
use atoll_node::api::{BundleRequest, BundleView, ReadBack, ReadBackRequest, Status};
use atoll_routing::{HttpConfig, HttpTransport};
use futures_util::StreamExt as _;
use http::Method;
use multiaddr::Protocol;
use serde::Serialize;

use crate::args::PublishArgs;
use crate::commands::{import, name, rules};
use crate::control::{Control, full};
use crate::keyring::Keyring;
use crate::output::{Output, bytes, plural};

/// How often the copies are counted while waiting.
const POLL: Duration = Duration::from_millis(250);

/// What a publish achieved.
#[derive(Debug, Serialize)]
struct Published {
    root: String,
    site: String,
    /// The site's name in IPNS, if it was published.
    name: Option<String>,
    /// What its answers are signed by, if they are.
    bundle: Option<String>,
    bytes: u64,
    files: u64,
    target: u64,
    verified_nodes: usize,
    verified_operators: usize,
    seconds: f64,
}

pub(crate) async fn run(
    args: PublishArgs,
    control: &Control,
    keyring: impl Fn() -> Result<Keyring>,
    output: &Output,
) -> Result<ExitCode> {
    if args.only_hash {
        return import::only_hash(&args.path, &args.cut.cut(), output).map(|()| ExitCode::SUCCESS);
    }
    rules::check_servers(&args.path, output)?;
    rules::note(&args.path, output);
    let started = Instant::now();
    let (key, made) = keyring()?.site(&args.site)?;
    let site = key.site_id();
    if made {
        output.note(&format!("made site key `{}` in the keyring; back it up with `atoll key export`", args.site));
    }
    let imported =
        import::import_through(control, &args.path, args.cut.cut(), &format!("publish:{site}"), output).await?;
    let root: Cid = imported.root.parse()?;
    let now = SystemClock::now();
    let bundle = bundle(control, &root, output).await;
    let mut placement = Placement::new(root, args.replicas, imported.dag_bytes);
    if let Some(bundle) = &bundle {
        placement = placement.with_bundle(bundle);
    }
    placement.seq = now.as_millis();
    placement.exp = now.after(Duration::from_secs(args.days.saturating_mul(86_400))).as_secs();
    let signed = Signed::seal(placement, &key).context("the placement breaks a rule")?;
    let _: serde_json::Value = control.call(Method::POST, "/v1/placements", signed.bytes().clone()).await?;
    let deadline = started + Duration::from_secs(args.timeout);
    let verified = wait_and_verify(control, &site.to_string(), &root, args.replicas, deadline, output).await?;
    let name = match args.name_days {
        0 => None,
        days => Some(name::publish(control, &key, root.into(), days, TTL_DEFAULT).await?.name),
    };
    let operators: HashSet<_> = verified.iter().map(|holder| holder.operator.clone()).collect();
    let published = Published {
        root: root.to_string(),
        site: site.to_string(),
        name,
        bundle: bundle.map(|bundle| bundle.to_string()),
        bytes: imported.bytes,
        files: imported.files,
        target: args.replicas,
        verified_nodes: verified.len(),
        verified_operators: operators.len(),
        seconds: started.elapsed().as_secs_f64(),
    };
    output.result(&published, || describe(&published))?;
    let enough = u64::try_from(verified.len()).is_ok_and(|count| count >= args.replicas);
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(p: &Published) -> String {
    let size = bytes(p.bytes);
    let (nodes, operators) = (plural(p.verified_nodes, "node"), plural(p.verified_operators, "operator"));
    let short = if p.verified_nodes as u64 >= p.target { String::new() } else { format!(" (target {})", p.target) };
    let name = p.name.as_ref().map_or_else(String::new, |name| format!("\nname {name}"));
    format!(
        "root {}\nsite {}{name}\n{} files, {size}\nverified live from {nodes}, {operators} in {:.1} s{short}",
        p.root, p.site, p.files, p.seconds
    )
}

/// The bundle of a root, made by the node of its own blocks; without one the site is served unsigned.
async fn bundle(control: &Control, root: &Cid, output: &Output) -> Option<BundleId> {
    let request = BundleRequest { root: root.to_string() };
    let body = full(serde_json::to_vec(&request).ok()?.into());
    match control.events::<BundleView>("/v1/bundles", body, |_| {}).await {
        Ok(view) => view.bundle.and_then(|id| parse_hex(&id)).map(BundleId),
        Err(error) => {
            output.note(&format!("warning: the site's answers will not be signed: {error:#}"));
            None
        }
    }
}

/// Waits until enough members hold the root, and fetches it back whole from each.
async fn wait_and_verify(
    control: &Control,
    site: &str,
    root: &Cid,
    target: u64,
    deadline: Instant,
    output: &Output,
) -> Result<Vec<Holder>> {
    let bar = output.steps(target, "copies");
    let transport = Arc::new(HttpTransport::new(HttpConfig::default()));
    let mut verified: Vec<Holder> = Vec::new();
    let mut last_error = None;
    while (verified.len() as u64) < target && Instant::now() < deadline {
        let status: Status = control.get("/v1/status").await?;
        let placement = status.network.placements.iter().find(|placement| placement.site == site);
        let placement = placement.filter(|placement| placement.root == root.to_string());
        // The node that it went through has it too for now, but counts only if its rank says so.
        let is_due = |peer: &String| placement.is_some_and(|p| p.ranked.contains(peer) && p.holders.contains(peer));
        for member in status.network.members.iter().filter(|member| is_due(&member.peer)) {
            if verified.iter().any(|known| known.peer_id == member.peer) {
                continue;
            }
            let addresses = member.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
            let back = match addresses.into_iter().find(|address| !is_peer(address)) {
                Some(address) => fetch_back(&*transport, &address, root).await,
                None => read_back(control, &member.peer, root).await,
            };
            match back {
                Ok(()) => {
                    verified.push(Holder { peer_id: member.peer.clone(), operator: member.operator.clone() });
                    bar.set_position(verified.len() as u64);
                }
                Err(error) => last_error = Some(format!("{}: {error:#}", member.peer)),
            }
        }
        tokio::time::sleep(POLL).await;
    }
    bar.finish_and_clear();
    if let (true, Some(error)) = ((verified.len() as u64) < target, last_error) {
        output.note(&format!("not every copy could be fetched back; the last failure was {error}"));
    }
    Ok(verified)
}

/// A member that gave back every block of the root.
#[derive(Debug)]
struct Holder {
    peer_id: String,
    operator: String,
}

/// Whether an address is one of libp2p.
fn is_peer(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2p(_)))
}

/// Has the node fetch the whole DAG from one member, which only peers reach.
async fn read_back(control: &Control, peer: &str, root: &Cid) -> Result<()> {
    let request = ReadBackRequest { peer: peer.to_owned(), cid: root.to_string() };
    let body = full(serde_json::to_vec(&request)?.into());
    control.events::<ReadBack>("/v1/read-back", body, |_| {}).await.map(drop)
}

/// Fetches the whole DAG from one member, verifies each block, and that none is missing.
async fn fetch_back(transport: &dyn Transport, address: &Multiaddr, root: &Cid) -> Result<()> {
    let mut stream = transport.car(address, root).await?;
    let mut decoder = car::Decoder::default();
    let (mut seen, mut wanted) = (HashSet::new(), HashSet::from([*root]));
    while let Some(chunk) = stream.next().await {
        decoder.push(&chunk?);
        while let Some(item) = decoder.next_item()? {
            let car::Item::Section(section) = item else { continue };
            let block = Block::verified(section.cid, section.bytes)?;
            wanted.extend(links(block.cid(), block.bytes())?.into_iter().filter(|cid| Block::inline(cid).is_none()));
            seen.insert(*block.cid());
        }
    }
    decoder.finish()?;
    match wanted.difference(&seen).next() {
        Some(missing) => bail!("block {missing} is missing from its answer"),
        None => Ok(()),
    }
}
