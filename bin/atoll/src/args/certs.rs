//! What can be typed after `atoll certs`.

use clap::Subcommand;

/// Certificates that authorities issued to this node (certs.acme).
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Have the authority take a certificate back, because its key may be known to others, say.
    ///
    /// Another one is asked for at once, with a new key; until it is there the old one serves.
    #[command(after_help = "Examples:\n  atoll certs revoke shop.example --reason key-compromise\n  \
        atoll certs revoke old.example --reason cessation-of-operation --not-again\n\n\
        With --not-again the name has no certificate from then on; after the next start one is asked for again, unless \
        the name has left certs.acme.names.")]
    Revoke {
        /// Host name of the certificate.
        name: String,
        /// What the authority is told.
        #[arg(long, default_value = "unspecified",
              value_parser = ["unspecified", "key-compromise", "superseded", "cessation-of-operation"])]
        reason: String,
        /// Do not ask for another one.
        #[arg(long)]
        not_again: bool,
    },
}
