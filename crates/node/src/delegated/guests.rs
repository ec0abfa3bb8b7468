//! How many connections there are, in all and from one address. In memory, as are the connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections. An address is in the table only while it is connected.
pub(super) struct Guests {
    connections: usize,
    per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A connection that was let in; dropping it gives its place back.
pub(super) struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    pub(super) fn new(connections: usize, per_address: usize) -> Self {
        Self { connections, per_address, state: Mutex::default() }
    }

    /// Lets a connection in, if there is room for it.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Guest> {
        let address = customer(ip);
        let mut state = self.lock();
        if state.all >= self.connections {
            return None;
        }
        let count = state.addresses.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count = count.saturating_add(1);
        state.all = state.all.saturating_add(1);
        Some(Guest { guests: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.guests.lock();
        state.all = state.all.saturating_sub(1);
        if let Some(count) = state.addresses.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address, of which one customer commands all.
fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_limits_in_all_and_by_customer() {
        let guests = Arc::new(Guests::new(3, 2));
        let from = |text: &str| guests.admit(text.parse().unwrap());
        let first = from("2001:db8::1").unwrap();
        let _second = from("2001:db8::2").unwrap();
        assert!(from("2001:db8::3").is_none());
        let _third = from("192.0.2.1").unwrap();
        assert!(from("192.0.2.2").is_none());
        drop(first);
        assert!(from("192.0.2.2").is_some());
        assert_eq!(guests.lock().addresses.len(), 2);
    }
}
