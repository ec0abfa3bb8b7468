//! What people and scripts see: text or JSON on standard output, progress on terminals only, errors on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The result: `value` for scripts, `text` for people.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)
        } else {
            let text = text();
            if text.is_empty() { Ok(()) } else { writeln!(out, "{}", text.trim_end()) }
        }
    }

    /// An error: causes in one line.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        if self.json {
            eprintln!("{}", serde_json::json!({ "error": causes(error) }));
        } else {
            eprintln!("atoll: {}", causes(error));
        }
    }

    /// A remark for people, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// A bar of bytes; hidden unless standard error is a terminal.
    pub(crate) fn bar(&self, total: u64, what: &str) -> ProgressBar {
        let template = "{msg:>12} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {prefix}";
        self.progress(ProgressBar::new(total), template, what)
    }

    /// A bar of steps; hidden unless standard error is a terminal.
    pub(crate) fn steps(&self, total: u64, what: &str) -> ProgressBar {
        self.progress(ProgressBar::new(total), "{msg:>12} [{bar:32}] {pos}/{len} {prefix}", what)
    }

    fn progress(&self, bar: ProgressBar, template: &str, what: &str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// An error and its causes in one line, each said once: many texts name their cause already.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// `1 node`, `3 nodes`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Columns aligned on the left, two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let pad = width(column).unwrap_or(0).saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(pad))
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writing into a closed pipe ends the command quietly, as users of `head` expect.
pub(crate) fn restore_sigpipe_meaning() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.contains("Broken pipe") {
            std::process::exit(0);
        }
        usual(info);
    }));
}
