//! The node that is attacked, its memory, and its visitor.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::hostile::{Dags, PAGE};

/// The pause between two requests of the visitor.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of verified blocks that the node may keep in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// A running node, and the folder with all it holds.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    page: String,
    node: Child,
    _folder: tempfile::TempDir,
}

/// What was seen of the node for a while.
pub(crate) struct Seen {
    /// Resident memory at most, in bytes.
    pub(crate) memory: u64,
    /// Resident memory at the end.
    pub(crate) memory_last: u64,
    /// What 99 of 100 requests of the visitor took at most.
    pub(crate) p99: Duration,
    pub(crate) slowest: Duration,
    pub(crate) requests: usize,
    /// Requests of the visitor that were not answered as they should be.
    pub(crate) failed: usize,
}

impl Target {
    pub(crate) fn start(dags: Dags) -> Self {
        let (folder, page) = dags.finish();
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(["node", "--json", "--gateway-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--set", "gateway.threads=2", "--set", &format!("store.cache_bytes={CACHE_BYTES}"), "--dir"]);
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut node = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the node said {line:?}"));
        let address = ready["gateway"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        Self { address, page: format!("/ipfs/{page}/page.html"), node, _folder: folder }
    }

    /// Watches the node while `work` goes on, and for `least` at least.
    pub(crate) fn watch(&self, least: Duration, work: impl FnOnce()) -> Seen {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let memory = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(self.memory());
                    thread::sleep(Duration::from_millis(10));
                }
                most
            });
            let visitor = scope.spawn(|| self.visit(&done));
            let start = Instant::now();
            work();
            thread::sleep(least.saturating_sub(start.elapsed()));
            done.store(true, Ordering::Relaxed);
            let (mut times, failed) = visitor.join().unwrap();
            times.sort_unstable();
            let (p99, slowest) = (times.get(times.len() * 99 / 100), times.last());
            Seen {
                memory: memory.join().unwrap(),
                memory_last: self.memory(),
                p99: p99.copied().unwrap_or_default(),
                slowest: slowest.copied().unwrap_or_default(),
                requests: times.len(),
                failed,
            }
        })
    }

    /// Asks for a page over and over, as it is kept ready and as it is not: how long each took, and how many failed.
    fn visit(&self, done: &AtomicBool) -> (Vec<Duration>, usize) {
        let (mut times, mut failed) = (Vec::new(), 0);
        let mut tcp = None;
        while !done.load(Ordering::Relaxed) {
            let query = if times.len() % 2 == 0 { String::new() } else { format!("?visit={}", times.len()) };
            let start = Instant::now();
            match self.fetch(&mut tcp, &query) {
                Ok(true) => {}
                _ => {
                    failed += 1;
                    tcp = None;
                }
            }
            times.push(start.elapsed());
            thread::sleep(PAUSE);
        }
        (times, failed)
    }

    /// Whether the page came.
    fn fetch(&self, tcp: &mut Option<BufReader<TcpStream>>, query: &str) -> std::io::Result<bool> {
        let tcp = match tcp {
            Some(tcp) => tcp,
            none => none.insert(BufReader::new(TcpStream::connect(self.address)?)),
        };
        tcp.get_ref().set_read_timeout(Some(Duration::from_secs(30)))?;
        tcp.get_ref().set_nodelay(true)?;
        let request = format!("GET {}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", self.page);
        tcp.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        tcp.read_line(&mut line)?;
        let good = line.starts_with("HTTP/1.1 200 ");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if tcp.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        tcp.read_exact(&mut body)?;
        Ok(good && body == PAGE)
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.node.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
