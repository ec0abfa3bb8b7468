//! What an operator can set about ACME. Plain data; a crash loses nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::is_name;

/// The most names.
const NAMES_MAX: usize = 1_000;
/// The most authorities.
const AUTHORITIES_MAX: usize = 8;

/// Certificates by ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// Host names that each get a certificate. They must lead to this node: over port 80 to `gateway.listen`, or over port 443 to
    /// `gateway.tls.listen`.
    pub names: Vec<String>,
    /// Who issues them, the next when one does not: `[{ directory = "https://…/directory" }]`, with `roots = "/…/ca.pem"` for one
    /// that only some trust, `profile = "shortlived"`, and `key_id` and `key_file` for an account that was made elsewhere.
    pub authorities: Vec<Authority>,
    /// Where authorities reach the operator, such as `mailto:edge@example.org`; empty: nowhere.
    pub contact: String,
    /// Whether the operator agrees to the authorities' terms of service. Without that nothing is asked for.
    pub agree: bool,
    /// How long an authority rests after it gave no certificate for a name; twice as long each time.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
    /// The longest that it rests.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
}

/// Who issues certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authority {
    /// URL of its directory.
    pub directory: String,
    /// Its roots, as PEM; empty: those of this machine.
    pub roots: PathBuf,
    /// The kind of certificate to ask for; empty: what it gives by default.
    pub profile: String,
    /// The id of an account made elsewhere, if it asks for one (RFC 8555, section 7.3.4).
    pub key_id: String,
    /// The file with that account's key, in base64url.
    pub key_file: PathBuf,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            authorities: Vec::new(),
            contact: String::new(),
            agree: false,
            retry: Duration::from_secs(60),
            retry_max: Duration::from_secs(6 * 3_600),
        }
    }
}

impl Acme {
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        for (setting, count, most) in
            [("names", self.names.len(), NAMES_MAX), ("authorities", self.authorities.len(), AUTHORITIES_MAX)]
        {
            if count > most {
                problems.push(format!("acme.{setting}: {count} are over the limit of {most}"));
            }
        }
        for name in self.names.iter().filter(|name| !is_name(name) || name.starts_with("*.") || !name.contains('.')) {
            problems
                .push(format!("acme.names: {name:?} is not a host name in lower case; wildcards cannot be had here"));
        }
        if !self.names.is_empty() && self.authorities.is_empty() {
            problems.push("acme.authorities: names nobody who issues certificates".to_owned());
        }
        if !self.names.is_empty() && !self.agree {
            problems.push("acme.agree: must be true: authorities ask for agreement to their terms".to_owned());
        }
        for authority in &self.authorities {
            if !authority.directory.starts_with("https://") {
                problems.push(format!("acme.authorities: {:?} is no https URL", authority.directory));
            }
            if authority.key_id.is_empty() != authority.key_file.as_os_str().is_empty() {
                problems.push("acme.authorities: key_id and key_file belong together".to_owned());
            }
        }
        if self.retry < Duration::from_millis(100) || self.retry > self.retry_max {
            problems.push("acme.retry: must lie between 100 ms and acme.retry_max".to_owned());
        }
    }
}
