//! `atoll front` before real servers: npm's `http-cache-tests`, and what a visitor meets when the server changes, fails or is slow, and when
//! the node is killed.
//!
//! The suite needs the npm packages of `ATOLL_NODE_MODULES` (`cargo xtask test` installs them); without them it says that it did not
//! run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod both;
mod buckets;
mod coding;
mod cut;
mod earlier;
mod framing;
mod guide;
mod kills;
mod passes;
mod peers;
mod purges;
mod quotas;
mod servers;
mod sites;
mod slices;
mod suite;
mod texts;
mod visit;

use std::fs;

use atoll_testkit::http::request;
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};

/// A figure of a node.
fn figure(node: &Node, name: &str) -> u64 {
    let figures = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    let line = figures.text().lines().find(|line| line.starts_with(name)).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// A node with TLS for `shop.example`, and these sites.
fn secured(sites: &str) -> Node {
    let (node, toml, _) = with_certificate();
    node.configured(&format!("{sites}{toml}")).started()
}

/// `atoll front` with TLS for `shop.example` before a server, and a visitor who believes its certificate.
fn secure(url: &str, host: &str) -> (Node, Visitor) {
    let (front, toml, certificate) = with_certificate();
    let mut front = front.configured(&toml);
    front.start_as(&["front", url, "--host", host]);
    (front, Visitor::trusting(&certificate))
}

/// A home, the settings of its certificate (`cert.pem` there), and that.
fn with_certificate() -> (Node, String, String) {
    let home = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0", "gateway.tls.hsts=1d"]);
    let (certificate, key) = made("shop.example");
    let paths = (home.path("cert.pem"), home.path("key.pem"));
    fs::write(&paths.0, &certificate).unwrap();
    fs::write(&paths.1, key).unwrap();
    let toml = format!("[certs]\nfiles = [{{ certificate = {:?}, key = {:?} }}]\n", paths.0, paths.1);
    (home, toml, certificate)
}
