//! What can be typed after `atoll verify`.

use clap::Args;

/// Check one signed answer: its body, its signature, and that it is what the site's own blocks say.
///
/// Trusts nobody on the way: the answer is fetched with a fresh nonce, its body hashed, the signature checked against the node that it
/// names; then all blocks of the site are fetched, each checked against its CID, and the manifest is made of them anew. What is
/// signed is under docs/signed-answers.md.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  atoll verify http://bafy….ipfs.localhost:8080/index.html\n  \
    atoll verify https://site.example/ --signer 0x5c0f… --json\n  atoll verify http://192.0.2.7:8080/ipfs/bafy…/map.png --quick\n\n\
    Exits with 0 when the answer is ok, 1 when it is bad or cannot be had, 3 when it is unsigned: no fault, much is never signed.")]
pub(crate) struct VerifyArgs {
    /// URL of the answer; redirects are checked, not followed.
    pub url: String,
    /// The node that must have signed: its id, as `atoll status` shows it. Default: any.
    #[arg(long, value_name = "ID")]
    pub signer: Option<String>,
    /// The version that must have been signed for: its bundle, as `atoll publish --json` prints it. One proof is fetched then, not the site.
    #[arg(long, value_name = "ID", conflicts_with = "quick")]
    pub bundle: Option<String>,
    /// Do not fetch the site: check the signature and the body alone.
    #[arg(long)]
    pub quick: bool,
    /// Ask without a nonce, for the signature that others get.
    #[arg(long)]
    pub reused: bool,
    /// Give up on a request after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}
