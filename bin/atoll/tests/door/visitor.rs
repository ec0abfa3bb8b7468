//! A client that speaks TLS and believes whom it is told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use atoll_testkit::http::Reply;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Certificates that it believes, as PEM.
pub(crate) struct Visitor(Arc<ClientConfig>);

impl Visitor {
    pub(crate) fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        // What is shown now, not what was shown when the session began.
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// Asks a host at an address; the answer, and the certificate that was shown.
    pub(crate) fn get(
        &self,
        at: SocketAddr,
        host: &str,
        target: &str,
    ) -> std::io::Result<(Reply, CertificateDer<'static>)> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(at)?);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
        Ok((Reply::parse(&answer, false), shown))
    }
}
