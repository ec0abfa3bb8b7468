//! `atoll demo`: five nodes of three operators, started, fed and watched with the product's own commands.

mod drill;
mod liar;
mod ring;
mod shop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::DemoArgs;
use crate::output::{Output, table};
use ring::{Published, Ring};

pub(crate) async fn run(args: DemoArgs, dir: Option<PathBuf>, output: &Output) -> Result<ExitCode> {
    if !args.liar.is_empty() {
        return liar::run(&args.liar).await.map(|()| ExitCode::SUCCESS);
    }
    if let Some(address) = args.server {
        return shop::serve(address).await.map(|()| ExitCode::SUCCESS);
    }
    let site = site_folder(args.site.clone())?;
    let mut ring = Ring::new(dir, args.port, output)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outcome = tokio::select! {
        outcome = perform(&args, &mut ring, site, output) => outcome,
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
    };
    if outcome.is_err() {
        output.note(&ring.last_words());
    }
    output.note("stopping the nodes");
    let stopped = ring.stop().await;
    outcome.and_then(|code| stopped.map(|()| code))
}

/// Everything between the start and Ctrl-C.
async fn perform(args: &DemoArgs, ring: &mut Ring, site: PathBuf, output: &Output) -> Result<ExitCode> {
    ring.start().await?;
    let published = ring.publish(&site).await?;
    ring.spread(&published.root).await?;
    show(ring, &published, output).await?;
    if args.drill {
        return drill::run(ring, &published, output).await;
    }
    output.note("\nKill any node and reload. Ctrl-C stops all and removes what the demo made.");
    std::future::pending().await
}

/// Who holds what, and where to look.
async fn show(ring: &Ring, published: &Published, output: &Output) -> Result<()> {
    let (root, name) = (published.root.as_str(), published.name.as_str());
    let mut rows = Vec::new();
    let mut nodes = Vec::new();
    for node in ring.nodes() {
        let status = node.status().await?;
        let holds = status.pins.iter().any(|pin| pin.root == root && pin.name.starts_with("site:"));
        let health = if status.ready { "ready" } else { "starting" };
        let label = status.operator_label.clone();
        nodes.push(serde_json::json!({
            "node": node.name(), "operator": label, "gateway": node.gateway(), "status": format!("{}/", node.admin()),
            "holds": holds, "health": health, "secure": node.secure_url(root), "site": node.site_url(root), "path": node.path_url(root), "name": node.name_url(name), "shop": node.shop_url(),
        }));
        let holds = if holds { "the site" } else { "-" };
        rows.push([node.name(), &label, node.gateway(), holds, health].map(str::to_owned).to_vec());
    }
    let text = || {
        let mut text = format!("\n{}\n", table(&["NODE", "OPERATOR", "GATEWAY", "HOLDS", "HEALTH"], &rows));
        text.push_str("The site, on every node, holder or not:\n");
        for node in ring.nodes() {
            text.push_str(&format!("  {}\n", node.site_url(root)));
        }
        text.push_str("or by path:\n");
        for node in ring.nodes() {
            text.push_str(&format!("  {}\n", node.path_url(root)));
        }
        text.push_str("or by its name, which a new version keeps:\n");
        for node in ring.nodes() {
            text.push_str(&format!("  {}\n", node.name_url(name)));
        }
        text.push_str(
            "or over HTTPS, with certificates that sign themselves (a browser asks; curl wants --insecure):\n",
        );
        for node in ring.nodes() {
            text.push_str(&format!("  {}\n", node.secure_url(root)));
        }
        text.push_str("A site that has a server, too; it shows what was published when that is dead:\n");
        for node in ring.nodes() {
            text.push_str(&format!("  {}\n", node.shop_url()));
        }
        text.push_str("Status page:\n");
        for node in ring.nodes() {
            text.push_str(&format!("  {}/\n", node.admin()));
        }
        text
    };
    let value = serde_json::json!({ "demo": { "root": root, "name": name, "dir": ring.dir(), "nodes": nodes } });
    Ok(output.result(&value, text)?)
}

/// The site to publish: as asked, else `examples/site` here or where the program was built.
fn site_folder(asked: Option<PathBuf>) -> Result<PathBuf> {
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/site"));
    let candidates = match asked {
        Some(path) => vec![path],
        None => vec![PathBuf::from("examples/site"), built],
    };
    let found = candidates.iter().find(|path| path.is_dir());
    let Some(found) = found else { bail!("no site at {}; name a folder with --site", candidates[0].display()) };
    found.canonicalize().with_context(|| found.display().to_string())
}
