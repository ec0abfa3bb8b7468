//! `atoll get`: a verified file or folder from several nodes at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use atoll_content::extract::{self, Limits};
use atoll_content::reader::{self, Kind, Resolved};
use atoll_core::{Blocks, Cid, Multiaddr};
use atoll_node::address;
use atoll_node::api::Status;
use atoll_routing::{Client, ClientConfig, HttpConfig, HttpTransport, TokioClock};
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt as _;

use crate::args::GetArgs;
use crate::control::Control;
use crate::output::{Output, bytes, plural};

/// What is to be fetched.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    root: Cid,
    segments: Vec<String>,
    gateway: Option<String>,
}

pub(crate) async fn run(args: GetArgs, control: &Control, output: &Output) -> Result<()> {
    let started = Instant::now();
    let target = Target::parse(&args.target)?;
    let gateways = gateways(&args, &target, control).await?;
    let deadline = Duration::from_secs(args.timeout);
    let config = ClientConfig { deadline, ..ClientConfig::default() };
    let transport = Arc::new(HttpTransport::new(HttpConfig::default()));
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the operating system gave no randomness")?;
    let client = Arc::new(Client::new(transport, Arc::new(TokioClock), &gateways, config, seed));
    client.discover().await;
    let blocks = Arc::clone(&client) as Arc<dyn Blocks>;
    let resolved = reader::resolve(&*blocks, &target.root, &target.segments).await?;
    let to = args.output.clone().unwrap_or_else(|| target.default_output());
    if to == Path::new("-") {
        return to_stdout(blocks, &resolved).await;
    }
    let total = match resolved.kind {
        Kind::File { len } => len,
        _ => 0,
    };
    let bar = output.bar(total, "fetching");
    let progress = &mut |done: extract::Extracted| {
        bar.set_length(total.max(done.bytes));
        bar.set_position(done.bytes);
        bar.set_prefix(format!("{} entries", done.entries));
    };
    let done = extract::extract(blocks, &resolved, &to, Limits::default(), progress).await;
    bar.finish_and_clear();
    let stats = client.stats();
    for (from, why) in client.dropped() {
        output.note(&format!("{}: {why}", address::to_url(&from)));
    }
    let done = done?;
    let from = stats.peers.iter().filter(|peer| peer.blocks > 0).count();
    let result = serde_json::json!({
        "cid": resolved.cid.to_string(), "output": to, "entries": done.entries, "bytes": done.bytes,
        "reused": done.reused, "nodes": from, "seconds": started.elapsed().as_secs_f64(),
    });
    let text = || {
        let nodes = plural(from, "node");
        let reused =
            if done.reused > 0 { format!(", {} of it there already", bytes(done.reused)) } else { String::new() };
        let seconds = started.elapsed().as_secs_f64();
        format!("{}: {}{reused}, verified, from {nodes} in {seconds:.1} s", to.display(), bytes(done.bytes))
    };
    Ok(output.result(&result, text)?)
}

/// Where to fetch from: what was named, else the running node and the members it knows.
async fn gateways(args: &GetArgs, target: &Target, control: &Control) -> Result<Vec<Multiaddr>> {
    let mut named: Vec<Multiaddr> = Vec::new();
    for text in args.from.iter().chain(&target.gateway) {
        named.push(address::parse(text)?);
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let status: Status = control.get("/v1/status").await.context("name a gateway with --from, or run a node")?;
    named.push(address::parse(&status.gateway)?);
    for member in status.network.members.iter().filter(|member| member.live) {
        named.extend(member.addresses.iter().filter_map(|address| address.parse().ok()));
    }
    Ok(named)
}

async fn to_stdout(blocks: Arc<dyn Blocks>, resolved: &Resolved) -> Result<()> {
    let mut stream = reader::read(blocks, resolved, 0..u64::MAX).context("only a file goes to standard output")?;
    let mut out = tokio::io::stdout();
    while let Some(chunk) = stream.next().await {
        out.write_all(&chunk?).await?;
    }
    Ok(out.flush().await?)
}

impl Target {
    /// Reads `CID[/path]`, `/ipfs/CID[/path]`, or a gateway's URL in either form.
    fn parse(text: &str) -> Result<Self> {
        if text.starts_with("https://") {
            bail!("https is not spoken yet; name a gateway by http:// with --from");
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Self::from_path(text.trim_start_matches("ipfs://"), None);
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let Some((label, parent)) = authority.split_once(".ipfs.") else {
            return Self::from_path(path, Some(format!("http://{authority}")));
        };
        // Browsers take every name under localhost for this machine (RFC 6761 §6.3), and so do we.
        let parent = match parent.split_once(':') {
            Some(("localhost", port)) => format!("127.0.0.1:{port}"),
            _ if parent == "localhost" => "127.0.0.1".to_owned(),
            _ => parent.to_owned(),
        };
        Self::from_path(&format!("{label}/{path}"), Some(format!("http://{parent}")))
    }

    fn from_path(path: &str, gateway: Option<String>) -> Result<Self> {
        let path = path.trim_start_matches('/');
        let path = path.strip_prefix("ipfs/").unwrap_or(path);
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let cid = parts.next().unwrap_or_default();
        let root = cid.parse().ok().with_context(|| format!("`{cid}` is not a CID"))?;
        let segments =
            parts.map(|part| Ok(percent_decode_str(part).decode_utf8()?.into_owned())).collect::<Result<_>>()?;
        Ok(Self { root, segments, gateway })
    }

    /// The last name of the path, else the CID. A name that is none is left to `extract` to refuse.
    fn default_output(&self) -> PathBuf {
        PathBuf::from(self.segments.last().cloned().unwrap_or_else(|| self.root.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m";

    #[test]
    fn all_forms_name_the_same() {
        let parsed = |text: String| Target::parse(&text).unwrap();
        let plain = parsed(format!("{CID}/a%20b/c.txt"));
        assert_eq!(plain.segments, ["a b", "c.txt"]);
        assert_eq!(parsed(format!("/ipfs/{CID}/a%20b/c.txt")), plain);
        assert_eq!(parsed(format!("ipfs://{CID}/a%20b/c.txt")), plain);
        let path = parsed(format!("http://192.0.2.7:8080/ipfs/{CID}/a%20b/c.txt?download=true"));
        assert_eq!((path.gateway.as_deref(), &path.segments), (Some("http://192.0.2.7:8080"), &plain.segments));
        let subdomain = parsed(format!("http://{CID}.ipfs.localhost:8080/a%20b/c.txt#x"));
        assert_eq!(
            (subdomain.gateway.as_deref(), &subdomain.segments),
            (Some("http://127.0.0.1:8080"), &plain.segments)
        );
        assert!(Target::parse("https://example.com/ipfs/x").is_err());
        assert!(Target::parse("nothing").is_err());
    }
}
