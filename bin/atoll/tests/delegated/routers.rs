//! Nodes of ours by way of each other's servers: a node without a swarm reads what a router leads to, whatever other routers do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use atoll_testkit::process::Node;
use atoll_testkit::trial::{noise, until};

use crate::node::{RECORD, import, put, record, start};

/// A router that takes connections and does this with each.
fn router(habit: impl Fn(std::net::TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let habit = habit.clone();
            std::thread::spawn(move || habit(stream));
        }
    });
    url
}

const NDJSON: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";

/// One that never answers.
fn hanging() -> String {
    router(|mut stream| drop(stream.read_to_end(&mut Vec::new())))
}

/// One that says the same for ever.
fn flooding(line: String) -> String {
    router(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let mut sent = stream.write_all(NDJSON);
        while sent.is_ok() {
            sent = stream.write_all(line.as_bytes());
        }
    })
}

fn urls(routers: &[&str]) -> String {
    format!("delegated.routers.urls={}", routers.join(","))
}

/// What is at the front of [`site`].
const PAGE: &str = "<h1>calm water</h1>";

/// A site that `node` holds, and its name.
fn site(node: &Node) -> (String, String) {
    let folder = node.path("site");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("index.html"), PAGE).unwrap();
    let root = node.import(&folder);
    let (name, record) = record(&format!("/ipfs/{root}"), 1, (3600, 300));
    assert_eq!(put(node, &format!("/routing/v1/ipns/{name}"), RECORD, &record), 200);
    (root, name)
}

#[test]
fn a_node_without_a_swarm_reads_a_site_by_way_of_a_router() {
    // The holder is no member that the asker knows: all it has is the router.
    let holder = start(&["delegated.listen=127.0.0.1:0"]);
    let (root, name) = site(&holder);
    let large = noise(3, 4 << 20);
    let file = import(&holder, &large);
    let asker = start(&["gateway.fetch=any", &urls(&[holder.router()])]);
    let reply = asker.get(&format!("/ipfs/{root}/"));
    assert_eq!((reply.status, reply.text()), (200, PAGE));
    assert_eq!(asker.get(&format!("/ipns/{name}/")).text(), PAGE);
    assert!(asker.get(&format!("/ipfs/{file}")).body == large);
    let status = asker.status();
    assert_eq!(status["routers"][0]["failed"], 0, "{status}");
    assert!(status["routers"][0]["usable"].as_u64().unwrap() >= 1, "{status}");
}

#[test]
fn dead_hanging_and_lying_routers_cost_the_honest_one_nothing() {
    let holder = start(&["delegated.listen=127.0.0.1:0", "swarm.listen=/ip4/127.0.0.1/tcp/0"]);
    let bytes = noise(4, 1 << 20);
    let root = import(&holder, &bytes);
    let nobody = serde_json::json!({
        "Schema": "peer", "ID": "12D3KooWM8sovaEGU1bmiWGWAzvs47DEcXKZZTuJnpQyVTkRs2Vn",
        "Addrs": ["/ip4/127.0.0.1/tcp/1/http", "/ip4/127.0.0.1/tcp/1"],
        "Protocols": ["transport-ipfs-gateway-http", "transport-bitswap"],
    });
    let trap = hanging().strip_prefix("http://127.0.0.1:").unwrap().to_owned();
    let stuck = nobody.to_string().replace("tcp/1/http", &format!("tcp/{trap}/http"));
    let liars = [
        "http://127.0.0.1:1".to_owned(),
        hanging(),
        flooding("no json\n".to_owned()),
        flooding(format!("{nobody}\n")),
        flooding(format!("{stuck}\n")),
    ];
    let all: Vec<&str> = liars.iter().map(String::as_str).chain([holder.router()]).collect();
    // Had anything to wait for the others, this would take longer than the gateway lets a request wait.
    let waits = ["delegated.routers.timeout=300s", "gateway.fetch=any", &urls(&all)];
    for swarm in [&["swarm.listen="][..], &["swarm.listen=/ip4/127.0.0.1/tcp/0"]] {
        let asker = start(&[&waits[..], swarm].concat());
        let reply = asker.get(&format!("/ipfs/{root}"));
        assert!(reply.status == 200 && reply.body == bytes, "{}", reply.status);
        until("the dead one rests", || asker.status()["routers"][0]["failed"].as_u64().unwrap() >= 1);
    }
}

#[test]
fn blocks_come_over_bitswap_from_peers_that_a_router_names() {
    // What the holder's gateway is told to be is nowhere, so that only its swarm is left.
    let holder = start(&[
        "delegated.listen=127.0.0.1:0",
        "swarm.listen=/ip4/127.0.0.1/tcp/0",
        "node.announce=/ip4/127.0.0.1/tcp/1/http",
    ]);
    let bytes = noise(5, 2 << 20);
    let root = import(&holder, &bytes);
    let asker = start(&["swarm.listen=/ip4/127.0.0.1/tcp/0", "gateway.fetch=any", &urls(&[holder.router()])]);
    assert!(asker.get(&format!("/ipfs/{root}")).body == bytes);
    let peers = asker.status()["swarm"]["peers"].to_string();
    assert!(peers.contains(holder.peer()), "{peers}");
}

#[test]
fn settings_that_name_no_router_are_refused() {
    let home = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let output = home.run(&["node", "--set", "delegated.routers.urls=nowhere"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("delegated.routers.urls: "), "{output:?}");
}
