//! `atoll config`, and the settings of `atoll node`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, bail};
use atoll_node::config::{Config, Folder, Layers, Sources};

use crate::args::SettingArgs;
use crate::output::{Output, table};

/// Prints the effective settings.
pub(crate) fn run(args: &SettingArgs, folder: &Folder, output: &Output) -> Result<()> {
    let (config, sources) = load(args, folder)?;
    if args.toml {
        print!("{}", toml::to_string(&config)?);
        return Ok(());
    }
    let json: Vec<_> = sources
        .iter()
        .map(|(path, value, source)| serde_json::json!({ "path": path, "value": value, "source": source.to_string() }))
        .collect();
    let rows: Vec<_> =
        sources.iter().map(|(path, value, source)| vec![path.clone(), value.to_string(), source.to_string()]).collect();
    Ok(output.result(&json, || table(&["SETTING", "VALUE", "FROM"], &rows))?)
}

/// Collects the settings from file, environment and flags, and checks them together.
pub(crate) fn load(args: &SettingArgs, folder: &Folder) -> Result<(Config, Sources)> {
    let mut layers = Layers::default();
    let path = args.config.clone().unwrap_or_else(|| folder.config());
    match fs::read_to_string(&path) {
        Ok(text) => layers.file(&text),
        Err(error) if error.kind() == ErrorKind::NotFound && args.config.is_none() => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    layers.environment(|name| std::env::var(name).ok());
    let flags = [
        ("gateway.listen", &args.gateway_listen),
        ("admin.listen", &args.admin_listen),
        ("node.operator_certificate", &args.operator_certificate),
    ];
    for (path, value) in flags {
        if let Some(value) = value {
            layers.flag(path, value);
        }
    }
    if !args.seed.is_empty() {
        layers.flag("node.seeds", &args.seed.join(","));
    }
    for set in &args.set {
        let Some((path, value)) = set.split_once('=') else { bail!("--set takes PATH=VALUE, not `{set}`") };
        layers.flag(path.trim(), value.trim());
    }
    Ok(layers.build()?)
}
