//! What a node keeps: its key, and the bundles by which it signs.

use std::fs;

use atoll_core::bundle::{Bundle, BundleId, Named};
use atoll_core::keys::SiteKey;
use atoll_core::record::Placement;
use atoll_core::signed::Unsound;
use atoll_core::{Signed, SystemClock};
use atoll_testkit::http::{exchange, request};
use atoll_testkit::trial::until;

use super::{FILES, Site, checked, home, publish};

#[test]
fn the_node_stays_itself_and_its_bundles_survive_it() {
    let mut site = Site::on(home().started());
    let bundle = site.signed();
    let first = checked(&site.get("/", &[]), &site.host()).unwrap();
    let file = site.node.path("node/bundles").join(&site.root);
    let written = fs::read(&file).unwrap();
    assert_eq!(Named::from(Bundle::from_bytes(&written).unwrap()).id.to_string(), bundle);
    site.node.kill();
    site.node.start();
    assert_eq!(site.signed(), bundle);
    assert_eq!(fs::read(&file).unwrap(), written);
    let again = checked(&site.get("/", &[]), &site.host()).unwrap();
    assert_eq!((again.node, again.digest, again.bundle), (first.node, first.digest, first.bundle));
    // What is damaged is made anew.
    assert_eq!(site.node.stop(), Some(0));
    let mut damaged = written.clone();
    damaged[100] ^= 1;
    fs::write(&file, damaged).unwrap();
    site.node.start();
    assert_eq!(site.signed(), bundle);
    assert_eq!(fs::read(&file).unwrap(), written);
    assert!(site.node.log().contains("the file of a bundle is damaged"));
}

#[test]
fn a_new_version_is_signed_for_and_the_old_one_forgotten() {
    let mut site = Site::on(home().started());
    let (old, file) = (site.signed(), site.node.path("node/bundles").join(&site.root));
    site.root = publish(&site.node, &[FILES[0], ("new.txt", "new")], "1");
    assert_ne!(site.signed(), old);
    assert_eq!(&*checked(&site.get("/new.txt", &[]), &site.host()).unwrap().key, "/new.txt");
    until("the old bundle is gone", || !file.exists());
}

/// A placement that names a bundle, as its publisher signs it.
fn place(site: &Site, bundle: BundleId) {
    let pem = fs::read_dir(site.node.path("keyring")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let file = if path.is_dir() { path.join("default.pem") } else { path };
        SiteKey::from_pem(&fs::read_to_string(file).ok()?).ok()
    });
    let now = SystemClock::now();
    let mut placement = Placement::new(site.root.parse().unwrap(), 1, 1 << 30).with_bundle(&bundle);
    (placement.seq, placement.exp) = (now.as_millis() + 1000, now.as_secs() + 3600);
    let bytes = Signed::seal(placement, &pem.unwrap()).unwrap().bytes().clone();
    let token = fs::read_to_string(site.node.path("node/admin.token")).unwrap();
    let head = format!(
        "POST /v1/placements HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        token.trim(),
        bytes.len()
    );
    let answer = exchange(site.node.admin(), &[head.as_bytes(), &bytes].concat());
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_bundle_that_the_blocks_do_not_make_is_refused_with_its_reason() {
    let site = Site::on(home().started());
    let bundle = site.signed();
    let claimed = site.node.status()["network"]["placements"][0]["bundle"].clone();
    assert_eq!(claimed, *bundle, "the placement names it");
    place(&site, BundleId([7; 32]));
    let refused = || site.node.status()["bundles"][0].clone();
    until("the refusal", || refused()["state"] == "refused");
    assert!(refused()["why"].as_str().unwrap().contains(&format!("its blocks make {bundle}")), "{}", refused());
    let reply = site.get("/", &[]);
    assert_eq!((reply.status, checked(&reply, &site.host())), (200, Err(Unsound::Unsigned)));
    let metrics = request(site.node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    assert!(metrics.text().contains("atoll_bundles{state=\"refused\"} 1"), "{}", metrics.text());
}
