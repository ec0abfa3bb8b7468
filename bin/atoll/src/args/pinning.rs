//! What can be typed after `atoll pinning`.

use clap::Subcommand;

/// Remote pinning: who may have this node pin for them (the IPFS Pinning Service API).
///
/// Needs a running node that has pinning.listen and swarm.listen set.
#[derive(Debug, Subcommand)]
pub(crate) enum PinningCommand {
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Access tokens of publishers.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a publisher. It is shown this once; the node keeps its hash only.
    #[command(after_help = "Examples:\n  atoll pinning token add blog --quota 10GiB\n  \
        atoll pinning token add mirror --quota 2TiB --allow bafy… --allow bafy…\n\nThen, on the publisher's machine:\n  \
        ipfs pin remote service add atoll http://192.0.2.7:8082 TOKEN\n  \
        ipfs pin remote add --service=atoll --name=site bafy…")]
    Add {
        /// Name of the publisher: letters, digits, `.`, `_`, `-`.
        name: String,
        /// The most bytes of its DAGs: a number, or one with KiB, MiB, GiB or TiB.
        #[arg(long, value_name = "BYTES", value_parser = byte_count)]
        quota: u64,
        /// Root that it may pin, or `any`; may be repeated.
        #[arg(long, value_name = "CID|any", default_value = "any")]
        allow: Vec<String>,
    },
    /// List publishers, their quotas, and what they use.
    #[command(alias = "ls", after_help = "Examples:\n  atoll pinning token list\n  atoll pinning token list --json")]
    List,
    /// Make a publisher's token worthless. What it pinned stays, unless --pins is said.
    #[command(
        alias = "rm",
        after_help = "Examples:\n  atoll pinning token revoke blog\n  atoll pinning token revoke blog --pins"
    )]
    Revoke {
        /// Name of the publisher.
        name: String,
        /// Let go of all that it pinned, and forget the publisher.
        #[arg(long)]
        pins: bool,
    },
}

/// Reads `10GiB`.
fn byte_count(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let shift = match text.strip_prefix(digits).unwrap_or_default().trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err("a number of bytes, or one with KiB, MiB, GiB or TiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a whole number".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(byte_count("10GiB"), Ok(10 << 30));
        assert_eq!((byte_count("0"), byte_count("7 MiB"), byte_count("5B")), (Ok(0), Ok(7 << 20), Ok(5)));
        for wrong in ["", "GiB", "1.5GiB", "10GB", "-1", "99999999999TiB"] {
            assert!(byte_count(wrong).is_err(), "{wrong}");
        }
    }
}
