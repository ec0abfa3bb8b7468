//! A socket of HTTP/3 that passes from one process to the next. Whoever has it reads it; datagrams for connections of the process before
//! go on to that, as long as it has any. Both send on it. A crash loses what is on its way.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use tokio::io::ReadBuf;
use tokio::net::UnixDatagram;

use super::cid::Key;

/// The largest datagram with what is said of it, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 + 256;

/// After so many datagrams it is looked whether the process before has ended.
const LOOK_EVERY: u32 = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    udp: Arc<dyn AsyncUdpSocket>,
    /// Where connections of the process before are.
    before: Option<(Key, OwnedFd)>,
    /// Whether that has ended.
    is_over: AtomicBool,
    /// Datagrams that were looked at since.
    looked: AtomicU32,
    /// Where datagrams come from, once another process reads the socket.
    after: OnceLock<UnixDatagram>,
    /// Whoever waits for datagrams.
    waiting: AtomicWaker,
}

/// Two ends of what datagrams pass through: each is one message, and the end of a process is seen.
pub(crate) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Socket {
    /// Wants to be made within a runtime.
    pub(crate) fn new(udp: UdpSocket, before: Option<(Key, OwnedFd)>) -> io::Result<Arc<Self>> {
        let udp = TokioRuntime.wrap_udp_socket(udp)?;
        let (is_over, looked) = (AtomicBool::new(before.is_none()), AtomicU32::new(0));
        Ok(Arc::new(Self { udp, before, is_over, looked, after: OnceLock::new(), waiting: AtomicWaker::new() }))
    }

    /// From now on another process reads, and sends through `channel` what is for this one. Wants to be called within a runtime.
    pub(crate) fn pass_on(&self, channel: OwnedFd) -> io::Result<()> {
        // Only the first counts.
        let _ = self.after.set(UnixDatagram::from_std(channel.into())?);
        self.waiting.wake();
        Ok(())
    }

    /// Sends on what is for the process before, and keeps the rest.
    fn sort(&self, bytes: &mut [u8], meta: &mut RecvMeta) {
        let Some((key, channel)) = self.before.as_ref().filter(|_| !self.is_over.load(Ordering::Relaxed)) else {
            return;
        };
        if self.looked.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY)
            && matches!(recv(channel, &mut [0], RecvFlags::empty()), Ok((_, 0)))
        {
            return self.is_over.store(true, Ordering::Relaxed);
        }
        let (len, stride) = (meta.len.min(bytes.len()), meta.stride.max(1));
        let (mut at, mut kept) = (0, 0);
        while at < len {
            let end = at.saturating_add(stride).min(len);
            let Some(datagram) = bytes.get(at..end) else { break };
            if key.is_for(datagram) {
                // What finds no room is lost like any other datagram.
                let _ = send(channel, &encode(datagram, meta), SendFlags::NOSIGNAL);
            } else {
                bytes.copy_within(at..end, kept);
                kept = kept.saturating_add(end.saturating_sub(at));
            }
            at = end;
        }
        meta.len = kept;
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.udp).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.udp.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.waiting.register(cx.waker());
        if let Some(channel) = self.after.get() {
            let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Pending };
            return poll_channel(channel, cx, buf, meta);
        }
        let count = ready!(self.udp.poll_recv(cx, bufs, meta))?;
        bufs.iter_mut().zip(meta.iter_mut()).take(count).for_each(|(buf, meta)| self.sort(buf, meta));
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.udp.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.udp.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.udp.may_fragment()
    }
}

/// The next datagram that another process sends on; none comes any more once that has ended.
fn poll_channel(
    channel: &UnixDatagram,
    cx: &mut Context<'_>,
    buf: &mut [u8],
    meta: &mut RecvMeta,
) -> Poll<io::Result<usize>> {
    let mut place = [0; MESSAGE_BYTES_MAX];
    loop {
        let mut message = ReadBuf::new(&mut place);
        ready!(channel.poll_recv(cx, &mut message))?;
        if message.filled().is_empty() {
            return Poll::Pending;
        }
        let decoded = decode(message.filled()).filter(|(datagram, _)| datagram.len() <= buf.len());
        if let Some((datagram, found)) = decoded {
            buf.iter_mut().zip(datagram).for_each(|(place, byte)| *place = *byte);
            *meta = found;
            return Poll::Ready(Ok(1));
        }
    }
}

/// A line that tells what the system told of a datagram, and the datagram.
fn encode(datagram: &[u8], meta: &RecvMeta) -> Vec<u8> {
    let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
    let own = meta.dst_ip.map_or_else(|| "-".to_owned(), |own| own.to_string());
    let mut message = format!("{ecn} {} {own}\n", meta.addr).into_bytes();
    message.extend_from_slice(datagram);
    message
}

/// `None` if it is none.
fn decode(message: &[u8]) -> Option<(&[u8], RecvMeta)> {
    let (line, datagram) = message.split_at_checked(message.iter().position(|byte| *byte == b'\n')?)?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (ecn, addr, own) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let datagram = datagram.get(1..)?;
    let len = datagram.len();
    let meta = RecvMeta { addr, len, stride: len, ecn: EcnCodepoint::from_bits(ecn), dst_ip: own.parse().ok() };
    (!datagram.is_empty()).then_some((datagram, meta))
}

/// Reads a message of another process, for fuzzing.
pub(crate) fn judge(message: &[u8]) {
    if let Some((datagram, meta)) = decode(message) {
        let again = encode(datagram, &meta);
        let found = decode(&again).map(|(datagram, found)| (datagram, found.len, found.ecn, found.dst_ip));
        assert_eq!(found, Some((datagram, meta.len, meta.ecn, meta.dst_ip)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use quinn::ConnectionIdGenerator as _;
    use rustix::net::RecvFlags;

    use super::super::cid::Ids;
    use super::*;

    #[test]
    fn a_datagram_comes_through_as_it_was() {
        for addr in ["192.0.2.7:4433", "[2001:db8::1]:1", "[::ffff:192.0.2.7]:9", "[fe80::1%3]:9"] {
            let (addr, dst_ip) = (addr.parse().unwrap(), Some(Ipv4Addr::LOCALHOST.into()));
            let meta = RecvMeta { addr, len: 3, stride: 3, ecn: Some(EcnCodepoint::Ce), dst_ip };
            let message = encode(b"a\nb", &meta);
            let (datagram, found) = decode(&message).unwrap();
            assert_eq!((datagram, found.addr, found.dst_ip, found.ecn), (&b"a\nb"[..], addr, dst_ip, meta.ecn));
        }
        for rubbish in [&b""[..], b"\n", b"0 - -\nx", b"0 192.0.2.7:1 -\n", b"0 192.0.2.7:1 -"] {
            assert!(decode(rubbish).is_none());
        }
    }

    #[tokio::test]
    async fn of_many_that_came_at_once_each_goes_where_it_belongs() {
        let key = Key::random().unwrap();
        let (ours, theirs) = channel().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(udp, Some((key, theirs))).unwrap();
        let old = || [&[0x40][..], &Ids(key).generate_cid(), &[1; 11]].concat();
        let new = |byte: u8| vec![byte; 20];
        let mut bytes = [old(), new(2), old(), new(3), vec![0x40; 7]].concat();
        let addr = "192.0.2.7:4433".parse().unwrap();
        let mut meta = RecvMeta { addr, len: bytes.len(), stride: 20, ecn: None, dst_ip: None };
        socket.sort(&mut bytes, &mut meta);
        assert_eq!(bytes[..meta.len], [new(2), new(3), vec![0x40; 7]].concat());
        for _ in 0..2 {
            let mut message = [0; 100];
            let (_, len) = recv(&ours, &mut message, RecvFlags::empty()).unwrap();
            assert!(key.is_for(decode(&message[..len]).unwrap().0));
        }
        assert!(recv(&ours, &mut [0; 100], RecvFlags::empty()).is_err(), "there is no third");
    }
}
