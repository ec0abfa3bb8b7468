//! The commands, one file each; here is what they share and who runs.

mod certs;
mod config;
mod content;
mod demo;
mod deny;
mod drill;
mod front;
mod get;
mod import;
mod key;
mod kubo;
mod name;
mod node;
mod pinning;
mod publish;
mod purge;
mod rules;
mod status;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use atoll_node::config::Folder;
use clap::CommandFactory as _;

use crate::args::{Args, Command};
use crate::control::Control;
use crate::keyring::Keyring;
use crate::output::Output;
use crate::paths::data_home;

/// Runs one command.
pub(crate) fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let folder = match &args.dir {
        Some(dir) => Folder::new(dir),
        None => Folder::new(data_home()?.join("node")),
    };
    let keyring = || Keyring::open(args.keyring.as_deref());
    let control = Control::new(&folder.socket());
    let done = |()| ExitCode::SUCCESS;
    match args.command {
        Command::Node(node) => node::run(&node.settings, node.takeover, &folder, output).map(done),
        Command::Front(front) => front::run(front, &folder, output).map(done),
        Command::Purge(purge) => block_on(purge::run(purge, &control, keyring, output)),
        Command::Drill(drill) => block_on(drill::run(drill, &control, output)),
        Command::Config(settings) => config::run(&settings, &folder, output).map(done),
        Command::Key(command) => key::run(command, &keyring()?, &folder, output).map(done),
        Command::Completions(completions) => {
            clap_complete::generate(completions.shell, &mut Args::command(), "atoll", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(demo) => block_on(demo::run(demo, args.dir, output)),
        Command::Publish(publish) => block_on(publish::run(publish, &control, keyring, output)),
        Command::Import(import) => block_on(import::import(import, &folder, &control, keyring, output)).map(done),
        Command::Name(name) => block_on(name::run(name, &control, keyring, output)),
        Command::Get(get) => block_on(get::run(get, &control, output)).map(done),
        Command::Verify(verify) => block_on(verify::run(verify, output)),
        Command::Status(status) => block_on(status::run(status, &control, keyring, output)),
        Command::Ls(ls) => block_on(content::ls(ls, &control, output)).map(done),
        Command::Pin(pin) => block_on(content::pin(pin, &control, output)).map(done),
        Command::Pinning(command) => block_on(pinning::run(command, &control, output)).map(done),
        Command::Gc(_) => block_on(content::gc(&folder, &control, output)).map(done),
        Command::Car(car) => block_on(content::car(car, &control, output)).map(done),
        Command::Store(store) => block_on(content::store(store, &folder, &control, output)),
        Command::Deny(command) => block_on(deny::run(command, &folder, &control, output)),
        Command::Certs(command) => block_on(certs::run(command, &control, output)).map(done),
        Command::Peers(peers) => block_on(status::peers(&peers, &control, output)).map(done),
    }
}

/// Runs a command that asks and waits.
fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(command)
}
