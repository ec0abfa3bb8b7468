//! What can be typed. Help texts are goldens in `docs/cli.md`.

mod certs;
mod deny;
mod front;
mod names;
mod pinning;
mod verify;

use std::path::PathBuf;

use atoll_content::import::{CHUNK_BYTES_MAX, Profile};
use atoll_node::api::Cut;
use clap::{Args as ClapArgs, Parser, Subcommand};

pub(crate) use certs::CertsCommand;
pub(crate) use deny::DenyCommand;
pub(crate) use front::{DrillArgs, FrontArgs, PurgeArgs};
pub(crate) use names::{KeyCommand, KeyForm, NameCommand};
pub(crate) use pinning::{PinningCommand, TokenCommand};
pub(crate) use verify::VerifyArgs;

/// A decentralized edge for the web: publish a folder, and independent nodes serve it, verified.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Start here:\n  atoll demo                    five nodes on this machine, a site on three of them\n  \
    atoll node                    run a node\n  atoll front https://…         put a node before a server\n  atoll publish ./dist          publish a folder through it\n\n\
    Without a running node work: demo, node, front, publish --only-hash, import --offline, get --from, verify, store verify, gc, key, \
    deny, config, completions."
)]
pub(crate) struct Args {
    /// Print one JSON document (or one a line, for progress) instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Folder of the node: its settings, keys, blocks and socket.
    #[arg(long, global = true, env = "ATOLL_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Folder of the publisher's keys.
    #[arg(long, global = true, env = "ATOLL_KEYRING", value_name = "DIR")]
    pub keyring: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Node(NodeArgs),
    Front(FrontArgs),
    Purge(PurgeArgs),
    Drill(DrillArgs),
    Demo(DemoArgs),
    Publish(PublishArgs),
    Import(ImportArgs),
    Get(GetArgs),
    Verify(VerifyArgs),
    Status(StatusArgs),
    Ls(LsArgs),
    #[command(subcommand)]
    Pin(PinCommand),
    #[command(subcommand)]
    Pinning(PinningCommand),
    Gc(GcArgs),
    #[command(subcommand)]
    Car(CarCommand),
    #[command(subcommand)]
    Store(StoreCommand),
    #[command(subcommand)]
    Key(KeyCommand),
    #[command(subcommand)]
    Name(NameCommand),
    #[command(subcommand)]
    Deny(DenyCommand),
    #[command(subcommand)]
    Certs(CertsCommand),
    Peers(PeersArgs),
    Config(SettingArgs),
    Completions(CompletionsArgs),
}

/// Run a node until it is told to stop.
///
/// SIGTERM or Ctrl-C drains: no new connections, requests in flight end, then the store closes. A second one stops at once.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll node\n  atoll node --dir /srv/atoll --gateway-listen 0.0.0.0:8080\n  \
    atoll node --seed http://192.0.2.7:8080 --set store.bytes_max=100000000000\n  \
    atoll node --takeover             a new version, say, in the place of the one that runs\n\n\
    With --takeover the process that runs in the folder passes its sockets on, lets go of the folder, serves whoever is still \
    connected, and ends. Visitors who come meanwhile wait. If the new process cannot start, the old one goes on.")]
pub(crate) struct NodeArgs {
    /// Take over from the process that runs in this folder, if one does, without losing a visitor.
    #[arg(long)]
    pub takeover: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Print the effective settings of a node and where each comes from.
#[derive(Debug, Default, Clone, ClapArgs)]
#[command(after_help = "Examples:\n  atoll config\n  ATOLL_GATEWAY_LISTEN=0.0.0.0:80 atoll config --json\n  \
    atoll config --toml > node.toml")]
pub(crate) struct SettingArgs {
    /// Settings file; default: node.toml in the node's folder, if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the public gateway (gateway.listen).
    #[arg(long, value_name = "ADDR")]
    pub gateway_listen: Option<String>,
    /// Address of status page, metrics and health (admin.listen).
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// Gateway of a member to join through (node.seeds); may be repeated.
    #[arg(long, value_name = "URL")]
    pub seed: Vec<String>,
    /// Certificate of the operator (node.operator_certificate).
    #[arg(long, value_name = "FILE")]
    pub operator_certificate: Option<String>,
    /// Any setting; may be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Drain when standard input closes, so that a node does not outlive who started it.
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
    /// With `config`: print a node.toml.
    #[arg(long, hide = true)]
    pub toml: bool,
}

/// Five nodes of three operators on this machine, and a site that survives the death of any of them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll demo\n  atoll demo --drill\n  atoll demo --drill --json\n  \
    atoll demo --dir ./demo --site ./dist")]
pub(crate) struct DemoArgs {
    /// Kill each node in turn while a client loads the site, and the server of another site, let one member lie, and report.
    #[arg(long)]
    pub drill: bool,
    /// The site to publish; default: examples/site.
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// First of the twenty ports for gateways, admin listeners, swarms and gateways with TLS; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// A member that lies, for the drill: not for use by hand.
    #[arg(long, hide = true, value_name = "GATEWAY")]
    pub liar: Vec<String>,
    /// The server of a site, for the demo: not for use by hand.
    #[arg(long, hide = true, value_name = "ADDR")]
    pub server: Option<std::net::SocketAddr>,
}

/// Publish a folder through a running node, and wait until others hold it.
///
/// The folder's root is signed with the site key into a placement, which the members act upon. The command ends when N
/// members, not counting the node it went through, hold every block, and each has given it back.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll publish ./dist\n  atoll publish ./dist --site blog --replicas 5\n  \
    atoll publish ./dist --only-hash\n\nA site key of the name is made on first use, in the keyring; back it up: whoever \
    has it speaks for the site.")]
pub(crate) struct PublishArgs {
    /// Folder or file to publish.
    pub path: PathBuf,
    /// Name of the site key in the keyring.
    #[arg(long, value_name = "KEY", default_value = "default")]
    pub site: String,
    /// Copies wanted.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub replicas: u64,
    /// Print the root and write nothing; needs no node.
    #[arg(long)]
    pub only_hash: bool,
    #[command(flatten)]
    pub cut: CutArgs,
    /// How long the placement counts, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    pub days: u64,
    /// How long the site's name (IPNS) counts, in days; 0 publishes no name.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub name_days: u64,
    /// How long to wait for the copies, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// How files are cut and what is taken.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CutArgs {
    /// Take hidden files too (`.well-known` is always taken).
    #[arg(long)]
    pub hidden: bool,
    /// How files are cut and folders laid out: unixfs-v1-2025, or unixfs-v0-2015 for the CIDs of ten years (`Qm…`).
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::default())]
    pub profile: Profile,
    /// `size-N`: chunks of N bytes instead of the profile's; the CIDs are then not the profile's.
    #[arg(long, value_name = "size-N", value_parser = chunker)]
    pub chunker: Option<usize>,
}

impl CutArgs {
    pub(crate) fn cut(&self) -> Cut {
        Cut { hidden: self.hidden, profile: self.profile.to_string(), chunk_bytes: self.chunker }
    }
}

/// Reads `size-N`, the one chunker there is.
fn chunker(text: &str) -> Result<usize, String> {
    let size = text.strip_prefix("size-").and_then(|size| size.parse().ok());
    let fits = size.filter(|size| (1..=CHUNK_BYTES_MAX).contains(size));
    fits.ok_or_else(|| format!("a chunker is size-N, with N from 1 to {CHUNK_BYTES_MAX}"))
}

/// Import a file or folder into the node's store and pin it, without placing it anywhere.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll import ./photos\n  atoll import big.iso --offline\n  \
    pg_dump shop | atoll import - --stdin-name shop.sql\n  atoll import --tar site.tar\n  \
    curl … | tar xzO | atoll import -\n  atoll import ./old --profile unixfs-v0-2015\n  atoll import --kubo-repo ~/.ipfs")]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct ImportArgs {
    /// Folder or file; `-` is standard input, as one file.
    #[arg(group = "source")]
    pub path: Option<PathBuf>,
    /// Put the file of standard input under this name into a folder.
    #[arg(long, value_name = "NAME", requires = "path")]
    pub stdin_name: Option<String>,
    /// Tar archive to import as the folder that it would be unpacked to; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    pub tar: Option<PathBuf>,
    /// CAR to import, as `atoll car import` does; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["offline", "hidden", "profile", "chunker"])]
    pub car: Option<PathBuf>,
    /// Folder of a Kubo repository (`~/.ipfs`) to take over: its blocks, its pins, and its keys into the keyring. Kubo must not
    /// be running; nothing is changed there.
    #[arg(long, value_name = "DIR", group = "source", conflicts_with_all = ["hidden", "profile", "chunker", "name"])]
    pub kubo_repo: Option<PathBuf>,
    #[command(flatten)]
    pub cut: CutArgs,
    /// Name of the pin.
    #[arg(long, default_value = "import")]
    pub name: String,
    /// Open the store of a stopped node directly.
    #[arg(long)]
    pub offline: bool,
    /// Do not wait until the disk has it (it survives a crash of the process, not of the machine); no pin is made.
    #[arg(long, requires = "offline")]
    pub no_sync: bool,
}

/// Fetch a file or folder, verified block by block, from several nodes at once.
///
/// An interrupted download goes on where it was: what lies in `NAME.part` is checked against the file's hashes.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll get bafy…/index.html -o index.html\n  \
    atoll get http://bafy….ipfs.localhost:8080/map.png\n  atoll get bafy… --from http://192.0.2.7:8080 -o site/\n  \
    atoll get bafy…/robots.txt -o -")]
pub(crate) struct GetArgs {
    /// CID, CID/path, /ipfs/CID/path, or a gateway's URL of it.
    pub target: String,
    /// Where to write; `-` is standard output; default: the last name of the path, or the CID.
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Gateway to fetch from, beside those it knows of; may be repeated. Default: the running node.
    #[arg(long, value_name = "URL")]
    pub from: Vec<String>,
    /// Give up on a block after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
}

/// Who holds a site or a root, as the running node sees it.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll status\n  atoll status blog\n  atoll status bafy…\n\n\
    Exits with 1 when copies are below the target.")]
pub(crate) struct StatusArgs {
    /// Site id, name of a site key, or CID of a root; without it: the node itself.
    pub target: Option<String>,
}

/// List a directory, or without a CID the sites and pins of the node.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll ls\n  atoll ls bafy…/images")]
pub(crate) struct LsArgs {
    /// CID or CID/path.
    pub target: Option<String>,
}

/// Pins: roots that garbage collection keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// Pin a root, fetching what is missing.
    Add {
        /// Root.
        cid: String,
        /// Name of the pin; a root stays as long as any name pins it.
        #[arg(long, default_value = "pin")]
        name: String,
    },
    /// Take a pin back.
    Rm {
        /// Root.
        cid: String,
        /// Name of the pin.
        #[arg(long, default_value = "pin")]
        name: String,
    },
    /// List pins.
    Ls,
}

/// Remove blocks that no pin needs.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  atoll gc\n  atoll gc --json\n\nGoes through the running node, else opens the store."
)]
pub(crate) struct GcArgs {}

/// Content archives (CARv1 in and out, CARv2 in).
#[derive(Debug, Subcommand)]
pub(crate) enum CarCommand {
    /// Import a CAR: every block verified, roots pinned when their DAGs are whole.
    #[command(after_help = "Examples:\n  atoll car import site.car\n  curl … | atoll car import -")]
    Import {
        /// File, or `-`.
        file: PathBuf,
        /// Name of the pin.
        #[arg(long, default_value = "car")]
        name: String,
        /// Keep the blocks without a pin, as for DAGs that lack some: garbage collection removes them.
        #[arg(long)]
        no_pin: bool,
    },
    /// Export a DAG as its canonical CAR, the same bytes as `ipfs dag export`.
    #[command(
        after_help = "Examples:\n  atoll car export bafy… -o site.car\n  atoll car export bafy… | ipfs dag import"
    )]
    Export {
        /// Root.
        cid: String,
        /// Where to write; default: standard output.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

/// The block store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read and hash every block, and name the damaged ones.
    ///
    /// A running node then fetches those that its pins need from other members. Exits with 1 when damage remains.
    #[command(after_help = "Examples:\n  atoll store verify\n  atoll store verify --dir /srv/atoll --json")]
    Verify,
}

/// The members that the running node knows, or the peers that it is connected with.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll peers\n  atoll peers --swarm\n  atoll peers --json")]
pub(crate) struct PeersArgs {
    /// Peers that are connected over libp2p, members or not.
    #[arg(long)]
    pub swarm: bool,
}

/// Print completions for a shell.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll completions bash > /etc/bash_completion.d/atoll\n  \
    atoll completions zsh > ~/.zfunc/_atoll")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    pub shell: clap_complete::Shell,
}
