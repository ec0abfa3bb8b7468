//! `atoll purge`: at one node, or signed with a site's key, at all nodes that show the site.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atoll_core::record::{PurgeLog, SitePurge};
use atoll_core::{Signed, SystemClock};
use atoll_node::api::{KnownPurges, PurgeRequest, PurgeState, Purged, PurgedNode, PurgedNodes};
use data_encoding::HEXLOWER;
use http::Method;

use crate::args::PurgeArgs;
use crate::control::{Control, full};
use crate::keyring::{AnyKey, Keyring};
use crate::output::{Output, table};

/// How long a node may be away and still hear of a purge.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);

pub(crate) async fn run(
    args: PurgeArgs,
    control: &Control,
    keyring: impl Fn() -> Result<Keyring>,
    output: &Output,
) -> Result<ExitCode> {
    if let Some(site) = &args.site {
        return everywhere(&args, site, control, &keyring()?, output).await;
    }
    let request = PurgeRequest { url: args.url, prefix: args.prefix, group: args.group, soft: args.soft };
    let body = serde_json::to_vec(&request)?.into();
    let purged: Purged = control.call(Method::POST, "/v1/purge", body).await?;
    output.result(&purged, || "purged".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

/// Signs the purge, hands it to the node, and tells node by node who obeys.
async fn everywhere(
    args: &PurgeArgs,
    name: &str,
    control: &Control,
    keyring: &Keyring,
    output: &Output,
) -> Result<ExitCode> {
    let Some(AnyKey::Site(key)) = keyring.find(name)? else {
        bail!("there is no site key `{name}`; `atoll key list` shows them")
    };
    let url = args.url.clone().unwrap_or_default();
    let purge = SitePurge { seq: 0, url, prefix: args.prefix, group: args.group.clone(), soft: args.soft };
    if purge.url.is_empty() && purge.group.is_none() && !args.all {
        bail!("name a path, a URL or a --group; --all forgets everything of the site");
    }
    if let Err(why) = purge.check() {
        bail!("that cannot be purged: {why}");
    }
    // Whoever was away hears of the earlier ones by this record alone.
    let known: KnownPurges = control.get(&format!("/v1/purges/{}", key.site_id())).await?;
    let mut log = match known.envelope {
        Some(hex) => {
            let bytes = HEXLOWER.decode(hex.as_bytes()).context("the node's answer was not understood")?;
            Signed::<PurgeLog>::open(bytes.into())?.record().clone()
        }
        None => PurgeLog::new(),
    };
    let now = SystemClock::now();
    log.add(purge, now.as_millis());
    log.exp = now.after(LIFETIME).as_secs();
    let signed = Signed::seal(log, &key).context("the purge breaks a rule")?;
    let path = format!("/v1/purges?seconds={}", args.timeout);
    let told = control.events::<PurgedNodes>(&path, full(signed.bytes().clone()), |_| {}).await?;
    output.result(&told, || text(&told))?;
    let missing = told.nodes.iter().any(|node| node.state == PurgeState::Silent);
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(told: &PurgedNodes) -> String {
    let row = |node: &PurgedNode| {
        let state = match (node.state, node.shows) {
            (PurgeState::Purged, true) => format!("purged in {:.1} s", node.seconds),
            (PurgeState::Purged, false) => "knows, has nothing of it".to_owned(),
            (PurgeState::Silent, _) => "has not said that it did".to_owned(),
            (PurgeState::Away, _) => "away; it is told when it is back".to_owned(),
        };
        vec![node.peer.clone(), node.operator_label.clone(), state]
    };
    table(&["NODE", "OPERATOR", "STATE"], &told.nodes.iter().map(row).collect::<Vec<_>>()).trim_end().to_owned()
}
