//! Pebble as a process, an ACME server for tests, and its DNS, which says that every name is at 127.0.0.1.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use atoll_testkit::tls::Visitor;
use atoll_testkit::trial::until;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Not yet running: its ports are known, so that a node can be told of it first.
pub(crate) struct Pebble {
    folder: TempDir,
    programs: PathBuf,
    api: u16,
    management: u16,
    /// What its API shows, as PEM.
    certificate: String,
    running: Vec<Child>,
}

impl Pebble {
    pub(crate) fn new(programs: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("cert.pem"), &certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let [api, management] = [(); 2].map(|()| free_port());
        Self { folder, programs: programs.to_owned(), api, management, certificate, running: Vec::new() }
    }

    /// What a node's settings call it, with more fields.
    pub(crate) fn authority(&self, more: &str) -> String {
        let roots = self.folder.path().join("cert.pem");
        format!("{{ directory = \"https://127.0.0.1:{}/dir\", roots = {roots:?}{more} }}", self.api)
    }

    /// Starts it: it looks at these ports for what shows that names lead there, and refuses every seventh request or so for its nonce.
    pub(crate) fn start(&mut self, http: u16, tls: u16, more: Value) {
        let path = |name: &str| self.folder.path().join(name);
        let mut settings = json!({
            "listenAddress": format!("127.0.0.1:{}", self.api),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "retryAfter": { "authz": 1, "order": 1 },
            "keyAlgorithm": "ecdsa",
            "profiles": { "default": { "description": "a quarter", "validityPeriod": 7_776_000 } },
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(path("pebble.json"), json!({ "pebble": settings }).to_string()).unwrap();
        let dns = free_port();
        let mut names = Command::new(self.programs.join("pebble-challtestsrv"));
        names.args(["-dnsserver", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{}", free_port())]);
        names.args([
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-doh",
            "",
        ]);
        let mut pebble = Command::new(self.programs.join("pebble"));
        pebble.arg("-config").arg(path("pebble.json")).args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
        pebble.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "15"), ("PEBBLE_AUTHZREUSE", "0")]);
        for mut command in [names, pebble] {
            let log = fs::File::options().create(true).append(true).open(path("pebble.log")).unwrap();
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            self.running.push(command.spawn().unwrap());
        }
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, self.management));
        until("pebble", || TcpStream::connect(api).is_ok());
    }

    /// Whoever believes what it issues.
    pub(crate) fn visitor(&self) -> Visitor {
        let management = SocketAddr::from((Ipv4Addr::LOCALHOST, self.management));
        let (root, _) = Visitor::trusting(&self.certificate).get(management, "127.0.0.1", "/roots/0").unwrap();
        Visitor::trusting(root.text())
    }

    /// What it says of a certificate that it issued: its state, and why it was revoked.
    pub(crate) fn status(&self, certificate: &CertificateDer<'_>) -> (String, Option<u64>) {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
        let serial = data_encoding::HEXLOWER.encode(parsed.raw_serial());
        let management = SocketAddr::from((Ipv4Addr::LOCALHOST, self.management));
        let path = format!("/cert-status-by-serial/{}", serial.trim_start_matches('0'));
        let (reply, _) = Visitor::trusting(&self.certificate).get(management, "127.0.0.1", &path).unwrap();
        let said: Value = serde_json::from_slice(&reply.body).unwrap();
        (said["Status"].as_str().unwrap().to_owned(), said["Reason"].as_u64())
    }

    /// It is away from now on.
    pub(crate) fn stop(&mut self) {
        for mut process in self.running.drain(..) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("pebble.log")).unwrap_or_default();
            eprintln!("{}", log.lines().rev().take(60).collect::<Vec<_>>().join("\n"));
        }
        for process in &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
