//! `atoll import --kubo-repo`: the node takes blocks and pins, the keys go into the keyring beside the CLI.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use atoll_content::LocalBlocks;
use atoll_content::kubo::{Key, KeyKind, Repository};
use atoll_core::keys::SiteKey;
use atoll_node::api::{KuboImported, KuboRequest};
use atoll_node::config::Folder;
use serde::Serialize;

use super::content::open_store;
use super::import::show;
use crate::control::{Control, full};
use crate::keyring::{AnyKey, Keyring};
use crate::output::{Output, bytes};

/// Memory for blocks while pins are checked.
const CACHE_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct TakenOver {
    #[serde(flatten)]
    imported: KuboImported,
    keys: Vec<TakenKey>,
}

#[derive(Serialize)]
struct TakenKey {
    /// In Kubo.
    name: String,
    /// In the keyring, if it is there.
    key: Option<String>,
    /// Why it is not.
    error: Option<String>,
}

pub(super) async fn import(
    dir: &Path,
    offline: bool,
    folder: &Folder,
    control: &Control,
    keyring: &Keyring,
    output: &Output,
) -> Result<()> {
    let dir = dir.canonicalize().with_context(|| format!("cannot read {}", dir.display()))?;
    let keys = Repository::open(&dir)?.keys()?;
    let bar = output.bar(0, "importing");
    let imported = if offline {
        let local = LocalBlocks::new(open_store(folder, control).await?, CACHE_BYTES);
        let bar = bar.clone();
        let taken = atoll_node::kubo::import(&local, dir, move |taken| bar.set_position(taken.bytes)).await;
        taken.map_err(anyhow::Error::msg)?
    } else {
        let Some(path) = dir.to_str() else { bail!("the path {} is not UTF-8", dir.display()) };
        let body = full(serde_json::to_vec(&KuboRequest { path: path.to_owned() })?.into());
        control.events("/v1/import/kubo", body, |event| show(&bar, event)).await?
    };
    bar.finish_and_clear();
    let keys = keys.iter().map(|key| take(key, keyring)).collect();
    let taken = TakenOver { imported, keys };
    Ok(output.result(&taken, || describe(&taken))?)
}

/// Puts a key into the keyring, under its own name if that is free and fits.
fn take(key: &Key, keyring: &Keyring) -> TakenKey {
    let name = key.name.clone();
    match insert(key, keyring) {
        Ok(key) => TakenKey { name, key: Some(key), error: None },
        Err(error) => TakenKey { name, key: None, error: Some(format!("{error:#}")) },
    }
}

fn insert(key: &Key, keyring: &Keyring) -> Result<String> {
    let KeyKind::Ed25519(seed) = &key.kind else { bail!("only Ed25519 keys are used here") };
    let site = SiteKey::from_seed(seed);
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) { c } else { '-' };
    let name: String = key.name.to_lowercase().chars().map(plain).collect();
    // `self` says nothing beside other keys.
    let own = if key.name == "self" { format!("kubo-{name}") } else { name.clone() };
    for name in [own, format!("kubo-{name}")] {
        match keyring.find(&name) {
            Ok(Some(AnyKey::Site(known))) if known.public() == site.public() => return Ok(name),
            Ok(None) => {
                keyring.insert(&name, &site)?;
                return Ok(name);
            }
            Ok(Some(_)) | Err(_) => {}
        }
    }
    bail!("the keyring has other keys under its name");
}

fn describe(taken: &TakenOver) -> String {
    let TakenOver { imported, keys } = taken;
    let mut lines = vec![format!("{} blocks, {}", imported.blocks, bytes(imported.bytes))];
    lines.extend(imported.refused.iter().map(|file| format!("not taken: {file} is not the block it is called")));
    lines.extend(imported.pins.iter().map(|pin| format!("pinned {} as `{}`", pin.root, pin.name)));
    lines.extend(
        imported.unpinned.iter().map(|pin| format!("not pinned: {} (`{}`): {}", pin.root, pin.name, pin.error)),
    );
    lines.extend(keys.iter().map(|key| match (&key.key, &key.error) {
        (Some(taken), _) => format!("key `{}` is `{taken}` in the keyring", key.name),
        (None, error) => format!("key `{}` not taken: {}", key.name, error.as_deref().unwrap_or_default()),
    }));
    lines.join("\n")
}
