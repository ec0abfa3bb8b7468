//! `atoll front`, a node with one site, which is every host.

use anyhow::Result;
use atoll_node::config::Folder;
use atoll_node::sites::{OriginConfig, Profile, SiteConfig};

use super::node;
use crate::args::FrontArgs;
use crate::output::Output;

/// Runs it until SIGTERM or SIGINT.
pub(crate) fn run(args: FrontArgs, folder: &Folder, output: &Output) -> Result<()> {
    let mut settings = args.settings;
    settings.gateway_listen = Some(args.listen);
    let origin = |url| OriginConfig { url, host: args.host.clone(), ..OriginConfig::default() };
    let mut site = SiteConfig {
        hosts: vec!["*".to_owned()],
        origins: args.origin.into_iter().map(origin).collect(),
        ..SiteConfig::default()
    };
    if args.profile == "rfc9111" {
        site.cache.profile = Profile::Rfc9111;
    }
    // Before what else was set, which wins.
    settings.set.insert(0, format!("sites={}", toml::Value::try_from(vec![site])?));
    node::run(&settings, args.takeover, folder, output)
}
