//! The gateway over fixtures that others wrote (gateway-conformance), asked for what the specifications say, group by group.
//!
//! The node is the real one, offline, loaded by the product's own commands. The fixtures lie beside a checkout or where
//! `ATOLL_VECTORS` says; without them the tests say that they did not run, and with `CI` set they fail.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

mod cars;
mod forms;
mod names;
mod paths;
mod ranges;
mod rules;
mod sites;
mod subdomains;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use atoll_testkit::http::{Reply, request};
use atoll_testkit::trial::vectors;

/// `ą/ę/file-źł.txt`, and folders named like parts of paths.
const LISTING: &str = "bafybeig6ka5mlwkl4subqhaiatalkcleo4jgnr3hqwvpmsqfca27cijp3i";
/// `root2/root3/root4/index.html`, which says hello.
const NESTED: &str = "bafybeib3ffl2teiqdncv3mkz4r23b5ctrwkzrrhctdbne6iboayxuxk5ui";
/// `ascii.txt` of 31 bytes, `multiblock.txt`, and duplicates of them.
const FILES: &str = "bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy";
/// A file of three blocks of 1,024 bytes, of which the middle one is nowhere.
const HOLED: &str = "bafybeiez7wpycgofbnbb5duh24ch625xzrgu2xh6z2tfqe73jp7pkbe3pe";
/// `foo`, and `bar`, a symlink to it.
const SYMLINK: &str = "bafybeid7rpbh2clkm6tj2zuq6oq4lyvmo5b6y7mf23h4kaqlfq4ulz4zje";
/// `hello-CIDv1`, `hello-CIDv0`, `hello-CIDv1_TOO_LONG`, `testdirlisting`.
const HELLOS: &str = "bafybeie2ezgriv3qzmw3k7lurysjr7rbky4dahjwtz3mt6ci67qid2kjum";
/// A directory in one level of shards.
const SHARDED: &str = "bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i";
/// "hello" within its CID.
const INLINE: &str = "bafkqabtimvwgy3yk";
/// The CID of a file that is nowhere.
const NOWHERE: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

/// A node that serves the fixtures. It ends with the test process, whose end closes its standard input.
struct Node {
    address: SocketAddr,
    _process: Child,
}

/// The node that all tests share; `None` without fixtures.
fn node() -> Option<&'static Node> {
    static NODE: OnceLock<Option<Node>> = OnceLock::new();
    NODE.get_or_init(|| vectors("gateway").map(|fixtures| Node::start(&fixtures))).as_ref()
}

impl Node {
    fn start(fixtures: &Path) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("node.toml"), settings(fixtures)).unwrap();
        let mut command = atoll(&folder, &["node", "--json", "--stop-with-stdin", "--admin-listen", "127.0.0.1:0"]);
        let log = fs::File::create(folder.join("node.log")).unwrap();
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}"));
        let address = ready["gateway"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let load = |arguments: &[&str], file: &Path| {
            let output = atoll(&folder, arguments).arg(file).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        load(&["car", "import", "--no-pin"], &fixtures.join("fixtures.car"));
        load(&["name", "import"], fixtures);
        Self { address, _process: process }
    }

    /// From the path gateway.
    fn get(&self, target: &str, headers: &[&str]) -> Reply {
        self.on("127.0.0.1", target, headers)
    }

    fn on(&self, host: &str, target: &str, headers: &[&str]) -> Reply {
        request(self.address, "GET", host, target, headers)
    }

    fn head(&self, target: &str, headers: &[&str]) -> Reply {
        request(self.address, "HEAD", "127.0.0.1", target, headers)
    }

    /// The CID to which a path leads.
    fn cid(&self, target: &str) -> String {
        let reply = self.head(&format!("{target}?format=raw"), &[]);
        assert_eq!(reply.status, 200, "{target}");
        reply.header("x-ipfs-roots").unwrap().rsplit(',').next().unwrap().to_owned()
    }
}

fn settings(fixtures: &Path) -> String {
    let links: serde_json::Value = serde_json::from_slice(&fs::read(fixtures.join("dnslinks.json")).unwrap()).unwrap();
    let links = links["domains"].as_object().unwrap().iter().map(|(name, link)| format!("\"{name}\" = {link}\n"));
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nthreads = 1\nsubdomain_names = [\"example.com\", \"localhost\"]\n\
         trusted_proxies = [\"127.0.0.0/8\"]\nfetch = \"held\"\n[names.dnslink]\n{}",
        links.collect::<String>()
    )
}

fn atoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.args(arguments).env("ATOLL_DIR", folder).env("ATOLL_KEYRING", folder.join("keyring")).stdin(Stdio::null());
    command
}

/// Whether `whole` contains `part`, with both shown if not.
#[track_caller]
fn contains(whole: &str, part: &str) {
    assert!(whole.contains(part), "{part:?} is not in {whole}");
}
