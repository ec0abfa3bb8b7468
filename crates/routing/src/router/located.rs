//! Members, as whoever asks this node where content and peers are is told of them.

use atoll_core::{Cid, Multiaddr, PeerId};

use super::Router;

impl Router {
    /// This node.
    pub fn me(&self) -> PeerId {
        self.shared.me
    }

    /// The addresses of this node's gateway that members are told.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.shared.lock().addresses.clone()
    }

    /// Other members that live and were seen to hold `root`, with the addresses of their gateways.
    pub fn members_with(&self, root: &Cid) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let state = self.shared.lock();
        let members = state.table.members.iter().filter(|(peer, _)| **peer != self.shared.me);
        let holders = members
            .filter(|(_, entry)| entry.health.live && entry.health.holds.keys().any(|held| held.hash() == root.hash()));
        holders.map(|(peer, entry)| (*peer, entry.signed.record().addresses().collect())).collect()
    }

    /// The addresses of a live member's gateway; `None` for anybody else.
    pub fn member(&self, peer: &PeerId) -> Option<Vec<Multiaddr>> {
        let state = self.shared.lock();
        let entry = state.table.members.get(peer).filter(|entry| entry.health.live)?;
        Some(entry.signed.record().addresses().collect())
    }
}
