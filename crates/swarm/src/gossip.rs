//! How records spread: gossipsub, one record in each message, so that a record is the same message whoever sends it and
//! comes round once. Records carry their own signatures; messages carry none, and no sender.

use std::time::Duration;

use atoll_core::transport::{Request, decode, encode};
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicHash, TopicScoreParams, ValidationMode,
};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::error::SwarmError;

/// Signed records of members and placements.
const RECORDS: &str = "/atoll/records/1";
/// IPNS records.
const NAMES: &str = "/atoll/names/1";
/// The largest message, in bytes: an IPNS record of 10 KiB, or an envelope of 4 KiB, and what is around it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The largest message with all that belongs to it on the wire.
const TRANSMIT_BYTES_MAX: usize = 128 * 1024;
/// How long a message is remembered, so that it is not passed on twice.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Messages that may wait for one peer.
const QUEUE_MAX: usize = 1024;

/// The protocol, subscribed to both topics.
pub(crate) fn behaviour(network: &Config) -> Result<gossipsub::Behaviour, SwarmError> {
    let failed = |error: &dyn std::fmt::Display| SwarmError::Transport(error.to_string());
    let mut settings = ConfigBuilder::default();
    if !network.network.is_empty() {
        settings.protocol_id_prefix(network.protocol("/meshsub"));
    }
    let config = settings
        .validation_mode(ValidationMode::Anonymous)
        // Passed on once the router has looked at it.
        .validate_messages()
        .message_id_fn(id_of)
        .max_transmit_size(TRANSMIT_BYTES_MAX)
        .duplicate_cache_time(REMEMBERED)
        .connection_handler_queue_len(QUEUE_MAX)
        .build()
        .map_err(|error| failed(&error))?;
    let mut gossip =
        gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|error| failed(&error))?;
    gossip.with_peer_score(scores(), PeerScoreThresholds::default()).map_err(|error| failed(&error))?;
    for topic in [RECORDS, NAMES] {
        gossip.subscribe(&IdentTopic::new(topic)).map_err(|error| failed(&error))?;
    }
    Ok(gossip)
}

/// Peers sink by what they send that is no record at all. Silence costs nothing: there is often no news. Many peers behind
/// one address are nothing unusual among nodes of one operator.
fn scores() -> PeerScoreParams {
    let topic = TopicScoreParams {
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: 0.97,
        ..TopicScoreParams::default()
    };
    let topics = [RECORDS, NAMES].map(|name| (IdentTopic::new(name).hash(), topic.clone()));
    PeerScoreParams {
        topics: topics.into(),
        ip_colocation_factor_weight: 0.0,
        topic_score_cap: 50.0,
        ..PeerScoreParams::default()
    }
}

fn id_of(message: &Message) -> MessageId {
    MessageId::new(&Sha256::digest(&message.data))
}

/// What is to be sent, and where, for each record in `news`.
pub(crate) fn messages(news: &Request) -> Vec<(TopicHash, Vec<u8>)> {
    let single: Vec<(&str, Request)> = match news {
        Request::Announce { records } => {
            records.iter().map(|record| (RECORDS, Request::Announce { records: vec![record.clone()] })).collect()
        }
        Request::Names { records } => {
            records.iter().map(|record| (NAMES, Request::Names { records: vec![record.clone()] })).collect()
        }
        _ => Vec::new(),
    };
    let encoded =
        single.into_iter().filter_map(|(topic, request)| Some((IdentTopic::new(topic).hash(), encode(&request).ok()?)));
    encoded.collect()
}

/// What a message says, if it is one record that belongs to its topic.
pub(crate) fn news_of(message: &Message) -> Option<Request> {
    if message.data.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let request: Request = decode(&message.data).ok()?;
    let topic = match &request {
        Request::Announce { records } if records.len() == 1 => RECORDS,
        Request::Names { records } if records.len() == 1 => NAMES,
        _ => return None,
    };
    // One form only, or one record would be many messages.
    let is_canonical = encode(&request).is_ok_and(|bytes| bytes == message.data);
    (message.topic.as_str() == topic && is_canonical).then_some(request)
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;

    fn message(topic: &str, data: Vec<u8>) -> Message {
        Message { source: None, data, sequence_number: None, topic: IdentTopic::new(topic).hash() }
    }

    #[test]
    fn a_message_is_one_record_in_one_form() {
        let announce = |records: &[&[u8]]| Request::Announce {
            records: records.iter().map(|record| ByteBuf::from(record.to_vec())).collect(),
        };
        let sent = messages(&announce(&[b"one", b"two"]));
        assert_eq!(sent.len(), 2);
        assert_eq!(news_of(&message(RECORDS, sent[0].1.clone())), Some(announce(&[b"one"])));
        assert_eq!(news_of(&message(NAMES, sent[0].1.clone())), None);
        assert_eq!(news_of(&message(RECORDS, encode(&announce(&[b"one", b"two"])).unwrap())), None);
        assert_eq!(news_of(&message(RECORDS, encode(&announce(&[&[0; MESSAGE_BYTES_MAX]])).unwrap())), None);
        assert!(messages(&Request::Probe { nonce: [0; 32], roots: Vec::new() }).is_empty());
        for network in ["", "reef-1"] {
            behaviour(&Config { network: network.to_owned(), ..Config::default() }).unwrap();
        }
    }
}
