//! The `atoll` command: arguments to configuration to a node, or to a question for a running one.

mod args;
mod commands;
mod control;
mod keyring;
mod output;
mod paths;

use std::process::ExitCode;

use clap::Parser;

/// Blocks of a mebibyte come and go by the hundred: the system's allocator keeps what was freed between others, so that one
/// flood of slow readers would cost its memory for ever. This one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    output::restore_sigpipe_meaning();
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match commands::run(args, &output) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}
