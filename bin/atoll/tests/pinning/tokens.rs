//! Tokens by the command line.

use super::node::start;

#[test]
fn tokens_are_made_listed_and_revoked() {
    let node = start("");
    let made = node.json(&["pinning", "token", "add", "blog", "--quota", "10MiB", "--allow", "bafkqaaa"]);
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["urls"][0], node.url());
    assert_eq!(node.ask(token, "GET", "/pins", "").0, 200);
    let listed = node.json(&["pinning", "token", "list"]);
    assert_eq!((&listed[0]["name"], &listed[0]["quota"]), (&"blog".into(), &(10 << 20).into()));
    assert_eq!((&listed[0]["live"], &listed[0]["allow"][0]), (&true.into(), &"bafkqaaa".into()));
    let again = node.run(&["pinning", "token", "add", "blog", "--quota", "1GiB"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("has a token already"), "{again:?}");
    assert_eq!(node.json(&["status"])["pinning"]["publishers"], 1);
    let database = std::fs::read(node.path("node/pinning/pinning.redb")).unwrap();
    assert!(!database.windows(token.len()).any(|part| part == token.as_bytes()), "the token is on disk");
    node.json(&["pinning", "token", "revoke", "blog"]);
    assert_eq!(node.ask(token, "GET", "/pins", "").0, 401);
    let gone = node.run(&["pinning", "token", "revoke", "nobody"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no publisher `nobody`"), "{gone:?}");
    let off = node.run(&["node", "--set", "swarm.listen=[]"]);
    assert!(String::from_utf8_lossy(&off.stderr).contains("pinning.listen: needs swarm.listen"), "{off:?}");
}
