//! Connecting to one origin, over TCP or TLS.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::origin::Origin;
use crate::resolve::{Reach, Resolver};

/// A connection's bytes. What is in one part, such as a request without a body, is written as such: the kernel takes that with less ado
/// than a list of parts.
pub(crate) struct Stream(MaybeHttpsStream<TokioIo<TcpStream>>);

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the origin, whatever the request says of where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    inner: HttpsConnector<To>,
    target: Uri,
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(
        origin: &Origin,
        limit: Duration,
        mut tls: ClientConfig,
        (resolver, reach): (Resolver, Reach),
    ) -> Result<Self, String> {
        // Both families are tried, the second a little after the first (RFC 8305, simplified).
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        let target = origin.target().map_err(|error| error.to_string())?;
        tls.alpn_protocols = if origin.is_http2() { vec![b"h2".to_vec()] } else { Vec::new() };
        let name = Arc::new(FixedServerNameResolver::new(origin.server_name()));
        let to = To { tcp, target: target.clone(), reach };
        Ok(Self { inner: HttpsConnector::new(to, tls, false, name), target, limit })
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none, within the limit.
    pub(crate) async fn connect(&self) -> Result<Stream, Error> {
        let mut connector = self.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        connector.call(self.target.clone()).await
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [one] => Pin::new(&mut self.0).poll_write(cx, one),
            bufs => Pin::new(&mut self.0).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            let late = |_| Error::from(io::Error::new(io::ErrorKind::TimedOut, format!("not within {limit:?}")));
            timeout(limit, connecting).await.map_err(late)?.map(Stream)
        })
    }
}

/// TCP to one place.
#[derive(Clone, Debug)]
pub(crate) struct To {
    tcp: HttpConnector<Resolver>,
    target: Uri,
    reach: Reach,
}

impl Service<Uri> for To {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(cx).map_err(Error::from)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // A host that is an address is not looked up, and so not checked there.
        if let Err(error) = self.reach.check(self.target.host().unwrap_or_default()) {
            return Box::pin(std::future::ready(Err(error.into())));
        }
        let connecting = self.tcp.call(self.target.clone());
        Box::pin(async move { Ok(connecting.await?) })
    }
}
