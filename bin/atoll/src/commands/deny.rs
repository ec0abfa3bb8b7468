//! `atoll deny`: the operator's own list. The command edits the file; a running node is told to look at it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use atoll_core::Denied;
use atoll_node::api::DenyLists;
use atoll_node::config::Folder;
use atoll_security::Lists;
use atoll_security::local::{self, Local};
use bytes::Bytes;
use http::Method;

use crate::args::{DenyCommand, SettingArgs};
use crate::commands::config;
use crate::control::Control;
use crate::output::{Output, table};

pub(crate) async fn run(command: DenyCommand, folder: &Folder, control: &Control, output: &Output) -> Result<ExitCode> {
    let list = Local::in_folder(folder.path());
    match command {
        DenyCommand::Add { subject, reason, status } => {
            let denied = match status {
                410 => Denied::Gone,
                451 => Denied::Legal,
                other => bail!("--status takes 410 or 451, not {other}"),
            };
            std::fs::create_dir_all(folder.path())?;
            let (rule, new) = list.add(&subject, denied, reason.trim())?;
            let serves = told(control).await?;
            let value = serde_json::json!({ "rule": rule, "new": new, "serves": serves });
            output.result(&value, || format!("{rule}\n{}", said(serves)))?;
        }
        DenyCommand::Remove { subject } => {
            let removed = list.remove(&subject)?;
            if removed == 0 {
                bail!("{} has no rule for {subject}", list.path().display());
            }
            let serves = told(control).await?;
            output.result(&serde_json::json!({ "removed": removed, "serves": serves }), || {
                format!("{removed} removed\n{}", said(serves))
            })?;
        }
        DenyCommand::List => {
            let entries = list.entries()?;
            let json: Vec<_> =
                entries.iter().map(|entry| serde_json::json!({ "rule": entry.rule, "note": entry.note })).collect();
            let rows: Vec<_> = entries.iter().map(|entry| vec![entry.rule.clone(), entry.note.clone()]).collect();
            output.result(&json, || table(&["RULE", "ADDED"], &rows))?;
        }
        DenyCommand::Check { subject } => return check(&subject, folder, &list, output),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the lists as a node with these settings would.
fn check(subject: &str, folder: &Folder, list: &Local, output: &Output) -> Result<ExitCode> {
    let (settings, _) = config::load(&SettingArgs::default(), folder)?;
    let lists = Lists::open(&settings.deny.lists, list.path(), settings.deny.rules_max)?;
    let decision = local::explain(&lists, subject)?;
    let denied = decision.as_ref().and_then(|decision| decision.verdict.denied);
    let value = serde_json::json!({
        "denied": denied.map(Denied::status),
        "list": decision.as_ref().map(|decision| decision.path.display().to_string()),
        "line": decision.as_ref().map(|decision| decision.verdict.line),
    });
    let text = || match &decision {
        None => "no rule is about it".to_owned(),
        Some(decision) => {
            let says = denied.map_or("an exception".to_owned(), |denied| format!("denied with {}", denied.status()));
            format!("{says}: {}, line {}", decision.path.display(), decision.verdict.line)
        }
    };
    output.result(&value, text)?;
    Ok(if denied.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells a running node to look at its lists; whether there is one.
async fn told(control: &Control) -> Result<bool> {
    if !control.is_running().await {
        return Ok(false);
    }
    let now: DenyLists = control.call(Method::POST, "/v1/deny/reload", Bytes::new()).await?;
    if let Some(refused) = now.refused.first() {
        bail!("the list was changed, but the node refuses it: {refused}");
    }
    Ok(true)
}

fn said(serves: bool) -> &'static str {
    if serves { "the running node has taken it up" } else { "no node runs; the next one will take it up" }
}
