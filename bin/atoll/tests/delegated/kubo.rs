//! A real Kubo with us as its router and its only provider.

use std::path::PathBuf;

use atoll_testkit::kubo::Kubo;
use atoll_testkit::trial::{installed, noise, until};
use serde_json::{Value, json};

use crate::node::{import, start};

/// A Kubo that knows nobody, and asks one router for everything.
fn start_kubo(binary: PathBuf, router: &str, http: bool) -> Kubo {
    let methods = ["find-peers", "find-providers", "get-ipns", "provide", "put-ipns"];
    let methods = methods.map(|name| (name.to_owned(), json!({ "RouterName": "Us" })));
    let settings = [
        // Kubo's own DHT would find peers too.
        ("Routing.Type", json!("custom")),
        ("Provide.Enabled", json!(false)),
        ("Routing.Routers", json!({ "Us": { "Type": "http", "Parameters": { "Endpoint": router } } })),
        ("Routing.Methods", Value::Object(methods.into_iter().collect())),
        ("HTTPRetrieval.Enabled", json!(http)),
    ];
    Kubo::home(binary).configured(&settings).started()
}

#[test]
fn kubo_reads_from_us_over_http() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    // No swarm: there is nothing but our gateway.
    let node = start(&["delegated.listen=127.0.0.1:0"]);
    let bytes = noise(1, 5 << 20);
    let root = import(&node, &bytes);
    let kubo = start_kubo(binary, node.router(), true);
    assert!(kubo.run(&["routing", "findprovs", &root]).contains(node.peer()));
    assert!(kubo.output(&["cat", &root]) == bytes, "Kubo read other bytes");
    assert_eq!(kubo.run(&["swarm", "peers"]), "");
}

#[test]
fn kubo_reads_from_us_over_bitswap_and_publishes_a_name_through_us() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let node = start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let bytes = noise(2, 5 << 20);
    let root = import(&node, &bytes);
    let kubo = start_kubo(binary, node.router(), false);
    assert!(kubo.output(&["cat", &root]) == bytes, "Kubo read other bytes");
    assert!(kubo.run(&["swarm", "peers"]).contains(node.peer()));
    assert!(kubo.run(&["routing", "findpeer", node.peer()]).contains("/ip4/127.0.0.1/tcp/"));
    // Its own name goes by way of our router, and is a site of our gateway's.
    let said = kubo.run(&["name", "publish", &format!("/ipfs/{root}")]);
    let name = said.strip_prefix("Published to ").unwrap().split(':').next().unwrap();
    until("the name that Kubo published", || node.get(&format!("/ipns/{name}")).body == bytes);
    assert_eq!(kubo.run(&["name", "resolve", "--nocache", name]), format!("/ipfs/{root}"));
}
