//! A server that a site is before, as its settings describe it, and requests in the form that it takes them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use atoll_core::keys::AnswerKey;
use atoll_core::signed::{self, SignedRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body::Body as _;
use rustls::pki_types::ServerName;

use crate::body::Noted;
use crate::bucket::Bucket;
use crate::config::OriginConfig;
use crate::error::OriginError;
use crate::server::Order;

/// A server.
#[derive(Clone, Debug)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: Host,
    name: String,
    http2: bool,
    sni: ServerName<'static>,
    bucket: Option<Bucket>,
    sign: bool,
    /// Who signs.
    signer: Option<Arc<AnswerKey>>,
}

/// What an origin is told the host is.
#[derive(Clone, Debug)]
enum Host {
    Own(HeaderValue),
    Client,
}

impl Origin {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong, naming the setting.
    pub fn parse(config: &OriginConfig) -> Result<Self, String> {
        let wrong = || format!("url: `{}` is not like https://origin.example or http://10.0.0.7:3000", config.url);
        let parts = config.url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let plain = parts.path_and_query.as_ref().is_none_or(|path| path.as_str() == "/");
        let (Some(scheme), Some(authority), true) = (parts.scheme, parts.authority, plain) else { return Err(wrong()) };
        if (scheme != Scheme::HTTP && scheme != Scheme::HTTPS) || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = match &*config.host {
            "client" => Host::Client,
            "" => Host::Own(HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?),
            name => {
                let name = name.parse::<Authority>().ok().filter(|name| !name.as_str().contains('@'));
                let value = name.and_then(|name| HeaderValue::try_from(name.as_str()).ok());
                Host::Own(value.ok_or_else(|| format!("host: `{}` is neither a host name nor `client`", config.host))?)
            }
        };
        let name = if config.name.is_empty() { authority.as_str() } else { &config.name };
        if name.len() > 253 || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            return Err(format!("name: `{}` is too long, or has a space, a quote or a backslash", config.name));
        }
        let sni = if config.sni.is_empty() { authority.host().trim_matches(['[', ']']) } else { &config.sni };
        let sni = ServerName::try_from(sni.to_owned()).map_err(|_| format!("sni: `{sni}` is no host name"))?;
        let bucket = Bucket::of(&config.bucket, &config.url)?;
        if bucket.is_some() && !config.host.is_empty() {
            return Err("host: a bucket's requests are signed for the host of its URL".to_owned());
        }
        if bucket.is_some() && config.sign {
            return Err("sign: a bucket's requests are signed with its own credentials".to_owned());
        }
        let (name, sign) = (name.to_owned(), config.sign);
        Ok(Self { scheme, authority, host, name, http2: config.http2, sni, bucket, sign, signer: None })
    }

    /// With whose signature it is asked, if it is to be with one.
    #[must_use]
    pub(crate) fn signed_by(mut self, signer: Option<&Arc<AnswerKey>>) -> Self {
        self.signer = signer.filter(|_| self.sign).cloned();
        self
    }

    /// Its host and port.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its host alone.
    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(crate) fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whom its certificate is to be for.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.sni.clone()
    }

    /// Where it is connected to.
    pub(crate) fn target(&self) -> Result<Uri, http::Error> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query("/").build()
    }

    /// The request as it is sent there: over HTTP/1.1 with path and query alone.
    pub(crate) fn request(&self, order: &Order<'_>, body: Noted) -> Result<Request<Noted>, OriginError> {
        let head = order.head;
        let mut headers = head.headers.clone();
        if let Some(hop) = order.hop {
            hop.announce(&mut headers, order.head.version);
        }
        let path = match &self.bucket {
            Some(bucket) => bucket.sign(&head.method, head.uri.path(), &mut headers)?,
            None => head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
        };
        let host = match &self.host {
            Host::Own(own) => own.clone(),
            Host::Client => order.host.clone(),
        };
        if let Some(signer) = &self.signer {
            self.sign(signer, (&head.method, path.as_str()), &host, &mut headers)?;
        }
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = headers;
        frame(&mut request, self.http2);
        if self.http2 {
            // The host is told by the URI; where it leads is the connection's matter.
            let broken = |error: http::Error| OriginError::Broken(error.to_string());
            let uri = Uri::builder().scheme(self.scheme.clone()).authority(host.as_bytes()).path_and_query(path);
            *request.uri_mut() = uri.build().map_err(broken)?;
            for name in [header::HOST, header::CONNECTION, header::UPGRADE] {
                request.headers_mut().remove(name);
            }
        } else {
            *request.uri_mut() = Uri::from(path);
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

impl Origin {
    /// Signs a request, in place of whatever signature a visitor's has.
    fn sign(
        &self,
        signer: &AnswerKey,
        (method, target): (&Method, &str),
        host: &HeaderValue,
        headers: &mut HeaderMap,
    ) -> Result<(), OriginError> {
        let broken = |what: &str| OriginError::Broken(format!("it cannot be signed: {what}"));
        let host = host.to_str().map_err(|_| broken("its host"))?;
        let authority = signed::authority(host, self.scheme == Scheme::HTTPS).ok_or_else(|| broken("its host"))?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| broken("no randomness"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = SignedRequest {
            method: method.as_str(),
            authority: &authority,
            target,
            created: now.as_secs(),
            nonce,
            node: signer.node_id(),
        };
        for (name, value) in [signed::SIGNATURE_INPUT, signed::SIGNATURE].into_iter().zip(request.sign(signer)) {
            let value = HeaderValue::try_from(value).map_err(|_| broken("its signature"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }
}

/// Says in one way how long the body is, whatever the visitor said: by its length if that is known, else in chunks (RFC 9112,
/// section 6.3), or by its frames in HTTP/2.
fn frame(request: &mut Request<Noted>, http2: bool) {
    let (ended, len) = (request.body().is_end_stream(), request.body().size_hint().exact());
    let expected = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let empty_is_said = expected || request.headers().contains_key(header::CONTENT_LENGTH);
    let headers = request.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    match len {
        _ if ended && !empty_is_said => {}
        _ if ended => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"))),
        Some(len) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len))),
        None if http2 => {}
        None => drop(headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
}
