//! Connections that are used again, and those that are not fit for that.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use super::*;
use crate::client;

const LONG_BYTES: usize = 1024 * 1024;
/// More than the buffers of two sockets and what is between them.
const UPLOAD_BYTES: usize = 32 * 1024 * 1024;

/// What was asked over each connection.
type Asked = Arc<Mutex<Vec<Vec<String>>>>;

/// A server that keeps its connections, but for what it is asked to do with them.
async fn keeping() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            noted.lock().unwrap().push(Vec::new());
            tokio::spawn(keep(stream, connection, Arc::clone(&noted)));
        }
    });
    (url, asked)
}

async fn keep(stream: TcpStream, connection: usize, asked: Asked) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
            head.push_str(&line);
        }
        let path = head.split(' ').nth(1).unwrap().to_owned();
        asked.lock().unwrap()[connection].push(path.clone());
        match &*path {
            "/long" => {
                stream
                    .write_all(format!("HTTP/1.1 200 X\r\nContent-Length: {LONG_BYTES}\r\n\r\n").as_bytes())
                    .await
                    .ok()?;
                stream.write_all(&vec![b'a'; LONG_BYTES]).await.ok()?;
            }
            "/late" => {
                stream.write_all(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b"2\r\nre\r\n0\r\n\r\n").await.ok()?;
            }
            "/upload" => {
                stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n").await.ok()?;
                let mut end = Vec::new();
                while !end.ends_with(b"\r\n0\r\n\r\n") {
                    let part = stream.fill_buf().await.ok().filter(|part| !part.is_empty())?;
                    end.extend_from_slice(part);
                    let len = part.len();
                    stream.consume(len);
                    end.drain(..end.len().saturating_sub(7));
                }
                stream.write_all(b"here").await.ok()?;
            }
            path => stream
                .write_all(b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nhere")
                .await
                .ok()
                .filter(|()| path != "/last")?,
        }
    }
}

async fn get(origins: &Origins, path: &str) -> Answer {
    ask_for(origins, "GET", path, None).await.unwrap()
}

/// What was asked over each connection.
fn by_connection(asked: &Asked) -> Vec<Vec<String>> {
    asked.lock().unwrap().clone()
}

#[tokio::test]
async fn a_connection_is_used_again_once_all_has_come_over_it() {
    let (url, asked) = keeping().await;
    let origins = pool(&[&url], |_| ());
    assert_eq!(text(get(&origins, "/1").await).await, "here");
    // What is short has come with its head; it may be read whenever somebody has time.
    let unread = get(&origins, "/2").await;
    assert_eq!(text(get(&origins, "/late").await).await, "here");
    assert_eq!(text(unread).await, "here");
    assert_eq!(text(get(&origins, "/long").await).await.len(), LONG_BYTES);
    assert_eq!(text(get(&origins, "/3").await).await, "here");
    assert_eq!(by_connection(&asked), [["/1", "/2", "/late", "/long", "/3"]]);
}

#[tokio::test]
async fn a_body_that_nobody_reads_to_its_end_takes_its_connection_with_it() {
    let (url, asked) = keeping().await;
    let origins = pool(&[&url], |_| ());
    let mut broken_off = get(&origins, "/long").await.into_body();
    assert!(broken_off.frame().await.unwrap().unwrap().is_data());
    let meanwhile = get(&origins, "/1").await;
    drop(broken_off);
    assert_eq!(text(meanwhile).await, "here");
    assert_eq!(text(get(&origins, "/2").await).await, "here");
    assert_eq!(by_connection(&asked), [vec!["/long"], vec!["/1", "/2"]]);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_not_noticed() {
    let (url, asked) = keeping().await;
    let origins = pool(&[&url], |_| ());
    assert_eq!(text(get(&origins, "/last").await).await, "here");
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Nothing of it was sent, so that it may be sent over another although it changes something.
    assert_eq!(text(ask_for(&origins, "POST", "/1", Some("a")).await.unwrap()).await, "here");
    assert_eq!(by_connection(&asked), [["/last"], ["/1"]]);
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let origins = pool(&[&url], |settings| settings.timeouts.keep_alive = Duration::from_millis(50));
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
        assert_eq!(stream.read(&mut head).await.unwrap(), 0, "the end of the connection");
    };
    let ((), response) = tokio::join!(serving, get(&origins, "/"));
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_answer() {
    const PART: Bytes = Bytes::from_static(&[b'a'; 64 * 1024]);
    let (url, asked) = keeping().await;
    let origins = pool(&[&url], |_| ());
    let (all_sent, sent) = tokio::sync::oneshot::channel();
    let parts = stream::iter(std::iter::repeat_n(PART, UPLOAD_BYTES / PART.len()));
    let parts = parts.chain(stream::once(async move {
        let _ = all_sent.send(());
        Bytes::new()
    }));
    let body = Upload::new(StreamBody::new(parts.map(|part| Ok(Frame::data(part)))));
    let (head, ()) = Request::builder().method("POST").uri("/upload").body(()).unwrap().into_parts();
    let hop = hop();
    let call = Call {
        head: &head,
        hop: &hop,
        body: Some(body),
        among: &[],
        hints: None,
        patience: &Patience::default(),
        expects: false,
        once: false,
    };
    let answer = origins.send(call).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), sent).await.expect("the upload waits for a reader").unwrap();
    assert_eq!(text(answer).await, "here");
    assert_eq!(text(get(&origins, "/1").await).await, "here");
    assert_eq!(by_connection(&asked), [["/upload", "/1"]]);
}

#[test]
fn threads_have_connections_of_their_own_and_use_them_again() {
    const THREADS: usize = 8;
    const REQUESTS: usize = 20;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (url, asked) = runtime.block_on(keeping());
    let origins = runtime.block_on(async { pool(&[&url], |_| ()) });
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let lane = format!("/{}", client::lane_of_thread() % client::lanes());
                runtime.block_on(async {
                    for _ in 0..REQUESTS {
                        assert_eq!(text(ask_for(&origins, "GET", &lane, None).await.unwrap()).await, "here");
                    }
                });
            });
        }
    });
    let asked = asked.lock().unwrap();
    assert_eq!(asked.iter().map(Vec::len).sum::<usize>(), THREADS * REQUESTS);
    for paths in asked.iter() {
        assert!(paths.iter().all(|path| *path == paths[0]), "two threads used one connection: {paths:?}");
    }
    assert!(asked.len() < THREADS * REQUESTS, "no connection was used twice");
}
