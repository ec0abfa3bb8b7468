//! Certificates that the node signs itself, for local use: no browser believes them without being told to. The key is made once
//! and kept; losing its file makes a new one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificate::{Certificate, Refused};
use crate::files::{self, FileError};

/// How long one is valid.
const LIFE: Duration = Duration::from_secs(90 * 86_400);
/// A clock that is behind by less than this finds it valid all the same.
const SKEW: Duration = Duration::from_secs(3_600);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// Its key.
    #[error(transparent)]
    File(#[from] FileError),
    /// Making it.
    #[error("a self-signed certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It is not usable.
    #[error("a self-signed certificate: {0}")]
    Refused(#[from] Refused),
}

/// A new key: P-256, which every client takes.
pub(crate) fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// The key in a file that only its owner reads, made if there is none.
pub(crate) fn key_at(path: &Path) -> Result<KeyPair, OwnError> {
    if let Some(pem) = files::read_if_there(path)? {
        return Ok(KeyPair::from_pem(&String::from_utf8_lossy(&pem))?);
    }
    let key = new_key()?;
    files::write_secret(path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// A certificate for these names, valid for 90 days.
pub(crate) fn make(names: &[String], key: &KeyPair, now: SystemTime) -> Result<Certificate, OwnError> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + LIFE).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Atoll node, self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Certificate::of(vec![certificate.der().clone()], &key, now)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let first = key_at(&path).unwrap().serialize_pem();
        assert_eq!(key_at(&path).unwrap().serialize_pem(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn names_and_addresses_are_held_for() {
        let names = ["localhost".to_owned(), "*.ipfs.localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = make(&names, &new_key().unwrap(), SystemTime::now()).unwrap();
        assert_eq!(made.names, names.into_iter().collect());
        assert!(made.is_past(0.0, SystemTime::now()) && !made.is_past(0.5, SystemTime::now()));
    }
}
