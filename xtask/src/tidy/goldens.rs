//! What the built binary says of itself, kept in `docs/` so that a change of it is seen in review: the help of every
//! command, and the example configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Report;
use crate::shell::{self, Workspace, output};

/// The page of every command's help.
const CLI: &str = "docs/cli.md";
/// The example configuration, which `atoll config --toml` prints.
const EXAMPLE: &str = "docs/node.example.toml";
/// The most nested commands that are followed.
const DEPTH_MAX: usize = 4;

/// Compares the goldens with the binary, or writes them anew.
pub(super) fn check(workspace: &Workspace, bless: bool, report: &mut Report) -> Result<()> {
    // In the form of the tests, which compile it anyway.
    shell::run(workspace.cargo(&["test", "--quiet", "--release", "--workspace", "--no-run", "--test", "cli"]))?;
    let binary = workspace.atoll();
    let mut page =
        "# Commands\n\nWhat `atoll --help` says, command by command. `cargo xtask tidy --bless` writes this page.\n"
            .to_owned();
    append_help(&binary, &mut Vec::new(), &mut page)?;
    compare(workspace, CLI, &page, bless, report)?;
    let example = output(atoll(&binary, &["config", "--toml"]))?;
    compare(workspace, EXAMPLE, &example, bless, report)
}

/// Appends the help of a command and of every command under it.
fn append_help(binary: &Path, words: &mut Vec<String>, page: &mut String) -> Result<()> {
    ensure!(words.len() <= DEPTH_MAX, "commands nested over {DEPTH_MAX} deep: atoll {}", words.join(" "));
    let mut command = atoll(binary, &[]);
    command.args(&*words).arg("--help");
    let help = output(command)?;
    let title = std::iter::once("atoll").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    page.push_str(&format!("\n## `{title}`\n\n```text\n{}\n```\n", help.trim_end()));
    for name in subcommands(&help) {
        words.push(name.to_owned());
        append_help(binary, words, page)?;
        words.pop();
    }
    Ok(())
}

/// The names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A name stands two columns in; what stands further in is the rest of a description.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").collect()
}

/// The binary as it is on no machine in particular: a fixed width, and nothing of ours in the environment.
fn atoll(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().envs([("COLUMNS", "100"), ("HOME", "/home/operator")]);
    command
}

fn compare(workspace: &Workspace, path: &str, current: &str, bless: bool, report: &mut Report) -> Result<()> {
    let file = workspace.root.join(path);
    let trimmed: String = current.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if bless {
        fs::create_dir_all(workspace.root.join("docs"))?;
        return fs::write(&file, trimmed).with_context(|| path.to_owned());
    }
    if fs::read_to_string(&file).unwrap_or_default() != trimmed {
        report.problem(format!("{path} is not what the binary says: look at it, then `cargo xtask tidy --bless`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_help() {
        let help = "Usage\n\nCommands:\n  node     Runs a node\n           for long\n  car      Reads\n  help     Print\n\nOptions:\n  -h  x\n";
        assert_eq!(subcommands(help), ["node", "car"]);
    }
}
