//! A node's keys, each made where it lives, on first start. Losing the folder loses them; a crash never leaves half a key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atoll_core::keys::{AnswerKey, IdentityKey, KeyError, OperatorKey};
use atoll_core::record::OperatorCertificate;
use atoll_core::{RecordError, SystemClock};

use crate::config::Folder;

/// The largest key or certificate file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// How long the certificate of a node's own operator lasts.
const OWN_CERTIFICATE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The keys of one node.
#[derive(Debug)]
pub struct NodeKeys {
    /// Signs member records.
    pub identity: IdentityKey,
    /// Signs answers.
    pub answer: Arc<AnswerKey>,
    /// Says who runs the node.
    pub operator: OperatorCertificate,
}

impl NodeKeys {
    /// Reads the keys of `folder`, making those that are not there yet. `certificate` is the operator's, empty for an
    /// operator of the node's own under `label`.
    ///
    /// # Errors
    /// [`KeysError`] names the file.
    pub fn open(folder: &Folder, certificate: &str, label: &str) -> Result<Self, KeysError> {
        let keys = folder.keys();
        create_private_dir(&keys).map_err(|error| KeysError::File(keys.clone(), error))?;
        let identity = keys.join("identity.pem");
        let identity = read_or_make(&identity, IdentityKey::from_pem, IdentityKey::generate, IdentityKey::to_pem)?;
        let answer = keys.join("answer.pem");
        let answer = Arc::new(read_or_make(&answer, AnswerKey::from_pem, AnswerKey::generate, AnswerKey::to_pem)?);
        let operator = if certificate.is_empty() {
            own_certificate(&keys, &identity, label)?
        } else {
            read_certificate(Path::new(certificate), &identity)?
        };
        Ok(Self { identity, answer, operator })
    }
}

/// A certificate by an operator key that lives beside the node.
fn own_certificate(keys: &Path, identity: &IdentityKey, label: &str) -> Result<OperatorCertificate, KeysError> {
    let path = keys.join("operator.pem");
    let key = read_or_make(&path, OperatorKey::from_pem, OperatorKey::generate, OperatorKey::to_pem)?;
    let exp = SystemClock::now().after(OWN_CERTIFICATE).as_secs();
    Ok(OperatorCertificate::issue(&key, label, &identity.peer_id(), exp))
}

/// Reads a certificate and checks that it is for this node and has not expired.
fn read_certificate(path: &Path, identity: &IdentityKey) -> Result<OperatorCertificate, KeysError> {
    let text = read_small(path).map_err(|error| KeysError::File(path.to_owned(), error))?;
    let wrong = |why| KeysError::Certificate(path.to_owned(), why);
    let certificate = certificate_from_text(&text).ok_or_else(|| wrong(RecordError::Payload))?;
    certificate.check(&identity.peer_id().to_bytes()).map_err(wrong)?;
    if certificate.exp <= SystemClock::now().as_secs() {
        return Err(KeysError::Expired(path.to_owned()));
    }
    Ok(certificate)
}

/// The text form of a certificate, as `atoll key certify` writes it: JSON.
pub fn certificate_to_text(certificate: &OperatorCertificate) -> String {
    serde_json::to_string(certificate).unwrap_or_default() + "\n"
}

/// Reads the text form of a certificate.
pub fn certificate_from_text(text: &str) -> Option<OperatorCertificate> {
    serde_json::from_str(text).ok()
}

/// Reads a key file, or makes the key and the file.
fn read_or_make<K>(
    path: &Path,
    read: impl Fn(&str) -> Result<K, KeyError>,
    make: impl Fn() -> Result<K, KeyError>,
    write: impl Fn(&K) -> Result<String, KeyError>,
) -> Result<K, KeysError> {
    let in_file = |error| KeysError::File(path.to_owned(), error);
    match read_small(path) {
        Ok(pem) => read(&pem).map_err(|why| KeysError::Key(path.to_owned(), why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = make().map_err(|why| KeysError::Key(path.to_owned(), why))?;
            let pem = write(&key).map_err(|why| KeysError::Key(path.to_owned(), why))?;
            write_private(path, pem.as_bytes()).map_err(in_file)?;
            Ok(key)
        }
        Err(error) => Err(in_file(error)),
    }
}

/// Reads a small text file.
///
/// # Errors
/// Those of the file system, and `InvalidData` for a file over 16 KiB.
pub fn read_small(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is over 16 KiB, no key is that large"));
    }
    fs::read_to_string(path)
}

/// Writes a file that only its owner reads, whole or not at all. An existing file is left alone.
///
/// # Errors
/// Those of the file system; `AlreadyExists` when it is there.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = parent.join(format!(".{name}.{}", std::process::id()));
    // What a crash left under this name was never a key.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    // A link, unlike a rename, does not replace what somebody else made meanwhile.
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    linked?;
    File::open(parent)?.sync_all()
}

/// Makes a folder, and those above it, that only its owner enters.
///
/// # Errors
/// Those of the file system.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Why a node has no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file system.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Not a key.
    #[error("{path}: {1}; restore it from a backup, or move it away for a new key and so a new node", path = .0.display())]
    Key(PathBuf, #[source] KeyError),
    /// Not a certificate, or one for another node.
    #[error("{path}: {1}; issue one for this node with `atoll key certify`", path = .0.display())]
    Certificate(PathBuf, #[source] RecordError),
    /// Its time is over.
    #[error("{path}: the operator's certificate has expired; issue a new one with `atoll key certify`", path = .0.display())]
    Expired(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let first = NodeKeys::open(&folder, "", "me").unwrap();
        let again = NodeKeys::open(&folder, "", "me").unwrap();
        assert_eq!(first.identity.public(), again.identity.public());
        assert_eq!(first.answer.public(), again.answer.public());
        assert_eq!(first.operator.key, again.operator.key);
    }

    #[test]
    fn a_damaged_key_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        NodeKeys::open(&folder, "", "me").unwrap();
        let path = folder.keys().join("identity.pem");
        fs::write(&path, "scrambled").unwrap();
        let error = NodeKeys::open(&folder, "", "me").unwrap_err().to_string();
        assert!(error.contains("identity.pem"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "scrambled");
    }

    #[test]
    fn a_certificate_for_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let operator = OperatorKey::from_seed(&[1; 32]);
        let other = IdentityKey::from_seed(&[2; 32]).peer_id();
        let path = dir.path().join("operator.json");
        let certificate = OperatorCertificate::issue(&operator, "Lagoon", &other, u64::MAX);
        fs::write(&path, certificate_to_text(&certificate)).unwrap();
        let error = NodeKeys::open(&folder, path.to_str().unwrap(), "").unwrap_err();
        assert!(matches!(error, KeysError::Certificate(..)), "{error}");
    }
}
