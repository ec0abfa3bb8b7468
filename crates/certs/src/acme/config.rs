//! What an operator can set about ACME. Plain data; a crash loses nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::demand::is_host;

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
    /// Certificates for names that clients ask for, beside `names`.
    pub on_demand: OnDemand,
}

/// Certificates for names that clients ask for. The first client waits for it, as long as `gateway.tls.handshake_timeout` lets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnDemand {
    /// Who says whether a name may have one: a URL, which is asked with `?domain=NAME` behind it. 200 is yes, and everything else no.
    /// Empty: no certificate is asked for on demand.
    pub ask: String,
    /// How long a yes holds.
    #[serde(with = "humantime_serde")]
    pub allowed_for: Duration,
    /// How long a no holds, and that there was no answer.
    #[serde(with = "humantime_serde")]
    pub refused_for: Duration,
    /// The most names that have one.
    pub names: usize,
    /// The most orders on demand in an hour.
    pub per_hour: u32,
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
            on_demand: OnDemand::default(),
        }
    }
}

impl Default for OnDemand {
    fn default() -> Self {
        Self {
            ask: String::new(),
            allowed_for: Duration::from_secs(3_600),
            refused_for: Duration::from_secs(60),
            names: 1_000,
            per_hour: 60,
        }
    }
}

impl OnDemand {
    fn check(&self, problems: &mut Vec<String>) {
        let ask = self.ask.parse::<http::Uri>().ok();
        let is_plain = ask.is_some_and(|ask| ask.host().is_some() && ask.scheme().is_some() && ask.query().is_none());
        if !self.ask.is_empty() && !is_plain {
            problems.push(format!("acme.on_demand.ask: {:?} is no http or https URL without a query", self.ask));
        }
        if self.names > NAMES_MAX * 10 {
            problems.push(format!("acme.on_demand.names: {} are over the limit of {}", self.names, NAMES_MAX * 10));
        }
    }
}

impl Acme {
    /// Whether anybody may ever be asked for a certificate.
    pub fn is_used(&self) -> bool {
        !self.names.is_empty() || !self.on_demand.ask.is_empty()
    }

    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        self.on_demand.check(problems);
        for (setting, count, most) in
            [("names", self.names.len(), NAMES_MAX), ("authorities", self.authorities.len(), AUTHORITIES_MAX)]
        {
            if count > most {
                problems.push(format!("acme.{setting}: {count} are over the limit of {most}"));
            }
        }
        for name in self.names.iter().filter(|name| !is_host(name)) {
            problems
                .push(format!("acme.names: {name:?} is not a host name in lower case; wildcards cannot be had here"));
        }
        if self.is_used() && self.authorities.is_empty() {
            problems.push("acme.authorities: names nobody who issues certificates".to_owned());
        }
        if self.is_used() && !self.agree {
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
