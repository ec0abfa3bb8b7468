//! Questions to a running node over its Unix socket: HTTP with JSON, or a stream of JSON lines for long work.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The largest answer that is not a stream, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What may not stand in a path as it is (RFC 3986 §3.3).
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'%').add(b'`');

/// A request body.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A node's socket.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    socket: PathBuf,
}

impl Control {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether a node answers there.
    pub(crate) async fn is_running(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    /// `GET path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Sends `body` and reads a JSON answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T> {
        let answer = self.send(method, path, full(body)).await?;
        let bytes = http_body_util::Limited::new(answer, ANSWER_BYTES_MAX).collect().await;
        let bytes = bytes.map_err(|error| anyhow!("the node broke off its answer: {error}"))?.to_bytes();
        serde_json::from_slice(&bytes).with_context(|| format!("the node's answer to {path} was not understood"))
    }

    /// Sends `body` and hands each line of the answer to `on_event`; the last one is the result. A line with `error` is
    /// an error, and so is an end without `done`.
    pub(crate) async fn events<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Body,
        mut on_event: impl FnMut(&serde_json::Value),
    ) -> Result<T> {
        let mut answer = self.send(Method::POST, path, body).await?;
        let mut buffer = BytesMut::new();
        while let Some(frame) = answer.frame().await {
            let frame = frame.map_err(|error| anyhow!("the node broke off its answer: {error}"))?;
            buffer.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line = buffer.split_to(end.saturating_add(1));
                let event: serde_json::Value = serde_json::from_slice(&line)?;
                if let Some(error) = event.get("error").and_then(|error| error.as_str()) {
                    bail!("{error}");
                }
                if let Some(done) = event.get("done") {
                    return Ok(serde_json::from_value(done.clone())?);
                }
                on_event(&event);
            }
            if buffer.len() > ANSWER_BYTES_MAX {
                bail!("the node's answer has a line over {ANSWER_BYTES_MAX} bytes");
            }
        }
        bail!("the node stopped before it was done")
    }

    /// Sends a request; an answer that is no success is an error with the node's text.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Body) -> Result<Incoming> {
        let socket = self.socket.display();
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("no node answers at {socket}; start one with `atoll node`, or name its --dir"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "localhost").body(body)?;
        let answer = sender.send_request(request).await.with_context(|| format!("the node at {socket} hung up"))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let text = http_body_util::Limited::new(answer.into_body(), 64 * 1024).collect().await;
        let text = text.map(|text| String::from_utf8_lossy(&text.to_bytes()).into_owned()).unwrap_or_default();
        let error = serde_json::from_str::<serde_json::Value>(&text).ok();
        match error.as_ref().and_then(|error| error.get("error")).and_then(|error| error.as_str()) {
            Some(error) => bail!("{error}"),
            None => bail!("the node answered {status}: {text}"),
        }
    }
}

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A path as it stands in a URL.
pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}
