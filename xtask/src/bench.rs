//! x
use crate::shell::Workspace;
use anyhow::Result;
use clap::Args;
/// x
#[derive(Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Workspace, _: &Options) -> Result<bool> {
    Ok(true)
}
