//! Servers that agree by a TXT record, asked for with a real DNS server (nsd): a name without one, one for another site, one among many,
//! and a DNS server that says nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use atoll_testkit::netns::{Archipelago, Namespace, permitted};
use atoll_testkit::trial::{installed, until};
use tempfile::TempDir;

use crate::servers::{AGREES, ask, node, publish, server, source, view};

/// The names of the servers, and what stands behind each in a test.
const SERVERS: [&str; 5] = ["agrees", "says-nothing", "is-anothers", "has-many", "is-silent"];
/// TXT records of which the answer does not fit in a datagram.
const MANY: usize = 50;

/// nsd on the loopback of a host, which asks it. It ends with this value.
struct Dns {
    process: Child,
    _folder: TempDir,
}

impl Dns {
    /// For `example.`, where all servers are at `address`.
    fn start(place: &Namespace, address: Ipv4Addr, site: &str) -> Option<Self> {
        let program = installed("ATOLL_NSD")?;
        let folder = tempfile::tempdir().unwrap();
        let mut zone = "$ORIGIN example.\n$TTL 0\n@ SOA ns root 1 60 60 60 0\n@ NS ns\nns A 127.0.0.1\n".to_owned();
        for name in &SERVERS[..4] {
            zone += &format!("{name} A {address}\n");
        }
        zone += &format!("_atoll.agrees TXT \"v=spf1 -all\"\n_atoll.agrees TXT \"atoll-site={site}\"\n");
        zone += "_atoll.is-anothers TXT \"atoll-site=k51another\"\n_atoll.is-anothers TXT \"atoll-site=\" \"*\"\n";
        for number in 0..MANY {
            zone += &format!("_atoll.has-many TXT \"another={number}{}\"\n", "x".repeat(100));
        }
        zone +=
            &format!("_atoll.has-many TXT \"atoll-site=\" \"{site}\"\n_atoll.is-silent TXT \"atoll-site={site}\"\n");
        fs::write(folder.path().join("zone"), zone).unwrap();
        let settings = format!(
            "server:\n  ip-address: 127.0.0.1\n  username: \"\"\n  zonesdir: \"\"\n  database: \"\"\n  pidfile: \"\"\n  xfrdfile: \"\"\n  \
             zonelistfile: \"{folder}/zones\"\n  server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n\
             zone:\n  name: \"example\"\n  zonefile: \"{folder}/zone\"\n",
            folder = folder.path().display()
        );
        fs::write(folder.path().join("nsd.conf"), settings).unwrap();
        let mut command = place.command(&program);
        command.arg("-d").arg("-c").arg(folder.path().join("nsd.conf")).stdin(Stdio::null()).process_group(0);
        let dns = Self { process: command.spawn().unwrap(), _folder: folder };
        until("nsd listens", || place.enter(|| TcpStream::connect("127.0.0.1:53").is_ok()));
        Some(dns)
    }

    /// A signal for it and the processes that it has made.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.process.id());
        assert!(Command::new("kill").args([name, "--", &group]).status().unwrap().success());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.process.wait();
    }
}

/// A site of which each of the servers answers what is below its name.
fn said(version: u32) -> String {
    let mut said = format!("# {version}\nversion = 1\n");
    for name in SERVERS {
        said += &format!("[[origins]]\nurl = \"http://{name}.example\"\nname = \"{name}\"\n");
    }
    for name in SERVERS {
        said += &format!("[[routes]]\npath = \"/{name}/*\"\norigins = [\"{name}\"]\n");
    }
    said
}

#[test]
fn a_server_agrees_by_a_txt_record() {
    if !permitted() {
        return;
    }
    let mut sea = Archipelago::new(1);
    let (home, away) = (sea.host(0), sea.host(0));
    let publisher = node(&home, "none", None);
    let key = publisher.json(&["key", "new", "shop"])["ipns"].as_str().unwrap().to_owned();
    // Its document agrees to nothing.
    let origin = server(&away, AGREES, "# ours alone\n");
    let Some(dns) = Dns::start(&away, AGREES, &key) else { return };
    away.file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    // Where this one is nobody needs to ask, so that its consent is all that DNS is asked for.
    away.file("hosts", &format!("127.0.0.1 localhost\n{AGREES} is-silent.example\n"));
    let holder = node(&away, "any", Some(publisher.over("tcp")));
    publish(&publisher, &said(1));
    until("its servers are asked", || view(&holder, "servers") == SERVERS.len());
    // Each time another path: what is stored needs no server.
    let count = AtomicU32::new(0);
    let visit = |name: &str| {
        let path = format!("/{name}/{}", count.fetch_add(1, Ordering::Relaxed));
        (ask(&holder, "GET", &key, &path), path)
    };
    for name in ["agrees", "has-many", "is-silent"] {
        let (reply, path) = visit(name);
        assert_eq!(source(&reply), (200, &*format!("GET {path}"), "origin; unverified"));
    }
    let before = origin.asked().len();
    for name in ["says-nothing", "is-anothers"] {
        let (refused, _) = visit(name);
        assert!(refused.status == 502 && refused.text().contains("has not agreed"), "{name}: {}", refused.text());
    }
    assert!(origin.asked()[before..].iter().all(|asked| asked.target() == "/.well-known/atoll"));
    // Another version asks anew, while the DNS server says nothing: who cannot be asked has not agreed, and nobody waits for ever.
    dns.signal("-STOP");
    publish(&publisher, &said(2));
    until("the new version counts", || visit("is-silent").0.status == 502);
    let page = ask(&holder, "GET", &key, "/");
    assert_eq!((page.status, page.text()), (200, "published"));
    dns.signal("-CONT");
    publish(&publisher, &said(3));
    until("it is asked again", || visit("is-silent").0.status == 200);
}
