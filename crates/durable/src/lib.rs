//! Files that are replaced as a whole: whoever reads one finds all that was written last, or all that was there before, even
//! after power loss.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Replaces the file at `path` by what `write` writes. It survives power loss once this returns.
///
/// The new file is written beside the old one, under its name and `.new`, and what a crash leaves there is overwritten the next
/// time; so two writers of one file must not meet.
///
/// # Errors
/// Those of the file system, and those of `write`; the old file is as it was then, unless only its folder could not be synced.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    put(path, |beside| File::create(beside), write)
}

/// The same, with a file that only its owner reads.
///
/// # Errors
/// As those of [`replace`].
pub fn replace_secret(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let create = |beside: &Path| {
        // The mode is that of a new file only.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)
    };
    put(path, create, write)
}

/// What a file says, if it is there, can be read, and has no more than `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= bytes_max).then_some(bytes)
}

fn put(
    path: &Path,
    create: impl FnOnce(&Path) -> io::Result<File>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let mut file = BufWriter::new(create(beside)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(beside, path)?;
    // The name is durable once its folder is.
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_not_there_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(read(&path, 3), None);
        replace(&path, |file| file.write_all(b"abc")).unwrap();
        assert_eq!((read(&path, 3), read(&path, 2)), (Some(b"abc".to_vec()), None));
    }

    #[test]
    fn only_its_owner_reads_a_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(folder.path().join("key.pem.new"), "what a crash left, for all to read").unwrap();
        replace_secret(&path, |file| file.write_all(b"secret")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.list");
        replace(&path, |file| file.write_all(b"one")).unwrap();
        fs::write(folder.path().join("known.list.new"), "what a crash left, longer than what is written").unwrap();
        replace(&path, |file| file.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let failed = replace(&path, |file| {
            file.write_all(b"thr")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(replace(&folder.path().join("none/file"), |_| Ok(())).is_err());
    }
}
