//! What a well-behaved peer notices while others attack the one that it talks to.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// Names a file to which a row is added for each attack, for `cargo xtask attack`.
const ROWS: &str = "ATOLL_ATTACK_ROWS";

/// One attack.
pub struct Ordeal {
    /// What is done.
    pub attack: &'static str,
    /// What the well-behaved peer does meanwhile.
    pub work: &'static str,
    /// How long that took each time, before the attack.
    pub before: Vec<Duration>,
    /// And during it.
    pub during: Vec<Duration>,
    /// Memory of the whole process (attackers, peer and the attacked) before the attack, and the most during it, in MiB.
    pub memory_mib: (u64, u64),
    /// By how much it may grow.
    pub growth_mib_max: u64,
}

impl Ordeal {
    /// Tells what was seen.
    ///
    /// # Panics
    /// When memory grew by more than it may, or there is nothing to tell.
    pub fn tell(mut self) {
        let growth = self.memory_mib.1.saturating_sub(self.memory_mib.0);
        let [before, during] = [&mut self.before, &mut self.during].map(|times| p99_ms(times));
        let slowest = self.during.last().unwrap().as_secs_f64() * 1e3;
        let (attack, work, times, most) = (self.attack, self.work, self.during.len(), self.growth_mib_max);
        println!("{attack}: {work}, {times} times, p99 {before:.1} ms before and {during:.1} ms during; +{growth} MiB");
        if let Some(path) = std::env::var_os(ROWS) {
            let row = format!(
                "| {attack} | {work}, {times} × | {before:.1}, {during:.1} ms | {slowest:.1} ms | +{growth} MiB | +{most} MiB |\n"
            );
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(row.as_bytes()).unwrap();
        }
        assert!(growth <= most, "{attack}: {growth} MiB");
    }
}

/// In milliseconds; sorts them.
fn p99_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[(times.len() * 99 / 100).min(times.len() - 1)].as_secs_f64() * 1e3
}

/// Resident memory of this process, in MiB.
pub fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
