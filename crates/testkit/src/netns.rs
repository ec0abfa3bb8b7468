//! Networks of the kernel's own for processes: hosts with one address each, on islands that a cut parts, and filters.
//!
//! Made by `ip` and `nft` (Debian's `iproute2` and `nftables`), which want root. Everything is gone with the last value that stands for
//! it; the names carry this process's id, so that what a kill leaves is known by them.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps its namespaces.
const FOLDER: &str = "/run/netns";
/// Where it looks for files that programs in one see in `/etc`.
const ETC: &str = "/etc/netns";
/// The most hosts, since one byte of the address tells them apart.
const HOSTS_MAX: usize = 200;

/// Whether this process may make networks. Without that a test says that it did not run.
///
/// # Panics
/// With `CI` set, when it may not, or a program is missing.
pub fn permitted() -> bool {
    let root = rustix::process::geteuid().is_root();
    let there = ["ip", "nft"].iter().all(|program| Command::new(program).arg("-V").output().is_ok());
    if !root || !there {
        let why = "networks of its own want root, and the programs `ip` and `nft` (`cargo xtask test` installs them)";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("did not run: {why}");
    }
    root && there
}

/// Islands, each a network of hosts, all joined to the first. Addresses are of one subnet.
pub struct Archipelago {
    switch: Namespace,
    islands: u8,
    hosts: Vec<Namespace>,
}

/// A network namespace; for a host, with its address in the archipelago.
#[derive(Clone)]
pub struct Namespace {
    name: Arc<Name>,
    address: Ipv4Addr,
}

/// Deletes the namespace with its last owner.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
        let _ = fs::remove_dir_all(Path::new(ETC).join(&self.0));
    }
}

impl Archipelago {
    /// So many islands, without hosts.
    ///
    /// # Panics
    /// If the kernel or `ip` refuses.
    pub fn new(islands: u8) -> Self {
        let switch = Namespace::new(Ipv4Addr::UNSPECIFIED);
        for island in 0..islands {
            switch.ip(&format!("link add island{island} type bridge"));
            switch.ip(&format!("link set island{island} up"));
        }
        let all = Self { switch, islands, hosts: Vec::new() };
        for island in 1..islands {
            all.switch.ip(&format!("link add near{island} type veth peer name far{island}"));
            all.switch.ip(&format!("link set near{island} master island0 up"));
            all.switch.ip(&format!("link set far{island} master island{island} up"));
        }
        all
    }

    /// A new host on an island, there as long as the islands are.
    ///
    /// # Panics
    /// If the kernel or `ip` refuses, or there are too many.
    pub fn host(&mut self, island: u8) -> Namespace {
        assert!(self.hosts.len() < HOSTS_MAX && island < self.islands);
        let number = u8::try_from(self.hosts.len() + 1).unwrap();
        let host = Namespace::new(Ipv4Addr::new(10, 77, 0, number));
        let port = format!("port{number}");
        self.switch.ip(&format!("link add {port} type veth peer name sea netns {}", host.name.0));
        self.switch.ip(&format!("link set {port} master island{island} up"));
        host.ip(&format!("address add {}/24 dev sea", host.address));
        host.ip("link set sea up");
        host.ip("link set lo up");
        self.hosts.push(host.clone());
        host
    }

    /// Cuts an island off: what is sent to it or from it is lost, and nobody is told.
    ///
    /// # Panics
    /// If `ip` refuses, as it does for the first.
    pub fn cut(&self, island: u8) {
        self.switch.ip(&format!("link set near{island} down"));
    }

    /// Joins it again.
    ///
    /// # Panics
    /// If `ip` refuses.
    pub fn heal(&self, island: u8) {
        self.switch.ip(&format!("link set near{island} up"));
    }
}

impl Namespace {
    fn new(address: Ipv4Addr) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("atoll-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name: Arc::new(Name(name)), address }
    }

    /// Its address among the islands.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Lets nothing in but answers to what went out, as a NAT or a firewall does; loopback is left alone.
    ///
    /// # Panics
    /// If `nft` refuses.
    pub fn shut(&self) {
        let rules = "add table inet atoll; \
                     add chain inet atoll input { type filter hook input priority 0; policy drop; }; \
                     add rule inet atoll input iif lo accept; \
                     add rule inet atoll input ct state established,related accept";
        run(self.command(Path::new("nft")).arg(rules));
    }

    /// Has programs that are started there from now on see this instead of a file that is in `/etc`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(&self, name: &str, text: &str) {
        let folder = Path::new(ETC).join(&self.name.0);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    /// A program that runs there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name.0]).arg(program);
        command
    }

    /// Does something there, on a thread of its own.
    ///
    /// # Panics
    /// If the kernel refuses, or `what` panics.
    pub fn enter<R: Send>(&self, what: impl FnOnce() -> R + Send) -> R {
        let moved = || {
            let namespace = File::open(Path::new(FOLDER).join(&self.name.0)).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        };
        let done = std::thread::scope(|scope| scope.spawn(moved).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ip(&self, arguments: &str) {
        run(Command::new("ip").args(["-netns", &self.name.0]).args(arguments.split(' ')));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
