//! `atoll import`: files, folders, streams and archives, through the node or beside it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use atoll_content::import::{Progress, Source};
use atoll_node::api::{Cut, ImportRequest, Imported, StreamKind, StreamRequest};
use atoll_node::config::Folder;
use atoll_node::work;

use super::content::{file_body, import_car, open_store};
use super::{kubo, rules};
use crate::args::ImportArgs;
use crate::control::{Control, encode_path, full};
use crate::keyring::Keyring;
use crate::output::{Output, bytes};

pub(crate) async fn import(
    args: ImportArgs,
    folder: &Folder,
    control: &Control,
    keyring: impl Fn() -> Result<Keyring>,
    output: &Output,
) -> Result<()> {
    if let Some(repository) = &args.kubo_repo {
        return kubo::import(repository, args.offline, folder, control, &keyring()?, output).await;
    }
    if let Some(car) = &args.car {
        return import_car(car, Some(&args.name), control, output).await;
    }
    if let (None, Some(path)) = (stream_of(&args), &args.path) {
        rules::check_servers(path, output)?;
    }
    let imported = if args.offline {
        offline(&args, folder, control, output).await?
    } else {
        online(&args, control, output).await?
    };
    let text = || format!("{}\n{} files, {}", imported.root, imported.files, bytes(imported.bytes));
    Ok(output.result(&imported, text)?)
}

/// What is read from a stream, if anything is: standard input, or an archive.
fn stream_of(args: &ImportArgs) -> Option<(StreamKind, &Path)> {
    match (&args.tar, &args.path) {
        (Some(tar), _) => Some((StreamKind::Tar, tar)),
        (None, Some(path)) if path == Path::new("-") => Some((StreamKind::File(args.stdin_name.clone()), path)),
        _ => None,
    }
}

async fn online(args: &ImportArgs, control: &Control, output: &Output) -> Result<Imported> {
    let Some((kind, file)) = stream_of(args) else {
        return import_through(control, path_of(args)?, args.cut.cut(), &args.name, output).await;
    };
    let request = StreamRequest { kind, cut: args.cut.cut(), name: args.name.clone() };
    let path = format!("/v1/import/stream?{}", encode_path(&serde_json::to_string(&request)?));
    let bar = output.bar(0, "importing");
    let imported = control.events(&path, file_body(file).await?, |event| show(&bar, event)).await?;
    bar.finish_and_clear();
    Ok(imported)
}

async fn offline(args: &ImportArgs, folder: &Folder, control: &Control, output: &Output) -> Result<Imported> {
    let store = open_store(folder, control).await?;
    let options = args.cut.cut().options()?;
    let bar = output.bar(0, "importing");
    let pin = (!args.no_sync).then_some(args.name.as_str());
    let progress = |progress: Progress| {
        bar.set_position(progress.bytes);
        bar.set_prefix(format!("{} files", progress.files));
    };
    let imported = match stream_of(args) {
        None => work::import(&store, Source::Path(path_of(args)?), options, pin, &progress)?,
        Some((kind, file)) => {
            let mut reader = open(file)?;
            let source = match &kind {
                StreamKind::File(name) => Source::Stream(&mut *reader, name.as_deref()),
                StreamKind::Tar => Source::Tar(&mut *reader),
            };
            work::import(&store, source, options, pin, &progress)?
        }
    };
    bar.finish_and_clear();
    Ok(imported)
}

fn path_of(args: &ImportArgs) -> Result<&Path> {
    args.path.as_deref().context("nothing to import: name a file or folder")
}

/// A file, or standard input if it is called `-`.
fn open(file: &Path) -> Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?))
}

/// Imports through the running node, which reads the folder itself.
pub(crate) async fn import_through(
    control: &Control,
    path: &Path,
    cut: Cut,
    name: &str,
    output: &Output,
) -> Result<Imported> {
    let path = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let Some(text) = path.to_str() else { bail!("the path {} is not UTF-8", path.display()) };
    let request = ImportRequest { path: text.to_owned(), cut, name: name.to_owned() };
    let bar = output.bar(0, "importing");
    let total = if bar.is_hidden() { 0 } else { size_of(&path) };
    let body = full(serde_json::to_vec(&request)?.into());
    let imported = control
        .events("/v1/import", body, |event| {
            bar.set_length(total.max(number(event, "bytes")));
            show(&bar, event);
        })
        .await?;
    bar.finish_and_clear();
    Ok(imported)
}

pub(super) fn show(bar: &indicatif::ProgressBar, event: &serde_json::Value) {
    bar.set_position(number(event, "bytes"));
    bar.set_prefix(format!("{} files", number(event, "files")));
}

fn number(event: &serde_json::Value, field: &str) -> u64 {
    event.get(field).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Bytes of the files below `path`, for the length of a bar: what cannot be read is left out, links are not followed.
fn size_of(path: &Path) -> u64 {
    let (mut bytes, mut folders) = (0_u64, Vec::new());
    let mut entries = vec![path.to_owned()];
    loop {
        for entry in entries.drain(..) {
            match std::fs::symlink_metadata(&entry) {
                Ok(meta) if meta.is_dir() => folders.push(entry),
                Ok(meta) => bytes = bytes.saturating_add(meta.len()),
                Err(_) => {}
            }
        }
        let Some(folder) = folders.pop() else { return bytes };
        entries.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
}

/// Prints the root that an import would have.
pub(crate) fn only_hash(path: &Path, cut: &Cut, output: &Output) -> Result<()> {
    let imported = work::only_hash(Source::Path(path), cut.options()?)?;
    Ok(output.result(&imported, || imported.root.clone())?)
}
