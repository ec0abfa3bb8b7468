//! `atoll name`: IPNS records, through the running node.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use atoll_core::content_path::{ContentPath, Root};
use atoll_core::ipns::{Name, NewRecord, RECORD_BYTES_MAX};
use atoll_core::keys::SiteKey;
use atoll_core::{Cid, SystemClock};
use atoll_node::api::{NamePublished, NameRecord, NameResolved};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;

use crate::args::NameCommand;
use crate::control::{Control, encode_path, full};
use crate::keyring::{AnyKey, Keyring};
use crate::output::{Output, plural, table};
use crate::paths::read_start;

/// How often a publisher who was overtaken by another tries again.
const TRIES: usize = 5;
/// How the files of records end.
const EXTENSION: &str = "ipns-record";

pub(crate) async fn run(
    command: NameCommand,
    control: &Control,
    keyring: impl Fn() -> Result<Keyring>,
    output: &Output,
) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        NameCommand::Publish { key, target, days, ttl } => {
            let found = keyring()?.find(&key)?;
            let Some(AnyKey::Site(site)) = found else {
                bail!("there is no site key `{key}`; `atoll key list` shows them")
            };
            let target = parse_target(&target)?;
            let published = publish(control, &site, target, days, Duration::from_secs(ttl)).await?;
            output.result(&published, || describe(&published))?;
            Ok(ExitCode::SUCCESS)
        }
        NameCommand::Resolve { name } => resolve(&find(&name, keyring)?, control, output).await.map(done),
        NameCommand::Show { name, latest } => show(&find(&name, keyring)?, latest, control, output).await,
        NameCommand::List => list(control, output).await.map(done),
        NameCommand::Export { name, output: to } => export(&find(&name, keyring)?, to, control).await.map(done),
        NameCommand::Import { path, name } => import(&path, name, control, output).await,
    }
}

/// Signs a record above the last known one, and hands it to the node; the record as the node keeps it.
pub(crate) async fn publish(
    control: &Control,
    key: &SiteKey,
    target: ContentPath,
    days: u64,
    ttl: Duration,
) -> Result<NameRecord> {
    let name = Name::of(&key.public()).context("the site key has no name")?;
    let life = Duration::from_secs(days.saturating_mul(86_400));
    for _ in 0..TRIES {
        // Members are asked, too: another machine may have published through another node.
        let last: Option<NameRecord> = control.get(&format!("/v1/names/{name}?latest")).await?;
        let last = last.and_then(|last| last.sequence);
        let sequence = match last {
            Some(last) => last.checked_add(1).context("the last record has the highest sequence that there is")?,
            None => 0,
        };
        let new = NewRecord { target: target.clone(), sequence, eol: SystemClock::now().after(life), ttl };
        let record = new.sign(key)?;
        let expected = last.map_or_else(|| "none".to_owned(), |last| last.to_string());
        let path = format!("/v1/names/{name}?sequence={expected}");
        let published: NamePublished = control.call(Method::POST, &path, record.bytes().clone()).await?;
        if published.accepted {
            return control.get(&format!("/v1/names/{name}")).await;
        }
    }
    bail!("others publish to {name} all the time: {TRIES} times somebody was faster")
}

fn parse_target(text: &str) -> Result<ContentPath> {
    if let Ok(cid) = text.parse::<Cid>() {
        return Ok(cid.into());
    }
    text.parse().with_context(|| format!("`{text}`"))
}

/// What may stand for a name on the command line, as the node takes it.
fn find(text: &str, keyring: impl Fn() -> Result<Keyring>) -> Result<String> {
    let text = text.strip_prefix("/ipns/").unwrap_or(text);
    if let Ok(root @ (Root::Ipns(_) | Root::Domain(_))) = text.parse::<Root>() {
        return Ok(root.to_string().trim_start_matches("/ipns/").to_owned());
    }
    if let Ok(Some(AnyKey::Site(key))) = keyring()?.find(text)
        && let Some(name) = Name::of(&key.public())
    {
        return Ok(name.to_string());
    }
    bail!("`{text}` is neither an IPNS name, nor a host name, nor a site key in the keyring")
}

async fn resolve(name: &str, control: &Control, output: &Output) -> Result<()> {
    let found: NameResolved = control.get(&format!("/v1/names/{name}?resolve")).await?;
    Ok(output.result(&found, || found.path.clone())?)
}

async fn show(name: &str, latest: bool, control: &Control, output: &Output) -> Result<ExitCode> {
    let path = format!("/v1/names/{name}{}", if latest { "?latest" } else { "" });
    let Some(record): Option<NameRecord> = control.get(&path).await? else { bail!("no record of {name} is known") };
    output.result(&record, || describe(&record))?;
    Ok(if record.live { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(record: &NameRecord) -> String {
    let mut lines = vec![("name", record.name.clone())];
    lines.extend(record.site.clone().map(|site| ("site", site)));
    lines.extend(record.value.clone().map(|value| ("value", value)));
    lines.extend(record.sequence.map(|sequence| ("sequence", sequence.to_string())));
    lines.extend(record.ends_ms.map(|ends| (if record.live { "valid to" } else { "expired" }, date(ends))));
    lines.extend(record.ttl_seconds.map(|ttl| ("ttl", format!("{ttl} s"))));
    lines.extend(record.invalid.clone().map(|invalid| ("not valid", invalid)));
    lines.push(("kept for", if record.own { "a publisher or operator" } else { "members" }.to_owned()));
    lines.into_iter().map(|(field, value)| format!("{field:>9}: {value}\n")).collect()
}

/// A moment as RFC 3339 writes it.
fn date(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

async fn list(control: &Control, output: &Output) -> Result<()> {
    let records: Vec<NameRecord> = control.get("/v1/names").await?;
    let row = |record: &NameRecord| {
        let state = match (&record.invalid, record.live) {
            (Some(_), _) => "not valid",
            (None, true) => "valid",
            (None, false) => "expired",
        };
        let number = record.sequence.map(|sequence| sequence.to_string()).unwrap_or_default();
        let ends = record.ends_ms.map(date).unwrap_or_default();
        vec![record.name.clone(), state.to_owned(), number, ends, record.value.clone().unwrap_or_default()]
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    Ok(output.result(&records, || table(&["NAME", "STATE", "SEQUENCE", "ENDS", "VALUE"], &rows))?)
}

async fn export(name: &str, to: Option<PathBuf>, control: &Control) -> Result<()> {
    let body = control.send(Method::GET, &format!("/v1/names/{name}?record"), full(Bytes::new())).await?;
    let body = http_body_util::Limited::new(body, RECORD_BYTES_MAX).collect().await;
    let record = body.map_err(|error| anyhow::anyhow!("the node broke off its answer: {error}"))?.to_bytes();
    match to {
        Some(path) => std::fs::write(&path, record).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(std::io::stdout().write_all(&record)?),
    }
}

/// What became of one file.
#[derive(Debug, serde::Serialize)]
struct Loaded {
    name: String,
    file: String,
    /// What the node keeps now.
    record: Option<NameRecord>,
    /// Why it was refused.
    error: Option<String>,
}

async fn import(path: &Path, name: Option<String>, control: &Control, output: &Output) -> Result<ExitCode> {
    let mut loaded = Vec::new();
    for file in files(path)? {
        let name = match &name {
            Some(name) => name.clone(),
            None => name_of(&file)?,
        };
        // A little more than a record may be, so that the node says what is wrong.
        let bytes = read_start(&file, RECORD_BYTES_MAX as u64 + 1)?;
        let to = format!("/v1/names/{}?import", encode_path(&name));
        let kept: Result<NameRecord> = control.call(Method::POST, &to, bytes.into()).await;
        let (record, error) = match kept {
            Ok(record) => (Some(record), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        loaded.push(Loaded { name, file: file.display().to_string(), record, error });
    }
    let refused = loaded.iter().filter(|loaded| loaded.error.is_some()).count();
    output.result(&loaded, || summary(&loaded))?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(loaded: &[Loaded]) -> String {
    let mut text = String::new();
    for one in loaded {
        let why = one.record.as_ref().and_then(|record| record.invalid.as_ref());
        if let Some(why) = why {
            text.push_str(&format!("{}: kept, but not valid: {why}\n", one.file));
        }
        if let Some(error) = &one.error {
            text.push_str(&format!("{}: refused: {error}\n", one.file));
        }
    }
    let kept = loaded.iter().filter(|loaded| loaded.record.is_some()).count();
    text.push_str(&format!("{} loaded", plural(kept, "record")));
    text
}

/// The file, or the files of records in a folder, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!("there are no .{EXTENSION} files in {}", path.display());
    }
    files.sort();
    Ok(files)
}

/// The name in a file's name: up to `.` or `_`.
fn name_of(file: &Path) -> Result<String> {
    let text = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = text.split(['.', '_']).next().unwrap_or_default();
    if name.parse::<Name>().is_err() {
        bail!("`{}` does not begin with an IPNS name; say whose record it is with --name", file.display());
    }
    Ok(name.to_owned())
}
