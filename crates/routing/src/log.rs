//! Known records on disk, so that a node that was restarted knows its network. A crash loses what changed since the last save,
//! which members tell again.

use std::io::Read;
use std::path::PathBuf;
use std::{fs, io};

use atoll_core::BoxFuture;
use atoll_core::envelope::ENVELOPE_BYTES_MAX;
use bytes::Bytes;

use crate::error::RouteError;

/// Opens every file of this form.
const MAGIC: &[u8] = b"atoll-records-1\n";
/// The largest file that is read, in bytes: a little over 1,024 members and 10,000 placements of the largest size.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where envelopes are kept between runs. They are checked again when they are loaded.
pub trait RecordLog: Send + Sync + 'static {
    /// All that was saved last.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Bytes>, RouteError>>;

    /// Replaces all that was saved.
    fn save(&self, envelopes: Vec<Bytes>) -> BoxFuture<'_, Result<(), RouteError>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopLog;

impl RecordLog for NoopLog {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Bytes>, RouteError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn save(&self, _envelopes: Vec<Bytes>) -> BoxFuture<'_, Result<(), RouteError>> {
        Box::pin(async { Ok(()) })
    }
}

/// One file: the magic line, then each envelope behind its length of four bytes, big endian. Replaced as a whole.
#[derive(Clone, Debug)]
pub struct FileLog {
    path: PathBuf,
}

impl FileLog {
    /// The log at `path`, which need not exist; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Names the file in an error.
    fn error(&self, what: &str, error: &io::Error) -> RouteError {
        RouteError::Log(format!("{what} {}: {error}", self.path.display()))
    }

    /// Reads the file; what is damaged at its end is left out, with a warning.
    fn read(&self) -> Result<Vec<Bytes>, RouteError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.error("cannot read", &error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.error("cannot read", &error))?;
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(RouteError::Log(format!(
                "{} is not a file of records; remove it, and the records are learned again",
                self.path.display()
            )));
        };
        let (envelopes, left) = split(rest);
        if left > 0 {
            tracing::warn!(file = %self.path.display(), bytes = left, "the end of the file of records is damaged");
        }
        Ok(envelopes)
    }

    fn write(&self, envelopes: &[Bytes]) -> io::Result<()> {
        atoll_durable::replace(&self.path, |file| {
            file.write_all(MAGIC)?;
            for envelope in envelopes {
                let length = u32::try_from(envelope.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
                file.write_all(&length.to_be_bytes())?;
                file.write_all(envelope)?;
            }
            Ok(())
        })
    }
}

impl RecordLog for FileLog {
    fn load(&self) -> BoxFuture<'_, Result<Vec<Bytes>, RouteError>> {
        let log = self.clone();
        Box::pin(async move { off_thread(move || log.read()).await? })
    }

    fn save(&self, envelopes: Vec<Bytes>) -> BoxFuture<'_, Result<(), RouteError>> {
        let log = self.clone();
        Box::pin(async move {
            off_thread(move || log.write(&envelopes).map_err(|error| log.error("cannot write", &error))).await?
        })
    }
}

/// Runs file work where it holds up nobody.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RouteError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| RouteError::Log(error.to_string()))
}

/// The envelopes of a file's body, and how many bytes at its end are none.
pub(crate) fn split(mut rest: &[u8]) -> (Vec<Bytes>, usize) {
    let mut envelopes = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > ENVELOPE_BYTES_MAX {
            break;
        }
        let Some((envelope, after)) = after.split_at_checked(length) else { break };
        envelopes.push(Bytes::copy_from_slice(envelope));
        rest = after;
    }
    (envelopes, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn comes_back_and_survives_damage_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let log = FileLog::new(&path);
        assert!(log.load().await.unwrap().is_empty());
        let envelopes = vec![Bytes::from_static(b"one"), Bytes::from(vec![7; ENVELOPE_BYTES_MAX])];
        log.save(envelopes.clone()).await.unwrap();
        assert_eq!(log.load().await.unwrap(), envelopes);

        let whole = fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(13) {
            fs::write(&path, &whole[..cut]).unwrap();
            match log.load().await {
                Ok(read) => assert!(cut >= MAGIC.len() && read.len() < 2 && envelopes.starts_with(&read)),
                Err(error) => assert!(cut < MAGIC.len() && error.to_string().contains("remove it"), "{error}"),
            }
        }
        let mut bomb = whole.clone();
        bomb[MAGIC.len()..MAGIC.len() + 4].fill(0xff);
        fs::write(&path, &bomb).unwrap();
        assert!(log.load().await.unwrap().is_empty());
    }
}
