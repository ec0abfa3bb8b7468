//! The node's deny lists: read before anything is served, followed while it runs. They are files; a crash loses nothing.

use std::sync::Arc;
use std::time::Duration;

use atoll_security::deny::lists::Summary;
use atoll_security::local::Local;
use atoll_security::{Config, DenyError, Lists};

use crate::api::{DenyList, DenyLists};
use crate::config::Folder;
use crate::node::Inner;

/// Reads the lists.
///
/// # Errors
/// [`DenyError`] at the first that cannot be used.
pub(crate) fn open(folder: &Folder, config: &Config) -> Result<Lists, DenyError> {
    let lists = Lists::open(&config.lists, Local::in_folder(folder.path()).path(), config.rules_max)?;
    lists.summaries().iter().for_each(tell);
    Ok(lists)
}

/// Follows the lists, for ever.
pub(crate) async fn run(node: Arc<Inner>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        reload(&node).await;
    }
}

/// Reads what has changed, and says what serves now and what was refused just now.
pub(crate) async fn reload(node: &Arc<Inner>) -> DenyLists {
    let lists = Arc::clone(&node.deny);
    // A panic costs this look, not the next.
    let refreshed = tokio::task::spawn_blocking(move || lists.refresh()).await.unwrap_or_default();
    let summaries = node.deny.summaries();
    if refreshed.changed {
        node.kept.forget();
        summaries.iter().for_each(tell);
    }
    for error in &refreshed.refused {
        tracing::error!(%error, "a deny list is refused; what it was before serves on");
    }
    let refused = refreshed.refused.iter().map(ToString::to_string).collect();
    DenyLists { lists: summaries.iter().map(view).collect(), refused }
}

fn tell(list: &Summary) {
    let path = list.path.display();
    tracing::info!(list = %path, rules = list.rules, skipped = list.skipped, "a deny list serves");
    for (line, problem) in &list.problems {
        tracing::warn!(list = %path, line, problem, "a rule of a deny list is not understood");
    }
}

fn view(list: &Summary) -> DenyList {
    DenyList {
        path: list.path.to_string_lossy().into_owned(),
        name: list.name.clone(),
        rules: list.rules,
        skipped: list.skipped,
        memory_bytes: list.memory_bytes,
    }
}
