//! HTTP with an authority: within limits of size and time. Keeps connections.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::issue::AcmeError;
use crate::files;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A client of one authority.
#[derive(Clone, Debug)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Http {
    /// One that trusts the roots in a file, or those of this machine.
    pub(super) fn new(roots: &Path) -> Result<Self, AcmeError> {
        let config = if roots.as_os_str().is_empty() {
            atoll_trust::here()
        } else {
            let pem = files::read(roots)?;
            let mut trusted = RootCertStore::empty();
            trusted.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
            atoll_trust::trusting(trusted)
        };
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(https)))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let other = |error| Error::Other(error);
            let whole = async {
                let (head, body) = client.request(request).await.map_err(|error| other(Box::new(error)))?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(other)?.to_bytes();
                Ok(BytesResponse::from(Response::from_parts(head, Full::new(body))))
            };
            tokio::time::timeout(REQUEST_TIMEOUT, whole).await.map_err(|late| other(Box::new(late)))?
        })
    }
}
