//! How many connections and requests are taken on, in total and from one address. Knows no site. Counts live in memory
//! and return to zero with the process, as do the connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;

/// No address has more of the memory for answers than this part of it.
const ADDRESSES_MIN: u64 = 4;

/// Counts connections and requests against [`Limits`]. An address is in the table only while it is connected, so the
/// table is never larger than [`Limits::connections`].
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    connections: AtomicUsize,
    /// Requests that wait.
    waiting: AtomicUsize,
    /// Memory of answers that are being sent, in bytes.
    sending: AtomicU64,
    addresses: Mutex<HashMap<Address, Arc<Counts>>>,
}

/// Whom a limit counts: an IPv4 address, or the /64 of an IPv6 address, of which one customer commands all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address(u64);

/// What one address has open.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    sending: AtomicU64,
}

/// Why a connection is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// [`Limits::connections`] are open.
    Full,
    /// [`Limits::connections_per_address`] are open from there.
    Address,
}

/// Why a large answer is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Its address has its share.
    Address,
    /// All of [`Limits::sending_mib`] is taken.
    All,
}

/// A connection that was taken on; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    ip: IpAddr,
    address: Address,
    counts: Arc<Counts>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let none = || AtomicUsize::new(0);
        let (connections, waiting, sending) = (none(), none(), AtomicU64::new(0));
        Arc::new(Self { limits, connections, waiting, sending, addresses: Mutex::default() })
    }

    /// Takes a connection from `ip` on. With `room`, the caller has just closed another one for it.
    pub(crate) fn connect(self: &Arc<Self>, ip: IpAddr, room: bool) -> Result<Ticket, Refused> {
        if self.connections.load(Ordering::Relaxed) >= self.limits.connections && !room {
            return Err(Refused::Full);
        }
        let address = Address::of(ip);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = addresses.entry(address).or_default();
        if counts.connections.load(Ordering::Relaxed) >= self.limits.connections_per_address {
            return Err(Refused::Address);
        }
        counts.connections.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket { admission: Arc::clone(self), ip, address, counts: Arc::clone(counts) })
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.values().map(|counts| counts.requests.load(Ordering::Relaxed)).sum()
    }

    /// Takes a request on that has to wait, which [`Admission::end_wait`] ends; `false` when too many do.
    pub(crate) fn begin_wait(&self) -> bool {
        let admitted = self.waiting.fetch_add(1, Ordering::Relaxed) < self.limits.waiting;
        if !admitted {
            self.end_wait();
        }
        admitted
    }

    /// A request waits no longer.
    pub(crate) fn end_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Memory of answers that are being sent, in bytes.
    pub(crate) fn sending(&self) -> u64 {
        self.sending.load(Ordering::Relaxed)
    }

    /// Whether that is more than there should be.
    pub(crate) fn is_crowded(&self) -> bool {
        self.sending() > self.sending_max()
    }

    fn sending_max(&self) -> u64 {
        (self.limits.sending_mib as u64).saturating_mul(1024 * 1024)
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Ticket {
    /// Who is connected.
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// A number for what limits count as one address.
    pub(crate) fn address(&self) -> u64 {
        self.address.0
    }

    /// Takes a request on, which [`Ticket::end`] ends; `false` when the address has too many in flight.
    pub(crate) fn begin(&self) -> bool {
        let before = self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let admitted = before < self.admission.limits.requests_per_address;
        if !admitted {
            self.end();
        }
        admitted
    }

    /// Why an answer that would hold `bytes` of memory while it is sent is not to be begun, if there is no room for it.
    pub(crate) fn has_no_room(&self, bytes: u64) -> Option<NoRoom> {
        let max = self.admission.sending_max();
        if self.counts.sending.load(Ordering::Relaxed).saturating_add(bytes) > max / ADDRESSES_MIN {
            return Some(NoRoom::Address);
        }
        (self.admission.sending().saturating_add(bytes) > max).then_some(NoRoom::All)
    }

    /// An answer holds `bytes` of memory from now on, until [`Ticket::release`].
    pub(crate) fn hold(&self, bytes: u64) {
        self.counts.sending.fetch_add(bytes, Ordering::Relaxed);
        self.admission.sending.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It does not any more.
    pub(crate) fn release(&self, bytes: u64) {
        self.counts.sending.fetch_sub(bytes, Ordering::Relaxed);
        self.admission.sending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends a request that was taken on.
    pub(crate) fn end(&self) {
        self.counts.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        let mut addresses = self.admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if self.counts.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            addresses.remove(&self.address);
        }
    }
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // No routed /64 is below 2^32, so the two kinds do not collide.
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Self(u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_address: usize) -> Arc<Admission> {
        Admission::new(Limits {
            connections,
            connections_per_address: per_address,
            requests_per_address: 1,
            ..Limits::default()
        })
    }

    #[test]
    fn an_address_gets_its_share_and_gives_it_back() {
        let admission = admission(10, 2);
        let ip = "192.0.2.1".parse().unwrap();
        let first = admission.connect(ip, false).unwrap();
        let _second = admission.connect(ip, false).unwrap();
        assert_eq!(admission.connect(ip, false).unwrap_err(), Refused::Address);
        assert!(admission.connect("192.0.2.2".parse().unwrap(), false).is_ok());
        drop(first);
        assert!(admission.connect(ip, false).is_ok());
    }

    #[test]
    fn the_total_holds_unless_room_was_made() {
        let admission = admission(1, 10);
        let _first = admission.connect("192.0.2.1".parse().unwrap(), false).unwrap();
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(admission.connect(other, false).unwrap_err(), Refused::Full);
        assert!(admission.connect(other, true).is_ok());
        assert_eq!(admission.connections(), 1);
    }

    #[test]
    fn the_table_holds_only_who_is_connected() {
        let admission = admission(10, 10);
        drop(admission.connect("192.0.2.1".parse().unwrap(), false).unwrap());
        assert!(admission.addresses.lock().unwrap().is_empty());
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let admission = admission(10, 1);
        let _first = admission.connect("2001:db8::1".parse().unwrap(), false).unwrap();
        assert!(admission.connect("2001:db8::2:3".parse().unwrap(), false).is_err());
        assert!(admission.connect("2001:db8:0:1::1".parse().unwrap(), false).is_ok());
    }

    #[test]
    fn an_address_has_its_share_of_the_memory_for_answers() {
        const MIB: u64 = 1024 * 1024;
        let admission = Admission::new(Limits { sending_mib: 8, ..Limits::default() });
        let tickets: Vec<_> =
            (1..=5).map(|n| admission.connect(IpAddr::from([192, 0, 2, n]), false).unwrap()).collect();
        tickets[0].hold(2 * MIB);
        assert_eq!(tickets[0].has_no_room(1), Some(NoRoom::Address));
        tickets[1..4].iter().for_each(|ticket| ticket.hold(2 * MIB));
        assert_eq!(tickets[4].has_no_room(1), Some(NoRoom::All));
        assert!(!admission.is_crowded());
        tickets[4].hold(1);
        assert!(admission.is_crowded());
        tickets[0].release(2 * MIB);
        assert_eq!(tickets[0].has_no_room(MIB), None);
    }

    #[test]
    fn requests_in_flight_are_counted() {
        let ticket = admission(10, 10).connect("192.0.2.1".parse().unwrap(), false).unwrap();
        assert!(ticket.begin());
        assert!(!ticket.begin());
        ticket.end();
        assert!(ticket.begin());
    }
}
