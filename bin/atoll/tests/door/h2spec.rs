//! h2spec, strict, over TLS.

use std::process::Command;

use atoll_testkit::process::Node;
use atoll_testkit::trial::installed;

fn passes(node: &Node) {
    let Some(h2spec) = installed("ATOLL_H2SPEC") else { return };
    let mut command = Command::new(h2spec);
    command.args(["--strict", "--tls", "--insecure", "--timeout", "5", "--path", crate::INLINE]);
    command.args(["--host", "127.0.0.1", "--port", &node.secure().port().to_string()]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("146 tests, 146 passed, 0 skipped, 0 failed"), "{said}");
    assert!(output.status.success());
}

fn node() -> Node {
    Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0"])
}

#[test]
fn every_case_of_h2spec_passes() {
    passes(&node().started());
}

#[test]
fn every_case_passes_where_connections_may_go_on_in_another_protocol() {
    let site = "[[sites]]\nhosts = [\"chat.example\"]\n[[sites.origins]]\nurl = \"http://127.0.0.1:9\"\n";
    passes(&node().configured(site).started());
}
