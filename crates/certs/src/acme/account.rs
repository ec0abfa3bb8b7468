//! Accounts with authorities: made when they are first needed, on disk before they are used, for their owner alone.

use std::collections::HashMap;
use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::Mutex;

use super::client::Http;
use super::config::{Acme, Authority};
use super::issue::AcmeError;
use crate::files;

/// The longest name of an account's file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 200;

/// The accounts of one node, by the place of their authority in the settings.
pub(super) struct Accounts {
    folder: PathBuf,
    config: Acme,
    open: Mutex<HashMap<usize, Account>>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Accounts {
    pub(super) fn new(folder: PathBuf, config: Acme) -> Self {
        Self { folder, config, open: Mutex::default() }
    }

    /// The account with an authority, made if there is none.
    pub(super) async fn open(&self, index: usize, authority: &Authority) -> Result<Account, AcmeError> {
        let mut open = self.open.lock().await;
        if let Some(account) = open.get(&index) {
            return Ok(account.clone());
        }
        let account = self.read_or_make(authority).await?;
        open.insert(index, account.clone());
        Ok(account)
    }

    async fn read_or_make(&self, authority: &Authority) -> Result<Account, AcmeError> {
        let byte = |byte: char| if byte.is_ascii_alphanumeric() { byte } else { '-' };
        let name: String = authority.directory.chars().map(byte).take(FILE_NAME_BYTES_MAX).collect();
        let path = self.folder.join(format!("{name}.json"));
        let builder = Account::builder_with_http(Box::new(Http::new(&authority.roots)?));
        if let Some(json) = files::read_if_there(&path)? {
            let credentials: AccountCredentials = serde_json::from_slice(&json)?;
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact: &[&str] = if self.config.contact.is_empty() { &[] } else { &[&self.config.contact] };
        let new = NewAccount { contact, terms_of_service_agreed: self.config.agree, only_return_existing: false };
        let external = external(authority)?;
        let (account, credentials) = builder.create(&new, authority.directory.clone(), external.as_ref()).await?;
        files::write_secret(&path, &serde_json::to_vec(&credentials)?)?;
        Ok(account)
    }
}

/// The key of an account that was made elsewhere.
fn external(authority: &Authority) -> Result<Option<ExternalAccountKey>, AcmeError> {
    if authority.key_id.is_empty() {
        return Ok(None);
    }
    let text = files::read(&authority.key_file)?;
    let key = BASE64URL_NOPAD.decode(text.trim_ascii()).map_err(|_| AcmeError::ExternalKey)?;
    Ok(Some(ExternalAccountKey::new(authority.key_id.clone(), &key)))
}
