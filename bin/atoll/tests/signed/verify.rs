//! What `atoll verify` says of answers as they are, and of those that somebody on the way, or the node itself, has changed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Output, Stdio};
use std::time::Duration;

use atoll_core::SystemClock;
use atoll_core::bundle::{BundleId, Proof};
use atoll_core::keys::AnswerKey;
use atoll_core::manifest::digest;
use atoll_core::signed::{Answer, Subject, parse_hex};
use atoll_testkit::origin::{Asked, Origin};
use atoll_testkit::trial::noise;
use serde_json::Value;

use super::{Site, checked, home};

/// Exit code and what was said.
fn verify(site: &Site, args: &[&str]) -> (i32, Value) {
    let output: Output = site.node.run(&[&["verify", "--json"], args].concat());
    let said = serde_json::from_slice(&output.stdout);
    let said = said.unwrap_or_else(|_| panic!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), said)
}

#[test]
fn what_is_signed_is_ok_and_what_is_not_is_unsigned() {
    let site = Site::on(home().started());
    let (signer, bundle) = (site.node.status()["node_id"].as_str().unwrap().to_owned(), site.signed());
    let (own, path) = (site.host(), format!("{}/ipfs/{}", site.node.gateway(), site.root));
    for (url, key, status) in [
        (format!("http://{own}/"), "/", 200),
        (format!("http://{own}/dir/"), "/dir/", 200),
        (format!("http://{own}/dir"), "/dir", 301),
        (format!("http://{own}/old"), "/old", 301),
        (format!("http://{own}/app/any/where"), "/app.html", 200),
        (format!("http://{own}/a%20b.txt?x=1#y"), "/a%20b.txt", 200),
        (format!("http://{own}/nowhere"), "/nowhere", 404),
        (format!("http://{own}/big.txt"), "/big.txt", 200),
        (format!("http://{path}/index.html"), "/index.html", 200),
        (format!("http://{path}/nowhere"), "/nowhere", 404),
    ] {
        for more in [&[][..], &["--quick"], &["--reused"], &["--signer", &signer]] {
            let (code, said) = verify(&site, &[&[&*url], more].concat());
            assert_eq!((code, &said["verdict"]), (0, &"ok".into()), "{url} {more:?}: {said}");
            assert_eq!((&said["signer"], &said["bundle"]), (&(*signer).into(), &(*bundle).into()), "{said}");
            assert_eq!((&said["key"], &said["status"]), (&key.into(), &status.into()), "{said}");
            assert_eq!(said["fresh"], more != ["--reused"], "{said}");
            let root = if more == ["--quick"] { Value::Null } else { (*site.root).into() };
            assert_eq!(said["root"], root, "{said}");
        }
    }
    for url in [format!("http://{own}/bare/"), format!("http://{own}/wild/x"), format!("http://{path}/dir/")] {
        let (code, said) = verify(&site, &[&url]);
        assert_eq!((code, &said["verdict"]), (3, &"unsigned".into()), "{url}: {said}");
    }
    let other = format!("0x{}", "1".repeat(64));
    let (code, said) = verify(&site, &[&format!("http://{own}/"), "--signer", &other]);
    assert_eq!((code, &said["verdict"]), (1, &"bad".into()), "{said}");
    let text = site.node.run(&["verify", &format!("http://{own}/")]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.starts_with("ok\n") && text.contains(&format!("signer {signer}\n")), "{text}");
    for wrong in ["ftp://x/", "nonsense", "http://", "http://user@x/"] {
        assert_eq!(site.node.run(&["verify", wrong]).status.code(), Some(1), "{wrong}");
    }
}

/// Asks the node what a client asked for, and returns the answer's bytes.
fn relayed(node: SocketAddr, asked: &Asked) -> Vec<u8> {
    let mut tcp = TcpStream::connect(node).unwrap();
    let head = asked.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    tcp.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Somebody between client and node, who changes each answer but CARs.
fn between(node: SocketAddr, change: impl Fn(&Asked, String) -> String + Send + Sync + 'static) -> Origin {
    Origin::writing(move |asked, tcp| {
        let bytes = relayed(node, asked);
        let bytes = if asked.target().contains("format=car") {
            bytes
        } else {
            change(asked, String::from_utf8(bytes).unwrap()).into_bytes()
        };
        let _ = tcp.write_all(&bytes);
    })
}

fn port(origin: &Origin) -> String {
    origin.url().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn whoever_changes_an_answer_on_its_way_is_found_out() {
    let site = Site::on(home().started());
    let node = site.node.gateway();
    let says = |expected: (i32, &str), why: &str, change: fn(&Asked, String) -> String| {
        let liar = between(node, change);
        let url = format!("http://{}.ipfs.localhost:{}/app.html", site.root, port(&liar));
        let (code, said) = verify(&site, &[&url]);
        assert_eq!((code, said["verdict"].as_str().unwrap()), expected, "{said}");
        assert!(said["why"].as_str().unwrap_or_default().contains(why), "{said}");
    };
    says((0, "ok"), "", |_, answer| answer);
    says((1, "bad"), "body", |_, answer| answer.replace(">app", ">apt"));
    says((1, "bad"), "not one of node", |_, answer| answer.replace("atoll-key: /app.html", "atoll-key: /apq.html"));
    says((1, "bad"), "not one of node", |_, answer| answer.replacen("200 OK", "404 Not Found", 1));
    says((1, "bad"), "template", |_, answer| answer.replace("atoll-1\"", "atoll-2\""));
    says((1, "bad"), "head", |_, answer| answer.replace("content-type: text/html", "content-type: text/plain"));
    says((3, "unsigned"), "no signature", |_, answer| answer.replace("signature-input: ", "x-input: "));
    // An answer to somebody else's question.
    let replayed = between(node, move |asked, _| {
        let nonce = asked.field("atoll-nonce").unwrap();
        let head = asked.head.replace(&nonce, &format!("0x{}", "1".repeat(64)));
        String::from_utf8(relayed(node, &Asked { head, ..asked.clone() })).unwrap()
    });
    let (code, said) = verify(&site, &[&format!("http://{}.ipfs.localhost:{}/app.html", site.root, port(&replayed))]);
    assert_eq!((code, said["verdict"].as_str().unwrap()), (1, "bad"), "{said}");
    assert!(said["why"].as_str().unwrap().contains("nonce"), "{said}");
}

/// A node that signs what is not so: its own key, the right bundle, another body.
#[test]
fn a_node_that_signs_a_lie_is_found_out_by_the_sites_own_blocks() {
    let site = Site::on(home().started());
    let key = AnswerKey::from_scalar(&[9; 32]).unwrap();
    let bundle = BundleId(parse_hex(&site.signed()).unwrap());
    let head = checked(&site.get("/app.html", &[]), &site.host()).unwrap().head;
    let key = std::sync::Arc::new(key);
    let lie = move |asked: &Asked, status: u16, key_said: &str, body: &str, bundle: BundleId| {
        let authority = asked.field("host").unwrap();
        let now = SystemClock::now().as_secs();
        let subject = Subject { status, digest: digest(body.as_bytes()), bundle, key: key_said, head };
        let nonce = asked.field("atoll-nonce").and_then(|nonce| parse_hex(&nonce)).unwrap();
        let (created, expires, node) = (now, now + 60, key.node_id());
        let fields = Answer { subject, authority: &authority, nonce, created, expires, node }.sign(&key);
        let fields: String = fields.pairs().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
             {fields}\r\n{body}",
            body.len()
        )
    };
    let node = site.node.gateway();
    for (path, status, said, body, bundle, expected) in [
        ("/app.html", 200, "/app.html", "<!doctype html>app", bundle, None),
        ("/app.html", 200, "/app.html", "a lie", bundle, Some("manifest")),
        ("/app.html", 200, "/index.html", "<!doctype html>app", bundle, Some("manifest")),
        ("/app.html", 404, "/app.html", "gone", bundle, Some("manifest")),
        ("/app.html", 200, "/app.html", "a lie", BundleId([1; 32]), Some("bundle")),
        ("/dir", 301, "/dir", "Moved.\n", bundle, Some("manifest")),
    ] {
        let lie = lie.clone();
        let liar = between(node, move |asked, _| lie(asked, status, said, body, bundle));
        let url = format!("http://{}.ipfs.localhost:{}{path}", site.root, port(&liar));
        let (code, report) = verify(&site, &[&url]);
        match expected {
            None => assert_eq!((code, &report["verdict"]), (0, &"ok".into()), "{report}"),
            Some(why) => {
                assert_eq!((code, &report["verdict"]), (1, &"bad".into()), "{report}");
                assert!(report["why"].as_str().unwrap().contains(why), "{report}");
                // The signature itself is right, so that it is evidence.
                assert_eq!(verify(&site, &[&url, "--quick"]).0, 0);
            }
        }
    }
}

#[test]
fn whoever_knows_the_bundle_checks_one_path_by_a_proof() {
    let site = Site::on(home().started());
    let bundle = site.signed();
    let (own, path) = (site.host(), format!("{}/ipfs/{}", site.node.gateway(), site.root));
    for (url, compared) in [
        (format!("http://{own}/"), true),
        (format!("http://{own}/a%20b.txt"), true),
        (format!("http://{own}/big.txt"), true),
        (format!("http://{own}/dir"), true),
        (format!("http://{own}/old"), true),
        (format!("http://{own}/nowhere"), true),
        (format!("http://{path}/index.html"), true),
        (format!("http://{path}/nowhere"), true),
        // Here the site has rules, which are files of it.
        (format!("http://{own}/app/any/where"), false),
        (format!("http://{own}/dir/"), false),
    ] {
        let (code, said) = verify(&site, &[&url, "--bundle", &bundle]);
        assert_eq!((code, &said["verdict"]), (0, &"ok".into()), "{url}: {said}");
        assert_eq!(said["root"] == *site.root, compared, "{url}: {said}");
        assert_eq!(said["unchecked"].is_null(), compared, "{url}: {said}");
    }
    let other = format!("0x{}", "1".repeat(64));
    let (code, said) = verify(&site, &[&format!("http://{own}/"), "--bundle", &other]);
    assert_eq!((code, &said["verdict"]), (1, &"bad".into()), "{said}");
    for wrong in [&["--bundle", "0x12"][..], &["--bundle", &bundle, "--quick"]] {
        assert!(!site.node.run(&[&["verify", &format!("http://{own}/")], wrong].concat()).status.success());
    }
    let proof = site.get("/app.html?format=atoll-proof", &[]);
    assert_eq!((proof.status, proof.header("content-type")), (200, Some("application/vnd.atoll.proof")));
    assert_eq!(Proof::from_bytes(&proof.body).unwrap().bundle().to_string(), bundle);
    let etag = format!("If-None-Match: {}", proof.header("etag").unwrap());
    assert_eq!(site.get("/app.html?format=atoll-proof", &[&etag]).status, 304);
    let imported = site.node.import_bytes(b"held, and nobody's site", "size-262144");
    assert_eq!(site.node.get(&format!("/ipfs/{imported}?format=atoll-proof")).status, 404);
    // Whoever changes the answer on its way, or the proof.
    let node = site.node.gateway();
    let says = |expected: (i32, &str, bool), change: fn(&Asked, Vec<u8>) -> Vec<u8>| {
        let liar = Origin::writing(move |asked, tcp| {
            let _ = tcp.write_all(&change(asked, relayed(node, asked)));
        });
        let url = format!("http://{}.ipfs.localhost:{}/gone.html", site.root, port(&liar));
        let (code, said) = verify(&site, &[&url, "--bundle", &bundle]);
        assert_eq!((code, said["verdict"].as_str().unwrap(), said["root"].is_null()), expected, "{said}");
    };
    says((0, "ok", false), |_, answer| answer);
    says((0, "ok", true), |asked, mut answer| {
        let last = answer.len() - 1;
        answer[last] ^= u8::from(asked.target().contains("atoll-proof"));
        answer
    });
    says((1, "bad", true), |asked, answer| match asked.target().contains("atoll-proof") {
        true => answer,
        false => String::from_utf8(answer).unwrap().replacen("\r\n\r\ngone", "\r\n\r\ngome", 1).into_bytes(),
    });
}

/// More than any site that is compared in memory.
const LARGE_BYTES: usize = 300 << 20;
/// The most memory for that, in KiB.
const MEMORY_KIB_MAX: u64 = 96 << 10;

#[test]
fn a_large_site_is_compared_in_little_memory() {
    let node = home().started();
    let folder = node.path("site");
    fs::create_dir(&folder).unwrap();
    for part in 0..3_u64 {
        fs::write(folder.join(format!("{part}.bin")), noise(part + 1, LARGE_BYTES / 3)).unwrap();
    }
    fs::write(folder.join("index.html"), "large").unwrap();
    let published = node.json(&["publish", folder.to_str().unwrap(), "--replicas", "1"]);
    let site = Site { root: published["root"].as_str().unwrap().to_owned(), node };
    site.signed();
    let mut command = site.node.command(&["verify", "--json", &format!("http://{}/", site.host())]);
    let mut verifying = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut most, status) = (0, format!("/proc/{}/status", verifying.id()));
    while verifying.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let said: Value = serde_json::from_reader(verifying.stdout.take().unwrap()).unwrap();
    assert_eq!((&said["verdict"], &said["root"]), (&"ok".into(), &(*site.root).into()), "{said}");
    assert!(most > 0 && most <= MEMORY_KIB_MAX, "{most} KiB");
    println!("{most} KiB");
}
