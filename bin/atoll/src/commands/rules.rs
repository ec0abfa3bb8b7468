//! A look at what a site says itself before it is published: what a gateway or node would refuse or pass over is said in time.

use std::fs::{File, symlink_metadata};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use atoll_core::site::{HEADERS, Headers, REDIRECTS, Redirects, headers, redirects};
use atoll_node::sites::{PUBLISHED, PUBLISHED_BYTES_MAX, Published};

use crate::output::Output;

/// Looks at what the site in `folder` says of its servers.
///
/// # Errors
/// If nodes would refuse it: they would go on with what an earlier version of the site said, and nobody who publishes looks at their logs.
pub(crate) fn check_servers(folder: &Path, output: &Output) -> Result<()> {
    let path = folder.join(PUBLISHED);
    let Ok(found) = symlink_metadata(&path) else { return Ok(()) };
    let refused = |why: &str| {
        format!(
            "nodes would refuse {}: {why}; mend it, or take it out of the folder, then try again (docs/front.md says what it may say)",
            path.display()
        )
    };
    if !found.is_file() {
        bail!(refused("it is no file"));
    }
    let text = read(&path, PUBLISHED_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    match Published::parse(&text) {
        Err(why) => bail!(refused(&why)),
        Ok(said) => said.warnings.iter().for_each(|warning| output.note(&format!("warning: {PUBLISHED}: {warning}"))),
    }
    Ok(())
}

/// Notes what is wrong with the rules of the site in `folder`. They are content like any other: it is published all the same.
pub(crate) fn note(folder: &Path, output: &Output) {
    if let Some(Err(error)) = read(&folder.join(REDIRECTS), redirects::FILE_BYTES_MAX).as_deref().map(Redirects::parse)
    {
        output.note(&format!("warning: {error}; whatever is missing will be answered 500"));
    }
    if let Some(file) = read(&folder.join(HEADERS), headers::FILE_BYTES_MAX) {
        for problem in Headers::parse(&file).problems() {
            output.note(&format!("warning: {problem}"));
        }
    }
}

/// The file if it is there, and no more of it than shows that it is too large.
fn read(path: &Path, bytes_max: usize) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    File::open(path).ok()?.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut file).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_tells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REDIRECTS);
        assert_eq!(read(&path, 10), None);
        std::fs::write(&path, "x".repeat(100)).unwrap();
        assert_eq!(read(&path, 10).map(|file| file.len()), Some(11));
    }
}
