//! Sites that were published and are on servers too: who leads, and when the other one does.

use std::fs;
use std::path::PathBuf;

use atoll_testkit::http::{Reply, request};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

/// A folder to be published.
fn folder(node: &Node) -> PathBuf {
    let folder = node.path("site");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("index.html"), "published").unwrap();
    fs::write(folder.join("a.css"), "published style").unwrap();
    folder
}

fn server() -> Origin {
    Origin::answering(|asked: &Asked| {
        (String::from("Cache-Control: no-store\r\n"), format!("served {}", asked.target()).into_bytes())
    })
}

fn site(root: &str, origin: &Origin, more: &str) -> String {
    format!(
        "[[sites]]\nhosts = [\"shop.example\"]\ncontent = \"/ipfs/{root}\"\nhold = \"1s\"\n{more}\n[[sites.origins]]\nurl = \"{}\"\n",
        origin.url()
    )
}

fn get(node: &Node, target: &str) -> Reply {
    request(node.gateway(), "GET", "shop.example", target, &["Accept: text/html"])
}

fn source(reply: &Reply) -> &str {
    reply.header("atoll-source").unwrap_or_default()
}

#[test]
fn servers_lead_while_what_was_published_cannot_be_had() {
    let mut origin = server();
    let publisher = Node::home(env!("CARGO_BIN_EXE_atoll")).started();
    let root = publisher.import(&folder(&publisher));
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&root, &origin, "")).started();
    let reply = get(&node, "/");
    assert_eq!((reply.status, reply.text(), source(&reply)), (200, "served /", "origin; unverified"));
    // It is there now, and the whole site comes from it again; for what it has not, too.
    node.import(&folder(&node));
    until("what was published leads", || source(&get(&node, "/")) == "content; verified");
    let replies = [get(&node, "/"), get(&node, "/a.css"), get(&node, "/nothing")];
    let found: Vec<_> = replies.iter().map(|reply| (reply.status, source(reply))).collect();
    assert_eq!(found, [(200, "content; verified"), (200, "content; verified"), (404, "")]);
    assert_eq!(replies[1].text(), "published style");
    // What changes something goes to a server at any time.
    let posted = request(node.gateway(), "POST", "shop.example", "/form", &["Content-Length: 0"]);
    assert_eq!((posted.status, posted.text()), (200, "served /form"));
    origin.close();
    assert_eq!(get(&node, "/").status, 200);
    let gone = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&root, &origin, "")).started();
    let reply = get(&gone, "/");
    assert!(reply.status == 502 && reply.text().contains("Neither what was published"), "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    let figures = request(node.admin(), "GET", "127.0.0.1", "/metrics", &[]);
    assert!(figures.text().contains("atoll_front_requests_total{outcome=\"published\"}"));
}

#[test]
fn what_was_published_leads_while_servers_fail() {
    let mut origin = server();
    let publisher = Node::home(env!("CARGO_BIN_EXE_atoll")).started();
    let root = publisher.import(&folder(&publisher));
    let more = "prefer = \"origin\"\n[sites.timeouts]\nconnect = \"1s\"";
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&site(&root, &origin, more)).started();
    node.import(&folder(&node));
    assert_eq!(get(&node, "/a.css").text(), "served /a.css");
    let address = origin.url().trim_start_matches("http://").to_owned();
    origin.close();
    let replies = [get(&node, "/"), get(&node, "/a.css")];
    assert_eq!(replies.each_ref().map(|reply| (reply.status, source(reply))), [(200, "content; verified"); 2]);
    let again = std::net::TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut tcp, _)) = again.accept() {
            use std::io::{Read as _, Write as _};
            let _ = tcp.read(&mut [0; 4096]);
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nagain");
        }
    });
    until("the server leads", || get(&node, "/").text() == "again");
}

#[test]
fn routes_lead_to_servers_and_a_page_says_that_work_is_done() {
    let (mut origin, other) = (server(), server());
    let publisher = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let page = publisher.path("page.html");
    fs::write(&page, "<p>back soon</p>").unwrap();
    let node = Node::home(env!("CARGO_BIN_EXE_atoll"));
    let sites = |host: &str, more: &str| {
        format!(
            "[[sites]]\nhosts = [\"{host}\"]\nmaintenance_page = {page:?}\n{more}\n[[sites.origins]]\nurl = \"{}\"\nname = \"main\"\n\
             [[sites.origins]]\nurl = \"{}\"\nname = \"api\"\n\
             [[sites.routes]]\npath = \"/api/*\"\nrewrite = \"/v1/*\"\nmethods = [\"GET\"]\norigins = [\"api\"]\n\
             [[sites.routes]]\nheader = \"X-Beta: yes\"\norigins = [\"api\"]\n[[sites.routes]]\norigins = [\"main\"]\n",
            origin.url(),
            other.url()
        )
    };
    let toml = format!("{}{}", sites("shop.example", ""), sites("closed.example", "maintenance = true"));
    let node = node.configured(&toml).started();
    assert_eq!(get(&node, "/api/x?q").text(), "served /v1/x?q");
    let beta = request(node.gateway(), "GET", "shop.example", "/x", &["X-Beta: yes"]);
    assert_eq!((beta.text(), beta.header("vary")), ("served /x", Some("x-beta")));
    assert_eq!(get(&node, "/y").text(), "served /y");
    let asked = |origin: &Origin| origin.asked().iter().map(|asked| asked.target().to_owned()).collect::<Vec<_>>();
    assert_eq!((asked(&other), asked(&origin)), (vec!["/v1/x?q".to_owned(), "/x".to_owned()], vec!["/y".to_owned()]));
    let closed = |accept: &str| request(node.gateway(), "GET", "closed.example", "/", &[accept]);
    let reply = closed("Accept: text/html");
    assert_eq!((reply.status, reply.text(), reply.header("retry-after").is_some()), (503, "<p>back soon</p>", true));
    assert!(closed("Accept: */*").text().contains("being worked on"));
    origin.close();
    let reply = get(&node, "/z");
    assert_eq!((reply.status, reply.text()), (502, "<p>back soon</p>"));
}

#[test]
fn strangers_lead_nobody_into_a_private_network() {
    let origin = server();
    let toml = format!(
        "[[sites]]\nhosts = [\"shop.example\"]\npublished = true\n[[sites.origins]]\nurl = \"{}\"\n[[sites.origins]]\nurl = \"http://localhost:1\"\n",
        origin.url()
    );
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    assert_eq!(get(&node, "/").status, 502);
    assert_eq!(origin.asked().len(), 0);
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml.replace("shop.example", "*"));
    let said = node.run(&["config"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("published: no server can agree to every host"));
}

#[test]
fn a_drill_has_each_source_fail() {
    let (origin, cdn) = (server(), server());
    let publisher = Node::home(env!("CARGO_BIN_EXE_atoll")).started();
    let root = publisher.import(&folder(&publisher));
    let more = format!("[[sites.origins]]\nurl = \"{}\"\nname = \"cdn\"\nbackup = true\n", cdn.url());
    let toml = site(&root, &origin, "") + "name = \"main\"\n" + &more + "[sites.pool]\nejected = \"1s\"\n";
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&toml).started();
    node.import(&folder(&node));
    until("what was published leads", || source(&get(&node, "/")) == "content; verified");
    let drill = node.json(&["drill", "shop.example", "--seconds", "1"]);
    let steps = drill["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let wanted =
        ["calm", "verified content dead", "verified content back", "main dead", "main back", "cdn dead", "cdn back"];
    assert_eq!(names, wanted);
    assert_eq!(drill["failed"], 0, "{drill}");
    for step in [1, 3, 5] {
        assert!(steps[step]["switch_seconds"].is_number() && steps[step]["back_seconds"].is_number(), "{drill}");
    }
    assert!(!origin.asked().is_empty(), "the server has answered while what was published was dead");
    assert_eq!((&node.status()["drills"][0], &node.status()["sites"][0]["content"]["leads"]), (&drill, &true.into()));
}
