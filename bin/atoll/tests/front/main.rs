//! `atoll front` before real servers: npm's `http-cache-tests`, and what a visitor meets when the server changes, fails or is slow, and when
//! the node is killed.
//!
//! The suite needs the npm packages of `ATOLL_NODE_MODULES` (`cargo xtask test` installs them); without them it says that it did not
//! run, and with `CI` set that fails.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod coding;
mod framing;
mod kills;
mod quotas;
mod sites;
mod slices;
mod suite;
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

/// `atoll front` with TLS for `shop.example` before a server, and a visitor who believes its certificate.
fn secure(url: &str, host: &str) -> (Node, Visitor) {
    let front = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0", "gateway.tls.hsts=1d"]);
    let (certificate, key) = made("shop.example");
    let paths = (front.path("cert.pem"), front.path("key.pem"));
    fs::write(&paths.0, &certificate).unwrap();
    fs::write(&paths.1, key).unwrap();
    let toml = format!("[certs]\nfiles = [{{ certificate = {:?}, key = {:?} }}]\n", paths.0, paths.1);
    let mut front = front.configured(&toml);
    front.start_as(&["front", url, "--host", host]);
    (front, Visitor::trusting(&certificate))
}
