//! A node that is killed in the middle of a pin goes on with it; origins that lead into private networks are not dialled.

use atoll_testkit::kubo::Kubo;
use atoll_testkit::trial::{installed, noise, until};

use super::node::{Service, start};

/// Blocks of the DAG, small ones, so that a kill meets it half-way.
const BYTES: usize = 48 << 20;
const CHUNK: &str = "size-4096";
/// Blocks that are waited for before each kill.
const STEP: u64 = 1500;

/// Kills the node so often, each time some blocks later; how many kills met the pin half-way.
fn kill_while_pinning(node: &mut Service, (token, id): (&str, &str), root: &str, kills: u64) -> u32 {
    let blocks = |answer: &serde_json::Value| answer["info"]["blocks"].as_str().unwrap().parse::<u64>().unwrap();
    let mut cut = 0;
    for round in 1..=kills {
        let mut pinned = false;
        until("the pin goes on", || {
            let answer = node.request(token, id);
            pinned = answer["status"] == "pinned";
            pinned || blocks(&answer) >= STEP * round
        });
        node.kill();
        cut += u32::from(!pinned);
        node.start();
        assert_eq!(node.request(token, id)["pin"]["cid"], root, "lost by kill {round}");
    }
    cut
}

#[test]
fn a_pin_that_is_cut_by_kills_is_finished_and_no_request_is_lost() {
    let source = start("");
    let bytes = noise(7, BYTES);
    let root = source.import_bytes(&bytes, CHUNK);
    let mut node = start("private_origins = true");
    let token = node.token("site", "1GiB");
    let id = node.pin(&token, &root, &source.swarm());
    let cut = kill_while_pinning(&mut node, (&token, &id), &root, 5);
    assert!(cut >= 2, "of five kills {cut} met the pin half-way");
    until("the pin is finished", || node.request(&token, &id)["status"] == "pinned");
    let pins = node.json(&["pin", "ls"]);
    assert_eq!(pins[0]["name"], format!("remote:site:{id}"));
    drop(source);
    let (status, shown) = node.shown(&root);
    assert!(status == 200 && shown == bytes, "{status}, {} bytes", shown.len());
    assert_eq!(node.ask(&token, "DELETE", &format!("/pins/{id}"), "").0, 202);
    assert_eq!(node.json(&["pin", "ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_pin_of_what_only_a_kubo_has_goes_on_after_kills() {
    let Some(binary) = installed("ATOLL_KUBO") else { return };
    let kubo = Kubo::home(binary).started();
    let root = kubo.add("site", &noise(9, BYTES), &[&format!("--chunker={CHUNK}")]);
    let mut node = start("private_origins = true");
    let token = node.token("site", "1GiB");
    let origin = kubo.over("/tcp/");
    let id = node.pin(&token, &root, &[&origin]);
    let cut = kill_while_pinning(&mut node, (&token, &id), &root, 3);
    assert!(cut >= 1, "of three kills {cut} met the pin half-way");
    until("the pin is finished", || node.request(&token, &id)["status"] == "pinned");
    drop(kubo);
    let (status, shown) = node.shown(&root);
    assert!(status == 200 && shown == noise(9, BYTES), "{status}, {} bytes", shown.len());
}

#[test]
fn what_came_of_a_failed_pin_is_garbage_after_a_kill_too() {
    let source = start("");
    let root = source.import_bytes(&noise(8, 9 << 20), "size-262144");
    let mut node = start("private_origins = true");
    let token = node.token("site", "1MiB");
    let id = node.pin(&token, &root, &source.swarm());
    until("it is over the quota", || node.request(&token, &id)["status"] == "failed");
    node.kill();
    node.start();
    assert_eq!(node.request(&token, &id)["status"], "failed");
    let blocks = || node.status()["store"]["blocks"].as_u64().unwrap();
    assert!(blocks() > 0, "some came before it was known that it is too much");
    node.json(&["gc"]);
    assert_eq!(blocks(), 0);
    assert_eq!(node.json(&["pin", "ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn origins_on_this_machine_are_dialled_only_if_that_is_allowed() {
    let source = start("");
    let root = source.import_bytes(b"calm water", CHUNK);
    let node = start("seek_timeout = \"300ms\"");
    let token = node.token("site", "1MiB");
    let id = node.pin(&token, &root, &source.swarm());
    until("it was tried", || {
        node.request(&token, &id)["info"]["status_details"].as_str().unwrap_or_default().contains("tried again")
    });
    assert_eq!(source.json(&["status"])["swarm"]["peers"].as_array().unwrap().len(), 0, "nobody has come");
    let open = start("private_origins = true");
    let token = open.token("site", "1MiB");
    let id = open.pin(&token, &root, &source.swarm());
    until("it is pinned", || open.request(&token, &id)["status"] == "pinned");
}
