//! Members' questions and gossip: sent on order, answered by whoever serves, off this task.

use std::collections::HashMap;
use std::sync::Arc;

use atoll_core::transport::{Request, Response};
use atoll_core::{Answer, TransportError};
use libp2p::core::upgrade::NegotiationError;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError, TopicHash};
use libp2p::request_response::{Message, OutboundFailure, OutboundRequestId};
use libp2p::{PeerId, Swarm};
use multiaddr::Multiaddr;
use tokio::sync::oneshot;
use tokio::task::{self, JoinSet};

use crate::behaviour::Behaviour;
use crate::counts::{self, Counts};
use crate::{gossip, messages};

/// The most questions of ours under way.
const ASKED_MAX: usize = 4096;
/// The most questions and news that are being looked at; more are refused.
const SERVED_MAX: usize = 512;
/// The most of them for one peer.
const SERVED_BY_PEER_MAX: usize = 64;

/// Where an answer to a question of ours goes.
pub(crate) type Answered = oneshot::Sender<Result<Response, TransportError>>;

/// What is under way with members.
pub(super) struct Members {
    counts: Arc<Counts>,
    serves: Option<Arc<dyn Answer>>,
    asked: HashMap<OutboundRequestId, Answered>,
    serving: JoinSet<Served>,
    /// For whom each task of `serving` works.
    working: HashMap<task::Id, PeerId>,
}

/// What was looked at, and for whom.
pub(super) struct Served(PeerId, Outcome);

enum Outcome {
    Answer(messages::Channel, Result<Response, TransportError>),
    News(MessageId, MessageAcceptance),
}

impl Members {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        let (asked, serving, working) = (HashMap::new(), JoinSet::new(), HashMap::new());
        Self { counts, serves: None, asked, serving, working }
    }

    pub(super) fn serve(&mut self, answer: Arc<dyn Answer>) {
        self.serves = Some(answer);
    }

    pub(super) fn ask(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        (peer, addresses): (PeerId, Vec<Multiaddr>),
        request: Request,
        answered: Answered,
    ) {
        self.asked.retain(|_, answered| !answered.is_closed());
        if self.asked.len() >= ASKED_MAX {
            let _ = answered.send(Err(TransportError::Refused));
            return;
        }
        let id = swarm.behaviour_mut().members.send_request_with_addresses(&peer, request, addresses);
        self.asked.insert(id, answered);
    }

    /// Sends news; whether somebody is there to hear each.
    pub(super) fn publish(&self, swarm: &mut Swarm<Behaviour>, news: Vec<(TopicHash, Vec<u8>)>) -> bool {
        let mut all = true;
        for (topic, message) in news {
            match swarm.behaviour_mut().gossip.publish(topic, message) {
                Ok(_) => counts::one(&self.counts.told),
                Err(PublishError::Duplicate) => {}
                Err(error) => {
                    tracing::debug!(%error, "news goes nowhere");
                    all = false;
                }
            }
        }
        all
    }

    /// The next that was looked at; for ever when nothing is.
    pub(super) async fn next(&mut self) -> Option<Served> {
        if self.serving.is_empty() {
            return std::future::pending().await;
        }
        let (id, served) = match self.serving.join_next_with_id().await? {
            Ok((id, served)) => (id, Some(served)),
            // It panicked; its place is free all the same.
            Err(error) => (error.id(), None),
        };
        self.working.remove(&id);
        served
    }

    pub(super) fn served(&self, swarm: &mut Swarm<Behaviour>, Served(peer, outcome): Served) {
        match outcome {
            // Without an answer the stream ends, which says "refused"; whoever asked may have gone.
            Outcome::Answer(channel, answer) => {
                if let Ok(answer) = answer {
                    let _ = swarm.behaviour_mut().members.send_response(channel, answer);
                }
            }
            Outcome::News(id, acceptance) => {
                self.judge(swarm, &id, &peer, acceptance);
            }
        }
    }

    /// Tells gossip what news is worth.
    fn judge(&self, swarm: &mut Swarm<Behaviour>, id: &MessageId, peer: &PeerId, acceptance: MessageAcceptance) {
        let [accepted, ignored, rejected] = &self.counts.news;
        counts::one(match acceptance {
            MessageAcceptance::Accept => accepted,
            MessageAcceptance::Ignore => ignored,
            MessageAcceptance::Reject => rejected,
        });
        swarm.behaviour_mut().gossip.report_message_validation_result(id, peer, acceptance);
    }

    /// A place for work for `peer`, and who does it.
    fn place(&mut self, peer: PeerId) -> Option<Arc<dyn Answer>> {
        let serves = self.serves.clone()?;
        if self.serving.len() >= SERVED_MAX {
            return None;
        }
        let own = self.working.values().filter(|other| **other == peer).count();
        if own >= SERVED_BY_PEER_MAX {
            return None;
        }
        Some(serves)
    }

    fn work(&mut self, peer: PeerId, work: impl Future<Output = Served> + Send + 'static) {
        let task = self.serving.spawn(work);
        self.working.insert(task.id(), peer);
    }

    pub(super) fn message(&mut self, event: messages::Event) {
        match event {
            messages::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                // Without a place the channel is dropped, which refuses.
                if let Some(serves) = self.place(peer) {
                    self.work(peer, async move {
                        let answer = serves.answer(request).await;
                        Served(peer, Outcome::Answer(channel, answer))
                    });
                }
            }
            messages::Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.answered(request_id, Ok(response));
            }
            messages::Event::OutboundFailure { request_id, error, .. } => {
                self.answered(request_id, Err(failure(&error)));
            }
            _ => {}
        }
    }

    fn answered(&mut self, id: OutboundRequestId, answer: Result<Response, TransportError>) {
        if let Some(answered) = self.asked.remove(&id) {
            // Whoever asked may have gone.
            let _ = answered.send(answer);
        }
    }

    pub(super) fn gossip(&mut self, swarm: &mut Swarm<Behaviour>, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source: peer, message_id: id, message } = event else { return };
        let Some(news) = gossip::news_of(&message) else {
            return self.judge(swarm, &id, &peer, MessageAcceptance::Reject);
        };
        let Some(serves) = self.place(peer) else {
            return self.judge(swarm, &id, &peer, MessageAcceptance::Ignore);
        };
        self.work(peer, async move {
            let acceptance = match serves.answer(news).await {
                Ok(Response::Announced { accepted: 1.. } | Response::Named { accepted: 1.. }) => {
                    MessageAcceptance::Accept
                }
                Err(TransportError::Malformed) => MessageAcceptance::Reject,
                _ => MessageAcceptance::Ignore,
            };
            Served(peer, Outcome::News(id, acceptance))
        });
    }
}

fn failure(error: &OutboundFailure) -> TransportError {
    match error {
        OutboundFailure::Timeout => {
            TransportError::TimedOut(u64::try_from(messages::TIMEOUT.as_millis()).unwrap_or(u64::MAX))
        }
        OutboundFailure::UnsupportedProtocols | OutboundFailure::ConnectionClosed => TransportError::Refused,
        // That a peer does not speak the protocol is told by the first read.
        OutboundFailure::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<NegotiationError>()) => {
            TransportError::Refused
        }
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => TransportError::Refused,
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => TransportError::Malformed,
        error => TransportError::Connect(error.to_string()),
    }
}
