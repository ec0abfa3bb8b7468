//! Which of a site's two sources answers: what was published of it, or its servers. Pure: times are told. A crash forgets it, and
//! the preferred one leads.
//!
//! One of them leads for the whole site, so that a page and what belongs to it are of one making. When it fails, the other leads from
//! then on; the preferred one is back when it was tried and was well, and not before [`Rules::hold`], unless another version was
//! published meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atoll_core::Cid;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often it is tried whether the preferred source is well again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Where a site's answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// What was published: content that is checked.
    Content,
    /// Its servers.
    Origin,
}

/// Who leads when both are well, and for how long the other one does at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) prefer: Source,
    pub(super) hold: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lead {
    rules: Rules,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Source,
    /// Since when the other one leads.
    since: Option<Instant>,
    /// When the preferred one was last tried.
    tried: Option<Instant>,
    /// What was published when it failed.
    version: Option<Cid>,
}

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) source: Source,
    /// Whether it is to find out, beside, whether the preferred source is well.
    pub(super) tries: bool,
}

impl Source {
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Content => Self::Origin,
            Self::Origin => Self::Content,
        }
    }
}

impl Lead {
    pub(super) fn new(rules: Rules) -> Self {
        let state = State { now: rules.prefer, since: None, tried: None, version: None };
        Self { rules, state: Mutex::new(state) }
    }

    /// Who leads when both are well.
    pub(super) fn preferred(&self) -> Source {
        self.rules.prefer
    }

    /// Who answers now, if neither fails.
    pub(super) fn now(&self) -> Source {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    /// What a request is to do; `version` is what is published, as far as that is known.
    pub(super) fn turn(&self, version: Option<Cid>, now: Instant) -> Turn {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = state.since else { return Turn { source: state.now, tries: false } };
        let held = now.saturating_duration_since(since) < self.rules.hold;
        let changed = version.is_some() && version != state.version;
        let soon = state.tried.is_some_and(|tried| now.saturating_duration_since(tried) < TRY_AGAIN);
        let tries = (!held || changed) && !soon;
        if tries {
            state.tried = Some(now);
        }
        Turn { source: state.now, tries }
    }

    /// A source failed. Returns who leads from now on: the other one, unless that one failed and the preferred one just before.
    pub(super) fn failed(&self, source: Source, version: Option<Cid>, now: Instant) -> Source {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if source != state.now || source != self.rules.prefer {
            return state.now;
        }
        tracing::warn!(from = ?source, to = ?source.other(), "a site's answers come from its other source");
        *state = State { now: source.other(), since: Some(now), tried: Some(now), version };
        state.now
    }

    /// The preferred source was tried and is well: it leads again.
    pub(super) fn is_well(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_some() {
            tracing::info!(source = ?self.rules.prefer, "a site's answers come from its preferred source again");
            *state = State { now: self.rules.prefer, since: None, tried: None, version: None };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_other_source_leads_until_the_preferred_one_was_tried() {
        let lead = Lead::new(Rules { prefer: Source::Content, hold: SECOND * 60 });
        let one: Option<Cid> = "bafkqaaa".parse().ok();
        let two: Option<Cid> = "bafkqabtimvwgy3yk".parse().ok();
        let begun = Instant::now();
        let at = |seconds: u32, version| lead.turn(version, begun + SECOND * seconds);
        let turn = |source, tries| Turn { source, tries };
        assert_eq!(at(0, one), turn(Source::Content, false));
        // What fails and does not lead changes nothing.
        assert_eq!(lead.failed(Source::Origin, one, begun), Source::Content);
        assert_eq!(lead.failed(Source::Content, one, begun), Source::Origin);
        assert_eq!(lead.failed(Source::Content, one, begun), Source::Origin);
        assert_eq!(lead.failed(Source::Origin, one, begun), Source::Origin, "not to and fro");
        assert_eq!(at(59, one), turn(Source::Origin, false));
        assert_eq!((at(60, one), at(61, one), at(65, one)).1, turn(Source::Origin, false));
        assert_eq!(at(71, one), turn(Source::Origin, true));
        lead.is_well();
        assert_eq!(at(71, one), turn(Source::Content, false));
        // Another version is tried at once.
        lead.failed(Source::Content, one, begun + SECOND * 100);
        assert_eq!(at(106, one), turn(Source::Origin, false));
        assert_eq!(at(106, two), turn(Source::Origin, true));
        assert_eq!(at(107, two), turn(Source::Origin, false), "not by every request");
    }
}
