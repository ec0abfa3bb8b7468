//! Others who check our answers: a library of RFC 9421 in Node, through content codings too, and real Chromium.

use std::fs;
use std::path::Path;
use std::process::Command;

use atoll_core::keys::AnswerKey;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, javascript};

use super::{Site, home};

/// The page that people check answers with.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/verify");

fn run(mut script: Command) {
    let seen = script.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    assert!(seen.status.success(), "{text}");
}

fn script(program: &Path, modules: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signed").join(name));
    command.env("ATOLL_NODE_MODULES", modules);
    command
}

/// The site, published beside the page that verifies.
fn site(node: Node) -> (Site, String) {
    let folder = node.path("page");
    fs::create_dir(&folder).unwrap();
    for name in ["index.html", "verify.js"] {
        fs::copy(Path::new(PAGE).join(name), folder.join(name)).unwrap();
    }
    let page = node.json(&["publish", folder.to_str().unwrap(), "--replicas", "1", "--site", "page"]);
    (Site::on(node), page["root"].as_str().unwrap().to_owned())
}

#[test]
fn a_library_of_others_agrees_byte_for_byte() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let site = Site::on(home().started());
    let mut script = script(&javascript(&modules), &modules, "library.mjs");
    let key = fs::read_to_string(site.node.path("node/keys/answer.pem")).unwrap();
    let public = AnswerKey::from_pem(&key).unwrap().public();
    let public: String = public.iter().map(|byte| format!("{byte:02x}")).collect();
    script.arg(site.node.gateway().to_string()).arg(site.host()).arg(public);
    script.arg(Path::new(PAGE).join("verify.js"));
    run(script);
}

#[test]
fn a_browser_verifies_answers_by_itself() {
    let (Some(modules), Some(chromium)) = (installed("ATOLL_NODE_MODULES"), installed("ATOLL_CHROMIUM")) else {
        return;
    };
    let (site, page) = site(home().started());
    let port = site.node.gateway().port();
    let mut script = script(Path::new("node"), &modules, "page.mjs");
    script.env("ATOLL_CHROMIUM", chromium).arg(format!("http://{page}.ipfs.localhost:{port}/"));
    script.arg(format!("http://{}", site.host())).arg(site.node.status()["node_id"].as_str().unwrap());
    run(script);
}
