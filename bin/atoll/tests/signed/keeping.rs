//! What a node keeps: its key, and the bundles by which it signs.

use std::fs;

use atoll_core::bundle::Bundle;

use super::{FILES, Site, checked, home, publish};

#[test]
fn the_node_stays_itself_and_its_bundles_survive_it() {
    let mut site = Site::on(home().started());
    let bundle = site.signed();
    let first = checked(&site.get("/", &[]), &site.host()).unwrap();
    let file = site.node.path("node/bundles").join(&site.root);
    let written = fs::read(&file).unwrap();
    assert_eq!(atoll_core::bundle::Named::from(Bundle::from_bytes(&written).unwrap()).id.to_string(), bundle);
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
    site.root = publish(&site.node, &[FILES[0], ("new.txt", "new")]);
    assert_ne!(site.signed(), old);
    assert_eq!(&*checked(&site.get("/new.txt", &[]), &site.host()).unwrap().key, "/new.txt");
    atoll_testkit::trial::until("the old bundle is gone", || !file.exists());
}
