//! Where the command keeps things when nobody says where, and files that people name.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where the platform keeps a user's data: `$XDG_DATA_HOME/atoll`, else `~/.local/share/atoll`.
pub(crate) fn data_home() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    home.map(|home| home.join("atoll")).context("neither HOME nor XDG_DATA_HOME is set; say --dir and --keyring")
}

/// The first `bytes_max` bytes of a file, or of standard input for `-`.
pub(crate) fn read_start(file: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(bytes_max).read_to_end(&mut bytes)?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        opened.take(bytes_max).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
