//! What each connected peer speaks of Bitswap, as it said itself (identify), so that no stream has to ask before it is written to.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use libp2p::{PeerId, StreamProtocol};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{PROTOCOLS, lock};

/// How long it takes at most until a connection that can be used is known here.
const CONNECTING: Duration = Duration::from_secs(1);

/// What a connected peer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Speaks(Option<&'static str>),
}

/// See the module. Has no more entries than there are connected peers.
#[derive(Default)]
pub(crate) struct Spoken {
    peers: Mutex<HashMap<PeerId, Said>>,
    news: Notify,
}

impl Spoken {
    /// A peer is connected.
    pub(crate) fn came(&self, peer: PeerId) {
        lock(&self.peers).entry(peer).or_insert(Said::Nothing);
        self.news.notify_waiters();
    }

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
        lock(&self.peers).insert(peer, Said::Speaks(protocol));
        self.news.notify_waiters();
    }

    /// A peer is not connected any more.
    pub(crate) fn gone(&self, peer: &PeerId) {
        lock(&self.peers).remove(peer);
        self.news.notify_waiters();
    }

    /// The newest protocol that a peer speaks, once that is known; `None` when it speaks none.
    ///
    /// # Errors
    /// [`Gone`] when it is not connected any more.
    pub(super) async fn of(&self, peer: &PeerId) -> Result<Option<&'static str>, Gone> {
        let mut is_here = false;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            match lock(&self.peers).get(peer).copied() {
                Some(Said::Speaks(protocol)) => return Ok(protocol),
                Some(Said::Nothing) => is_here = true,
                None if is_here => return Err(Gone),
                None => {}
            }
            if is_here {
                news.await;
            } else {
                timeout(CONNECTING, news).await.map_err(|_| Gone)?;
            }
        }
    }
}

/// The peer is not connected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

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
        assert_eq!((old, none, silent), (Ok(Some("/ipfs/bitswap/1.1.0")), Ok(None), Ok(Some(PROTOCOLS[0]))));
        peers.iter().for_each(|peer| spoken.gone(peer));
        assert!(lock(&spoken.peers).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_a_peer_would_have_said() {
        let (spoken, peer) = (Spoken::default(), PeerId::random());
        spoken.came(peer);
        let leaves = async {
            tokio::task::yield_now().await;
            spoken.gone(&peer);
        };
        assert_eq!(tokio::join!(spoken.of(&peer), leaves).0, Err(Gone));
        assert_eq!(spoken.of(&peer).await, Err(Gone));
    }
}
