//! sslyze judges TLS by Mozilla's "intermediate" configuration.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use atoll_testkit::process::Node;
use atoll_testkit::trial::installed;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

/// How long Mozilla lets certificates live, and how long ours do here.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

#[test]
fn tls_is_as_mozilla_has_it() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0"]);
    let paths = ["ca.pem", "cert.pem", "key.pem"].map(|name| node.path(name));
    paths.iter().zip(issued("site.example")).for_each(|(path, pem)| fs::write(path, pem).unwrap());
    let [authority, certificate, key] = paths;
    let certs = format!("[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n");
    let node = node.configured(&certs).started();
    let mut command = Command::new(python);
    command.args(["-m", "sslyze", "--mozilla_config=intermediate", "--certinfo_ca_file"]).arg(authority);
    command.arg(format!("site.example:{}{{127.0.0.1}}", node.secure().port()));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("OK - Compliant") && output.status.success(), "{said}");
}

/// An authority, a certificate that it issued, and the key of that, as PEM.
fn issued(name: &str) -> [String; 3] {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "An authority");
    let authority_key = KeyPair::generate().unwrap();
    let authority = authority.self_signed(&authority_key).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (SystemTime::now().into(), (SystemTime::now() + LIFE).into());
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority, &authority_key).unwrap();
    [authority.pem(), certificate.pem(), key.serialize_pem()]
}
