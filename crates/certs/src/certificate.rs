//! One certificate with its chain and key, checked. A crash loses nothing: it is a copy of what is on disk.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The most certificates in a chain.
const CHAIN_MAX: usize = 10;
/// The most names in a certificate.
const NAMES_MAX: usize = 1_000;

/// A certificate that can be shown.
#[derive(Debug)]
pub struct Certificate {
    /// The chain, from the certificate itself upward, and its key.
    pub(crate) key: Arc<CertifiedKey>,
    /// Host names and addresses it holds for, in lower case; `*.` begins those of any one label more.
    pub names: BTreeSet<String>,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// Why a certificate is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The chain is no PEM.
    #[error("the chain is no PEM of certificates: {0}")]
    Chain(pem::Error),
    /// There is no certificate in it.
    #[error("the chain is empty")]
    Empty,
    /// It is longer than any chain should be.
    #[error("the chain has over {CHAIN_MAX} certificates")]
    Long,
    /// The certificate cannot be read.
    #[error("the first certificate is malformed: {0}")]
    Malformed(String),
    /// It holds for nothing.
    #[error("the certificate names no host (subjectAltName)")]
    Nameless,
    /// It holds for too much.
    #[error("the certificate names over {NAMES_MAX} hosts")]
    Names,
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// The key is no PEM of a private key.
    #[error("the key is no PEM of a private key: {0}")]
    Key(pem::Error),
    /// The key is of no kind that is spoken here, or of another certificate.
    #[error("the key does not serve: {0}")]
    Mismatch(rustls::Error),
}

impl Certificate {
    /// Reads a chain and its key, both PEM, and checks that they belong together and that the certificate has not expired by `now`.
    ///
    /// # Errors
    /// [`Refused`] says why it is not to be used.
    pub fn read(chain: &[u8], key: &[u8], now: SystemTime) -> Result<Self, Refused> {
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(chain) {
            certificates.push(certificate.map_err(Refused::Chain)?);
            if certificates.len() > CHAIN_MAX {
                return Err(Refused::Long);
            }
        }
        Self::of(certificates, &PrivateKeyDer::from_pem_slice(key).map_err(Refused::Key)?, now)
    }

    /// The same, of what was parsed.
    ///
    /// # Errors
    /// [`Refused`] says why it is not to be used.
    pub(crate) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
        now: SystemTime,
    ) -> Result<Self, Refused> {
        let first = chain.first().ok_or(Refused::Empty)?;
        let (names, not_before, not_after) = {
            let malformed = |why: &dyn ToString| Refused::Malformed(why.to_string());
            let (_, parsed) = X509Certificate::from_der(first).map_err(|why| malformed(&why))?;
            let alternative = parsed.subject_alternative_name().map_err(|why| malformed(&why))?;
            let general = alternative.map_or(&[][..], |names| &names.value.general_names);
            if general.len() > NAMES_MAX {
                return Err(Refused::Names);
            }
            let names: BTreeSet<_> = general.iter().filter_map(name).collect();
            let validity = parsed.validity();
            (names, at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
        };
        if names.is_empty() {
            return Err(Refused::Nameless);
        }
        if not_after <= now {
            return Err(Refused::Expired);
        }
        let signing = any_supported_type(key).map_err(Refused::Mismatch)?;
        let key = CertifiedKey::new(chain, signing);
        key.keys_match().map_err(Refused::Mismatch)?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// Whether so large a part of its life is over.
    pub fn is_past(&self, part: f64, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life.mul_f64(part) <= now
    }

    /// The certificate itself, without what is above it in the chain.
    pub fn der(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
        }
        .map(|ip| ip.to_string()),
        _ => None,
    }
}

/// A moment by its seconds since 1970, none of which is before it.
fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
