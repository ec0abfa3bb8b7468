//! The log: text or JSON lines on standard error. Each line of a request carries its id.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Starts logging for the whole process.
///
/// # Errors
/// [`LogError`] when the filter is not one, or logging runs already.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    // It warns of every record that has come round already.
    let filter = EnvFilter::try_new(format!("libp2p_gossipsub=error,{}", config.filter))
        .map_err(|error| LogError::Filter(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if config.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
    started.map_err(|_| LogError::Running)
}

/// Whether a text is a log filter.
pub(crate) fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}

/// Why there is no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Not directives.
    #[error("log.filter: {0}; it takes directives such as `info` or `info,atoll_edge=debug`")]
    Filter(String),
    /// Started twice.
    #[error("the log was started twice")]
    Running,
}
