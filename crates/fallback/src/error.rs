//! Why an origin did not answer.

use std::time::Duration;

/// The steps of a request to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Until the head of the answer.
    Head,
    /// Between two parts of its body.
    Body,
}

/// Why an origin did not answer, or not to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// No connection came about.
    #[error("cannot connect to {origin}: {cause}")]
    Connect {
        /// Which origin.
        origin: String,
        /// Why.
        cause: String,
    },
    /// It took too long.
    #[error("{step:?}: nothing came from the origin within {limit:?}")]
    TimedOut {
        /// Where.
        step: Step,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the connection to the origin broke: {0}")]
    Broken(String),
    /// The visitor's body did not arrive.
    #[error("the body of the request broke off: {0}")]
    Upload(String),
    /// The request came through here before (RFC 8586).
    #[error("the request came through this node before: its origin leads back here")]
    Loop,
    /// It is a bucket, and the request is not for reading.
    #[error("the origin is a bucket, of which objects are read and nothing else")]
    ReadOnly,
    /// It is a bucket, and the path leads out of it.
    #[error("the path leads out of the bucket")]
    Outside,
    /// The origin has not agreed that the site stands before it.
    #[error("{origin} names the site neither in its /.well-known/atoll nor in a TXT record")]
    NotAgreed {
        /// Which origin.
        origin: String,
    },
    /// As many requests are in flight, and wait, as may.
    #[error("{origin} has as many requests in flight as it may (requests, pending)")]
    Crowded {
        /// Which origin.
        origin: String,
    },
    /// The site has no origin.
    #[error("the site has no origin")]
    None,
}

/// The text of an error and of all its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
