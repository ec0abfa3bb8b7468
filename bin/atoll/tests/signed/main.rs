//! Signed answers: which are and which are not, what `atoll verify` says of them, a library and a browser that check them too.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod answers;
mod holders;
mod keeping;
mod peers;
mod verify;

use std::borrow::Cow;
use std::fs;

use atoll_core::SystemClock;
use atoll_core::signed::{Checked, Unsound, check};
use atoll_testkit::http::{Reply, request};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

/// A site with a bit of everything.
const FILES: [(&str, &str); 11] = [
    ("index.html", "<!doctype html><title>Calm</title>home"),
    ("a b.txt", "calm water"),
    ("dir/index.html", "<!doctype html>inside"),
    ("bare/style.css", "body{color:teal}"),
    ("404.html", "<!doctype html>lost"),
    ("app.html", "<!doctype html>app"),
    ("own/app.html", "<!doctype html>own app"),
    ("gone.html", "gone"),
    ("big.txt", ""),
    (
        "_redirects",
        "/old /a%20b.txt 301\n/found /x 302\n/see /x 303\n/tmp /x 307\n/kept /x 308\n/app/* /app.html 200\n\
         /own/* /own/app.html 200\n/wild/* /x 301\n/gone/* /gone.html 410\n/* /404.html 404\n",
    ),
    ("_headers", "/dir/*\n  X-Own: 1\n  Cache-Control: max-age=7\n/own/deep/*\n  X-Deep: 1\n"),
];

/// A node, and a site on it.
struct Site {
    node: Node,
    root: String,
}

impl Site {
    /// Published through a node that holds it itself.
    fn on(node: Node) -> Self {
        let site = Self { root: publish(&node, &FILES, "1"), node };
        site.signed();
        site
    }

    /// The host under which the site has an origin for itself.
    fn host(&self) -> String {
        format!("{}.ipfs.localhost:{}", self.root, self.node.gateway().port())
    }

    fn get(&self, target: &str, headers: &[&str]) -> Reply {
        request(self.node.gateway(), "GET", &self.host(), target, headers)
    }

    /// Waits until its answers are signed; the bundle's id.
    fn signed(&self) -> String {
        let find = || {
            let status = self.node.status();
            let bundles = status["bundles"].as_array().unwrap().clone();
            bundles.iter().find(|bundle| bundle["root"] == *self.root).cloned()
        };
        until("the site's bundle", || find().is_some_and(|bundle| bundle["state"] == "signed"));
        find().unwrap()["bundle"].as_str().unwrap().to_owned()
    }
}

fn home() -> Node {
    Node::home(env!("CARGO_BIN_EXE_atoll"))
}

/// Publishes files as a site with one copy; its root.
fn publish(node: &Node, files: &[(&str, &str)], replicas: &str) -> String {
    let folder = node.path("site");
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if *name == "big.txt" { big() } else { (*content).to_owned() }).unwrap();
    }
    let published = node.json(&["publish", folder.to_str().unwrap(), "--replicas", replicas]);
    published["root"].as_str().unwrap().to_owned()
}

/// More than a block, and more than is kept ready.
fn big() -> String {
    "calm water \n".repeat(500_000)
}

/// What a client makes of an answer.
fn checked(reply: &Reply, authority: &str) -> Result<Checked, Unsound> {
    let field = |name: &str| reply.header(name).map(Cow::Borrowed);
    check(reply.status, authority, &field, SystemClock::now().as_secs())
}
