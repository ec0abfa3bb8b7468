//! Fetching an answer as it is: nothing followed, nothing decoded, the body hashed as it comes.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail};
use atoll_core::signed::{self, NONCE};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST};
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest as _, Sha256};

/// The most bytes of a body: as many as the files of a bundle hold together.
const BODY_BYTES_MAX: u64 = 8 << 30;

/// A URL of HTTP or HTTPS, as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Url {
    uri: Uri,
    authority: String,
    secure: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// SHA-256 of its body.
    pub(super) digest: [u8; 32],
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().with_context(|| format!("`{text}` is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("`{text}` is no URL of http or https"),
        };
        let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        if authority.contains('@') || signed::authority(&authority, secure).is_none() {
            bail!("`{text}` names no host");
        }
        Ok(Self { uri, authority, secure })
    }

    /// Its authority as answers are signed for it.
    pub(super) fn signed_authority(&self) -> String {
        signed::authority(&self.authority, self.secure).map(Cow::into_owned).unwrap_or_default()
    }

    /// Its host, without the port.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Another path of the same host.
    pub(super) fn at(&self, path_and_query: &str) -> Result<Self> {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(path_and_query.parse()?);
        Ok(Self { uri: Uri::from_parts(parts)?, ..self.clone() })
    }

    /// Where to connect: every name under localhost is this machine (RFC 6761, section 6.3).
    fn connected(&self) -> Result<Uri> {
        let name = self.host();
        if self.secure || !(name == "localhost" || name.ends_with(".localhost")) {
            return Ok(self.uri.clone());
        }
        let mut parts = self.uri.clone().into_parts();
        let port = self.uri.port_u16().unwrap_or(80);
        parts.authority = Some(format!("127.0.0.1:{port}").parse()?);
        Ok(Uri::from_parts(parts)?)
    }
}

impl Fetched {
    /// A field as signatures see it: of several lines, all joined (RFC 9421, section 2.1).
    pub(super) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.headers.get_all(name).iter().map(|value| value.to_str().ok().map(str::trim));
        let first = values.next()??;
        values.try_fold(Cow::Borrowed(first), |all, value| Some(format!("{all}, {}", value?).into()))
    }
}

/// A fresh nonce.
pub(super) fn nonce() -> Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| anyhow::anyhow!("the operating system gave no randomness"))?;
    Ok(nonce)
}

/// Sends a request, and returns its answer's head with the body to come.
pub(super) async fn send(url: &Url, nonce: Option<&[u8; 32]>, accept: &str) -> Result<http::Response<Incoming>> {
    let client = Client::builder(TokioExecutor::new()).build(atoll_trust::over(HttpConnector::new()));
    let mut request = Request::get(url.connected()?).header(HOST, &url.authority);
    request = request.header(ACCEPT, accept).header(ACCEPT_ENCODING, "identity");
    if let Some(nonce) = nonce {
        request = request.header(NONCE, signed::hex(nonce));
    }
    client
        .request(request.body(Empty::<Bytes>::new())?)
        .await
        .with_context(|| format!("{} does not answer", url.authority))
}

/// Fetches an answer and hashes its body.
pub(super) async fn get(url: &Url, nonce: Option<&[u8; 32]>) -> Result<Fetched> {
    let (head, mut body) = send(url, nonce, "*/*").await?.into_parts();
    if head.headers.contains_key(CONTENT_ENCODING) {
        bail!("the answer has a content coding that was not asked for, which this command does not undo");
    }
    let (mut hasher, mut len) = (Sha256::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer broke off")?;
        let Some(part) = frame.data_ref() else { continue };
        len = len.saturating_add(part.len() as u64);
        if len > BODY_BYTES_MAX {
            bail!("the answer is over 8 GiB");
        }
        hasher.update(part);
    }
    Ok(Fetched { status: head.status.as_u16(), headers: head.headers, digest: hasher.finalize().into() })
}
