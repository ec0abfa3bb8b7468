//! Where the command keeps things when nobody says where.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Where the platform keeps a user's data: `$XDG_DATA_HOME/atoll`, else `~/.local/share/atoll`.
pub(crate) fn data_home() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    home.map(|home| home.join("atoll")).context("neither HOME nor XDG_DATA_HOME is set; say --dir and --keyring")
}
