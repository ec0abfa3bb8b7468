//! Layers, precedence, and that all problems come at once.

use super::*;

#[test]
fn the_stronger_source_wins_and_is_named() {
    let mut layers = Layers::default();
    layers.file("[gateway]\nlisten = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:2\"\n[log]\njson = true\n");
    layers.environment(|name| (name == "ATOLL_ADMIN_LISTEN").then(|| "127.0.0.1:3".to_owned()));
    layers.flag("store.bytes_max", "33554432");
    let (config, sources) = layers.build().unwrap();
    assert_eq!(config.gateway.listen.port(), 1);
    assert_eq!(config.admin.listen.port(), 3);
    assert_eq!(config.store.bytes_max, 32 << 20);
    let source = |path: &str| sources.iter().find(|entry| entry.0 == path).unwrap().2;
    assert_eq!(source("gateway.listen"), Source::File);
    assert_eq!(source("admin.listen"), Source::Environment);
    assert_eq!(source("store.bytes_max"), Source::Flag);
    assert_eq!(source("node.announce"), Source::Default);
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut layers = Layers::default();
    layers.file("[gateway]\nlisten = 5\nlisten_on = \"x\"\n[node]\nseeds = [\"nowhere\"]\noperator_label = 7\n");
    layers.flag("store.bytes_max", "1");
    let text = layers.build().unwrap_err().to_string();
    for path in ["gateway.listen:", "gateway.listen_on:", "node.seeds:", "node.operator_label:", "store.bytes_max:"] {
        assert!(text.contains(path), "{path} is not in:\n{text}");
    }
    assert!(text.contains("5 problems"), "{text}");
}

#[test]
fn broken_toml_is_a_problem_with_its_place() {
    let mut layers = Layers::default();
    layers.file("[gateway\n");
    assert!(layers.build().unwrap_err().to_string().contains("line 1"));
}

#[test]
fn lists_come_from_variables_by_commas() {
    let mut layers = Layers::default();
    let seeds = "/ip4/127.0.0.1/tcp/1/http, http://127.0.0.1:2";
    layers.environment(|name| (name == "ATOLL_NODE_SEEDS").then(|| seeds.to_owned()));
    assert_eq!(layers.build().unwrap().0.node.seeds.len(), 2);
}

#[test]
fn a_table_is_one_setting() {
    let mut layers = Layers::default();
    layers.file("[names]\nput_interval = \"1h\"\n[names.dnslink]\n\"example.org\" = \"/ipfs/bafkqaaa\"\n");
    let (config, sources) = layers.clone().build().unwrap();
    assert_eq!(config.names.dnslink.len(), 1);
    assert!(sources.iter().any(|(path, ..)| path == "names.dnslink"));
    layers.environment(|name| (name == "ATOLL_NAMES_DNSLINK").then(|| "{ \"a.b\" = \"/ipns/a.c\" }".to_owned()));
    assert_eq!(layers.clone().build().unwrap().0.names.dnslink["a.b"], "/ipns/a.c");
    layers.flag("names.dnslink", "{ \"a.b\" = \"nowhere\", \"c\" = \"/ipfs/bafkqaaa\" }");
    let text = layers.build().unwrap_err().to_string();
    assert!(text.contains("names.dnslink:") && text.contains("2 problems"), "{text}");
}
