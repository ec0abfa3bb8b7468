//! What can be typed after `atoll front`.

use clap::Args;

use super::SettingArgs;

/// Run a node before an existing server: a reverse proxy and a shared cache (RFC 9111).
///
/// Every request, whatever its host, goes to the server, or is answered by what is stored of its answers. The same, for several sites
/// and with more settings, is `[[sites]]` in node.toml.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  atoll front https://origin.example --listen 0.0.0.0:8080\n  \
    atoll front http://127.0.0.1:3000 --host client\n  atoll front https://a.example https://b.example\n\n\
    The server is told the host of its own URL, and X-Forwarded-Host the visitor's; --host client passes that on.")]
pub(crate) struct FrontArgs {
    /// The server's URL; of several, the first that can be reached is asked.
    #[arg(required = true, value_name = "URL")]
    pub origin: Vec<String>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// The host that the server is told: `client` for the one that the visitor asked for, or a name.
    #[arg(long, value_name = "HOST", default_value = "")]
    pub host: String,
    /// `cdn`, or `rfc9111` for the letter of it, even where that is not safe before strangers.
    #[arg(long, value_name = "PROFILE", default_value = "cdn", value_parser = ["cdn", "rfc9111"])]
    pub profile: String,
    /// Take over from the process that runs in this folder, if one does, as `atoll node --takeover` does.
    #[arg(long)]
    pub takeover: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Forget what is stored of origins' answers; the next request for it goes to the origin.
///
/// When the command ends, nothing of it is served any more by this node, answers that were on their way included. With --site, the purge
/// is signed with the site's key and told to all nodes; those that show the site obey, and the command prints node by node. The exit code
/// is 1 then if one that lives has not said so in time. Nodes that are away are told when they are back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  atoll purge https://shop.example/price/17\n  \
    atoll purge https://shop.example/price/ --prefix\n  atoll purge https://shop.example/ --group products\n  \
    atoll purge --all --soft\n  atoll purge --site blog /price/17\n  atoll purge --site blog --group products\n\n\
    URLs are written as visitors write them, with the port if there is one; http or https makes no difference. Groups are what origins name in Cache-Groups (RFC 9875), Surrogate-Key and Cache-Tag.")]
pub(crate) struct PurgeArgs {
    /// URL to forget, in every variant; with --site also a path, on every host of the site.
    #[arg(value_name = "URL", required_unless_present_any = ["all", "site"])]
    pub url: Option<String>,
    /// Forget all URLs that begin with it.
    #[arg(long, conflicts_with_all = ["group", "all"])]
    pub prefix: bool,
    /// Forget this group of the URL's host instead.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub group: Option<String>,
    /// Forget everything.
    #[arg(long, conflicts_with = "url")]
    pub all: bool,
    /// Name of the site key in the keyring: all nodes that show the site forget it.
    #[arg(long, value_name = "KEY")]
    pub site: Option<String>,
    /// With --site, how long to wait for the nodes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "site", value_parser = clap::value_parser!(u64).range(0..=300))]
    pub timeout: u64,
    /// Keep it as stale: it is validated before it is used, and serves when the origin fails.
    #[arg(long)]
    pub soft: bool,
}

/// Have each source of a site fail in turn, under load, and tell what visitors met.
///
/// Sources are its servers, classic CDNs among them, and what was published of it. The node takes each for dead, or for one that never
/// answers; the server itself is not touched, and is back at the end, or a few seconds after the command dies. Each request asks for the path with a query of its own, so that a server has to answer. The
/// exit code is 1 if a request failed. What was found stands on the status page.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  atoll drill shop.example\n  atoll drill shop.example --hang --path /health --seconds 30\n  \
    atoll drill shop.example --cached --path / --json"
)]
pub(crate) struct DrillArgs {
    /// A host of the site.
    #[arg(value_name = "SITE")]
    pub site: String,
    /// Path to ask for.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,
    /// Requests a second.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// How long each source fails, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub seconds: u64,
    /// Have each one hang, too, after it was dead.
    #[arg(long)]
    pub hang: bool,
    /// Ask for the path as it is, as visitors do, so that what is stored may answer.
    #[arg(long)]
    pub cached: bool,
}
