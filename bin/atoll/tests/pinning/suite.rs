//! npm `@ipfs-shipyard/pinning-service-compliance`, the suite of the API's authors, against a real node.
//!
//! It pins CIDs of blocks that nobody has, and expects some to be pinned soon, as a service that only pretends would. So its
//! random CIDs are made to be those of blocks that a Kubo beside it has (`suite.mjs`), and the node really fetches them. The
//! schemas that it reads from the internet are read from `schema.json`, which says what version 1.0.0 says of the same objects.

use std::fs;
use std::path::Path;
use std::process::Command;

use atoll_testkit::trial::installed;
use serde_json::Value;

use super::kubo::start_kubo;
use super::node::start;

/// More CIDs than the suite asks for.
const BLOCKS: usize = 40;

#[test]
fn the_compliance_suite_passes() {
    let (Some(binary), Some(modules)) = (installed("ATOLL_KUBO"), installed("ATOLL_NODE_MODULES")) else { return };
    let (node, kubo) = (start(""), start_kubo(binary.clone()));
    let token = node.token("suite", "1MiB");
    let files: Vec<String> =
        (0..BLOCKS).map(|n| kubo.write(&format!("block-{n}"), format!("atoll-compliance-{n}").as_bytes())).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    kubo.run(&[&["block", "put", "--cid-codec=raw"], files.as_slice()].concat());
    kubo.run(&["swarm", "connect", node.swarm()[0]]);
    let package = modules.join("@ipfs-shipyard/pinning-service-compliance");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pinning");
    // It writes its report beside itself, so that it runs from a copy with the same packages around it.
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("suite");
    assert!(Command::new("cp").arg("-r").args([&package, &copy]).status().unwrap().success());
    std::os::unix::fs::symlink(&modules, home.path().join("node_modules")).unwrap();
    let ran = Command::new("node")
        .arg("--import")
        .arg(here.join("suite.mjs"))
        .arg(copy.join("dist/src/index.js"))
        .args(["-s", &node.url(), &token])
        .env("ATOLL_SCHEMA", here.join("schema.json"))
        .env("KUBO_BINARY", binary)
        .current_dir(home.path())
        .output()
        .expect("node.js is missing: `cargo xtask test` says how to get it");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let report = fs::read(copy.join("dist/docs/127.0.0.1.json")).unwrap_or_else(|_| panic!("no report:\n{said}"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["total"], &report["passed"]), (&9.into(), &9.into()), "{said}");
    let marks = |mark: &str| said.matches(mark).count();
    assert!(marks("🟢") > 46 && marks("❌") == 0 && marks("⚠️") == 0, "{said}");
    println!("{} expectations passed", marks("🟢"));
}
