//! h2load: many clients over HTTP/2 with TLS, and many connections at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Bench;
use super::load::Load;
use super::servers::Server;
use crate::shell::output;

/// The same for all, with the same key exchange.
const TLS: [&str; 2] = ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"];
/// Connections, and requests at a time on each.
const CONNECTIONS: usize = 16;
const STREAMS: usize = 4;

/// Asks for one file over HTTP/2 with TLS for so many seconds; an error if any request failed.
pub(super) fn run(bench: &Bench, h2load: &Path, server: &Server, file: &str, seconds: u64) -> Result<Load> {
    let log = bench.folder.join("h2load.log");
    let url = format!("https://{}/{file}", secure(server)?);
    let mut command = server.cores.client(h2load);
    command.args(TLS).args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-m{STREAMS}"), &format!("-D{seconds}")]);
    command.arg(format!("--log-file={}", log.display())).arg(&url);
    let printed = output(command)?;
    let load = parse(&printed).and_then(|(rate, requests)| {
        let (p50_micros, p99_micros) = percentiles(&fs::read_to_string(&log)?)?;
        Ok(Load { rate, p50_micros, p99_micros, requests })
    });
    let _ = fs::remove_file(log);
    load.with_context(|| format!("h2load {url}:\n{printed}"))
}

/// Opens `count` connections at once, each for one request; how many were served in a second.
pub(super) fn at_once(h2load: &Path, server: &Server, url: &str, count: usize) -> Result<f64> {
    let mut command = server.cores.client(h2load);
    command.args(TLS).args(["-t1", "--h1", &format!("-c{count}"), &format!("-n{count}"), url]);
    let printed = output(command)?;
    let (rate, requests) = parse(&printed).with_context(|| format!("h2load {url}:\n{printed}"))?;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let all = requests >= count as f64;
    ensure!(all, "h2load {url}: {requests} of {count}\n{printed}");
    Ok(rate)
}

/// Where a server speaks TLS.
pub(super) fn secure(server: &Server) -> Result<&str> {
    server.tls.as_deref().with_context(|| format!("{} speaks no TLS", server.name))
}

/// Requests a second, and how many succeeded.
fn parse(printed: &str) -> Result<(f64, f64)> {
    let finished = printed.lines().find_map(|line| line.strip_prefix("finished in ")).context("it did not finish")?;
    let rate = finished.split(", ").nth(1).and_then(|rate| rate.strip_suffix(" req/s")).context("it named no rate")?;
    let requests = printed.lines().find_map(|line| line.strip_prefix("requests: ")).context("it counted nothing")?;
    let count = |what: &str| {
        let count = requests.split(", ").find_map(|part| part.strip_suffix(what)).context("it did not count that")?;
        anyhow::Ok(count.trim().parse::<f64>()?)
    };
    let statuses = printed.lines().find_map(|line| line.strip_prefix("status codes: ")).unwrap_or_default();
    let fine = statuses.split(", ").find_map(|part| part.strip_suffix(" 2xx")).unwrap_or("0").trim().parse::<f64>()?;
    let (failed, succeeded) = (count("failed")? + count("errored")?, count("succeeded")?);
    // What is under way when time is up may have a status and no end.
    if failed > 0.0 || fine < succeeded {
        bail!("requests failed");
    }
    Ok((rate.parse()?, succeeded))
}

/// The 50th and the 99th percentile of a log: lines of start, status and duration in microseconds.
fn percentiles(log: &str) -> Result<(f64, f64)> {
    let took = |line: &str| line.split('\t').nth(2).and_then(|micros| micros.trim().parse::<f64>().ok());
    let mut all: Vec<f64> = log.lines().filter_map(took).collect();
    all.sort_by(f64::total_cmp);
    let at = |percent: usize| all.get(all.len().saturating_mul(percent) / 100).copied().context("it logged nothing");
    Ok((at(50)?, at(99)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_understood() {
        let printed = "finished in 2.00s, 25416.00 req/s, 25.50MB/s\n\
            requests: 50832 total, 50896 started, 50832 done, 50832 succeeded, 0 failed, 0 errored, 0 timeout\n\
            status codes: 50832 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert_eq!(parse(printed).unwrap(), (25416.0, 50832.0));
        assert!(parse(&printed.replace("0 errored", "3 errored")).is_err());
        assert!(parse(&printed.replace("50832 2xx, 0 3xx", "50831 2xx, 1 3xx")).is_err());
        assert!(parse("unable to connect").is_err());
        let log: String = (1..=200).map(|took| format!("1700000000\t200\t{took}\n")).collect();
        assert_eq!(percentiles(&log).unwrap(), (101.0, 199.0));
        assert!(percentiles("").is_err());
    }
}
