//! What is said about certificates.

use serde::{Deserialize, Serialize};

/// `POST /v1/certs/revoke`: a certificate by ACME is to be taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The host name that it is for.
    pub name: String,
    /// Why: `unspecified`, `key-compromise`, `superseded` or `cessation-of-operation`.
    pub reason: String,
    /// Whether another one is to be had in its place.
    pub again: bool,
}

/// The answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// The host name.
    pub name: String,
    /// Whether another one serves already.
    pub issued: bool,
}
