//! What was seen, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::client::Tally;
use crate::target::Seen;

/// Requests that may go wrong for the visitor: none.
const FAILED_MAX: usize = 0;

/// One attack.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) allowed: &'static [u16],
    pub(crate) growth_mib_max: u64,
    pub(crate) tally: Tally,
    pub(crate) before: Seen,
    pub(crate) during: Seen,
    pub(crate) after: Seen,
}

#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        println!("{}", self.table());
    }

    /// Whatever breaks a promise.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.iter().flat_map(Row::problems).collect()
    }

    fn table(&self) -> String {
        let mut table =
            "| attack | answers | visitor's p99 before, during, after | slowest during | memory before, at most, \
                         after | budget |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for row in &self.0 {
            let Row { name, growth_mib_max, before, during, after, .. } = row;
            let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
            let p99 = [before.p99, during.p99, after.p99].map(ms).join(", ");
            let memory =
                [before.memory_last, during.memory, after.memory_last].map(|bytes| mib(bytes).to_string()).join(", ");
            let (answers, slowest) = (row.answers(), ms(during.slowest));
            let _ = writeln!(
                table,
                "| {name} | {answers} | {p99} ms | {slowest} ms | {memory} MiB | +{growth_mib_max} MiB |"
            );
        }
        table
    }

    /// `docs/attacks.md`.
    pub(crate) fn page(&self, seconds: u64) -> String {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        format!(
            "# Attacks\n\nMade by `cargo xtask attack`, which runs `bin/atoll/tests/attack.rs` and writes this page. Each \
             attack goes on for {seconds} s against a node of its own, with two workers and 64 MiB of block cache, on \
             a machine of {cores} cores that attackers, visitor and node share. A visitor asks for a small page every 2 ms \
             meanwhile, alternately as it is kept ready and as it is not. Asserted: every answer is one that is allowed, \
             no content that lies is answered in full, none of the visitor's requests fails, and resident memory stays \
             within its budget. Times are what they are on that machine.\n\n{}",
            self.table()
        )
    }
}

impl Row {
    fn answers(&self) -> String {
        let mut parts: Vec<String> =
            self.tally.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        if self.tally.broken > 0 {
            parts.push(format!("{} of them broken off", self.tally.broken));
        }
        parts.join(", ")
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.tally.wrong.clone();
        let strange = self.tally.statuses.keys().filter(|status| !self.allowed.contains(status));
        problems.extend(strange.map(|status| format!("status {status}")));
        if self.tally.statuses.is_empty() {
            problems.push("nothing was answered".to_owned());
        }
        let growth = mib(self.during.memory.max(self.after.memory).saturating_sub(self.before.memory_last));
        if growth > self.growth_mib_max {
            problems.push(format!("memory grew by {growth} MiB, {} are allowed", self.growth_mib_max));
        }
        let failed = self.before.failed + self.during.failed + self.after.failed;
        let asked = self.before.requests + self.during.requests + self.after.requests;
        if failed > FAILED_MAX {
            problems.push(format!("{failed} of the visitor's {asked} requests failed"));
        }
        problems.into_iter().map(|problem| format!("{}: {problem}", self.name)).collect()
    }
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
