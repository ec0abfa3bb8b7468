//! The publisher's keyring: one PEM file a key, in a folder that only its owner enters.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use atoll_core::keys::{OperatorKey, Role, SecretKey, SiteKey};
use atoll_node::keys::{create_private_dir, read_small, write_private};

/// A folder of keys.
#[derive(Debug)]
pub(crate) struct Keyring(PathBuf);

/// A key of either role.
#[derive(Debug)]
pub(crate) enum AnyKey {
    Site(SiteKey),
    Operator(OperatorKey),
}

impl Keyring {
    /// The keyring at `dir`, else where the platform keeps a user's data.
    pub(crate) fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => crate::paths::data_home()?.join("keyring"),
        };
        create_private_dir(&dir).with_context(|| format!("cannot make the keyring {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Keeps a new key.
    pub(crate) fn insert<R: Role>(&self, name: &str, key: &SecretKey<R>) -> Result<()> {
        check_name(name)?;
        if self.find(name)?.is_some() {
            bail!("there is a key `{name}` already; choose another name");
        }
        let path = self.path::<R>(name);
        write_private(&path, key.to_pem()?.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The key of this name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<AnyKey>> {
        check_name(name)?;
        if let Some(key) = self.read(name)? {
            return Ok(Some(AnyKey::Site(key)));
        }
        Ok(self.read(name)?.map(AnyKey::Operator))
    }

    /// The site key of this name, made now if there is none. Tells whether it was made.
    pub(crate) fn site(&self, name: &str) -> Result<(SiteKey, bool)> {
        match self.find(name)? {
            Some(AnyKey::Site(key)) => Ok((key, false)),
            Some(AnyKey::Operator(_)) => bail!("`{name}` is the key of an operator, not of a site"),
            None => {
                let key = SiteKey::generate()?;
                self.insert(name, &key)?;
                Ok((key, true))
            }
        }
    }

    /// The operator key of this name.
    pub(crate) fn operator(&self, name: &str) -> Result<OperatorKey> {
        match self.find(name)? {
            Some(AnyKey::Operator(key)) => Ok(key),
            Some(AnyKey::Site(_)) => bail!("`{name}` is the key of a site, not of an operator"),
            None => bail!("there is no key `{name}`; make one with `atoll key new {name} --operator`"),
        }
    }

    /// Names and roles, sorted.
    pub(crate) fn list(&self) -> Result<Vec<(String, AnyKey)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            let name = [".site.pem", ".operator.pem"].iter().find_map(|suffix| file.strip_suffix(suffix));
            names.extend(name.filter(|name| check_name(name).is_ok()).map(str::to_owned));
        }
        names.sort();
        names
            .into_iter()
            .filter_map(|name| self.find(&name).map(|key| key.map(|key| (name, key))).transpose())
            .collect()
    }

    fn read<R: Role>(&self, name: &str) -> Result<Option<SecretKey<R>>> {
        let path = self.path::<R>(name);
        match read_small(&path) {
            Ok(pem) => Ok(Some(SecretKey::from_pem(&pem).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn path<R: Role>(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.{}.pem", R::NAME))
    }
}

/// A name becomes a file name, so it must be a plain one.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        bail!("`{name}` is no name for a key: 1 to 64 of a-z, 0-9, `-`, `_` and `.`, not starting with `.`");
    }
    Ok(())
}
