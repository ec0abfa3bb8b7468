//! The public listener: one thread, one listener and one single-threaded runtime per worker. The kernel spreads
//! connections over the listeners; workers share only what `gateway` holds. A crash loses connections.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::gateway::{Gateway, Services};
use crate::http3;
use crate::sign::Signatures;
use crate::tls::Handshakes;
use crate::worker::{self, Worker};

/// Connections that the kernel holds for a worker until it accepts them.
const BACKLOG: i32 = 1024;

/// Bound to its address, not yet serving.
pub struct Server {
    address: SocketAddr,
    secure: Vec<SocketAddr>,
    http3: Vec<SocketAddr>,
    /// Those of each worker.
    doors: Vec<Vec<Door>>,
    /// Those of the first worker.
    sockets: Vec<UdpSocket>,
    gateway: Arc<Gateway>,
}

/// One listener of one worker.
pub(crate) struct Door {
    pub(crate) listener: std::net::TcpListener,
    /// Whether TLS is spoken behind it.
    pub(crate) secure: bool,
}

/// Serving. Dropping it drains without waiting.
pub struct Running {
    address: SocketAddr,
    secure: Vec<SocketAddr>,
    http3: Vec<SocketAddr>,
    gateway: Arc<Gateway>,
    draining: watch::Sender<bool>,
    /// Yields how many connections each worker cut, and ends with the last of them.
    ended: mpsc::UnboundedReceiver<usize>,
}

impl Server {
    /// Binds one listener per worker.
    ///
    /// # Errors
    /// [`ServeError::Config`] with every problem of `config`, or [`ServeError::Bind`].
    pub fn bind(config: &Config, services: Services) -> Result<Self, ServeError> {
        let problems = config.check();
        if !problems.is_empty() {
            return Err(ServeError::Config(problems));
        }
        let workers = config.workers();
        let mut doors: Vec<Vec<Door>> = (0..workers).map(|_| Vec::new()).collect();
        let mut bind = |address, secure| {
            let fail = |source| ServeError::Bind { address, source };
            let (address, listeners) = listen_all(address, workers, config.limits.send_buffer_kib).map_err(fail)?;
            doors.iter_mut().zip(listeners).for_each(|(doors, listener)| doors.push(Door { listener, secure }));
            Ok(address)
        };
        let address = bind(config.listen, false)?;
        let secure = config.tls.listen.iter().map(|address| bind(*address, true)).collect::<Result<_, _>>()?;
        let sockets = http3::bind(&config.http3).map_err(|(address, source)| ServeError::Bind { address, source })?;
        let bound = sockets.iter().zip(&config.http3.listen);
        let http3: Vec<_> = bound.map(|(socket, address)| socket.local_addr().unwrap_or(*address)).collect();
        let gateway = Gateway::new(config, services, http3.first().map(SocketAddr::port)).map_err(ServeError::Tls)?;
        Ok(Self { address, secure, http3, doors, sockets, gateway })
    }

    /// Where it listens; the port that was chosen, if the configuration left it open.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens with TLS, in the order of [`crate::config::Tls::listen`].
    pub fn secure_addrs(&self) -> &[SocketAddr] {
        &self.secure
    }

    /// Where it listens with HTTP/3, in the order of [`crate::config::Http3::listen`].
    pub fn http3_addrs(&self) -> &[SocketAddr] {
        &self.http3
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`ServeError::Worker`] if the system gives no thread or no runtime.
    pub fn spawn(self) -> Result<Running, ServeError> {
        let (draining, drained) = watch::channel(false);
        let (ending, ended) = mpsc::unbounded_channel();
        let mut sockets = self.sockets;
        for (index, doors) in self.doors.into_iter().enumerate() {
            let sockets = std::mem::take(&mut sockets);
            let worker = Worker::new(index, Arc::clone(&self.gateway), drained.clone());
            let runtime = worker::runtime().map_err(ServeError::Worker)?;
            let ending = ending.clone();
            let run = move || {
                let cut = runtime.block_on(worker.run(doors, sockets));
                // Nobody may be waiting for it.
                let _ = ending.send(cut);
            };
            thread::Builder::new().name(format!("edge-{index}")).spawn(run).map_err(ServeError::Worker)?;
        }
        tracing::info!(address = %self.address, secure = ?self.secure, http3 = ?self.http3, "gateway listens");
        let (address, secure, http3, gateway) = (self.address, self.secure, self.http3, self.gateway);
        Ok(Running { address, secure, http3, gateway, draining, ended })
    }
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens with TLS.
    pub fn secure_addrs(&self) -> &[SocketAddr] {
        &self.secure
    }

    /// Where it listens with HTTP/3.
    pub fn http3_addrs(&self) -> &[SocketAddr] {
        &self.http3
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.gateway.admission.connections()
    }

    /// Requests whose answer is not yet handed over.
    pub fn in_flight(&self) -> usize {
        self.gateway.admission.in_flight()
    }

    /// A handle to the answers that are kept ready.
    pub fn kept(&self) -> Kept {
        Kept(Arc::clone(&self.gateway))
    }

    /// Takes no more connections, lets requests in flight finish within [`crate::config::Timeouts::drain`], and ends;
    /// how many connections were cut at that limit.
    pub async fn drain(mut self) -> usize {
        self.draining.send_replace(true);
        let mut cut = 0;
        while let Some(more) = self.ended.recv().await {
            cut += more;
        }
        cut
    }
}

/// Answers that the gateway keeps ready in memory. They are made of what was held and allowed then: whoever changes that
/// has them forgotten. A crash loses them.
#[derive(Clone)]
pub struct Kept(Arc<Gateway>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.load()).finish()
    }
}

/// What the gateway is busy with at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Open connections.
    pub connections: usize,
    /// Requests that wait for the first byte of their answer.
    pub waiting: usize,
    /// Memory of answers that are being sent, as far as it is counted, in bytes.
    pub sending_bytes: u64,
    /// Answers ready in memory that the system sends without copying them.
    pub sealed: usize,
    /// Connections that rest between requests, of which nothing is kept but the socket.
    pub resting: usize,
    /// TLS handshakes since the start.
    pub handshakes: Handshakes,
    /// Signatures since the start.
    pub signatures: Signatures,
}

impl Kept {
    /// What the gateway is busy with.
    pub fn load(&self) -> Load {
        let admission = &self.0.admission;
        Load {
            connections: admission.connections(),
            waiting: admission.waiting(),
            sending_bytes: admission.sending(),
            sealed: self.0.hot.sealed(),
            resting: self.0.resting.load(Ordering::Relaxed),
            handshakes: self.0.tls.handshakes(),
            signatures: self.0.desk.signatures(),
        }
    }

    /// Forgets all of them; each is made anew when it is next asked for.
    pub fn forget(&self) {
        self.0.hot.clear();
        self.0.sites.clear();
        self.0.desk.forget();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.draining.send_replace(true);
    }
}

/// Whether a listener may find others on its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// The first: a port that another process listens on is an error, not half of its connections.
    Alone,
    /// The others of this process.
    Shared,
}

/// One listener for each worker, and the address that was bound.
fn listen_all(
    address: SocketAddr,
    workers: usize,
    send_buffer_kib: usize,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let first = listen(address, Sharing::Alone, send_buffer_kib)?;
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| listen(address, Sharing::Shared, send_buffer_kib));
    Ok((address, std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?))
}

fn listen(address: SocketAddr, sharing: Sharing, send_buffer_kib: usize) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // All addresses: those of IPv4 too, whatever the system's setting is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    if send_buffer_kib > 0 {
        // Connections inherit it.
        socket.set_send_buffer_size(send_buffer_kib.saturating_mul(1024))?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Why the listener does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration has these problems.
    #[error("the gateway's configuration is wrong: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with `listen`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    /// A worker cannot start.
    #[error("a worker of the gateway cannot start: {0}; set fewer `threads`")]
    Worker(io::Error),
}
