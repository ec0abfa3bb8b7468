//! Manifests and dependencies: edition and Rust version, lints, and the bans and licences of `deny.toml`, which is the
//! one place that names them (cargo-deny reads the same file).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Report;
use crate::shell::{Workspace, output};

/// The part of `deny.toml` that is read.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// The crates that could do TLS's cryptography, of which there may be one. Not `ring`, which libp2p and rcgen bring along for
/// other things.
const TLS_PROVIDERS: [&str; 4] = ["aws-lc-rs", "boring", "openssl", "rustls-mbedcrypto-provider"];

/// Checks our manifests and everything they bring along.
pub(super) fn check(workspace: &Workspace, report: &mut Report) -> Result<()> {
    check_manifests(workspace, report)?;
    let path = workspace.root.join("deny.toml");
    let deny: Deny = toml::from_str(&fs::read_to_string(path)?).context("deny.toml")?;
    let built = built(workspace)?;
    let packages: Vec<_> =
        workspace.metadata.packages.iter().filter(|package| built.contains(package.name.as_str())).collect();
    for ban in &deny.bans.deny {
        if packages.iter().any(|package| *package.name == ban.name) {
            report.problem(format!("{} is banned: {}", ban.name, ban.reason));
        }
    }
    for package in packages.iter().filter(|package| package.source.is_some()) {
        let license = package.license.as_deref().unwrap_or("none");
        if !allowed(license, &deny.licenses.allow) {
            report.problem(format!("{} has the licence {license}, which deny.toml does not allow", package.name));
        }
    }
    let providers: BTreeSet<_> = packages.iter().map(|package| &**package.name).collect();
    let providers: Vec<_> = TLS_PROVIDERS.into_iter().filter(|name| providers.contains(name)).collect();
    if providers.len() > 1 {
        report.problem(format!("more than one TLS crypto provider: {}", providers.join(", ")));
    }
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in packages {
        versions.entry(&*package.name).or_default().push(package.version.to_string());
    }
    let twice: Vec<_> =
        versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name.as_str()).collect();
    if !twice.is_empty() {
        report.warning(format!("in more than one version: {}", twice.join(", ")));
    }
    Ok(())
}

/// The only crate that may use `unsafe`, which the workspace's lints forbid; its manifest lists its own.
const WITH_UNSAFE: &str = "atoll-sealed";

/// Checks that ours share edition, Rust version and lints, and stay unpublished.
fn check_manifests(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let toolchain = fs::read_to_string(workspace.root.join("rust-toolchain.toml"))?;
    for package in workspace.metadata.workspace_packages() {
        let version = package.rust_version.as_ref().map(ToString::to_string).unwrap_or_default();
        // Metadata pads 1.95 to 1.95.0, as rust-toolchain.toml writes it.
        if version.is_empty() || !toolchain.contains(&format!("\"{version}")) {
            report.problem(format!("{}: rust-version {version:?} is not rust-toolchain.toml's", package.name));
        }
        if package.edition.as_str() != "2024" {
            report.problem(format!("{}: edition {} is not 2024", package.name, package.edition));
        }
        if package.publish.as_deref() != Some(&[]) {
            report.problem(format!("{}: `publish` is not false", package.name));
        }
        let inherits = fs::read_to_string(&package.manifest_path)?.contains("[lints]\nworkspace = true");
        if !inherits && *package.name != WITH_UNSAFE {
            report.problem(format!("{}: [lints] does not take the workspace's", package.name));
        }
    }
    Ok(())
}

/// The names of what is built on some machine. Cargo's metadata lists optional dependencies too that nobody asked for.
fn built(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let arguments = ["tree", "--workspace", "--locked", "--target", "all", "--edges", "all", "--prefix", "none"];
    let tree = output(workspace.cargo(&arguments))?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// Whether an SPDX expression of the usual shape can be met by the allowed licences.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    // Every term of the conjunction must offer an allowed choice; parentheses group the choices.
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" AND ").all(|term| term.split(" OR ").any(|license| allow.contains(license.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_choice_in_each_term_is_enough() {
        let allow = BTreeSet::from(["MIT".to_owned(), "Unicode-3.0".to_owned()]);
        assert!(allowed("MIT/Apache-2.0", &allow));
        assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allow));
        assert!(!allowed("(MIT OR Apache-2.0) AND OpenSSL", &allow));
        assert!(!allowed("none", &allow));
    }
}
