//! TLS for HTTP requests to others: certificates are checked against the roots that this machine trusts. Read once; keeps nothing else.

use std::sync::{Arc, LazyLock};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

/// Made when it is first needed: reading the roots takes milliseconds.
static MACHINE: LazyLock<ClientConfig> = LazyLock::new(|| trusting(machine()));

/// Plain HTTP and HTTPS over `connector`, checking certificates against this machine's roots.
pub fn over(connector: HttpConnector) -> HttpsConnector<HttpConnector> {
    with(connector, MACHINE.clone())
}

/// Trusts the roots of this machine.
pub fn here() -> ClientConfig {
    MACHINE.clone()
}

/// Plain HTTP and HTTPS over `connector`, with TLS as `config` has it.
pub fn with(mut connector: HttpConnector, config: ClientConfig) -> HttpsConnector<HttpConnector> {
    connector.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config);
    builder.https_or_http().enable_http1().wrap_connector(connector)
}

/// Trusts `roots` and nobody else.
pub fn trusting(roots: RootCertStore) -> ClientConfig {
    // Whoever was first has chosen the same one; without any, the builder would not know which to take.
    let _ = aws_lc_rs::default_provider().install_default();
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

/// Has `config` show certificates (PEM, the own one first) with the key of the first, whoever asks for them (mutual TLS).
///
/// # Errors
/// What is wrong with them.
pub fn known_by(mut config: ClientConfig, certificates: &[u8], key: &[u8]) -> Result<ClientConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|error| format!("the client certificate: {error}"))?;
    if chain.is_empty() {
        return Err("the client certificate: there is none in its file".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the client key: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, config.crypto_provider());
    let certified = certified.map_err(|error| format!("the client certificate and its key: {error}"))?;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Ok(config)
}

/// The roots of this machine (`SSL_CERT_FILE` names others). Without any, every certificate is refused.
fn machine() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a root certificate of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (taken, refused) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(taken, refused, "root certificates");
    roots
}
