//! What a visitor meets who speaks TLS and HTTP/2: answers from the cache, bodies as streams, trailers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use atoll_testkit::http::request;
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::tls::Visitor;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::secure;

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn connect(front: &Node, visitor: &Visitor) -> SendRequest<Body> {
    let tcp = tokio::net::TcpStream::connect(front.secure()).await.unwrap();
    let name = ServerName::try_from("shop.example").unwrap();
    let tls = TlsConnector::from(visitor.speaking(b"h2")).connect(name, tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    send
}

fn asking(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://shop.example{path}"))
}

async fn ask(send: &mut SendRequest<Body>, method: &str, path: &str) -> (Response<()>, Bytes) {
    let request = asking(method, path).body(BoxBody::new(Empty::new())).unwrap();
    let (head, body) = send.send_request(request).await.unwrap().into_parts();
    assert_eq!(head.version, Version::HTTP_2);
    (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_second_answer_is_from_the_cache() {
    let body = vec![b'a'; 300_000];
    let whole = body.clone();
    let origin = Origin::answering(move |_: &Asked| ("Cache-Control: max-age=60\r\n".to_owned(), whole.clone()));
    let (front, visitor) = secure(&origin.url(), "");
    let mut send = connect(&front, &visitor).await;
    let (first, found) = ask(&mut send, "GET", "/a").await;
    assert_eq!((first.status().as_u16(), &found[..]), (200, &body[..]));
    assert!(field(&first, "cache-status").contains("fwd=uri-miss"), "{first:?}");
    let (second, found) = ask(&mut send, "GET", "/a").await;
    assert_eq!((second.status().as_u16(), &found[..]), (200, &body[..]));
    assert!(field(&second, "cache-status").contains("; hit"), "{second:?}");
    assert_eq!(field(&second, "strict-transport-security"), "max-age=86400");
    let plain = request(front.gateway(), "GET", "shop.example", "/a", &[]);
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None));
    let (head, found) = ask(&mut send, "HEAD", "/a").await;
    assert_eq!((head.status().as_u16(), field(&head, "content-length"), found.len()), (200, "300000", 0));
    assert!(field(&head, "cache-status").contains("; hit"), "{head:?}");
    // Over HTTP it is another URL.
    assert_eq!(origin.asked().len(), 2);
    let told = origin.asked().remove(0);
    assert_eq!(told.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(told.field("x-forwarded-host").as_deref(), Some("shop.example"));
    assert_eq!(told.field("via").as_deref(), Some("2 atoll"));
}

/// Reads until it is there.
fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(end) {
        let count = tcp.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        text += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    text
}

#[tokio::test]
async fn bodies_stream_both_ways_and_trailers_follow() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (passed, has_passed) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        // The first part of the request is here before the last is sent, and so it is with the answer.
        read_until(&mut tcp, "\r\n3\r\none\r\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
        tcp.write_all(format!("{head}3\r\nuno\r\n").as_bytes()).unwrap();
        read_until(&mut tcp, "3\r\ntwo\r\n0\r\n\r\n");
        has_passed.recv().unwrap();
        tcp.write_all(b"3\r\ndos\r\n0\r\ngrpc-status: 0\r\ngrpc-message: done\r\n\r\n").unwrap();
    });
    let (front, visitor) = secure(&url, "");
    let mut send = connect(&front, &visitor).await;
    let (more, parts) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let parts = stream::unfold(parts, |mut parts| async move {
        let part = parts.recv().await?;
        Some((Ok(Frame::data(Bytes::from_static(part.as_bytes()))), parts))
    });
    let request = asking("POST", "/service/call").header("te", "trailers").header("content-type", "application/grpc");
    more.send("one").unwrap();
    let response = send.send_request(request.body(BoxBody::new(StreamBody::new(parts))).unwrap());
    let mut response = response.await.unwrap();
    assert_eq!(data(&mut response).await, "uno");
    more.send("two").unwrap();
    drop(more);
    passed.send(()).unwrap();
    assert_eq!(data(&mut response).await, "dos");
    let trailers = response.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"done".parse().unwrap())
    );
    assert!(response.frame().await.is_none());
    server.join().unwrap();
}

async fn data(response: &mut Response<Incoming>) -> Bytes {
    response.frame().await.unwrap().unwrap().into_data().unwrap()
}
