//! The demo as a person sees it: real Chromium opens the site on every node, holder or not, and the status page.
//!
//! `cargo xtask test` installs Chromium and playwright-core and names them in `ATOLL_CHROMIUM` and `ATOLL_NODE_MODULES`.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;
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
    let site = site();
    let demo = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["demo", "--json", "--site"])
        .arg(site.path())
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

    for node in shown["demo"]["nodes"].as_array().unwrap() {
        // Over HTTPS, too, with a certificate of the node's own.
        let url = node["secure"].as_str().unwrap();
        let page =
            Command::new("curl").args(["--silent", "--show-error", "--fail", "--insecure", url]).output().unwrap();
        assert!(page.status.success() && !page.stdout.is_empty(), "{url}: {page:?}");
    }

    let interrupt = Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ended = demo.0.wait().unwrap();
    assert!(ended.success(), "the demo ended with {ended}");
    assert!(!Path::new(&dir).exists(), "the demo left {dir} behind");
}

/// The test's site, and four minutes of a tone and a folder without a page beside it.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site/.");
    assert!(Command::new("cp").arg("-r").arg(files).arg(folder.path()).status().unwrap().success());
    fs::write(folder.path().join("tone.wav"), tone(240)).unwrap();
    fs::create_dir(folder.path().join("listed")).unwrap();
    fs::write(folder.path().join("listed/note.txt"), "calm water").unwrap();
    folder
}

/// A WAV file, 16 bits, one channel.
fn tone(seconds: u32) -> Vec<u8> {
    const RATE: u32 = 44_100;
    let samples = (0..RATE * seconds).flat_map(|at| (if at / 50 % 2 == 0 { 3000_i16 } else { -3000 }).to_le_bytes());
    let bytes = RATE * seconds * 2;
    let head: [&[u8]; 12] = [
        b"RIFF",
        &(36 + bytes).to_le_bytes(),
        b"WAVEfmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * 2).to_le_bytes(),
        &2_u16.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &bytes.to_le_bytes(),
    ];
    head.concat().into_iter().chain(samples).collect()
}
