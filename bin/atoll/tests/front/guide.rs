//! `docs/guides/radicale.md`, command by command, with a real Radicale.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use atoll_testkit::trial::installed;

/// The commands of a page: what stands between ```` ```sh ```` and ```` ``` ````.
fn commands(page: &str) -> String {
    let mut script = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "```sh" {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            script += &format!("{}\n", block.join("\n"));
        }
    }
    script
}

#[test]
fn the_guide_does_what_it_says() {
    if installed("ATOLL_RADICALE").is_none() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/radicale.md");
    let page = fs::read_to_string(page).unwrap();
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let script = commands(&page).replace("127.0.0.1:5232", &format!("127.0.0.1:{}", port()));
    let script = script.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", port()));
    assert!(script.contains("atoll front") && script.lines().count() > 20, "{script}");
    let home = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_atoll")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    // What was begun ends with the script, and what it says is not waited for.
    let whole = format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\nexport ATOLL_ADMIN_LISTEN=127.0.0.1:0\n{script}"
    );
    let log = fs::File::create(home.path().join("log")).unwrap();
    let said = Command::new("bash")
        .args(["-x", "-c", &whole])
        .current_dir(home.path())
        .env("PATH", path)
        .env("ATOLL_DIR", home.path().join("node"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let text = fs::read_to_string(home.path().join("log")).unwrap();
    assert!(said.success(), "{text}");
    for line in ["SUMMARY:Lunch", "412", "cannot be reached"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
