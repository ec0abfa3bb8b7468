//! The demo as a person sees it: real Chromium opens the site on every node, holder or not, and the status page.
//!
//! `cargo xtask test` installs Chromium and playwright-core and names them in `ATOLL_CHROMIUM` and `ATOLL_NODE_MODULES`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The demo, stopped whatever happens.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn a_person_sees_the_site_and_the_status_page() {
    let (Ok(chromium), Ok(modules)) = (std::env::var("ATOLL_CHROMIUM"), std::env::var("ATOLL_NODE_MODULES")) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "ATOLL_CHROMIUM or ATOLL_NODE_MODULES is not set: run `cargo xtask test`"
        );
        eprintln!("not run: ATOLL_CHROMIUM or ATOLL_NODE_MODULES is not set; `cargo xtask test` sets them");
        return;
    };
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site");
    let demo = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["demo", "--json", "--site"])
        .arg(&site)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut demo = Demo(demo);
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let line = lines.next().expect("the demo ended early").unwrap();
    let shown: serde_json::Value = serde_json::from_str(&line).unwrap();
    let dir = shown["demo"]["dir"].as_str().unwrap().to_owned();
    assert_eq!(shown["demo"]["nodes"].as_array().unwrap().iter().filter(|node| node["holds"] == true).count(), 3);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser.mjs");
    let seen = Command::new("node")
        .arg(script)
        .arg(&line)
        .env("ATOLL_CHROMIUM", chromium)
        .env("ATOLL_NODE_MODULES", modules)
        .output()
        .expect("node.js is missing: `cargo xtask test` says how to get it");
    let text = format!("{}{}", String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    assert!(seen.status.success(), "{text}");

    let interrupt = Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ended = demo.0.wait().unwrap();
    assert!(ended.success(), "the demo ended with {ended}");
    assert!(!Path::new(&dir).exists(), "the demo left {dir} behind");
}
