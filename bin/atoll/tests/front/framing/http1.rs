//! Over HTTP/1.1, byte by byte as others wrote it.

use std::io::Write as _;

use atoll_testkit::http::{connect, request};
use atoll_testkit::process::Node;
use atoll_testkit::trial::until;

use super::cases::{self, Case, Fate};
use super::witness::{Message, Seen, Witness};
use super::{HIDDEN, rest};

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
const BEFORE: &str = "GET /before HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// `atoll front` before a witness.
fn front(args: &[&str]) -> (Node, Witness) {
    let witness = Witness::new();
    let mut front = Node::home(env!("CARGO_BIN_EXE_atoll"));
    front.start_as(&[&["front", &witness.url()], args].concat());
    (front, witness)
}

fn messages(seen: &[Seen]) -> Vec<&Message> {
    let messages = seen.iter().filter_map(|seen| match seen {
        Seen::Message(message) => Some(message),
        _ => None,
    });
    messages.collect()
}

/// The status codes of answers in a row.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.split(' ').nth(1)).collect()
}

/// Sends a case and another request behind it, and checks what came of both.
fn judge(front: &Node, witness: &Witness, case: &Case) {
    let what = case.bytes.escape_ascii();
    let mut tcp = connect(front.gateway());
    let behind = if case.fate == Fate::Refused { HIDDEN } else { NEXT };
    // What is not read any more is none of the test's.
    let _ = tcp.write_all(&[&case.bytes, behind.as_bytes()].concat());
    let (answers, _) = rest(&mut tcp);
    let seen = witness.take();
    let doubts: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Doubt(..))).collect();
    assert!(doubts.is_empty(), "{what}: {doubts:?}");
    let messages = messages(&seen);
    let statuses = statuses(&answers);
    match case.fate {
        Fate::Refused => {
            assert!(messages.is_empty(), "{what}: {messages:?}");
            assert!(matches!(statuses[..], ["400"]), "{what}: {answers}");
        }
        Fate::Declined => {
            assert!(messages.iter().all(|message| message.target == "/next"), "{what}: {messages:?}");
            assert!(statuses.first().is_some_and(|status| status.starts_with('4')), "{what}: {answers}");
        }
        Fate::Passed(method, target, body) => {
            let [message, next] = messages[..] else { panic!("{what}: {answers} {seen:?}") };
            let found = (&*message.method, &*message.target, &*message.body);
            assert_eq!((found, &*next.target), ((method, target, body), "/next"), "{what}");
            assert_eq!(statuses, ["200", "200"], "{what}: {answers}");
        }
    }
}

/// Sends it behind another request: the server sees that one at most.
fn judge_behind(front: &Node, witness: &Witness, case: &Case) {
    let what = case.bytes.escape_ascii();
    let mut tcp = connect(front.gateway());
    let _ = tcp.write_all(&[BEFORE.as_bytes(), &case.bytes, HIDDEN.as_bytes()].concat());
    rest(&mut tcp);
    let seen = witness.take();
    let found = messages(&seen).into_iter().map(|message| &*message.target).collect::<Vec<_>>();
    assert!(matches!(found[..], [] | ["/before"]), "{what}: {seen:?}");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Doubt(..))), "{what}: {seen:?}");
}

/// Sends the head, and the body once the server has the head.
fn judge_later(front: &Node, witness: &Witness, case: &Case, split: usize) {
    let what = case.bytes.escape_ascii();
    let (head, body) = case.bytes.split_at(split);
    let mut tcp = connect(front.gateway());
    tcp.write_all(head).unwrap();
    until("the head at the server", || witness.has_begun("/a"));
    let _ = tcp.write_all(&[body, HIDDEN.as_bytes()].concat());
    let (answers, _) = rest(&mut tcp);
    assert!(!statuses(&answers).contains(&"200"), "{what}: {answers}");
    until("the end of what is no message", || witness.has_ended());
    assert_eq!(witness.take(), [Seen::Cut], "{what}");
}

#[test]
fn each_class_of_doubt_is_refused_or_becomes_one_message() {
    let cases = cases::all();
    println!("{} cases", cases.len());
    for args in [&[][..], &["--host", "client"]] {
        let (front, witness) = front(args);
        for case in &cases {
            judge(&front, &witness, case);
            if case.fate == Fate::Refused {
                judge_behind(&front, &witness, case);
            }
            if let (Fate::Refused, Some(split)) = (case.fate, case.split) {
                judge_later(&front, &witness, case, split);
            }
        }
        // Nothing came late.
        request(front.gateway(), "GET", "shop.example", "/last", &[]);
        let seen = witness.take();
        assert_eq!(messages(&seen).into_iter().map(|message| &*message.target).collect::<Vec<_>>(), ["/last"]);
    }
}
