//! Keys, and the names that they sign.

use std::path::PathBuf;

use clap::Subcommand;

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
