//! A node of ours with a pinning service.

use atoll_testkit::http::{Reply, exchange};
use atoll_testkit::process::Node;
use serde_json::Value;

/// Starts one with these lines in its `[pinning]` section.
pub(crate) fn start(pinning: &str) -> Service {
    let settings = format!(
        "[gateway]\nfetch = \"held\"\n[swarm]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n\
         [pinning]\nlisten = [\"127.0.0.1:0\"]\nretry_min = \"200ms\"\n{pinning}\n"
    );
    Service(Node::home(env!("CARGO_BIN_EXE_atoll")).configured(&settings).started())
}

/// The node, and what its service is asked.
pub(crate) struct Service(Node);

impl std::ops::Deref for Service {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl std::ops::DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.0
    }
}

impl Service {
    pub(crate) fn token(&self, name: &str, quota: &str) -> String {
        let made = self.json(&["pinning", "token", "add", name, "--quota", quota]);
        made["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.pinning())
    }

    /// What the gateway shows of something that is held.
    pub(crate) fn shown(&self, root: &str) -> (u16, Vec<u8>) {
        let reply = self.get(&format!("/ipfs/{root}"));
        (reply.status, reply.body)
    }

    /// Asks the pinning service.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = exchange(self.pinning(), &[head.as_bytes(), body.as_bytes()].concat());
        let reply = Reply::parse(&answer, false);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// Asks for a pin; the id of the request.
    pub(crate) fn pin(&self, token: &str, root: &str, origins: &[&str]) -> String {
        let body = serde_json::json!({ "cid": root, "origins": origins }).to_string();
        let (status, answer) = self.ask(token, "POST", "/pins", &body);
        assert_eq!(status, 202, "{answer}");
        answer["requestid"].as_str().unwrap().to_owned()
    }

    /// A request as it stands.
    pub(crate) fn request(&self, token: &str, id: &str) -> Value {
        let (status, answer) = self.ask(token, "GET", &format!("/pins/{id}"), "");
        assert_eq!(status, 200, "{answer}");
        answer
    }
}
