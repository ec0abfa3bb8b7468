//! What each connected peer speaks of Bitswap, as it said itself (identify), so that no stream has to ask before it is written to.

use std::collections::HashMap;
use std::sync::Mutex;

use libp2p::{PeerId, StreamProtocol};
use tokio::sync::Notify;

use super::{PROTOCOLS, lock};

/// See the module. Has no more entries than there are connected peers.
#[derive(Default)]
pub(crate) struct Spoken {
    peers: Mutex<HashMap<PeerId, Option<&'static str>>>,
    news: Notify,
}

impl Spoken {
    /// A connected peer has said what it speaks.
    pub(crate) fn said(&self, peer: PeerId, protocols: &[StreamProtocol]) {
        let spoken = |known: &&'static str| protocols.iter().any(|protocol| protocol.as_ref() == *known);
        self.insert(peer, PROTOCOLS.into_iter().find(spoken));
    }

    /// A connected peer does not say what it speaks: the newest is tried.
    pub(crate) fn silent(&self, peer: PeerId) {
        self.insert(peer, Some(PROTOCOLS[0]));
    }

    fn insert(&self, peer: PeerId, protocol: Option<&'static str>) {
        lock(&self.peers).insert(peer, protocol);
        self.news.notify_waiters();
    }

    /// A peer is not connected any more.
    pub(crate) fn gone(&self, peer: &PeerId) {
        lock(&self.peers).remove(peer);
    }

    /// The newest protocol that a peer speaks, once that is known; `None` when it speaks none.
    pub(super) async fn of(&self, peer: &PeerId) -> Option<&'static str> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let known = lock(&self.peers).get(peer).copied();
            if let Some(protocol) = known {
                return protocol;
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_is_chosen_once_it_is_said() {
        let (spoken, peers) = (Spoken::default(), [(); 3].map(|()| PeerId::random()));
        let said = async {
            tokio::task::yield_now().await;
            let others = ["/ipfs/bitswap", "/ipfs/bitswap/1.1.0", "/ipfs/id/1.0.0"].map(StreamProtocol::new);
            spoken.said(peers[0], &others);
            spoken.said(peers[1], &others[2..]);
            spoken.silent(peers[2]);
        };
        let ((), old, none, silent) =
            tokio::join!(said, spoken.of(&peers[0]), spoken.of(&peers[1]), spoken.of(&peers[2]));
        assert_eq!((old, none, silent), (Some("/ipfs/bitswap/1.1.0"), None, Some(PROTOCOLS[0])));
        peers.iter().for_each(|peer| spoken.gone(peer));
        assert!(lock(&spoken.peers).is_empty());
    }
}
