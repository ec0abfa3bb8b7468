//! The rules of a site, read from its root as every node reads them. Nothing is kept, a crash loses nothing.

use std::sync::Arc;

use atoll_core::site::{HEADERS, REDIRECTS, Redirects, RedirectsError, Rules, headers, redirects};
use atoll_core::{Blocks, Cid};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::is_passing;
use crate::error::ReadError;
use crate::reader::{Kind, read, resolve};

/// A file in a site's root.
enum File {
    Absent,
    TooLarge,
    /// It is there, and is malformed.
    Broken,
    Read(Vec<u8>),
}

/// Reads the rules of the site at `root`.
///
/// # Errors
/// [`ReadError`] if a block cannot be had.
pub async fn rules(blocks: &Arc<dyn Blocks>, root: &Cid) -> Result<Rules, ReadError> {
    let headers = match file(blocks, root, HEADERS, headers::FILE_BYTES_MAX).await? {
        File::Read(bytes) => Some(bytes),
        File::Absent | File::TooLarge | File::Broken => None,
    };
    let rules = Rules::parse(None, headers.as_deref());
    let redirects = match file(blocks, root, REDIRECTS, redirects::FILE_BYTES_MAX).await? {
        File::Absent => Ok(Redirects::default()),
        File::TooLarge => Err(RedirectsError::too_large()),
        File::Broken => Err(RedirectsError::unreadable()),
        File::Read(bytes) => Redirects::parse(&bytes),
    };
    Ok(Rules { redirects, ..rules })
}

async fn file(blocks: &Arc<dyn Blocks>, root: &Cid, name: &str, bytes_max: usize) -> Result<File, ReadError> {
    match contents(blocks, root, name, bytes_max).await {
        Ok(file) => Ok(file),
        Err(error) if error.is_absence() => Ok(File::Absent),
        Err(error) if is_passing(&error) => Err(error),
        Err(_) => Ok(File::Broken),
    }
}

async fn contents(blocks: &Arc<dyn Blocks>, root: &Cid, name: &str, bytes_max: usize) -> Result<File, ReadError> {
    let found = resolve(&**blocks, root, &[name]).await?;
    let Kind::File { len } = found.kind else { return Ok(File::Absent) };
    if len > bytes_max as u64 {
        return Ok(File::TooLarge);
    }
    let parts: Vec<Bytes> = read(Arc::clone(blocks), &found, 0..len)?.try_collect().await?;
    Ok(File::Read(parts.concat()))
}
