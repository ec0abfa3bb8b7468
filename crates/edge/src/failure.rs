//! What can go wrong with a request, named by cause. What a client sees of it is decided in `respond/error.rs`.

use std::time::Duration;

use atoll_content::ReadError;
use atoll_core::site::RedirectsError;
use atoll_core::{Denied, NameError, TransportError};
use atoll_fallback::OriginError;
use http::StatusCode;

use crate::front::Spent;

/// The steps of a request, as an error page names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Finding out what a name points at.
    Name,
    /// Walking the path.
    Resolve,
    /// Getting the first bytes of what it names.
    Read,
    /// Reading a directory's entries.
    List,
    /// Receiving the body of the request.
    Body,
    /// Answering a member.
    Message,
}

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no Host header")]
    HostMissing,
    #[error("more than one host, or a malformed one")]
    HostMalformed,
    #[error("a field that may not be sent so")]
    FieldMalformed,
    #[error("no gateway of that name")]
    HostUnknown,
    #[error("malformed CID")]
    CidMalformed,
    #[error("malformed name")]
    NameMalformed,
    #[error("no content path: {0}")]
    NoContentPath(String),
    #[error("a host label of {0} bytes")]
    LabelTooLong(usize),
    #[error("malformed path: {0}")]
    PathMalformed(&'static str),
    #[error("malformed query: {0}")]
    QueryMalformed(&'static str),
    #[error("nothing is served under that path")]
    NoRoute,
    #[error("the method is not one of: {0}")]
    Method(&'static str),
    #[error("the content is of codec 0x{0:x}, which cannot be shown in the form asked for")]
    Codec(u64),
    #[error("the path ends inside a block of IPLD data")]
    InsideBlock,
    #[error("a service worker cannot be scoped to a directory without its slash")]
    ServiceWorker,
    #[error("asked for what is held here, and it is not")]
    OnlyIfCached,
    #[error("the address has too many requests in flight")]
    TooManyRequests,
    #[error("too many requests wait (limits.waiting)")]
    TooManyWaiting,
    #[error("the address is being sent too much at once")]
    TooMuchAtOnce,
    #[error("all memory for answers is taken (limits.sending_mib)")]
    Crowded,
    #[error("name: {0}")]
    Name(#[from] NameError),
    #[error("an IPNS record is asked for, and the path names none")]
    NoRecord,
    #[error("a proof is asked for, and the site has no bundle here")]
    NoProof,
    #[error("denied by the operator: {}", .0.status())]
    Denied(Denied),
    #[error("{0}")]
    Redirects(#[from] RedirectsError),
    #[error("line {line} of _redirects names a page for {status} that is not there")]
    PageMissing {
        /// The status that the page was to have.
        status: StatusCode,
        /// The line, counted from 1.
        line: usize,
    },
    #[error("{step:?}: {cause}")]
    Read {
        /// Where.
        step: Step,
        /// Why.
        cause: ReadError,
    },
    #[error("{step:?}: not done within {limit:?}")]
    TimedOut {
        /// Where.
        step: Step,
        /// The limit.
        limit: Duration,
    },
    #[error("the content type is not application/vnd.ipld.dag-cbor")]
    MessageType,
    #[error("the message is over the limit of its size")]
    MessageTooLarge,
    #[error("the message broke off")]
    MessageBroken,
    #[error("the body of the request is over the limit of its size")]
    UploadTooLarge,
    #[error("the body of the request broke off")]
    UploadBroken,
    #[error("asked for what is stored here, and nothing is")]
    OnlyIfStored,
    #[error("the site has used up its quota (sites.quota.{})", .0.name())]
    Spent(Spent),
    #[error("origin: {0}")]
    Origin(#[source] OriginError),
    #[error("neither what was published of the site nor its servers answer")]
    Neither,
    #[error("a drill has what was published of the site dead")]
    Drilled,
    #[error("the site is being worked on (maintenance)")]
    Maintenance,
    #[error("a member's message: {0}")]
    Message(#[source] TransportError),
}

impl Failure {
    /// Says at which step reading failed.
    pub(crate) fn reading(step: Step) -> impl Fn(ReadError) -> Self {
        move |cause| Self::Read { step, cause }
    }
}
