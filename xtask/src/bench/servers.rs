//! The servers that are compared, each started on loopback and stopped when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::fetch::Connection;
use super::{Bench, text, wait_for};
use crate::shell::{output, run};

/// nginx that sends heads together with what follows them: better for what is small, worse for what is large.
pub(super) const NOPUSH: &str = "nginx with tcp_nopush";
/// nginx before an origin that tells neither it nor visitors anything: shown, and not judged, since its name does not begin with `nginx`.
pub(super) const TERSE: &str = "terse nginx";

/// Which cores a server and the client that loads it may use. Kubo always has [`Cores::Shared`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// One thread on a core of its own; the client has another.
    Own,
    /// Two threads, and the client beside them on whichever core is free.
    Shared,
}

impl Cores {
    const SERVER: &str = "0";
    const CLIENT: &str = "1";

    /// A command for a server.
    pub(super) fn server(self, program: &Path) -> Command {
        self.command(program, Self::SERVER)
    }

    /// A command for the client.
    pub(super) fn client(self, program: &Path) -> Command {
        self.command(program, Self::CLIENT)
    }

    fn command(self, program: &Path, core: &str) -> Command {
        if self == Self::Shared {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    }

    pub(super) fn threads(self) -> u32 {
        if self == Self::Own { 1 } else { 2 }
    }
}

/// A running server.
pub(super) struct Server {
    /// Whose it is, as the report names it.
    pub(super) name: &'static str,
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
    /// What stands before a file's name in a request.
    pub(super) prefix: String,
    pub(super) cores: Cores,
    /// `127.0.0.1:PORT` where it speaks TLS, if it does.
    pub(super) tls: Option<String>,
    /// `127.0.0.1:PORT` where it speaks HTTP/3, if it does.
    pub(super) http3: Option<String>,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM first: nginx stops its workers, the others close their stores.
        let stopped =
            Command::new("kill").arg(self.child.id().to_string()).status().is_ok_and(|status| status.success());
        if !stopped || wait_for("the server's end", || matches!(self.child.try_wait(), Ok(Some(_)))).is_err() {
            // Already gone, or deaf: nothing more can be done about it here.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Server {
    /// Starts nginx over a folder, as its users tune it for static files, with `tcp_nopush` if it is called [`NOPUSH`].
    pub(super) fn nginx(bench: &Bench, files: &Path, name: &'static str, cores: Cores) -> Result<Self> {
        let tcp_nopush = if name == NOPUSH { "on" } else { "off" };
        let folder = bench.fresh(&format!("nginx-{tcp_nopush}"))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        fs::write(folder.join("nginx.conf"), nginx_conf(&folder, files, &address, tcp_nopush, cores))?;
        Self::start(name, nginx(&folder, cores.server(&bench.nginx)), address, "/".to_owned(), cores)
    }

    /// Starts the server that does the least, over a folder.
    pub(super) fn least(files: &Path, cores: Cores) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = cores.server(&std::env::current_exe()?);
        command.args(["least", "--listen", &address, "--threads", &cores.threads().to_string()]).arg(files);
        Self::start("bare sendfile", command, address, "/".to_owned(), cores)
    }

    /// Starts Kubo, offline, over a folder that is added first.
    pub(super) fn kubo(bench: &Bench, files: &Path) -> Result<Self> {
        let (repo, root) = Kubo::filled(bench, files)?;
        Self::kubo_over(&repo, &root)
    }

    /// Starts Kubo, offline, over a repository that holds `root`.
    pub(super) fn kubo_over(repo: &Kubo, root: &str) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let gateway = format!("/ip4/127.0.0.1/tcp/{}", address.rsplit(':').next().unwrap_or_default());
        output(repo.command(&["config", "Addresses.Gateway", &gateway]))?;
        output(repo.command(&["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"]))?;
        output(repo.command(&["config", "--json", "Addresses.Swarm", "[]"]))?;
        let mut command = repo.command(&["daemon", "--offline"]);
        command.env("GOMAXPROCS", "2").stdout(Stdio::null()).stderr(Stdio::null());
        Self::start("Kubo", command, address, format!("/ipfs/{root}/"), Cores::Shared)
    }

    /// Starts a node of ours over a folder that is published first.
    pub(super) fn atoll(binary: &Path, folder: &Path, files: Option<&Path>, cores: Cores) -> Result<Self> {
        let (mut server, _) = Self::atoll_ready(binary, folder, cores)?;
        if let Some(files) = files {
            server.prefix = format!("/ipfs/{}/", publish(binary, folder, files)?);
        }
        Ok(server)
    }

    fn atoll_ready(binary: &Path, folder: &Path, cores: Cores) -> Result<(Self, Ready)> {
        let mut command = cores.server(binary);
        command.args(["node", "--gateway-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--json"]);
        command.args(["--set", &format!("gateway.threads={}", cores.threads()), "--dir"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("atoll node did not start")?;
        let mut lines = BufReader::new(child.stdout.take().context("atoll node has no output")?).lines();
        let first = lines.next().context("atoll node ended before it was ready")??;
        let ready: Ready = serde_json::from_str(&first).with_context(|| format!("atoll node said: {first}"))?;
        // Read on, so that the node never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = ready.gateway.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok((
            Self {
                name: "Atoll",
                address,
                prefix: String::new(),
                cores,
                tls: first_of(&ready.secure),
                http3: first_of(&ready.http3),
                child,
            },
            ready,
        ))
    }

    /// Starts a node of ours that has its settings, with a site for every host, in `folder`.
    pub(super) fn atoll_as_set(binary: &Path, folder: &Path, cores: Cores) -> Result<Self> {
        let (mut server, _) = Self::atoll_ready(binary, folder, cores)?;
        "/".clone_into(&mut server.prefix);
        Ok(server)
    }

    /// Starts a node of ours that has its settings in `folder`; its libp2p addresses too.
    pub(super) fn atoll_in_swarm(binary: &Path, folder: &Path) -> Result<(Self, Vec<String>)> {
        let (server, ready) = Self::atoll_ready(binary, folder, Cores::Shared)?;
        Ok((server, ready.swarm))
    }

    /// Starts Kubo, online on loopback and without a DHT, over a repository.
    pub(super) fn kubo_online(repo: &Kubo) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let gateway = format!("/ip4/127.0.0.1/tcp/{}", address.rsplit(':').next().unwrap_or_default());
        output(repo.command(&["bootstrap", "rm", "--all"]))?;
        output(repo.command(&["config", "Addresses.Gateway", &gateway]))?;
        output(repo.command(&["config", "Addresses.API", "/ip4/127.0.0.1/tcp/0"]))?;
        output(repo.command(&["config", "--json", "Addresses.Swarm", "[\"/ip4/127.0.0.1/tcp/0\"]"]))?;
        output(repo.command(&["config", "--json", "Discovery.MDNS.Enabled", "false"]))?;
        output(repo.command(&["config", "--json", "AutoTLS.Enabled", "false"]))?;
        output(repo.command(&["config", "Routing.Type", "none"]))?;
        let mut command = repo.command(&["daemon"]);
        command.env("GOMAXPROCS", "2").stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self::start("Kubo", command, address, String::new(), Cores::Shared)?;
        wait_for("Kubo's API", || repo.address().is_ok())?;
        Ok(server)
    }

    /// Starts a server and waits until it accepts connections.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        address: String,
        prefix: String,
        cores: Cores,
    ) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("{name} did not start"))?;
        let server = Self { name, address, prefix, cores, tls: None, http3: None, child };
        wait_for(name, || TcpStream::connect(&server.address).is_ok())?;
        Ok(server)
    }

    /// The address of a file.
    pub(super) fn url(&self, file: &str) -> String {
        format!("http://{}{}{file}", self.address, self.prefix)
    }

    /// Fetches a file once and compares it, so that nobody is measured serving errors.
    pub(super) fn check(&self, file: &str, expected: &[u8]) -> Result<()> {
        self.check_part(file, "", 200, expected)
    }

    /// As [`Server::check`], with a header line more in the request and the status that it is to lead to.
    pub(super) fn check_part(&self, file: &str, header: &str, status: u16, expected: &[u8]) -> Result<()> {
        let mut served: Vec<u8> = Vec::new();
        let answer =
            Connection::open(&self.address)?.get(&self.target(file), header, |part| served.extend_from_slice(part))?;
        ensure!(answer == status, "{} answered {answer} for {file}", self.name);
        ensure!(served == expected, "{} served other bytes for {file}", self.name);
        Ok(())
    }

    /// Fetches a page once: it has to name an entry.
    pub(super) fn check_page(&self, file: &str, entry: &str) -> Result<()> {
        let mut served: Vec<u8> = Vec::new();
        let answer =
            Connection::open(&self.address)?.get(&self.target(file), "", |part| served.extend_from_slice(part))?;
        let named = String::from_utf8_lossy(&served).contains(entry);
        ensure!(answer == 200 && named, "{} answered {answer} for {file}, naming {entry}: {named}", self.name);
        Ok(())
    }

    /// What stands in a request for a file.
    pub(super) fn target(&self, file: &str) -> String {
        format!("{}{file}", self.prefix)
    }

    /// Resident memory in MB: now, and the most it was. Of the process that was started, not its children.
    pub(super) fn memory(&self) -> Result<(f64, f64)> {
        memory_of(&self.child.id().to_string())
    }

    /// The processor time that it has used so far, in seconds, its children (nginx's worker) included; to 0.01 s.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        self.processes()?.iter().map(|pid| processor_seconds(pid)).sum()
    }

    /// Resident memory of it and its children, in MB.
    pub(super) fn memory_of_all(&self) -> Result<f64> {
        self.processes()?.iter().map(|pid| Ok(memory_of(pid)?.0)).sum()
    }

    /// The process that was started, and its children.
    fn processes(&self) -> Result<Vec<String>> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned)).collect())
    }
}

/// Resident memory of one process in MB: now, and the most it was.
fn memory_of(pid: &str) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let read = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
        let kib: f64 = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
        anyhow::Ok(kib * 1024.0 / 1e6)
    };
    Ok((read("VmRSS:")?, read("VmHWM:")?))
}

/// The processor time of one process, as `proc_pid_stat(5)` has it: user and system, in ticks of 0.01 s on Linux.
fn processor_seconds(pid: &str) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|ticks| Ok(ticks.parse::<f64>()?)).sum::<Result<f64>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// The line that `atoll node --json` prints when it serves.
#[derive(Deserialize)]
struct Ready {
    gateway: String,
    #[serde(default)]
    secure: Vec<String>,
    #[serde(default)]
    http3: Vec<String>,
    #[serde(default)]
    swarm: Vec<String>,
}

/// The first address of some URLs.
fn first_of(urls: &[String]) -> Option<String> {
    urls.first().map(|url| url.trim_start_matches("https://").trim_end_matches('/').to_owned())
}

/// Brings files into the running node of a folder, synced and pinned: a publish without placing, and returns their root.
pub(super) fn publish(binary: &Path, folder: &Path, files: &Path) -> Result<String> {
    let mut command = Command::new(binary);
    command.arg("import").arg(files).args(["--json", "--dir"]).arg(folder);
    root(&output(command)?)
}

/// The root in the last line of what a command of ours printed with `--json`.
pub(super) fn root(printed: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Printed {
        root: String,
    }
    let last = printed.lines().last().unwrap_or_default();
    let printed: Printed = serde_json::from_str(last).with_context(|| format!("atoll said: {last}"))?;
    Ok(printed.root)
}

/// A Kubo repository.
pub(super) struct Kubo {
    binary: PathBuf,
    folder: PathBuf,
}

impl Kubo {
    /// Makes a new one with Kubo's default store, flatfs, which syncs each block, or none as its default is.
    pub(super) fn init(bench: &Bench, name: &str, sync: bool) -> Result<Self> {
        let binary = bench.kubo.clone().context("Kubo is not installed")?;
        let repo = Self { binary, folder: bench.fresh(name)? };
        output(repo.command(&["init", "--profile=unixfs-v1-2025"]))?;
        let path = repo.folder.join("config");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        let mounts = config.pointer_mut("/Datastore/Spec/mounts").and_then(serde_json::Value::as_array_mut);
        let Some(flatfs) = mounts.into_iter().flatten().find(|mount| mount["type"] == "flatfs") else {
            bail!("Kubo's configuration has no flatfs where it used to be");
        };
        flatfs["sync"] = sync.into();
        fs::write(path, serde_json::to_vec_pretty(&config)?)?;
        Ok(repo)
    }

    /// Makes a new one and adds a folder; its root.
    pub(super) fn filled(bench: &Bench, files: &Path) -> Result<(Self, String)> {
        let repo = Self::init(bench, "kubo", false)?;
        let root = repo.add(files)?;
        Ok((repo, root))
    }

    /// Kubo over this repository.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("IPFS_PATH", &self.folder);
        command
    }

    /// Where its running daemon is reached over libp2p.
    pub(super) fn address(&self) -> Result<String> {
        let addresses = output(self.command(&["id", "--format=<addrs>"]))?;
        addresses.lines().find(|line| line.contains("/tcp/")).map(str::to_owned).context("Kubo does not listen")
    }

    /// Adds a folder and returns its root.
    pub(super) fn add(&self, files: &Path) -> Result<String> {
        Ok(output(self.command(&["--offline", "add", "--recursive", "--quieter", &text(files)]))?.trim().to_owned())
    }
}

/// Writes everything that is still to be written, so that no run pays for the one before.
pub(super) fn settle() -> Result<()> {
    run(Command::new("sync"))
}

pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn nginx_conf(folder: &Path, files: &Path, address: &str, tcp_nopush: &str, cores: Cores) -> String {
    format!(
        "{}  tcp_nopush {tcp_nopush};\n  open_file_cache max=1000;\n  open_file_cache_valid 60s;\n  \
         server {{ listen {address}; root {}; }}\n}}\n",
        nginx_head(folder, cores.threads()),
        files.display()
    )
}

/// What every configuration of nginx here begins with; it ends within `http`.
pub(super) fn nginx_head(folder: &Path, workers: u32) -> String {
    let at = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {at}/{name};\n"))
        .concat();
    // Workers keep the user who runs the bench: the files need not be readable by others.
    format!(
        "daemon off;\nuser root;\nworker_processes {workers};\nworker_rlimit_nofile 65536;\npid {at}/nginx.pid;\n\
         events {{ worker_connections 32768; }}\nhttp {{\n{temporary}  access_log off;\n  sendfile on;\n  \
         keepalive_timeout 1h;\n  keepalive_requests 1000000000;\n  default_type application/octet-stream;\n"
    )
}

/// nginx over the configuration in its folder.
pub(super) fn nginx(folder: &Path, mut command: Command) -> Command {
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    command
}
