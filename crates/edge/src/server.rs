//! The public listener: one thread, one listener and one single-threaded runtime per worker. The kernel spreads
//! connections over the listeners; workers share only what `gateway` holds. A crash loses connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::draining::Draining;
use crate::gateway::{Gateway, Services};
use crate::http3::{self, Bound};
use crate::passed::{self, Passed};
use crate::sign::Signatures;
use crate::tls::Handshakes;
use crate::worker::{self, Worker};

/// Connections that the kernel holds for a worker until it accepts them.
const BACKLOG: i32 = 1024;

/// How long it is waited until no request is in flight, before what they stand on changes hands; and how often that is looked at.
const QUIET_WAIT: Duration = Duration::from_secs(1);
const QUIET_POLL: Duration = Duration::from_millis(2);

/// Bound to its address, not yet serving.
pub struct Server {
    address: SocketAddr,
    secure: Vec<SocketAddr>,
    http3: Vec<SocketAddr>,
    /// Those of each worker.
    doors: Vec<Vec<Door>>,
    /// Those of the first worker.
    sockets: Vec<Bound>,
    offered: Offered,
    drain: Duration,
    gateway: Arc<Gateway>,
}

/// What another process would get.
struct Offered {
    passed: Passed,
    /// Where that sends on what is for connections of this one, for each socket of HTTP/3.
    channels: Arc<[OwnedFd]>,
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
    offered: Offered,
    drain: Duration,
    draining: watch::Sender<Draining>,
    workers: usize,
    /// Each worker says that others have its sockets.
    left: mpsc::UnboundedReceiver<()>,
    /// Yields how many connections each worker cut, and ends with the last of them.
    ended: mpsc::UnboundedReceiver<usize>,
}

impl Server {
    /// Binds one listener per worker, or takes those of `passed` that another process had for the same addresses.
    ///
    /// # Errors
    /// [`ServeError::Config`] with every problem of `config`, or [`ServeError::Bind`].
    pub fn bind(config: &Config, services: Services, passed: &mut Passed) -> Result<Self, ServeError> {
        let problems = config.check();
        if !problems.is_empty() {
            return Err(ServeError::Config(problems));
        }
        let workers = config.workers();
        let mut doors: Vec<Vec<Door>> = (0..workers).map(|_| Vec::new()).collect();
        let mut offers = Passed::default();
        let mut bind = |address, secure| {
            let name = Passed::gateway(address, secure);
            let bound = listen_all(address, passed.take(&name), workers, config.limits.send_buffer_kib);
            let offered = bound.and_then(|(bound, listeners)| {
                listeners.iter().try_for_each(|one| one.try_clone().map(|one| offers.add(&name, "", one)))?;
                Ok((bound, listeners))
            });
            let (address, listeners) = offered.map_err(|source| ServeError::Bind { address, source })?;
            let places = (0..workers).cycle();
            for (listener, worker) in listeners.into_iter().zip(places) {
                if let Some(doors) = doors.get_mut(worker) {
                    doors.push(Door { listener, secure });
                }
            }
            Ok(address)
        };
        let address = bind(config.listen, false)?;
        let secure = config.tls.listen.iter().map(|address| bind(*address, true)).collect::<Result<_, _>>()?;
        let bound =
            http3::bind(&config.http3, passed).map_err(|(address, source)| ServeError::Bind { address, source })?;
        let (sockets, http3): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        let channels = sockets.iter().zip(&config.http3.listen).map(|(socket, address)| {
            let offered = socket.offer(*address, &mut offers);
            offered.map_err(|source| ServeError::Bind { address: *address, source })
        });
        let offered = Offered { channels: channels.collect::<Result<_, _>>()?, passed: offers };
        let gateway = Gateway::new(config, services, http3.first().map(SocketAddr::port)).map_err(ServeError::Tls)?;
        let drain = config.timeouts.drain;
        Ok(Self { address, secure, http3, doors, sockets, offered, drain, gateway })
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
        let (draining, drained) = watch::channel(Draining::No);
        let (leaving, left) = mpsc::unbounded_channel();
        let (ending, ended) = mpsc::unbounded_channel();
        let (mut sockets, workers) = (self.sockets, self.doors.len());
        for (index, doors) in self.doors.into_iter().enumerate() {
            let sockets = std::mem::take(&mut sockets);
            let worker = Worker::new(index, Arc::clone(&self.gateway), drained.clone());
            let runtime = worker::runtime().map_err(ServeError::Worker)?;
            let (ending, leaving) = (ending.clone(), leaving.clone());
            let run = move || {
                let cut = runtime.block_on(worker.run(doors, sockets, leaving));
                // Nobody may be waiting for it.
                let _ = ending.send(cut);
            };
            thread::Builder::new().name(format!("edge-{index}")).spawn(run).map_err(ServeError::Worker)?;
        }
        tracing::info!(address = %self.address, secure = ?self.secure, http3 = ?self.http3, "gateway listens");
        let Self { address, secure, http3, offered, drain, gateway, .. } = self;
        Ok(Running { address, secure, http3, gateway, offered, drain, draining, workers, left, ended })
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

    /// The sockets on which it listens, for another process.
    ///
    /// # Errors
    /// That of the system, if there are no descriptors left.
    pub fn passed(&self) -> io::Result<Passed> {
        self.offered.passed.try_clone()
    }

    /// Leaves its sockets to another process that has them: no more connections are taken, those that are open are served, and their
    /// clients told to make others. Returns once no request is in flight, or after a second; more may come on open connections.
    pub async fn leave(&mut self) {
        self.gateway.leave();
        self.offered.passed = Passed::default();
        self.draining.send_replace(Draining::Gently(Arc::clone(&self.offered.channels)));
        let mut workers = self.workers;
        while workers > 0 && self.left.recv().await.is_some() {
            workers -= 1;
        }
        let quiet = async {
            while self.in_flight() > 0 {
                tokio::time::sleep(QUIET_POLL).await;
            }
        };
        let _ = tokio::time::timeout(QUIET_WAIT, quiet).await;
    }

    /// Takes no more connections, lets requests in flight finish within [`crate::config::Timeouts::drain`], and ends;
    /// how many connections were cut at that limit. Clients of connections that were left to another process have as long to leave
    /// them, first.
    pub async fn drain(mut self) -> usize {
        self.offered.passed = Passed::default();
        let mut cut = 0;
        if matches!(*self.draining.borrow(), Draining::Gently(_)) {
            let left = async {
                while let Some(more) = self.ended.recv().await {
                    cut += more;
                }
            };
            let _ = tokio::time::timeout(self.drain, left).await;
        }
        self.draining.send_replace(Draining::Now);
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
            sealed: self.0.hot.sealed().saturating_add(self.0.services.fronts.sealed()),
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
        self.draining.send_replace(Draining::Now);
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

/// One listener for each worker at least, and the address that was bound. All of those are used that another process had: the system
/// has given connections to each.
fn listen_all(
    address: SocketAddr,
    passed: Vec<passed::Socket>,
    workers: usize,
    send_buffer_kib: usize,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let mut listeners: Vec<std::net::TcpListener> = passed.into_iter().map(|one| one.descriptor.into()).collect();
    if listeners.is_empty() {
        listeners.push(listen(address, Sharing::Alone, send_buffer_kib)?);
    }
    let address = listeners.first().map_or(Ok(address), std::net::TcpListener::local_addr)?;
    while listeners.len() < workers {
        listeners.push(listen(address, Sharing::Shared, send_buffer_kib)?);
    }
    Ok((address, listeners))
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
