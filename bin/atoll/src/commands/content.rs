//! `atoll ls`, `pin`, `gc`, `car` and `store`: work on the node's blocks, through the node or beside it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use atoll_content::store::Store;
use atoll_node::api::{CarImported, Collected, Entry, PinRequest, PinStatus, Verified};
use atoll_node::config::Folder;
use atoll_node::work;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::args::{CarCommand, LsArgs, PinCommand, SettingArgs, StoreCommand};
use crate::control::{Body, Control, encode_path, full};
use crate::output::{Output, bytes, table};

/// Bytes read from a CAR at a time.
const CHUNK_BYTES: usize = 256 * 1024;

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
            let name = (!no_pin).then_some(name.as_str());
            import_car(&file, name, control, output).await
        }
        CarCommand::Export { cid, output: to } => export(&cid, to.as_deref(), control).await,
    }
}

/// Hands a CAR to the node, which pins its roots if a name is given.
pub(super) async fn import_car(file: &Path, name: Option<&str>, control: &Control, output: &Output) -> Result<()> {
    let path = name.map_or_else(|| "/v1/car".to_owned(), |name| format!("/v1/car?name={}", encode_path(name)));
    let imported: CarImported = control.events(&path, file_body(file).await?, |_| {}).await?;
    let text = || format!("{}\n{} blocks, {}", imported.roots.join("\n"), imported.blocks, bytes(imported.bytes));
    Ok(output.result(&imported, text)?)
}

/// A request body from a file, or from standard input if it is called `-`.
pub(super) async fn file_body(file: &Path) -> Result<Body> {
    if file == Path::new("-") {
        return Ok(reader_body(tokio::io::stdin()));
    }
    let opened = tokio::fs::File::open(file).await;
    Ok(reader_body(opened.with_context(|| format!("cannot read {}", file.display()))?))
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
pub(super) async fn open_store(folder: &Folder, control: &Control) -> Result<Store> {
    if control.is_running().await {
        bail!("the node of {} is running; leave out --offline", folder.path().display());
    }
    let (config, _) = super::config::load(&SettingArgs::default(), folder)?;
    Ok(work::open_store(folder, &config.store)?)
}
