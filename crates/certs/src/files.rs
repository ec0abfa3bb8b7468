//! Certificates in files that somebody else writes, looked at again and again; and small files of our own.
//!
//! A pair of files is read again when its content changed. What is wrong with it is said once per content. A crash loses nothing.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::certificate::{Certificate, Refused};
use crate::config::Pair;

/// The most files of a folder that are looked at.
const FILES_MAX: usize = 20_000;
/// The largest file of a chain or a key, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}", path = .path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Why a pair of files is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// One of them cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What they hold is not to be used.
    #[error("{path}: {why}", path = .path.display())]
    Refused {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        why: Refused,
    },
}

/// A pair of files that is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) pair: Pair,
    /// What was in them when they were last looked at, good or bad.
    seen: Option<(Vec<u8>, Vec<u8>)>,
    /// The last good one.
    pub(crate) good: Option<Arc<Certificate>>,
    /// What is wrong with what is there now.
    pub(crate) wrong: Option<String>,
}

impl Followed {
    pub(crate) fn new(pair: Pair) -> Self {
        Self { pair, seen: None, good: None, wrong: None }
    }

    /// Looks at the files; whether another certificate serves from now on. What is wrong with new content is logged.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> bool {
        let changed = match self.read(now) {
            Ok(None) => return false,
            Ok(Some(certificate)) => {
                tracing::info!(path = %self.pair.certificate.display(), names = ?certificate.names, "a certificate serves");
                self.good = Some(Arc::new(certificate));
                self.wrong = None;
                return true;
            }
            Err(error) => Some(error.to_string()),
        };
        if self.wrong != changed {
            let serving = self.good.is_some();
            let why = changed.as_deref().unwrap_or_default();
            tracing::error!(why, serving, "a certificate is refused; the last good one serves on, if there was one");
            self.wrong = changed;
        }
        false
    }

    /// What is in the files, if that is new.
    fn read(&mut self, now: SystemTime) -> Result<Option<Certificate>, PairError> {
        let both = (read(&self.pair.certificate)?, read(&self.pair.key)?);
        if self.seen.as_ref() == Some(&both) {
            return Ok(None);
        }
        let (chain, key) = self.seen.insert(both);
        let refused = |why| PairError::Refused { path: self.pair.certificate.clone(), why };
        Certificate::read(chain, key, now).map(Some).map_err(refused)
    }
}

/// Reads a file that is not larger than one should be.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |cause| FileError { path: path.to_owned(), cause };
    if fs::metadata(path).map_err(fail)?.len() > FILE_BYTES_MAX {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, "the file is over 256 KiB")));
    }
    fs::read(path).map_err(fail)
}

/// The names of the files with this ending in a folder, without it; none if there is no such folder.
pub(crate) fn stems(folder: &Path, ending: &str) -> Result<Vec<String>, FileError> {
    let fail = |cause| FileError { path: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut stems = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = PathBuf::from(entry.map_err(fail)?.file_name());
        if path.extension().is_some_and(|found| found == ending)
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            stems.push(stem.to_owned());
        }
    }
    Ok(stems)
}

/// The same, if there is one.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file that only its owner reads, making its folder.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |cause| FileError { path: path.to_owned(), cause };
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    atoll_durable::replace_secret(path, |file| file.write_all(bytes)).map_err(fail)
}

/// Makes a folder, and those above it, that only its owner enters.
fn make_folder(path: &Path) -> Result<(), FileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| FileError { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own;

    fn write(pair: &Pair, names: &[&str]) {
        let key = own::new_key().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        fs::write(&pair.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_bad_pair_is_refused_and_the_last_good_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pair = Pair { certificate: at("cert.pem"), key: at("key.pem") };
        let mut followed = Followed::new(pair.clone());
        let now = SystemTime::now();
        assert!(!followed.refresh(now) && followed.wrong.is_some());
        write(&pair, &["a.example"]);
        assert!(followed.refresh(now) && followed.wrong.is_none());
        assert!(!followed.refresh(now));
        for (file, bytes) in [(&pair.key, own::new_key().unwrap().serialize_pem()), (&pair.certificate, "x".to_owned())]
        {
            fs::write(file, bytes).unwrap();
            assert!(!followed.refresh(now) && followed.wrong.is_some());
            assert!(followed.good.as_ref().unwrap().names.contains("a.example"));
        }
        write(&pair, &["b.example"]);
        assert!(followed.refresh(now) && followed.wrong.is_none());
        assert!(followed.good.as_ref().unwrap().names.contains("b.example"));
        fs::write(&pair.key, vec![b'-'; 300 * 1024]).unwrap();
        assert!(!followed.refresh(now) && followed.wrong.as_ref().unwrap().contains("256 KiB"));
    }
}
