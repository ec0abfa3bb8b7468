//! What can be typed. Help texts are goldens in `docs/cli.md`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// A decentralized edge for the web: publish a folder, and independent nodes serve it, verified.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Start here:\n  atoll demo                    five nodes on this machine, a site on three of them\n  \
    atoll node                    run a node\n  atoll publish ./dist          publish a folder through it\n\n\
    Without a running node work: demo, node, publish --only-hash, import --offline, get --from, store verify, gc, key, \
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
    Demo(DemoArgs),
    Publish(PublishArgs),
    Import(ImportArgs),
    Get(GetArgs),
    Status(StatusArgs),
    Ls(LsArgs),
    #[command(subcommand)]
    Pin(PinCommand),
    Gc(GcArgs),
    #[command(subcommand)]
    Car(CarCommand),
    #[command(subcommand)]
    Store(StoreCommand),
    #[command(subcommand)]
    Key(KeyCommand),
    #[command(subcommand)]
    Deny(DenyCommand),
    Peers(PeersArgs),
    Config(SettingArgs),
    Completions(CompletionsArgs),
}

/// Run a node until it is told to stop.
///
/// SIGTERM or Ctrl-C drains: no new connections, requests in flight end, then the store closes. A second one stops at once.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll node\n  atoll node --dir /srv/atoll --gateway-listen 0.0.0.0:8080\n  \
    atoll node --seed http://192.0.2.7:8080 --set store.bytes_max=100000000000")]
pub(crate) struct NodeArgs {
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
    /// Kill each node in turn while a client loads the site, let one member lie, and report.
    #[arg(long)]
    pub drill: bool,
    /// The site to publish; default: examples/site.
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// First of the ten ports for gateways and admin listeners; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// A member that lies, for the drill: not for use by hand.
    #[arg(long, hide = true, value_name = "GATEWAY")]
    pub liar: Vec<String>,
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
    /// Take hidden files too (`.well-known` is always taken).
    #[arg(long)]
    pub hidden: bool,
    /// How long the placement counts, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    pub days: u64,
    /// How long to wait for the copies, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// Import a file or folder into the node's store and pin it, without placing it anywhere.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll import ./photos\n  atoll import big.iso --offline")]
pub(crate) struct ImportArgs {
    /// Folder or file.
    pub path: PathBuf,
    /// Take hidden files too (`.well-known` is always taken).
    #[arg(long)]
    pub hidden: bool,
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

/// The publisher's keyring. It lies beside the CLI, never on a node.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key.
    #[command(after_help = "Examples:\n  atoll key new blog\n  atoll key new lagoon --operator")]
    New {
        /// Name: lower-case letters, digits, `-`, `_`, `.`.
        name: String,
        /// A key of an operator instead of a site.
        #[arg(long)]
        operator: bool,
    },
    /// List the keys.
    List,
    /// Print a key's public parts.
    Show {
        /// Name.
        name: String,
    },
    /// Say with an operator's key that a node is its own; give the file to the node (node.operator_certificate).
    #[command(after_help = "Examples:\n  atoll key certify lagoon --peer 12D3KooW… -o operator.json")]
    Certify {
        /// Name of the operator's key.
        name: String,
        /// The node's peer id (`atoll status`, or `atoll key peer-id`).
        #[arg(long)]
        peer: String,
        /// Label for people; default: the key's name.
        #[arg(long)]
        label: Option<String>,
        /// How long it counts, in days.
        #[arg(long, default_value_t = 3650)]
        days: u64,
        /// Where to write; default: standard output.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Print the peer id of the node in --dir, making its keys if it has none.
    PeerId,
    /// Print a secret key as PKCS#8 PEM, for a backup.
    Export {
        /// Name.
        name: String,
    },
    /// Take in a PKCS#8 PEM Ed25519 key.
    Import {
        /// Name.
        name: String,
        /// File, or `-`.
        file: PathBuf,
        /// A key of an operator instead of a site.
        #[arg(long)]
        operator: bool,
    },
}

/// What this node does not show: the operator's own list, `local.deny` in the node's folder (IPIP-383).
///
/// Works with and without a running node, which takes a change up at once. Lists of others are set with deny.lists.
#[derive(Debug, Subcommand)]
pub(crate) enum DenyCommand {
    /// Take something down: from now on it is answered 410 or 451, in every form.
    #[command(after_help = "Examples:\n  atoll deny add bafy… --reason \"notice 17\" --status 451\n  \
        atoll deny add https://bafy….ipfs.example.com/page.html\n  atoll deny add /ipns/site.example\n\n\
        A CID or name is denied with all below it; a path is denied alone unless it ends with `*`, and what it leads to \
        can still be had by its own CID: deny that too.")]
    Add {
        /// CID, /ipfs/… or /ipns/… path, URL, host name, or //double-hash.
        subject: String,
        /// Why, for the list; visitors do not see it.
        #[arg(long, default_value = "")]
        reason: String,
        /// 410 (Gone), or 451 (Unavailable For Legal Reasons).
        #[arg(long, default_value_t = 410, value_parser = clap::value_parser!(u16).range(410..=451))]
        status: u16,
    },
    /// Take a rule back.
    #[command(alias = "rm")]
    Remove {
        /// As it was added.
        subject: String,
    },
    /// Print the rules of the operator's own list.
    #[command(alias = "ls")]
    List,
    /// Say whether something is denied, and which rule of which list says so. Exits with 1 when it is.
    #[command(after_help = "Examples:\n  atoll deny check bafy…\n  atoll deny check /ipns/site.example/page --json")]
    Check {
        /// CID, path, URL or host name.
        subject: String,
    },
}

/// The members that the running node knows.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll peers\n  atoll peers --json")]
pub(crate) struct PeersArgs {}

/// Print completions for a shell.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  atoll completions bash > /etc/bash_completion.d/atoll\n  \
    atoll completions zsh > ~/.zfunc/_atoll")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    pub shell: clap_complete::Shell,
}
