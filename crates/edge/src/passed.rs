//! Listening sockets that one process hands to the next, so that whoever connects meanwhile waits and is not refused. A crash loses
//! nothing: the sockets live as long as one of both has them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

/// Sockets, each by what it was made for.
#[derive(Debug, Default)]
pub struct Passed(Vec<Socket>);

/// One of them.
#[derive(Debug)]
pub struct Socket {
    /// The setting that it was made for, with the address as it is set there.
    pub name: String,
    /// What else its next owner has to know.
    pub note: String,
    /// The socket.
    pub descriptor: OwnedFd,
}

impl Passed {
    /// Adds one more.
    pub fn add(&mut self, name: &str, note: &str, descriptor: impl Into<OwnedFd>) {
        self.0.push(Socket { name: name.to_owned(), note: note.to_owned(), descriptor: descriptor.into() });
    }

    /// Takes out all that were made for a setting.
    pub fn take(&mut self, name: &str) -> Vec<Socket> {
        self.0.extract_if(.., |socket| socket.name == name).collect()
    }

    /// Takes out a listener that was made for a setting, if there is one.
    pub fn take_listener(&mut self, name: &str) -> Option<TcpListener> {
        let at = self.0.iter().position(|socket| socket.name == name)?;
        Some(self.0.swap_remove(at).descriptor.into())
    }

    /// All of them.
    pub fn sockets(&self) -> &[Socket] {
        &self.0
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// That of the system, if there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = |socket: &Socket| {
            let Socket { name, note, descriptor } = socket;
            Ok(Socket { name: name.clone(), note: note.clone(), descriptor: descriptor.try_clone()? })
        };
        self.0.iter().map(clone).collect::<io::Result<_>>().map(Self)
    }

    /// Those of another, too.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The setting of a listener of the gateway.
    pub(crate) fn gateway(address: SocketAddr, secure: bool) -> String {
        format!("{} {address}", if secure { "gateway.tls.listen" } else { "gateway.listen" })
    }

    /// The setting of a socket of HTTP/3.
    pub(crate) fn http3(address: SocketAddr) -> String {
        format!("gateway.http3.listen {address}")
    }

    /// By what the connections of the process before come through to it.
    pub(crate) fn before(address: SocketAddr) -> String {
        format!("before gateway.http3.listen {address}")
    }

    /// Takes out the UDP socket that was made for a setting, if there is one.
    pub(crate) fn take_udp(&mut self, name: &str) -> Option<UdpSocket> {
        let at = self.0.iter().position(|socket| socket.name == name)?;
        Some(self.0.swap_remove(at).descriptor.into())
    }
}
