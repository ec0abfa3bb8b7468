//! A block that is wanted: who waits for it, and what each peer was asked about it.

use std::time::{Duration, Instant};

use atoll_core::{Block, TransportError};
use libp2p::PeerId;
use tokio::sync::oneshot;

use super::Key;

/// What came of a want.
pub(crate) type Answer = Result<Block, TransportError>;

/// A block that is wanted.
#[derive(Default)]
pub(super) struct Want {
    pub(super) sessions: Vec<Key>,
    pub(super) waiting: Vec<oneshot::Sender<Answer>>,
    pub(super) asked: Vec<Question>,
    pub(super) was_broadcast: bool,
    /// What went wrong last, beside that somebody lacks it.
    pub(super) error: Option<TransportError>,
}

/// What one peer was asked about a block.
pub(super) struct Question {
    pub(super) peer: PeerId,
    pub(super) stage: Stage,
    pub(super) since: Instant,
    pub(super) patience: Duration,
    /// It was asked for it once more.
    pub(super) is_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was asked whether it has it.
    Presence,
    /// It has it, it says.
    Has,
    /// It was asked for it.
    Block,
    /// As `Block`, but it takes long: another may be asked.
    Late,
    /// It lacks it. It keeps the want, and may get the block later.
    Lacks,
    /// It did not answer.
    Failed,
}

impl Want {
    /// How far it is with a peer.
    pub(super) fn stage(&self, peer: PeerId) -> Option<Stage> {
        self.asked.iter().find(|question| question.peer == peer).map(|question| question.stage)
    }

    /// Whether somebody is at that stage.
    pub(super) fn has(&self, stage: Stage) -> bool {
        self.asked.iter().any(|question| question.stage == stage)
    }

    /// Whether somebody may still answer.
    pub(super) fn is_open(&self) -> bool {
        self.asked.iter().any(|question| !matches!(question.stage, Stage::Lacks | Stage::Failed))
    }
}
