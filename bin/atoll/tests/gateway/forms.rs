//! IPLD data in its own codec, and archives.

use crate::{LISTING, contains, node};

/// `{"foo": {"link": …}, …}` in dag-cbor.
const DAG_CBOR: &str = "bafyreibs4utpgbn7uqegmd2goqz4bkyflre2ek2iwv743fhvylwi4zeeim";
/// The same idea in dag-json.
const DAG_JSON: &str = "baguqeeram5ujjqrwheyaty3w5gdsmoz6vittchvhk723jjqxk7hakxkd47xq";
/// Links that lead out of the directory.
const OUTSIDE: &str = "bafybeicaj7kvxpcv4neaqzwhrqqmdstu4dhrwfpknrgebq6nzcecfucvyu";

#[test]
fn data_is_had_in_its_own_codec_only() {
    let Some(node) = node() else { return };
    for (cid, own, other) in [(DAG_CBOR, "dag-cbor", "dag-json"), (DAG_JSON, "dag-json", "dag-cbor")] {
        let raw = node.get(&format!("/ipfs/{cid}?format=raw"), &[]);
        let data = node.get(&format!("/ipfs/{cid}?format={own}"), &[]);
        assert_eq!((data.status, &data.body), (200, &raw.body));
        assert_eq!(data.header("content-type").unwrap(), format!("application/vnd.ipld.{own}"));
        assert_eq!(data.header("cache-control"), Some("public, max-age=29030400, immutable"));
        assert_eq!(node.get(&format!("/ipfs/{cid}?format={other}"), &[]).status, 406);
        let page = node.get(&format!("/ipfs/{cid}/"), &["Accept: text/html"]);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(page.header("etag").unwrap().contains("DagIndex"));
    }
    assert_eq!(node.get(&format!("/ipfs/{LISTING}?format=dag-cbor"), &[]).status, 406);
}

#[test]
fn an_archive_holds_the_files_and_nothing_outside() {
    let Some(node) = node() else { return };
    let tar = node.get(&format!("/ipfs/{LISTING}?format=tar"), &[]);
    assert_eq!(tar.header("content-type"), Some("application/x-tar"));
    assert!(tar.complete && tar.body.len().is_multiple_of(512));
    contains(&String::from_utf8_lossy(&tar.body), "file-źł.txt");
    let outside = node.get(&format!("/ipfs/{OUTSIDE}?format=tar"), &[]);
    assert!(outside.status != 200 || !outside.complete);
}
