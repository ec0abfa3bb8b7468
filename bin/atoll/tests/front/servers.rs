//! Servers that a published site names itself (`atoll.toml`): another node asks them, if they agree and are on the public Internet.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use atoll_core::keys::SiteKey;
use atoll_core::record::Placement;
use atoll_core::{Signed, SystemClock};
use atoll_testkit::http::{Reply, exchange, request};
use atoll_testkit::netns::{Archipelago, Namespace, permitted};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;
use serde_json::Value;

/// Addresses of the public Internet, which lead nowhere but to loopback here.
pub(crate) const AGREES: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
const REFUSES: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 2);

/// A server at an address of a host's loopback that answers agreement with `agreed` and says of all else what it was asked.
pub(crate) fn server(place: &Namespace, address: Ipv4Addr, agreed: &str) -> Origin {
    let status = place.command("ip".as_ref()).args(["address", "add", &format!("{address}/32"), "dev", "lo"]).status();
    assert!(status.unwrap().success());
    let agreed = agreed.to_owned();
    let listener = place.enter(|| TcpListener::bind((address, 80)).unwrap());
    Origin::listening(listener, move |asked: &Asked| {
        let line = asked.head.lines().next().unwrap_or_default();
        let body = if asked.target() == "/.well-known/atoll" { &agreed } else { line.trim_end_matches(" HTTP/1.1") };
        ("Cache-Control: max-age=3600\r\n".to_owned(), body.as_bytes().to_vec())
    })
}

pub(crate) fn node(place: &Namespace, servers: &str, known: Option<&str>) -> Node {
    let pace = ["routing.gossip_interval=300ms", "routing.probe_interval=500ms", "routing.take_over_after=100ms"];
    let bootstrap = format!("swarm.bootstrap={}", known.unwrap_or_default());
    let settings = [&format!("node.servers={servers}"), "swarm.network=servers", &bootstrap];
    Node::home(env!("CARGO_BIN_EXE_atoll"))
        .set(&pace)
        .set(&settings.map(|setting| setting as &str))
        .within(place)
        .started()
}

fn folder(node: &Node) -> PathBuf {
    let folder = node.path("site");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("index.html"), "published").unwrap();
    folder
}

/// Publishes it with a say on its servers; what came of that.
fn try_publish(node: &Node, said: &str) -> Output {
    let folder = folder(node);
    fs::write(folder.join("atoll.toml"), said).unwrap();
    node.run(&["publish", folder.to_str().unwrap(), "--site", "shop", "--replicas", "2", "--json"])
}

/// The same; what was published.
pub(crate) fn publish(node: &Node, said: &str) -> Value {
    let output = try_publish(node, said);
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    values.map(Result::unwrap).last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Publishes it as our own program would not: other ones may.
fn publish_whatever(node: &Node, said: &str) {
    let (folder, archive) = (folder(node), node.path("site.tar"));
    fs::write(folder.join("atoll.toml"), said).unwrap();
    assert!(Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(folder).arg(".").status().unwrap().success());
    let key = SiteKey::from_pem(&fs::read_to_string(node.path("keyring/shop.site.pem")).unwrap()).unwrap();
    let pin = format!("publish:{}", key.site_id());
    let imported = node.json(&["import", "--tar", archive.to_str().unwrap(), "--name", &pin]);
    let root = imported["root"].as_str().unwrap();
    let now = SystemClock::now();
    let mut placement = Placement::new(root.parse().unwrap(), 2, imported["dag_bytes"].as_u64().unwrap());
    (placement.seq, placement.exp) = (now.as_millis(), now.after(Duration::from_secs(86_400)).as_secs());
    let signed = Signed::seal(placement, &key).unwrap();
    let token = fs::read_to_string(node.path("node/admin.token")).unwrap();
    let head = format!(
        "POST /v1/placements HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        node.admin(),
        token.trim(),
        signed.bytes().len()
    );
    let asked = [head.as_bytes(), signed.bytes()].concat();
    let answer = node.there(|| exchange(node.admin(), &asked));
    assert_eq!(Reply::parse(&answer, false).status, 200, "{}", String::from_utf8_lossy(&answer));
}

fn said(server: Ipv4Addr) -> String {
    format!(
        "version = 1\n[[origins]]\nurl = \"http://{server}\"\nname = \"api\"\n[[routes]]\npath = \"/api/*\"\norigins = [\"api\"]\nrewrite = \"/v1/*\"\n"
    )
}

pub(crate) fn ask(node: &Node, method: &str, name: &str, target: &str) -> Reply {
    let (gateway, host) = (node.gateway(), format!("{name}.ipns.localhost:{}", node.gateway().port()));
    node.there(|| request(gateway, method, &host, target, &["Content-Length: 0"]))
}

pub(crate) fn source(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.text(), reply.header("atoll-source").unwrap_or_default())
}

/// What a node says of the site.
pub(crate) fn view(node: &Node, field: &str) -> Value {
    node.status()["published"][0][field].clone()
}

#[test]
fn another_node_asks_the_servers_that_a_site_names() {
    if !permitted() {
        return;
    }
    let mut sea = Archipelago::new(1);
    let (home, away) = (sea.host(0), sea.host(0));
    let publisher = node(&home, "none", None);
    let key = publisher.json(&["key", "new", "shop"])["ipns"].as_str().unwrap().to_owned();
    let agrees = server(&away, AGREES, &format!("# ours\n{key}\n"));
    let refuses = server(&away, REFUSES, "k51other\n");
    let holder = node(&away, "any", Some(publisher.over("tcp")));
    let published = publish(&publisher, &said(AGREES));
    assert_eq!(published["name"], key);
    until("its servers are asked", || view(&holder, "servers") == 1);
    let answered = ask(&holder, "GET", &key, "/api/price?x");
    assert_eq!(source(&answered), (200, "GET /v1/price?x", "origin; unverified"));
    assert_eq!(source(&ask(&holder, "POST", &key, "/api/order")), (200, "POST /v1/order", "origin; unverified"));
    // What no route leads to is what was published, signed as ever.
    let page = ask(&holder, "GET", &key, "/");
    assert_eq!((page.status, page.text()), (200, "published"));
    until("its answers are signed", || ask(&holder, "GET", &key, "/").header("signature").is_some());
    assert!(answered.header("signature").is_none());
    let figures = holder.there(|| request(holder.admin(), "GET", "127.0.0.1", "/metrics", &[]));
    let line = format!("atoll_front_origin_requests_total{{site=\"{key}\",origin=\"api\"}} ");
    let count = figures.text().lines().find_map(|figure| figure.strip_prefix(&line)?.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count >= 2), "{}", figures.text());
    // By its root it is nothing but content, and an operator who did not allow it is not made to ask.
    let root = published["root"].as_str().unwrap();
    let (gateway, host) = (holder.gateway(), format!("{root}.ipfs.localhost:{}", holder.gateway().port()));
    assert_eq!(holder.there(|| request(gateway, "GET", &host, "/api/price", &[])).status, 404);
    assert_eq!(ask(&publisher, "GET", &key, "/api/price").status, 404);
    // A bad one is refused with its reason, and the last good one stands, after a restart too.
    let mut holder = holder;
    let bad = "version = 1\n[[origins]]\nurl = \"http://1.1.1.1\"\nhost = \"victim.example\"\n";
    let refused = try_publish(&publisher, bad);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("atoll.toml: line 4, origins.host: "), "{why}");
    publish_whatever(&publisher, bad);
    until("it is refused", || view(&holder, "refused").as_str().is_some_and(|why| why.contains("origins.host")));
    assert_eq!(ask(&holder, "GET", &key, "/api/again").text(), "GET /v1/again");
    assert_eq!(view(&holder, "servers"), 1);
    holder.kill();
    holder.start();
    until("the last good one stands", || ask(&holder, "GET", &key, "/api/third").text() == "GET /v1/third");
    // A server that does not agree, and one on a private network, are not asked.
    publish(&publisher, &said(REFUSES));
    until("the other one is named", || view(&holder, "refused").is_null());
    until("nobody answers", || ask(&holder, "GET", &key, "/api/fourth").status == 502);
    assert!(refuses.asked().iter().all(|asked| asked.target() == "/.well-known/atoll") && !refuses.asked().is_empty());
    publish(&publisher, &said(away.address()));
    until("nobody answers", || ask(&holder, "GET", &key, "/api/fifth").status == 502);
    // Its publisher purges what is stored of the answers, whatever node they are on.
    publish(&publisher, &said(AGREES));
    until("it is stored", || {
        ask(&holder, "GET", &key, "/api/sixth").header("cache-status").is_some_and(|s| s.contains("; hit"))
    });
    let count = agrees.asked().len();
    assert_eq!(publisher.json(&["purge", "--site", "shop", "/api/sixth"])["nodes"][0]["state"], "purged");
    assert_eq!(ask(&holder, "GET", &key, "/api/sixth").status, 200);
    assert_eq!(agrees.asked().len(), count + 1);
}
