//! What can be typed. Help texts are goldens in `docs/cli.md`.

use std::path::PathBuf;

use atoll_content::import::{CHUNK_BYTES_MAX, Profile};
use atoll_node::api::Cut;
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
    Name(NameCommand),
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
    /// Print a secret key, for a backup or for another program.
    #[command(after_help = "Examples:\n  atoll key export blog > blog.pem\n  \
        atoll key export blog --form libp2p > blog.key    for `ipfs key import blog blog.key`")]
    Export {
        /// Name.
        name: String,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = KeyForm::Pem)]
        form: KeyForm,
    },
    /// Take in an Ed25519 key: PKCS#8 PEM, or as `ipfs key export` writes it.
    #[command(after_help = "Examples:\n  atoll key import blog blog.pem\n  \
        ipfs key export blog -o - | atoll key import blog -\n  \
        ipfs key export blog -f pem-pkcs8-cleartext -o blog.pem && atoll key import blog blog.pem")]
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

/// How a secret key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyForm {
    /// PKCS#8 PEM, which OpenSSL and Kubo read (`pem-pkcs8-cleartext`).
    Pem,
    /// libp2p's protobuf, which Kubo reads (`libp2p-protobuf-cleartext`).
    Libp2p,
}

/// Names (IPNS): the key of a site is also the name under which every IPFS gateway finds it.
///
/// NAME is an IPNS name in any form (k51…, 12D3KooW…, Qm…), a host name (DNSLink), or the name of a site key in the
/// keyring.
#[derive(Debug, Subcommand)]
pub(crate) enum NameCommand {
    /// Point a site's name at content, through the running node.
    ///
    /// `atoll publish` does this by itself. The node is asked for the last record first, so that of two machines with one
    /// key neither undoes what the other published; it passes the record on to members and puts it again until it expires.
    #[command(after_help = "Examples:\n  atoll name publish blog bafy…\n  \
        atoll name publish blog /ipfs/bafy…/2026 --days 7 --ttl 60\n  atoll name publish www /ipns/k51…")]
    Publish {
        /// Name of the site key in the keyring; it must be there.
        key: String,
        /// CID, /ipfs/CID/path or /ipns/NAME/path.
        target: String,
        /// How long the record counts, in days.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        days: u64,
        /// How long it may be cached, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        ttl: u64,
    },
    /// What a name stands for now, over however many names it leads.
    #[command(
        after_help = "Examples:\n  atoll name resolve k51…\n  atoll name resolve example.org\n  atoll name resolve blog"
    )]
    Resolve {
        /// See above.
        name: String,
    },
    /// Show a name's record: what it points at, its sequence, its end of life.
    ///
    /// Exits with 1 when the record is not valid or has expired.
    #[command(after_help = "Examples:\n  atoll name show blog\n  atoll name show k51… --latest")]
    Show {
        /// See above.
        name: String,
        /// Ask members for a newer one first.
        #[arg(long)]
        latest: bool,
    },
    /// List the records that the node keeps.
    List,
    /// Write a name's record as it was signed, for `ipfs routing put` or `ipfs name inspect`.
    #[command(after_help = "Examples:\n  atoll name export blog -o blog.ipns-record\n  \
        atoll name export k51… | ipfs name inspect --verify k51…")]
    Export {
        /// See above.
        name: String,
        /// Where to write; default: standard output.
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Load records that others signed, such as those of `ipfs name get`, into the node.
    ///
    /// They are kept as they are: visitors of one that is not valid are told so. A file's name up to `.` or `_` is the
    /// name; in a folder, files that are no `.ipns-record` are left out. Exits with 1 when one was refused.
    #[command(
        after_help = "Examples:\n  ipfs name get k51… > k51….ipns-record && atoll name import k51….ipns-record\n  \
        atoll name import records/\n  atoll name import - --name k51…"
    )]
    Import {
        /// File, folder, or `-`.
        path: PathBuf,
        /// Whose record it is; default: as the file is called.
        #[arg(long)]
        name: Option<String>,
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
