//! sslyze judges TLS by Mozilla's "intermediate" configuration.

use std::process::Command;

use atoll_testkit::process::Node;
use atoll_testkit::trial::installed;

#[test]
fn tls_is_as_mozilla_has_it() {
    let Some(python) = installed("ATOLL_PYTHON") else { return };
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0"]).started();
    let mut command = Command::new(python);
    command.args(["-m", "sslyze", "--mozilla_config=intermediate", &node.secure().to_string()]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("OK - Compliant") && output.status.success(), "{said}");
}
