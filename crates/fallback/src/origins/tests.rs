//! Settings of origins, and origins over TLS.

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[test]
fn origins_are_read() {
    let parse = |url: &str, host: &str| Origin::parse(&OriginConfig { url: url.to_owned(), host: host.to_owned() });
    for (url, host) in [("https://a.example", ""), ("http://[::1]:3000/", "client"), ("http://10.0.0.7", "b.example")] {
        assert!(parse(url, host).is_ok(), "{url}");
    }
    for (url, host) in [
        ("", ""),
        ("a.example", ""),
        ("ftp://a.example", ""),
        ("https://a.example/path", ""),
        ("https://a.example/?q", ""),
        ("https://user@a.example", ""),
        ("https://a.example", "b/c"),
    ] {
        assert!(parse(url, host).is_err(), "{url} {host}");
    }
}

#[test]
fn an_answer_says_in_one_way_how_long_it_is() {
    let framed = |fields: &[(&'static str, &'static str)]| {
        let mut response = Response::new(());
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        framed(response).map(|response| response.headers().contains_key("content-length"))
    };
    let (length, coding) = ("content-length", "transfer-encoding");
    for (fields, has_length) in [
        (&[][..], false),
        (&[(length, "3")], true),
        (&[(length, "3"), (coding, "Chunked")], false),
        (&[(length, "3"), (coding, "nobody-knows1")], false),
    ] {
        assert_eq!(framed(fields).ok(), Some(has_length), "{fields:?}");
    }
    for fields in [
        &[(length, "3"), (length, "3")][..],
        &[(length, "")],
        &[(length, "+3")],
        &[(coding, "gzip")],
        &[(coding, "gzip, chunked")],
        &[(coding, "xchunked")],
        &[(coding, "chunked"), (coding, "chunked")],
    ] {
        assert!(framed(fields).is_err(), "{fields:?}");
    }
}

/// A server with a certificate of its own, which answers with the host that it was told; its port, and roots that vouch for it.
async fn secure(name: &str) -> (u16, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.key_pair.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    // Chooses the provider of all.
    drop(atoll_trust::trusting(roots.clone()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key.try_into().unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
            let answer =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{host}", host.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, roots)
}

#[tokio::test]
async fn origins_with_tls_are_asked_if_the_roots_vouch_for_them() {
    let (port, roots) = secure("localhost").await;
    let config = |host: &str| OriginConfig { url: format!("https://localhost:{port}"), host: host.to_owned() };
    let (head, ()) = Request::builder().uri("/path").body(()).unwrap().into_parts();
    let visitor = HeaderValue::from_static("visitor.example");
    for (host, told) in
        [("", format!("localhost:{port}")), ("client", "visitor.example".into()), ("b.example", "b.example".into())]
    {
        let trusted = |connector| atoll_trust::with(connector, atoll_trust::trusting(roots.clone()));
        let origins = Origins::over(&[config(host)], Timeouts::default(), trusted).unwrap();
        let answer = origins.send(&head, &visitor, None).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), told);
    }
    let stranger = Origins::new(&[config("")], Timeouts::default()).unwrap();
    let refused = stranger.send(&head, &visitor, None).await;
    assert!(matches!(refused, Err(OriginError::Connect { .. })), "{refused:?}");
}
