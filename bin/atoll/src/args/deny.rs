//! What can be typed after `atoll deny`.

use clap::Subcommand;

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
