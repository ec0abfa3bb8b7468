//! Certificates from files: a bad one never serves, and never ends what does.

use std::fs;

use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::until;

use crate::INLINE;

#[test]
fn what_is_pushed_is_checked_before_it_serves() {
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0", "certs.reload=1s"]);
    let (certificate, key) = (node.path("cert.pem"), node.path("key.pem"));
    let toml = format!("[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n");
    let (first, first_key) = made("site.example");
    fs::write(&certificate, &first).unwrap();
    fs::write(&key, &first_key).unwrap();
    let node = node.configured(&toml).started();
    let asks = |pem: &str| {
        Visitor::trusting(pem).get(node.secure(), "site.example", INLINE).is_ok_and(|(it, _)| it.status == 200)
    };
    assert!(asks(&first));
    // A key of another certificate, rubbish, and rubbish that looks like a certificate: what was good serves on.
    let refused = || node.log().matches("a certificate is refused").count();
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pushed = [(first.as_str(), made("site.example").1), ("rubbish", first_key.clone()), (rubbish, first_key)];
    for (number, (chain, key_now)) in pushed.into_iter().enumerate() {
        fs::write(&certificate, chain).unwrap();
        fs::write(&key, key_now).unwrap();
        until("the refusal", || refused() > number);
        assert!(asks(&first));
    }
    let (second, second_key) = made("site.example");
    fs::write(&certificate, &second).unwrap();
    fs::write(&key, &second_key).unwrap();
    until("the new certificate", || asks(&second));
    assert!(!asks(&first));
    // A name that no certificate holds for gets no handshake; our own serve beside.
    assert!(Visitor::trusting(&second).get(node.secure(), "other.example", INLINE).is_err());
}
