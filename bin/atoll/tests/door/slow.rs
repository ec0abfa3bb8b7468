//! slowhttptest, which others wrote, in its four modes at once, beside visitors who behave.

use std::process::{Command, Stdio};

use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::{installed, noise};

use crate::INLINE;
use crate::visits::{Site, Visits};

#[test]
fn slow_heads_bodies_ranges_and_reads_keep_no_visitor_out() {
    let Some(program) = installed("ATOLL_SLOWHTTPTEST") else { return };
    let (certificate, _) = made("localhost");
    let node = Node::home(env!("CARGO_BIN_EXE_atoll"))
        .set(&["gateway.tls.listen=127.0.0.1:0", "certs.self_signed=localhost"])
        .started();
    let large = format!("/ipfs/{}", node.import_bytes(&noise(5, 4 << 20), "size-262144"));
    let seconds = if std::env::var_os("ATOLL_TEST_LONG").is_some() { "60" } else { "8" };
    let site = Site {
        plain: node.gateway(),
        secure: node.secure(),
        visitor: Visitor::trusting(&certificate),
        host: "127.0.0.1",
        paths: vec![INLINE.to_owned()],
    };
    let visits = Visits::plain(&site);
    visits.more(20);
    let before = node.memory_mib();
    let modes = [("-H", INLINE), ("-B", INLINE), ("-R", &large), ("-X", &large)];
    let running = modes.map(|(mode, path)| {
        let mut command = Command::new(&program);
        command.args([mode, "-c", "200", "-r", "200", "-i", "1", "-l", seconds, "-p", "5", "-k", "3"]);
        command.args(["-u", &format!("http://{}{path}", node.gateway())]).current_dir(node.path(""));
        (mode, command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    });
    visits.more(100);
    for (mode, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{mode}: {said}");
        // Its own probe, at the end.
        let last = said.lines().rev().find(|line| line.contains("service available")).unwrap_or_default();
        assert!(last.contains("YES"), "{mode}: {said}");
    }
    visits.more(20);
    let after = node.memory_mib();
    println!("{before} MiB before, {after} MiB after");
    assert!(after <= before + 128, "the node has grown from {before} to {after} MiB");
    visits.end();
}
