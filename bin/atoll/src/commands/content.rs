//! `atoll import`, `ls`, `pin`, `gc`, `car` and `store`: work on the node's blocks, through the node or beside it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use atoll_content::store::Store;
use atoll_node::api::{CarImported, Collected, Entry, ImportRequest, Imported, PinRequest, PinStatus, Verified};
use atoll_node::config::Folder;
use atoll_node::work;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::args::{CarCommand, ImportArgs, LsArgs, PinCommand, SettingArgs, StoreCommand};
use crate::control::{Body, Control, encode_path, full};
use crate::output::{Output, bytes, table};

/// Bytes read from a CAR at a time.
const CHUNK_BYTES: usize = 256 * 1024;

pub(crate) async fn import(args: ImportArgs, folder: &Folder, control: &Control, output: &Output) -> Result<()> {
    let imported = if args.offline {
        let store = open_store(folder, control).await?;
        let bar = output.bar(0, "importing");
        let pin = (!args.no_sync).then_some(args.name.as_str());
        let imported = work::import(&store, &args.path, args.hidden, pin, &|progress| {
            bar.set_position(progress.bytes);
            bar.set_prefix(format!("{} files", progress.files));
        })?;
        bar.finish_and_clear();
        imported
    } else {
        import_through(control, &args.path, args.hidden, &args.name, output).await?
    };
    let text = || format!("{}\n{} files, {}", imported.root, imported.files, bytes(imported.bytes));
    Ok(output.result(&imported, text)?)
}

/// Imports through the running node, which reads the folder itself.
pub(crate) async fn import_through(
    control: &Control,
    path: &Path,
    hidden: bool,
    name: &str,
    output: &Output,
) -> Result<Imported> {
    let path = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let Some(text) = path.to_str() else { bail!("the path {} is not UTF-8", path.display()) };
    let request = ImportRequest { path: text.to_owned(), hidden, name: name.to_owned() };
    let bar = output.bar(0, "importing");
    let total = if bar.is_hidden() { 0 } else { size_of(&path) };
    let body = full(serde_json::to_vec(&request)?.into());
    let imported = control
        .events("/v1/import", body, |event| {
            let number = |field: &str| event.get(field).and_then(serde_json::Value::as_u64).unwrap_or(0);
            bar.set_length(total.max(number("bytes")));
            bar.set_position(number("bytes"));
            bar.set_prefix(format!("{} files", number("files")));
        })
        .await?;
    bar.finish_and_clear();
    Ok(imported)
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
pub(crate) fn only_hash(path: &Path, hidden: bool, output: &Output) -> Result<()> {
    let imported = work::only_hash(path, hidden)?;
    Ok(output.result(&imported, || imported.root.clone())?)
}

pub(crate) async fn ls(args: LsArgs, control: &Control, output: &Output) -> Result<()> {
    let Some(target) = args.target else {
        let pins: Vec<PinStatus> = control.get("/v1/pins").await?;
        return print_pins(&pins, output);
    };
    let path = target.trim_start_matches("/ipfs/").trim_matches('/');
    let entries: Vec<Entry> = control.get(&format!("/v1/ls/{}", encode_path(path))).await?;
    let rows: Vec<_> =
        entries.iter().map(|entry| vec![entry.cid.clone(), entry.size.to_string(), entry.name.clone()]).collect();
    Ok(output.result(&entries, || table(&["CID", "SIZE", "NAME"], &rows))?)
}

pub(crate) async fn pin(command: PinCommand, control: &Control, output: &Output) -> Result<()> {
    match command {
        PinCommand::Ls => print_pins(&control.get::<Vec<PinStatus>>("/v1/pins").await?, output),
        PinCommand::Add { cid, name } => {
            let body = serde_json::to_vec(&PinRequest { cid, name })?;
            let bar = output.steps(0, "fetching");
            let pinned: PinStatus = control
                .events("/v1/pins", full(body.into()), |event| {
                    bar.set_position(event.get("blocks").and_then(serde_json::Value::as_u64).unwrap_or(0));
                })
                .await?;
            bar.finish_and_clear();
            Ok(output.result(&pinned, || format!("pinned {} as `{}`", pinned.root, pinned.name))?)
        }
        PinCommand::Rm { cid, name } => {
            let body = serde_json::to_vec(&PinRequest { cid, name })?;
            let removed: PinStatus = control.call(Method::DELETE, "/v1/pins", body.into()).await?;
            Ok(output.result(&removed, || format!("unpinned {} as `{}`", removed.root, removed.name))?)
        }
    }
}

fn print_pins(pins: &[PinStatus], output: &Output) -> Result<()> {
    let rows: Vec<_> = pins.iter().map(|pin| vec![pin.root.clone(), pin.name.clone()]).collect();
    Ok(output.result(&pins, || table(&["ROOT", "NAME"], &rows))?)
}

pub(crate) async fn gc(folder: &Folder, control: &Control, output: &Output) -> Result<()> {
    let collected: Collected = if control.is_running().await {
        control.events("/v1/gc", full(Bytes::new()), |_| {}).await?
    } else {
        work::gc(&open_store(folder, control).await?)?
    };
    let text = || format!("removed {} blocks, {} freed", collected.blocks, bytes(collected.bytes));
    Ok(output.result(&collected, text)?)
}

pub(crate) async fn store(
    command: StoreCommand,
    folder: &Folder,
    control: &Control,
    output: &Output,
) -> Result<ExitCode> {
    let StoreCommand::Verify = command;
    let verified: Verified = if control.is_running().await {
        let bar = output.bar(0, "verifying");
        let verified = control
            .events("/v1/verify", full(Bytes::new()), |event| {
                let number = |field: &str| event.get(field).and_then(serde_json::Value::as_u64).unwrap_or(0);
                bar.set_length(number("total_bytes"));
                bar.set_position(number("bytes"));
            })
            .await?;
        bar.finish_and_clear();
        verified
    } else {
        work::verify(&open_store(folder, control).await?, &|_, _| {})?
    };
    output.result(&verified, || {
        let mut text = String::new();
        for damaged in &verified.damaged {
            text.push_str(&format!("damaged {} in pack {} at {}\n", damaged.block, damaged.pack, damaged.offset));
        }
        let (blocks, size, damaged) = (verified.blocks, bytes(verified.bytes), verified.damaged.len());
        text + &format!("{blocks} blocks, {size} hashed, {damaged} damaged, {} fetched again", verified.mended)
    })?;
    let mended = verified.damaged.len() as u64 <= verified.mended;
    Ok(if mended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn car(command: CarCommand, control: &Control, output: &Output) -> Result<()> {
    match command {
        CarCommand::Import { file, name, no_pin } => {
            let path = if no_pin { "/v1/car".to_owned() } else { format!("/v1/car?name={}", encode_path(&name)) };
            let imported: CarImported = if file == Path::new("-") {
                control.events(&path, reader_body(tokio::io::stdin()), |_| {}).await?
            } else {
                let opened = tokio::fs::File::open(&file).await;
                let opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
                control.events(&path, reader_body(opened), |_| {}).await?
            };
            let text =
                || format!("{}\n{} blocks, {}", imported.roots.join("\n"), imported.blocks, bytes(imported.bytes));
            Ok(output.result(&imported, text)?)
        }
        CarCommand::Export { cid, output: to } => export(&cid, to.as_deref(), control).await,
    }
}

/// Writes the CAR to a file, which gets its name when it is whole, or to standard output.
async fn export(cid: &str, to: Option<&Path>, control: &Control) -> Result<()> {
    let path = format!("/v1/car/{}", encode_path(cid));
    let mut answer = control.send(Method::GET, &path, full(Bytes::new())).await?;
    let temporary = to.map(|to| to.with_extension("car.part"));
    let mut sink: Box<dyn tokio::io::AsyncWrite + Unpin + Send> = match &temporary {
        Some(path) => Box::new(tokio::fs::File::create(path).await?),
        None => Box::new(tokio::io::stdout()),
    };
    while let Some(frame) = answer.frame().await {
        let frame = frame.context("the CAR broke off; it is not whole")?;
        if let Some(data) = frame.data_ref() {
            sink.write_all(data).await?;
        }
    }
    sink.flush().await?;
    if let (Some(temporary), Some(to)) = (&temporary, to) {
        tokio::fs::rename(temporary, to).await?;
    }
    Ok(())
}

/// A request body from a reader.
fn reader_body(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> Body {
    let chunks = futures_util::stream::try_unfold(reader, |mut reader| async move {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let count = (&mut reader).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
        Ok::<_, std::io::Error>((count > 0).then_some((Bytes::from(chunk), reader)))
    });
    http_body_util::BodyExt::boxed(StreamBody::new(chunks.map_ok(Frame::data)))
}

/// The store of a stopped node.
async fn open_store(folder: &Folder, control: &Control) -> Result<Store> {
    if control.is_running().await {
        bail!("the node of {} is running; leave out --offline", folder.path().display());
    }
    let (config, _) = super::config::load(&SettingArgs::default(), folder)?;
    Ok(work::open_store(folder, &config.store)?)
}
