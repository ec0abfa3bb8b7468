//! The commands against a real node, as a person would type them: results, JSON, exit codes, and what is left on disk.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise, until};
use serde_json::Value;

#[path = "cli/imports.rs"]
mod imports;

/// A home in which no node runs yet.
fn home() -> Node {
    Node::home(env!("CARGO_BIN_EXE_atoll"))
}

/// One in which a node runs.
fn start() -> Node {
    home().started()
}

/// Runs with a file as standard input.
fn piped(node: &Node, args: &[&str], input: &Path) -> Output {
    node.command(args).stdin(fs::File::open(input).unwrap()).output().unwrap()
}

/// Runs, expects failure, and gives what it said.
fn fails(node: &Node, args: &[&str]) -> String {
    let output = node.run(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(output.stdout.is_empty() || args.contains(&"verify") || args[0] == "status", "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site")
}

#[test]
fn content_goes_in_and_comes_out() {
    let bench = start();
    let root = bench.import(&site());
    assert_eq!(bench.json(&["publish", site().to_str().unwrap(), "--only-hash"])["root"], root.as_str());
    let names = bench.json(&["ls", &root]);
    let names: Vec<_> = names.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["drop.svg", "index.html", "pages", "style.css"]);
    assert_eq!(bench.json(&["ls"])[0]["root"], root.as_str());

    let page = bench.run(&["get", &format!("{root}/pages/deep.html"), "-o", "-"]);
    assert_eq!(page.stdout, fs::read(site().join("pages/deep.html")).unwrap());
    let got = bench.json(&["get", &format!("http://{}/ipfs/{root}/", bench.gateway()), "-o", "copy"]);
    assert_eq!(got["nodes"], 1);
    assert_eq!(fs::read(bench.path("copy/style.css")).unwrap(), fs::read(site().join("style.css")).unwrap());
    assert!(fails(&bench, &["get", &root, "-o", "copy"]).contains("a folder is there already"));

    let archive = bench.run(&["car", "export", &root]).stdout;
    assert!(bench.run(&["car", "export", &root, "-o", "site.car"]).status.success());
    assert_eq!(fs::read(bench.path("site.car")).unwrap(), archive);
    bench.json(&["pin", "rm", &root, "--name", "import"]);
    assert!(bench.json(&["gc"])["blocks"].as_u64().unwrap() >= 4);
    assert_eq!(bench.json(&["status"])["store"]["blocks"], 0);
    assert_eq!(bench.json(&["car", "import", "site.car"])["roots"][0], root.as_str());
    assert_eq!(bench.json(&["pin", "ls"])[0]["name"], "car");
    bench.json(&["pin", "add", &root, "--name", "kept"]);
    bench.json(&["car", "import", "site.car", "--name", "a name"]);
    bench.json(&["pin", "rm", &root, "--name", "a name"]);
    assert_eq!(bench.json(&["pin", "ls"]).as_array().unwrap().len(), 2);
    assert!(fails(&bench, &["pin", "rm", &root, "--name", "other"]).contains("is not pinned"));
}

#[test]
fn cars_are_uploaded_with_the_token_whole_or_not_at_all() {
    let source = start();
    let root = source.import(&site());
    let archive = source.run(&["car", "export", &root]).stdout;
    let bench = home().set(&["admin.upload_bytes_max=100000"]).started();
    let admin = bench.admin();
    let token = fs::read_to_string(bench.path("node/admin.token")).unwrap();
    let upload = |token: &str, framing: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/car?name=uploaded HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n{framing}\r\n\r\n"
        );
        let answer = atoll_testkit::http::exchange(admin, &[head.as_bytes(), body].concat());
        let reply = atoll_testkit::http::Reply::parse(&answer, false);
        (reply.status, String::from_utf8(reply.body).unwrap())
    };
    let sized = |bytes: &[u8]| upload(token.trim(), &format!("Content-Length: {}", bytes.len()), bytes);
    let pinned = || bench.json(&["pin", "ls"]).as_array().unwrap().len();

    assert_eq!(upload("wrong", &format!("Content-Length: {}", archive.len()), &archive).0, 401);
    let mut wrong = archive.clone();
    *wrong.last_mut().unwrap() ^= 1;
    // Its roots are named, their blocks are not there.
    let header_only = archive[..1 + usize::from(archive[0])].to_vec();
    let bomb = [0xff; 10];
    let cases =
        [(&wrong[..], "byte"), (&archive[..archive.len() - 7], "byte"), (&header_only, "not pinned"), (&bomb, "byte")];
    for (body, reason) in cases {
        let (status, text) = sized(body);
        assert!(status == 200 && text.contains("error") && !text.contains("done"), "{status} {text}");
        assert!(text.contains(reason) || text.contains("nothing is pinned"), "{text}");
        assert_eq!(pinned(), 0, "{text}");
    }
    let (status, text) = upload(token.trim(), "Content-Length: 100001", b"");
    assert!(status == 413 && text.contains("admin.upload_bytes_max"), "{status} {text}");
    let chunk = [b"20000\r\n".as_slice(), &[0x0a; 0x20000], b"\r\n0\r\n\r\n"].concat();
    let (_, text) = upload(token.trim(), "Transfer-Encoding: chunked", &chunk);
    assert!(text.contains("error") && pinned() == 0, "{text}");

    let (status, text) = sized(&archive);
    assert!(status == 200 && text.contains("\"done\"") && text.contains(&format!("\"{root}\"")), "{status} {text}");
    assert_eq!(bench.json(&["pin", "ls"])[0]["name"], "uploaded");
}

#[test]
fn a_broken_car_leaves_no_pin_and_names_the_byte() {
    let bench = start();
    let root = bench.import(&site());
    let archive = bench.run(&["car", "export", &root]).stdout;
    let fresh = start();
    fs::write(fresh.path("short.car"), &archive[..archive.len() - 7]).unwrap();
    assert!(fails(&fresh, &["car", "import", "short.car"]).contains("byte"));
    let mut wrong = archive.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    fs::write(fresh.path("wrong.car"), &wrong).unwrap();
    assert!(fails(&fresh, &["car", "import", "wrong.car"]).contains("byte"));
    assert_eq!(fresh.json(&["pin", "ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn npm_ipld_car_finds_the_same_files() {
    let Some(modules) = installed("ATOLL_NODE_MODULES") else { return };
    let bench = start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/site");
    let root = bench.import(&folder);
    assert!(bench.run(&["car", "export", &root, "-o", "site.car"]).status.success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/car.mjs");
    let read = Command::new("node")
        .arg(script)
        .args([&bench.path("site.car"), &folder])
        .env("ATOLL_NODE_MODULES", modules)
        .output()
        .expect("node.js is missing: `cargo xtask test` says how to get it");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn a_download_goes_on_where_it_was() {
    let bench = start();
    let content = noise(1, 9_000_000);
    fs::write(bench.path("chart.bin"), &content).unwrap();
    let root = bench.import(&bench.path("chart.bin"));
    // What an interrupted run left: a good beginning, then rubbish.
    let mut part = content[..5 << 20].to_vec();
    part.extend(std::iter::repeat_n(0xaa, 1 << 20));
    fs::write(bench.path("copy.bin.part"), part).unwrap();
    let got = bench.json(&["get", &root, "-o", "copy.bin"]);
    assert_eq!(got["reused"], 5 << 20);
    assert_eq!(fs::read(bench.path("copy.bin")).unwrap(), content);
    assert!(!bench.path("copy.bin.part").exists());
}

/// Turns a bit of the second leaf of `content`, which a pack holds as it is.
fn damage_second_leaf(node: &Node, content: &[u8]) {
    let pack = fs::read_dir(node.path("node/store/packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    let wanted = &content[(1 << 20) + 1000..(1 << 20) + 1064];
    let at = bytes.windows(64).position(|window| window == wanted).unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, bytes).unwrap();
}

#[test]
fn damage_on_disk_is_named_and_never_served() {
    let mut bench = start();
    let content = noise(1, 3 << 20);
    fs::write(bench.path("chart.bin"), &content).unwrap();
    let root = bench.import(&bench.path("chart.bin"));
    assert_eq!(bench.stop(), Some(0));
    damage_second_leaf(&bench, &content);
    let found = bench.run(&["store", "verify", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["damaged"].as_array().unwrap().len(), 1, "{found}");
    bench.start();
    let got = bench.run(&["get", &root, "-o", "-", "--timeout", "2"]);
    assert_eq!(got.status.code(), Some(1));
    assert_eq!(got.stdout, content[..1 << 20], "what comes before the damage is right, and nothing comes behind it");
}

#[test]
fn damage_on_disk_is_mended_by_other_members() {
    let other = start();
    let seeds = format!("[node]\nseeds = [\"http://{}\"]\n", other.gateway());
    // The pace of the demo, so that both soon know one another.
    let mut bench = home().configured(&(seeds + "[routing]\nprobe_interval = \"200ms\"\n")).started();
    let content = noise(1, 3 << 20);
    fs::write(bench.path("chart.bin"), &content).unwrap();
    let root = bench.import(&bench.path("chart.bin"));
    assert_eq!(other.import(&bench.path("chart.bin")), root);
    assert_eq!(bench.stop(), Some(0));
    damage_second_leaf(&bench, &content);
    bench.start();
    let live = || bench.json(&["peers"]).as_array().unwrap().iter().filter(|member| member["live"] == true).count();
    until("both know one another", || live() == 2);
    let found = bench.json(&["store", "verify"]);
    assert_eq!((found["damaged"].as_array().unwrap().len(), &found["mended"]), (1, &1.into()), "{found}");
    assert_eq!(bench.json(&["store", "verify"])["damaged"].as_array().unwrap().len(), 0);
    let got = bench.run(&["get", &root, "--from", &format!("http://{}", bench.gateway()), "-o", "-"]);
    assert_eq!(got.stdout, content);
}

#[test]
fn a_node_that_was_killed_comes_back_with_everything() {
    let mut bench = start();
    let root = bench.import(&site());
    let peer = bench.json(&["status"])["peer_id"].clone();
    bench.kill();
    bench.start();
    assert_eq!(bench.json(&["status"])["peer_id"], peer);
    assert_eq!(bench.json(&["pin", "ls"])[0]["root"], root.as_str());
    assert_eq!(bench.stop(), Some(0));
    assert!(!bench.path("node/node.sock").exists());
}

#[test]
fn a_publish_says_what_it_reached() {
    let bench = start();
    let site = site();
    let published = bench.json(&["publish", site.to_str().unwrap(), "--replicas", "1", "--site", "blog"]);
    assert_eq!((&published["verified_nodes"], &published["verified_operators"]), (&1.into(), &1.into()));
    let status = bench.json(&["status", "blog"]);
    assert_eq!((&status["copies"], &status["site"]), (&1.into(), &published["site"]));
    let short = bench.run(&["publish", site.to_str().unwrap(), "--replicas", "2", "--site", "blog", "--timeout", "2"]);
    assert_eq!(short.status.code(), Some(1), "two copies cannot be on one node");
    assert!(String::from_utf8_lossy(&short.stdout).contains("target 2"));
    assert_eq!(bench.run(&["status", "blog"]).status.code(), Some(1), "below target");
}

#[test]
fn what_nodes_would_refuse_of_a_site_is_said_before_it_is_published() {
    let bench = start();
    let folder = bench.path("shop");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("index.html"), "a shop").unwrap();
    let (file, path) = (folder.join("atoll.toml"), folder.to_str().unwrap());
    let origin = "version = 1\n[[origins]]\nurl = \"https://api.example\"\n";
    let publish = ["publish", path, "--replicas", "1"];
    for (said, why) in [
        ("version = 1\n[[origins]\n".to_owned(), "line 2, "),
        ("version = 2\n".to_owned(), "line 1, version: 2 is not known"),
        (format!("{origin}bucket = {{ name = \"b\" }}\n"), "line 4, origins.bucket: only an operator's own"),
        (
            format!("{origin}[[routes]]\npath = \"/a\"\norigins = [\"b\"]\n"),
            "line 6, routes.origins: the site has none",
        ),
        ("#".repeat(65_537), "over 65536 bytes"),
    ] {
        fs::write(&file, said).unwrap();
        for command in [&publish[..], &["import", path], &["import", path, "--offline"]] {
            let refused = fails(&bench, command);
            assert!(refused.contains(why) && refused.contains("take it out of the folder"), "{command:?}: {refused}");
        }
    }
    assert_eq!(bench.json(&["pin", "ls"]).as_array().unwrap().len(), 0, "nothing has been taken");
    assert_eq!(bench.json(&["key", "list"]).as_array().unwrap().len(), 0, "no key was made");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(fails(&bench, &publish).contains("it is no file"));
    fs::remove_dir(&file).unwrap();
    // What is merely not known is said, and the rest counts.
    fs::write(&file, format!("{origin}colour = \"blue\"\n")).unwrap();
    let published = bench.run(&publish);
    let noted = String::from_utf8_lossy(&published.stderr);
    assert!(published.status.success() && noted.contains("origins.colour: is not known, and left out"), "{noted}");
}

#[test]
fn keys_stay_private_and_keep_their_roles() {
    let bench = home();
    let made = bench.json(&["key", "new", "blog"]);
    assert_eq!(bench.json(&["key", "show", "blog"]), made);
    bench.json(&["key", "new", "lagoon", "--operator"]);
    assert_eq!(bench.json(&["key", "list"]).as_array().unwrap().len(), 2);
    let file = bench.path("keyring/blog.site.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fails(&bench, &["key", "new", "blog"]).contains("already"));
    assert!(fails(&bench, &["key", "new", "../evil"]).contains("no name for a key"));
    let peer = bench.json(&["key", "peer-id"])["peer_id"].as_str().unwrap().to_owned();
    assert!(fails(&bench, &["key", "certify", "blog", "--peer", &peer]).contains("not of an operator"));
    assert!(bench.run(&["key", "certify", "lagoon", "--peer", &peer, "-o", "operator.json"]).status.success());
    let exported = bench.run(&["key", "export", "blog"]).stdout;
    fs::write(bench.path("backup.pem"), exported).unwrap();
    let copy = bench.json(&["key", "import", "copy", "backup.pem"]);
    assert_eq!(copy["site"], made["site"]);
}

#[test]
fn settings_say_where_they_come_from_and_all_that_is_wrong() {
    let bench = home();
    fs::write(bench.path("node/node.toml"), "[store]\nbytes_max = 33554432\n").unwrap();
    let output = bench.command(&["config", "--json"]).env("ATOLL_LOG_JSON", "true").output().unwrap();
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let source = |path: &str| {
        let found = settings.as_array().unwrap().iter().find(|setting| setting["path"] == path).unwrap();
        found["source"].as_str().unwrap().to_owned()
    };
    assert_eq!((source("store.bytes_max"), source("log.json")), ("node.toml".into(), "environment".into()));
    fs::write(bench.path("node/node.toml"), "[store]\nbytes = 1\n[gateway]\nlisten = \"here\"\n").unwrap();
    let said = fails(&bench, &["node"]);
    assert!(said.contains("store.bytes:") && said.contains("gateway.listen:"), "{said}");
    assert!(fails(&bench, &["status"]).contains("no node answers"));
}

#[test]
fn the_admin_listener_shows_and_changes_nothing_without_its_token() {
    let bench = start();
    let code = |args: &[&str]| {
        let mut command = Command::new("curl");
        let output = command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for path in ["/", "/healthz", "/readyz", "/metrics", "/v1/status"] {
        assert_eq!(code(&[&format!("http://{}{path}", bench.admin())]), "200", "{path}");
        assert_eq!(code(&[&format!("http://{}{path}", bench.gateway())]), "404", "the public listener has no {path}");
    }
    let gc = format!("http://{}/v1/gc", bench.admin());
    assert_eq!(code(&["-X", "POST", &gc]), "401");
    let token = fs::read_to_string(bench.path("node/admin.token")).unwrap();
    assert_eq!(code(&["-X", "POST", &gc, "-H", &format!("Authorization: Bearer {token}")]), "200");
    assert_eq!(code(&[&gc, "-H", "Host: evil.example"]), "421");
    let socket = fs::metadata(bench.path("node/node.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_name_follows_what_is_published_and_newest_wins() {
    let bench = start();
    let root = bench.import(&site());
    let key = bench.json(&["key", "new", "blog"]);
    let first = bench.json(&["name", "publish", "blog", &root, "--days", "2", "--ttl", "60"]);
    assert_eq!((&first["name"], &first["site"], &first["ttl_seconds"]), (&key["ipns"], &key["site"], &60.into()));
    let name = key["ipns"].as_str().unwrap();
    assert!(bench.run(&["name", "export", "blog", "-o", "old.ipns-record"]).status.success());
    let second = bench.json(&["name", "publish", "blog", &format!("/ipfs/{root}/pages")]);
    assert_eq!((&first["sequence"], &second["sequence"]), (&0.into(), &1.into()));
    assert_eq!(bench.json(&["name", "resolve", name])["path"], format!("/ipfs/{root}/pages"));
    let refused = bench.run(&["name", "import", "old.ipns-record", "--name", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("sequence 1 is known"), "{refused:?}");
    assert!(fails(&bench, &["name", "publish", "nobody", &root]).contains("no site key"));
    assert!(fails(&bench, &["name", "resolve", "unknown.example"]).contains("no record of unknown.example"));

    // A record that is none is kept for a name of which nothing is known, and shown as such.
    let other = bench.json(&["key", "new", "other"])["ipns"].as_str().unwrap().to_owned();
    fs::create_dir(bench.path("records")).unwrap();
    fs::write(bench.path("records").join(format!("{other}_broken.ipns-record")), "no record").unwrap();
    fs::write(bench.path("records/README"), "no record either").unwrap();
    assert!(bench.json(&["name", "import", "records"])[0]["record"]["invalid"].is_string());
    assert_eq!(bench.run(&["name", "show", "other"]).status.code(), Some(1));
    assert_eq!(bench.json(&["name", "list"]).as_array().unwrap().len(), 2);

    // What was acknowledged outlives the node, and the keys travel in both forms.
    let mut bench = bench;
    bench.stop();
    bench.start();
    assert_eq!(bench.json(&["name", "show", "blog", "--latest"])["sequence"], 1);
    for form in ["pem", "libp2p"] {
        fs::write(bench.path(form), bench.run(&["key", "export", "blog", "--form", form]).stdout).unwrap();
        assert_eq!(bench.json(&["key", "import", &format!("from-{form}"), form])["ipns"], name);
    }
}
