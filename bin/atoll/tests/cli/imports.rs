//! What can be imported beside files and folders: streams, archives, and a repository that Kubo made.

use std::fs;
use std::path::Path;
use std::process::Command;

use atoll_testkit::kubo::Kubo;
use atoll_testkit::process::Node;
use atoll_testkit::trial::{installed, noise};
use serde_json::Value;

use super::{fails, piped, site, start};

/// The root that a run printed as JSON.
fn root(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["root"].as_str().unwrap().to_owned()
}

/// Packs a folder.
fn packed(node: &Node, folder: &Path) -> std::path::PathBuf {
    let archive = node.path("site.tar");
    let tar = Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(folder).arg(".").status().unwrap();
    assert!(tar.success());
    archive
}

#[test]
fn streams_and_archives_have_the_roots_of_their_files() {
    let mut bench = start();
    let archive = packed(&bench, &site());
    let big = bench.path("big");
    fs::write(&big, noise(1, 3_000_000)).unwrap();
    let named = bench.path("named");
    fs::create_dir(&named).unwrap();
    fs::copy(&big, named.join("big.bin")).unwrap();
    for profile in ["unixfs-v1-2025", "unixfs-v0-2015"] {
        let of = |path: &Path| root(&bench.run(&["import", path.to_str().unwrap(), "--profile", profile, "--json"]));
        let only = bench.run(&["publish", site().to_str().unwrap(), "--only-hash", "--profile", profile, "--json"]);
        assert_eq!(root(&only), of(&site()), "{profile}");
        let stdin = |args: &[&str], input: &Path| {
            root(&piped(&bench, &[&["import", "--json", "--profile", profile][..], args].concat(), input))
        };
        assert_eq!(stdin(&["--tar", "-"], &archive), of(&site()), "{profile}");
        assert_eq!(root(&bench.run(&["import", "--tar", "site.tar", "--profile", profile, "--json"])), of(&site()));
        assert_eq!(stdin(&["-"], &big), of(&big), "{profile}");
        assert_eq!(stdin(&["-", "--stdin-name", "big.bin"], &big), of(&named), "{profile}");
    }
    let chunked = root(&bench.run(&["import", "big", "--chunker", "size-1000", "--json"]));
    assert_ne!(chunked, bench.import(&big));
    // What breaks off leaves no pin.
    let pins = bench.json(&["pin", "ls"]).as_array().unwrap().len();
    let whole = fs::read(&archive).unwrap();
    fs::write(bench.path("short.tar"), &whole[..1000]).unwrap();
    assert!(fails(&bench, &["import", "--tar", "short.tar"]).contains("could not be read"));
    assert_eq!(bench.json(&["pin", "ls"]).as_array().unwrap().len(), pins);

    let expected = bench.import(&site());
    assert_eq!(bench.stop(), Some(0));
    assert_eq!(root(&piped(&bench, &["import", "--tar", "-", "--offline", "--json"], &archive)), expected);
}

#[test]
fn a_kubo_repository_is_taken_over_with_its_pins_and_keys() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let mut bench = start();
    let kubo = Kubo::repository(binary, &["--empty-repo"]);
    let repository = kubo.folder().join("repo");
    let taken_over = repository.to_str().unwrap();
    let run = |args: &[&str]| kubo.run(&[&["--offline"], args].concat());
    let blog = run(&["add", "-r", "-Q", "--pin-name=blog", site().to_str().unwrap()]);
    let plain = run(&["add", "-Q", "--cid-version=1", site().join("style.css").to_str().unwrap()]);
    let lost = run(&["add", "-r", "-Q", "--pin-name=lost", "--cid-version=1", site().join("pages").to_str().unwrap()]);
    let one = run(&["refs", &blog]).lines().last().unwrap().to_owned();
    run(&["pin", "add", "--recursive=false", "--name=one", &one]);
    run(&["key", "gen", "Blog Example"]);
    run(&["key", "gen", "--type=rsa", "old"]);
    // One block of a pin is gone: the raw leaf that is the file.
    let page = fs::read(site().join("pages/deep.html")).unwrap();
    let shards = fs::read_dir(repository.join("blocks")).unwrap().map(|entry| entry.unwrap().path());
    let files = shards.filter(|shard| shard.is_dir()).flat_map(|shard| fs::read_dir(shard).unwrap());
    let leaf = files.map(|file| file.unwrap().path()).find(|file| fs::read(file).unwrap() == page);
    fs::remove_file(leaf.unwrap()).unwrap();

    let taken = bench.json(&["import", "--kubo-repo", taken_over]);
    let names = |list: &str, fields: [&str; 2]| -> Vec<(String, String)> {
        let entry = |entry: &Value| fields.map(|field| entry[field].as_str().unwrap_or_default().to_owned());
        let mut found: Vec<_> = taken[list].as_array().unwrap().iter().map(entry).map(|[a, b]| (a, b)).collect();
        found.sort();
        found
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let pins = names("pins", ["name", "root"]);
    assert_eq!(pins, [pair("blog", &blog), pair("kubo", &plain), pair("one", &one)]);
    assert_eq!(names("unpinned", ["name", "root"]), [pair("lost", &lost)]);
    let keys = [pair("Blog Example", "blog-example"), pair("old", ""), pair("self", "kubo-self")];
    assert_eq!(names("keys", ["name", "key"]), keys);
    let page = bench.run(&["get", &format!("{blog}/pages/deep.html"), "-o", "-"]);
    assert_eq!(page.stdout, fs::read(site().join("pages/deep.html")).unwrap());

    // A second time changes nothing, and beside a stopped node neither.
    let keyring = |node: &Node| node.json(&["key", "list"]).as_array().unwrap().len();
    assert_eq!(keyring(&bench), 2);
    bench.json(&["import", "--kubo-repo", taken_over]);
    bench.json(&["gc"]);
    assert_eq!(bench.stop(), Some(0));
    let again = bench.json(&["import", "--kubo-repo", taken_over, "--offline"]);
    assert_eq!((&again["pins"], keyring(&bench)), (&taken["pins"], 2));
}
