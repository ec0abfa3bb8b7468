//! What is said about forgetting what is stored of origins' answers.

use serde::{Deserialize, Serialize};

/// `POST /v1/purge`: what is to be forgotten of origins' answers. Without a URL: everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// A URL as visitors write it; its scheme makes no difference.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether all that begin with it are meant.
    #[serde(default)]
    pub prefix: bool,
    /// A group of its host, instead.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether it is only to be validated before it is used again.
    #[serde(default)]
    pub soft: bool,
}

/// The answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Purged {
    /// Always true: from now on nothing of it is served, what was on its way included.
    pub purged: bool,
}
