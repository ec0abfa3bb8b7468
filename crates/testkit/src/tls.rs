//! A client that speaks TLS and believes whom it is told to, and certificates for those whom it asks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::http::{Reply, connect};

/// A certificate that signs itself, and its key, as PEM.
///
/// # Panics
/// If there is no randomness.
pub fn made(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Whoever believes certain certificates.
#[derive(Clone, Debug)]
pub struct Visitor(Arc<ClientConfig>);

impl Visitor {
    /// Believes these certificates, as PEM.
    ///
    /// # Panics
    /// If rustls cannot be set up.
    pub fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        // What is shown now, not what was shown when the session began.
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// How it speaks when it wants this protocol alone (RFC 7301).
    pub fn speaking(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// Connects to a host at an address, for a protocol.
    ///
    /// # Panics
    /// If nobody listens, or the name is none.
    pub fn connect(&self, at: SocketAddr, host: &str, protocol: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(self.speaking(protocol), name).unwrap(), connect(at))
    }

    /// Asks a host at an address; the answer, and the certificate that was shown.
    ///
    /// # Errors
    /// If the connection or its handshake fails.
    ///
    /// # Panics
    /// If what comes back is no answer.
    pub fn get(&self, at: SocketAddr, host: &str, target: &str) -> io::Result<(Reply, CertificateDer<'static>)> {
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
