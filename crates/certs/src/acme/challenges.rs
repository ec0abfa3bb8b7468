//! What authorities look for to see that a name leads here: a file over HTTP (RFC 8555, section 8.3), or a certificate over TLS (RFC
//! 8737). Shown while an order is under way; a crash loses it, and the order with it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::issue::AcmeError;
use crate::own;

/// What is shown now.
#[derive(Debug, Default)]
pub struct Challenges {
    files: Shown<String>,
    certificates: Shown<Arc<CertifiedKey>>,
}

type Shown<T> = RwLock<HashMap<String, T>>;

impl Challenges {
    /// The protocol by which an authority asks for its certificate, in a handshake without any other.
    pub const PROTOCOL: &'static [u8] = b"acme-tls/1";

    /// What is in the file of a token below `/.well-known/acme-challenge/`.
    pub fn file(&self, token: &str) -> Option<String> {
        get(&self.files, token)
    }

    /// Shows a file until the value is dropped.
    pub(super) fn show_file(self: &Arc<Self>, token: &str, content: &str) -> Showing {
        put(&self.files, token, content.to_owned());
        Showing { challenges: Arc::clone(self), key: token.to_owned() }
    }

    /// Shows a certificate that holds a digest until the value is dropped.
    pub(super) fn show_certificate(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<Showing, AcmeError> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = own::new_key()?;
        let certificate = params.self_signed(&key)?;
        let signing = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_supported_type(&signing)?;
        put(&self.certificates, name, Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)));
        Ok(Showing { challenges: Arc::clone(self), key: name.to_owned() })
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        get(&self.certificates, &hello.server_name()?.to_ascii_lowercase())
    }
}

/// A challenge that is shown.
pub(super) struct Showing {
    challenges: Arc<Challenges>,
    key: String,
}

impl Drop for Showing {
    fn drop(&mut self) {
        remove(&self.challenges.files, &self.key);
        remove(&self.challenges.certificates, &self.key);
    }
}

fn get<T: Clone>(shown: &Shown<T>, key: &str) -> Option<T> {
    shown.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

fn put<T>(shown: &Shown<T>, key: &str, value: T) {
    shown.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
}

fn remove<T>(shown: &Shown<T>, key: &str) {
    shown.write().unwrap_or_else(PoisonError::into_inner).remove(key);
}
