//! An origin, and the caches before it that are compared, each with a plain listener and one with TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::Bench;
use super::servers::{Cores, NOPUSH, Server, TERSE, free_port, nginx, nginx_head};
use crate::install;
use crate::shell::run;

/// Connections that may wait to be accepted; each server is told so.
const BACKLOG: u32 = 4096;
/// The body of what is always new, in bytes.
const NEW_BYTES: usize = 1024;

/// What the bench of proxies needs beside what every bench has.
pub(super) struct Tools {
    pub(super) h2load: PathBuf,
    pub(super) python: PathBuf,
    /// Of a certificate for loopback, and of its key.
    pub(super) certificate: PathBuf,
    key: PathBuf,
}

impl Tools {
    /// Installs the programs and makes a certificate: P-256, signed by itself, and of no authority, as whoever believes it demands.
    pub(super) fn prepare(bench: &Bench) -> Result<Self> {
        let folder = bench.fresh("certificate")?;
        let (certificate, key, config) =
            (folder.join("certificate.pem"), folder.join("key.pem"), folder.join("openssl.cnf"));
        fs::write(&config, "[req]\ndistinguished_name = name\n[name]\n")?;
        let mut openssl = Command::new(install::debian("openssl", "openssl")?);
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        openssl.arg("-config").arg(&config);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).stderr(Stdio::null());
        run(openssl)?;
        Ok(Self {
            h2load: install::debian("h2load", "nghttp2-client")?,
            python: install::debian("python3", "python3")?,
            certificate,
            key,
        })
    }
}

/// Starts the origin, nginx on the client's core: the files of a folder, fresh for an hour, below `/`; whatever is asked
/// for below `/new/`, with as long a life, and below `/pass/`, which must not be stored; and files that take a second or two below
/// `/slow/`, whose requests are in `slow.log`.
pub(super) fn origin(bench: &Bench, files: &Path) -> Result<(Server, PathBuf)> {
    let folder = bench.fresh("origin")?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let (at, files, log) = (folder.display(), files.display(), folder.join("slow.log"));
    let body = "x".repeat(NEW_BYTES);
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "{}  server {{\n    listen {address} backlog={BACKLOG};\n    root {files};\n    \
             location / {{ add_header Cache-Control \"public, max-age=3600\"; }}\n    \
             location /new/ {{ add_header Cache-Control \"public, max-age=3600\"; return 200 \"{body}\"; }}\n    \
             location /pass/ {{ add_header Cache-Control no-store; return 200 \"{body}\"; }}\n    \
             location /slow/ {{ add_header Cache-Control \"public, max-age=3600\"; access_log {at}/slow.log; limit_rate 64k; \
             rewrite ^ /64KiB.bin break; }}\n  }}\n}}\n",
            nginx_head(&folder, 1)
        ),
    )?;
    let command = nginx(&folder, Cores::Own.client(&bench.nginx));
    Ok((Server::start("origin", command, address, "/".to_owned(), Cores::Own)?, log))
}

/// Starts all that have a cache, and Caddy if it takes part: it has none.
pub(super) fn start(bench: &Bench, tools: &Tools, origin: &Server, with_caddy: bool) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    if let Some(atoll) = &bench.atoll {
        servers.push(self::atoll(atoll, bench, tools, origin)?);
    }
    servers.push(nginx_cache(bench, tools, origin, "nginx")?);
    servers.push(traffic_server(bench, tools, origin)?);
    if with_caddy {
        servers.push(caddy(bench, tools, origin)?);
    }
    Ok(servers)
}

/// A node of ours.
pub(super) fn atoll(binary: &Path, bench: &Bench, tools: &Tools, origin: &Server) -> Result<Server> {
    let folder = bench.fresh("front")?;
    fs::write(
        folder.join("node.toml"),
        format!(
            "[gateway.tls]\nlisten = [\"127.0.0.1:0\"]\nhandshakes = {BACKLOG}\n[gateway.http3]\nlisten = [\"127.0.0.1:0\"]\n\
             [gateway.limits]\nconnections = 30000\nconnections_per_address = 30000\nrequests_per_address = 30000\n\
             [gateway.timeouts]\nidle = \"1h\"\n\
             [certs]\nself_signed = []\nfiles = [{{ certificate = {:?}, key = {:?} }}]\n\
             [[sites]]\nhosts = [\"*\"]\n[[sites.origins]]\nurl = \"http://{}\"\n",
            tools.certificate, tools.key, origin.address
        ),
    )?;
    Server::atoll_as_set(binary, &folder, Cores::Own)
}

/// What nginx adds to messages so that they say as much as ours: to origins who asks, and to visitors what became of the request.
const FIELDS: &str = "      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      proxy_set_header X-Forwarded-Host $host;\n      \
                      proxy_set_header X-Forwarded-Proto $scheme;\n      \
                      proxy_set_header Forwarded 'for=$remote_addr;host=\"$host\";proto=$scheme';\n      \
                      proxy_set_header CDN-Loop nginx;\n      proxy_set_header Via '1.1 nginx';\n      \
                      add_header Via '1.1 nginx';\n      add_header Cache-Status 'nginx; $upstream_cache_status';\n      \
                      add_header X-Request-ID $pid-$connection-$connection_requests;\n";

/// nginx with `proxy_cache`, with `tcp_nopush` if it is called [`NOPUSH`], and without [`FIELDS`] if it is called [`TERSE`].
pub(super) fn nginx_cache(bench: &Bench, tools: &Tools, origin: &Server, name: &'static str) -> Result<Server> {
    let tcp_nopush = if name == NOPUSH { "on" } else { "off" };
    let fields = if name == TERSE { "" } else { FIELDS };
    let folder = bench.fresh(&name.replace(' ', "-"))?;
    let (address, tls) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    let (at, origin) = (folder.display(), &origin.address);
    let (certificate, key) = (tools.certificate.display(), tools.key.display());
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "{}  tcp_nopush {tcp_nopush};\n  open_file_cache max=100000;\n  open_file_cache_valid 60s;\n  \
             proxy_cache_path {at}/cache levels=1:2 keys_zone=c:64m max_size=1g use_temp_path=off;\n  \
             upstream origin {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}\n  \
             server {{\n    listen {address} backlog={BACKLOG};\n    listen {tls} ssl http2 backlog={BACKLOG};\n    \
             ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    ssl_protocols TLSv1.3;\n    \
             location / {{\n      proxy_pass http://origin;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
             proxy_set_header Host $host;\n{fields}      proxy_cache c;\n      proxy_cache_lock on;\n    }}\n  }}\n}}\n",
            nginx_head(&folder, 1)
        ),
    )?;
    let command = nginx(&folder, Cores::Own.server(&bench.nginx));
    let mut server = Server::start(name, command, address, "/".to_owned(), Cores::Own)?;
    server.tls = Some(tls);
    Ok(server)
}

fn traffic_server(bench: &Bench, tools: &Tools, origin: &Server) -> Result<Server> {
    let folder = bench.fresh("traffic-server")?;
    let (plain, tls) = (free_port()?, free_port()?);
    let at = folder.display();
    for part in ["etc", "run", "log", "cache"] {
        fs::create_dir(folder.join(part))?;
    }
    let etc = |name: &str, text: String| fs::write(folder.join("etc").join(name), text);
    fs::write(
        folder.join("runroot.yaml"),
        format!(
            "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: {at}/etc\ndatadir: {at}/cache\n\
             includedir: /usr/include\nlibdir: /usr/lib/trafficserver\nlibexecdir: /usr/lib/trafficserver/modules\n\
             localstatedir: {at}\nruntimedir: {at}/run\nlogdir: {at}/log\ncachedir: {at}/cache\n"
        ),
    )?;
    etc("storage.config", format!("{at}/cache 1G\n"))?;
    etc("remap.config", format!("map / http://{}/\n", origin.address))?;
    let (certificate, key) = (tools.certificate.display(), tools.key.display());
    etc("ssl_multicert.config", format!("dest_ip=* ssl_cert_name={certificate} ssl_key_name={key}\n"))?;
    etc(
        "ip_allow.yaml",
        "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n".to_owned(),
    )?;
    let integers = [
        ("exec_thread.autoconfig", 0),
        ("exec_thread.limit", 1),
        ("accept_threads", 0),
        ("task_threads", 1),
        ("log.logging_enabled", 0),
        ("cache.ram_cache.size", 268_435_456),
        ("net.connections_throttle", 60_000),
        ("net.listen_backlog", 4096),
        ("http.keep_alive_no_activity_timeout_in", 3600),
        ("http2.no_activity_timeout_in", 3600),
        ("http.cache.open_read_retry_time", 10),
        ("http.cache.max_open_read_retries", 1000),
        ("http.cache.open_write_fail_action", 5),
    ];
    let mut records = format!(
        "CONFIG proxy.config.http.server_ports STRING {plain}:ip-in=127.0.0.1 {tls}:ssl:ip-in=127.0.0.1\n\
         CONFIG proxy.config.admin.user_id STRING nobody\n"
    );
    records.extend(integers.map(|(name, value)| format!("CONFIG proxy.config.{name} INT {value}\n")));
    etc("records.config", records)?;
    // It refuses to be root.
    let mut owner = Command::new("chown");
    owner.args(["-R", "nobody"]).args([&folder, &tools.certificate, &tools.key]);
    run(owner)?;
    let mut command = Cores::Own.server(&install::debian("traffic_server", "trafficserver")?);
    command.env("TS_RUNROOT", folder.join("runroot.yaml")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server =
        Server::start("Traffic Server", command, format!("127.0.0.1:{plain}"), "/".to_owned(), Cores::Own)?;
    server.tls = Some(format!("127.0.0.1:{tls}"));
    Ok(server)
}

fn caddy(bench: &Bench, tools: &Tools, origin: &Server) -> Result<Server> {
    let folder = bench.fresh("caddy")?;
    let (address, tls) = (format!("127.0.0.1:{}", free_port()?), free_port()?);
    let (certificate, key) = (tools.certificate.display(), tools.key.display());
    fs::write(
        folder.join("Caddyfile"),
        format!(
            "{{\n  admin off\n  auto_https disable_redirects\n}}\nhttp://{address} {{\n  reverse_proxy {origin}\n}}\n\
             https://127.0.0.1:{tls} {{\n  tls {certificate} {key}\n  reverse_proxy {origin}\n}}\n",
            origin = origin.address
        ),
    )?;
    let mut command = Cores::Own.server(&install::debian("caddy", "caddy")?);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    command.env("GOMAXPROCS", "1").env("HOME", &folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server::start("Caddy", command, address, "/".to_owned(), Cores::Own)?;
    server.tls = Some(format!("127.0.0.1:{tls}"));
    Ok(server)
}
