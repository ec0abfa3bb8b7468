//! What can go wrong, and how a publisher is told: the `Failure` object of the API.

use std::path::PathBuf;

use http::StatusCode;
use serde_json::json;

use crate::filter::QueryError;
use crate::request::RequestId;
use crate::wire::PinError;

/// Why something is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such publisher.
    #[error("there is no publisher `{0}`")]
    NoPublisher(String),
    /// A name that is none.
    #[error("`{0}` is no name for a publisher: it takes 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`")]
    PublisherName(String),
    /// It has a token already.
    #[error("`{0}` has a token already; revoke it first")]
    HasToken(String),
    /// Too many publishers.
    #[error("there are {0} publishers, as many as are kept")]
    PublishersMax(usize),
    /// The publisher may not pin this.
    #[error("this token may not pin {0}")]
    NotAllowed(String),
    /// The publisher has used up its quota.
    #[error("{used} of {quota} bytes are used")]
    QuotaUsed {
        /// Bytes of its pins.
        used: u64,
        /// The most.
        quota: u64,
    },
    /// The publisher has as many requests as it may have.
    #[error("there are {0} pin requests, as many as this service keeps for one token; remove some")]
    RequestsMax(usize),
    /// There is no such request.
    #[error("there is no pin request {0}")]
    NoRequest(RequestId),
    /// `getrandom` failed.
    #[error("the operating system gave no randomness")]
    Randomness,
    /// The database failed.
    #[error("{path}: {cause}", path = .path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// What it said.
        cause: String,
    },
    /// A row that this program cannot read. Nothing is guessed, since what is not known here would be unpinned.
    #[error("{path}: {what} cannot be read; restore the file from a backup, or run the version that wrote it", path = .path.display())]
    Row {
        /// The database's file.
        path: PathBuf,
        /// Which row.
        what: String,
    },
}

/// An answer that says why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The body is no pin.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The query is none.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// No token, or one that is not known.
    #[error("the access token is missing or not valid")]
    Unauthorized,
    /// What the publisher asked of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator does not pin it.
    #[error("this service does not pin {0}")]
    Denied(String),
    /// No such path.
    #[error("there is nothing here but /pins and /pins/REQUESTID")]
    Path,
    /// No such method.
    #[error("this path does not take the method {0}")]
    Method(String),
    /// The body is too large.
    #[error("the body is over {0} bytes")]
    BodyTooLarge(usize),
    /// The body broke off, or did not come.
    #[error("the body did not come")]
    Body,
    /// Another host is meant.
    #[error("this listener answers by IP address, localhost, or pinning.hosts")]
    Host,
    /// A web page of another origin.
    #[error("requests from web pages of this origin are refused (pinning.allowed_origins)")]
    Origin,
}

impl Failure {
    /// Its status, and the reason for machines.
    pub fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Pin(_) | Self::Query(_) | Self::Body => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Denied(_) => (StatusCode::FORBIDDEN, "DENIED"),
            Self::Path => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE"),
            Self::Host => (StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED"),
            Self::Origin => (StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED"),
            Self::Store(error) => match error {
                StoreError::NotAllowed(_) => (StatusCode::FORBIDDEN, "NOT_ALLOWED"),
                StoreError::NoRequest(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
                StoreError::QuotaUsed { .. } | StoreError::RequestsMax(_) => {
                    (StatusCode::CONFLICT, "INSUFFICIENT_FUNDS")
                }
                // Revoked while its request was under way.
                StoreError::NoPublisher(_) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
            },
        }
    }

    /// The `Failure` object.
    pub(crate) fn body(&self) -> Vec<u8> {
        let (status, reason) = self.code();
        // What went wrong inside is for the log.
        let details =
            if status.is_server_error() { "the request was not carried out".to_owned() } else { self.to_string() };
        json!({ "error": { "reason": reason, "details": details } }).to_string().into_bytes()
    }
}
