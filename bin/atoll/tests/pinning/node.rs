//! A node of ours with a pinning service, as a process that can be killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use atoll_testkit::http::{Reply, exchange, request};
use serde_json::Value;

/// See the module.
pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    process: Option<Child>,
    gateway: Option<SocketAddr>,
    pinning: Option<SocketAddr>,
    pub(crate) swarm: Vec<String>,
}

impl Node {
    /// Starts one with these lines in its `[pinning]` section.
    pub(crate) fn start(pinning: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\nfetch = \"held\"\nthreads = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [swarm]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n\
             [pinning]\nlisten = [\"127.0.0.1:0\"]\nretry_min = \"200ms\"\n{pinning}\n"
        );
        fs::write(folder.path().join("node.toml"), settings).unwrap();
        let mut node = Self { folder, process: None, gateway: None, pinning: None, swarm: Vec::new() };
        node.restart();
        node
    }

    /// Starts it, after a kill for instance.
    pub(crate) fn restart(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("node.log")).unwrap();
        let mut process = self.command(&["node", "--json"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        let log = || fs::read_to_string(self.folder.path().join("node.log")).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}:\n{}", log()));
        let address = |url: &Value| url.as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        self.gateway = Some(address(&ready["gateway"]));
        self.pinning = Some(address(&ready["pinning"][0]));
        self.swarm = ready["swarm"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        let folder = self.folder.path();
        command.args(args).env("ATOLL_KEYRING", folder.join("keyring")).env("ATOLL_DIR", folder);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs with `--json`, expects success, and reads the last line.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    pub(crate) fn token(&self, name: &str, quota: &str) -> String {
        let made = self.json(&["pinning", "token", "add", name, "--quota", quota]);
        made["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn import(&self, bytes: &[u8], chunk: usize) -> String {
        let path = self.folder.path().join("file.bin");
        fs::write(&path, bytes).unwrap();
        let chunker = format!("size-{chunk}");
        let done = self.json(&["import", path.to_str().unwrap(), "--chunker", &chunker]);
        done["root"].as_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.pinning.unwrap())
    }

    /// What the gateway shows of something that is held.
    pub(crate) fn get(&self, root: &str) -> (u16, Vec<u8>) {
        let reply = request(self.gateway.unwrap(), "GET", "127.0.0.1", &format!("/ipfs/{root}"), &[]);
        (reply.status, reply.body)
    }

    /// Asks the pinning service.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = exchange(self.pinning.unwrap(), &[head.as_bytes(), body.as_bytes()].concat());
        let reply = Reply::parse(&answer, false);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// Asks for a pin; the id of the request.
    pub(crate) fn pin(&self, token: &str, root: &str, origins: &[String]) -> String {
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

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
