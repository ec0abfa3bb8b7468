//! `atoll key`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atoll_core::ipns::Name;
use atoll_core::keys::{Operator, OperatorKey, Role, SecretKey, Site, SiteKey};
use atoll_core::record::OperatorCertificate;
use atoll_core::{PeerId, SystemClock};
use atoll_node::config::Folder;
use atoll_node::keys::{NodeKeys, certificate_to_text};

use crate::args::{KeyCommand, KeyForm};
use crate::keyring::{AnyKey, Keyring};
use crate::output::{Output, table};
use crate::paths::read_start;

/// The longest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 16 * 1024;

pub(crate) fn run(command: KeyCommand, keyring: &Keyring, folder: &Folder, output: &Output) -> Result<()> {
    match command {
        KeyCommand::New { name, operator: true } => {
            keyring.insert(&name, &OperatorKey::generate()?)?;
            show(&name, keyring, output)
        }
        KeyCommand::New { name, operator: false } => {
            keyring.insert(&name, &SiteKey::generate()?)?;
            show(&name, keyring, output)
        }
        KeyCommand::List => list(keyring, output),
        KeyCommand::Show { name } => show(&name, keyring, output),
        KeyCommand::Certify { name, peer, label, days, output: to } => {
            let key = keyring.operator(&name)?;
            certify(&key, &peer, label.as_deref().unwrap_or(&name), days, to)
        }
        KeyCommand::PeerId => {
            let keys = NodeKeys::open(folder, "", "independent")?;
            let peer = keys.identity.peer_id().to_string();
            Ok(output.result(&serde_json::json!({ "peer_id": peer }), || peer.clone())?)
        }
        KeyCommand::Export { name, form } => export(&name, form, keyring),
        KeyCommand::Import { name, file, operator } => {
            let bytes = read_start(&file, KEY_BYTES_MAX)?;
            if operator {
                keyring.insert(&name, &parse::<Operator>(&bytes)?)?;
            } else {
                keyring.insert(&name, &parse::<Site>(&bytes)?)?;
            }
            show(&name, keyring, output)
        }
    }
}

/// Public parts of a key.
fn describe(name: &str, key: &AnyKey) -> serde_json::Value {
    match key {
        AnyKey::Site(key) => serde_json::json!({
            "name": name, "role": "site", "public": key.public().to_string(), "site": key.site_id().to_string(),
            "ipns": Name::of(&key.public()).map(|name| name.to_string()),
        }),
        AnyKey::Operator(key) => serde_json::json!({
            "name": name, "role": "operator", "public": key.public().to_string(),
        }),
    }
}

fn show(name: &str, keyring: &Keyring, output: &Output) -> Result<()> {
    let Some(key) = keyring.find(name)? else { bail!("there is no key `{name}`; `atoll key list` shows them") };
    let value = describe(name, &key);
    Ok(output.result(&value, || lines(&value))?)
}

fn list(keyring: &Keyring, output: &Output) -> Result<()> {
    let keys: Vec<_> = keyring.list()?.iter().map(|(name, key)| describe(name, key)).collect();
    let cell = |key: &serde_json::Value, field: &str| key.get(field).and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let rows: Vec<_> =
        keys.iter().map(|key| ["name", "role", "public", "site"].map(|f| cell(key, f)).to_vec()).collect();
    Ok(output.result(&keys, || table(&["NAME", "ROLE", "PUBLIC KEY", "SITE"], &rows))?)
}

fn certify(key: &OperatorKey, peer: &str, label: &str, days: u64, to: Option<PathBuf>) -> Result<()> {
    let peer: PeerId = peer.parse().with_context(|| format!("`{peer}` is not a peer id (12D3KooW…)"))?;
    let life = Duration::from_secs(days.saturating_mul(86_400));
    let exp = SystemClock::now().after(life).as_secs();
    let certificate = OperatorCertificate::issue(key, label, &peer, exp);
    certificate.check(&peer.to_bytes())?;
    let text = certificate_to_text(&certificate);
    match to {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn export(name: &str, form: KeyForm, keyring: &Keyring) -> Result<()> {
    let secret = match keyring.find(name)? {
        Some(AnyKey::Site(key)) => secret(&key, form)?,
        Some(AnyKey::Operator(key)) => secret(&key, form)?,
        None => bail!("there is no key `{name}`; `atoll key list` shows them"),
    };
    Ok(std::io::stdout().write_all(&secret)?)
}

fn secret<R: Role>(key: &SecretKey<R>, form: KeyForm) -> Result<Vec<u8>> {
    match form {
        KeyForm::Pem => Ok(key.to_pem()?.into_bytes()),
        KeyForm::Libp2p => Ok(key.to_libp2p()),
    }
}

/// A key in either form: PEM is text and says so.
fn parse<R: Role>(bytes: &[u8]) -> Result<SecretKey<R>> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN") => Ok(SecretKey::from_pem(text)?),
        _ => Ok(SecretKey::from_libp2p(bytes)?),
    }
}

/// `field: value` a line.
fn lines(value: &serde_json::Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(field, value)| format!("{field:>9}: {}\n", value.as_str().unwrap_or_default())).collect()
}
