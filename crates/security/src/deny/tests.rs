//! Lists as others wrote them, and lists that mean ill.

use atoll_core::{Cid, Denied, Subject};
use proptest::prelude::*;

use super::table::{FUNCTIONS_MAX, PREFIXES_BELOW_MAX, RULES_MAX, Verdict};
use super::*;

/// The rules of IPIP-383's example, with those of its reference test whose text is published.
const EXAMPLE: &str = include_str!("../../testdata/example.deny");

fn read(text: &str) -> List {
    List::read(text.as_bytes(), RULES_MAX).unwrap()
}

fn verdict(list: &List, path: &str) -> Option<Verdict> {
    let mut parts = path.trim_matches('/').split('/');
    let (space, name) = (parts.next().unwrap(), parts.next().unwrap());
    let names: Vec<&str> = parts.collect();
    if space == "ipfs" {
        list.table.decide(Subject::Path { root: &name.parse().unwrap(), names: &names })
    } else {
        list.table.decide(Subject::Name { name, names: &names })
    }
}

fn denied(list: &List, path: &str) -> bool {
    verdict(list, path).is_some_and(|verdict| verdict.denied.is_some())
}

#[test]
fn the_example_of_the_specification_means_what_it_says() {
    let list = read(EXAMPLE);
    assert_eq!((list.skipped, &*list.header.name), (0, "Example list"));
    for path in [
        "/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq",
        "/ipfs/bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq",
        "/ipfs/QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo/",
        "/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8",
        "/ipfs/QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8/a/b",
        "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test",
        "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test2",
        "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test/one",
        "/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test2",
        "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked2",
        "/ipns/domain.example",
        "/ipns/domain-example",
        "/ipns/domain2.example/path",
        "/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf",
        "/ipns/bafzaajaiaejcaotjfs57kieazxny5japcmy5p2pgv2cic77tu6ogghttvurnrufx",
        "/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA",
        "/ipfs/bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e",
        "/ipfs/bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e/path",
        "/ipns/bad-domain-name.tld",
        "/ipfs/bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja",
        "/ipfs/QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR",
        "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a/path",
        "/ipfs/f01701e20903cf61d46521b05f926ba1634628d0bba8a7ffb5b6d5a3ca310682ca63b5ef0/path",
    ] {
        assert!(denied(&list, path), "{path}");
    }
    for path in [
        "/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        "/ipfs/bafkqaaa",
        "/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq/sub2",
        "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/tes",
        "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/one/test",
        "/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC",
        "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blockednot",
        "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/not",
        "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/exceptions/one",
        "/ipns/domain.example/path",
        "/ipns/domain--example",
        "/ipns/domain2.example",
        "/ipns/domain2.example/path2",
        "/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA/path",
        "/ipfs/bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e/path2",
        "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a/",
        "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a/path2",
    ] {
        assert!(!denied(&list, path), "{path}");
    }
    let legacy: Cid = "bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e".parse().unwrap();
    assert!(list.table.decide(Subject::Block(&legacy)).is_some());
}

#[test]
fn the_last_rule_that_matches_decides() {
    let list = read(
        "/ipns/a.example\n!/ipns/a.example\n!/ipns/b.example\n/ipns/b.example status_code=451\n/ipns/c.example/*\n!/ipns/c.example/x*\n/ipns/c.example/xy\n",
    );
    assert!(!denied(&list, "/ipns/a.example"));
    assert_eq!(verdict(&list, "/ipns/b.example"), Some(Verdict { line: 4, denied: Some(Denied::Legal) }));
    assert!(denied(&list, "/ipns/c.example") && denied(&list, "/ipns/c.example/y"));
    assert!(!denied(&list, "/ipns/c.example/x") && !denied(&list, "/ipns/c.example/xz"));
    assert!(denied(&list, "/ipns/c.example/xy"));
}

#[test]
fn hints_of_the_header_hold_for_all_rules() {
    let list = read("version: 1\nhints:\n  status_code: 451\n---\n/ipns/a.example\n/ipns/b.example status_code=410\n");
    assert_eq!(verdict(&list, "/ipns/a.example"), Some(Verdict { line: 5, denied: Some(Denied::Legal) }));
    assert_eq!(verdict(&list, "/ipns/b.example"), Some(Verdict { line: 6, denied: Some(Denied::Gone) }));
}

#[test]
fn a_list_needs_no_header() {
    for text in
        ["/ipns/a.example", "---\n/ipns/a.example\n", "# x\r\n\r\n/ipns/a.example\r\n", "---\r\n/ipns/a.example"]
    {
        assert!(denied(&read(text), "/ipns/a.example"), "{text}");
    }
    assert!(List::read(&b"version: 2\n---\n"[..], RULES_MAX).is_err());
    assert!(List::read(&b"[\n---\n"[..], RULES_MAX).is_err());
    let far = format!("/ipns/a.example\n{}---\nnonsense\n", "#\n".repeat(HEADER_SEARCH_BYTES_MAX / 2));
    let list = read(&far);
    assert!(denied(&list, "/ipns/a.example"));
    assert_eq!(list.skipped, 2);
}

#[test]
fn what_is_not_understood_is_skipped_and_reported() {
    let list = read("nonsense\n/ipns/a.example\n/my/path*\n");
    assert!(denied(&list, "/ipns/a.example"));
    assert_eq!((list.skipped, list.problems.iter().map(|(line, _)| *line).collect::<Vec<_>>()), (2, vec![1, 3]));
    assert_eq!(read(&"x\n".repeat(100)).problems.len(), PROBLEMS_MAX);
}

#[test]
fn lines_have_a_limit() {
    let line = |len: usize| format!("#{}\n/ipns/a.example\n", "x".repeat(len - 2));
    assert!(denied(&read(&line(LINE_BYTES_MAX)), "/ipns/a.example"));
    let longer = line(LINE_BYTES_MAX + 1);
    assert!(matches!(List::read(longer.as_bytes(), RULES_MAX), Err(DenyError::LineTooLong { line: 1 })));
}

#[test]
fn what_is_looked_through_has_a_limit() {
    let many: String = (0..=PREFIXES_BELOW_MAX).map(|at| format!("/ipns/a.example/x{at}y*\n")).collect();
    let list = read(&many);
    assert_eq!((list.skipped, list.table.len()), (1, PREFIXES_BELOW_MAX));
    use multihash_codetable::{Code, MultihashDigest};
    let codes = [Code::Sha2_256, Code::Sha2_512, Code::Blake3_256, Code::Blake2b256, Code::Blake2b512];
    let text = codes.map(|code| format!("//{}\n", multibase::Base::Base58Btc.encode(code.digest(b"x").to_bytes())));
    let list = read(&text.concat());
    assert_eq!((list.table.len(), list.skipped), (FUNCTIONS_MAX, 1));
}

#[test]
fn a_rule_takes_twenty_bytes() {
    let rules = 100_000;
    let text: String = (0..rules).map(|at| format!("/ipns/{at}.example\n")).collect();
    let list = read(&text);
    assert_eq!(list.table.len(), rules);
    let bytes = list.table.memory_bytes() / rules;
    assert!(bytes <= 21, "{bytes}");
    assert!((0..rules).step_by(97).all(|at| denied(&list, &format!("/ipns/{at}.example"))));
    assert!((rules..2 * rules).step_by(97).all(|at| !denied(&list, &format!("/ipns/{at}.example"))));
}

proptest! {
    #[test]
    fn a_table_decides_as_its_rules_read_from_the_last_on(
        rules in proptest::collection::vec(("[!]?", "[ab]", "(/[xy]{0,2}[*]?)?"), 0..12),
        name in "[ab]", path in "[xy]{0,3}",
    ) {
        let text: String = rules.iter().map(|(not, name, path)| format!("{not}/ipns/{name}.example{path}\n")).collect();
        let matches = |rule: &(String, String, String)| {
            let wanted = rule.2.trim_start_matches('/');
            rule.1 == name && wanted.strip_suffix('*').map_or(wanted == path, |prefix| path.starts_with(prefix))
        };
        let expected = rules.iter().rev().find(|rule| matches(rule)).is_some_and(|rule| rule.0.is_empty());
        prop_assert_eq!(denied(&read(&text), &format!("/ipns/{name}.example/{path}")), expected);
    }

    #[test]
    fn no_list_breaks_the_parser(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = List::read(&text[..], RULES_MAX);
    }
}
