//! One worker: accepts connections, serves each in a task of its own thread, and ends them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};

use crate::activity::{Activity, Connections, Id, SWEEP_EVERY};
use crate::admission::{Refused, Ticket};
use crate::client::Client;
use crate::connection;
use crate::draining::{self, Drained, Draining};
use crate::gateway::Gateway;
use crate::http3::{self, Bound, Quic};
use crate::server::Door;

/// Threads of one worker for calls that block, such as reading files.
const BLOCKING_THREADS_MAX: usize = 32;
/// The most refused clients that are told so at the same time; others are just closed.
const REFUSALS_MAX: usize = 128;
/// How long a refused client may take to hear it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after the system had no descriptor for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a draining worker looks whether its last connection ended.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// The same while clients are free to leave or not.
const LEFT_POLL: Duration = Duration::from_millis(50);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 29\r\n\r\nAll connections are in use.\r\n";
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 40\r\n\r\nToo many connections from this address.\n";

/// A worker of the listener.
pub(crate) struct Worker {
    index: usize,
    gateway: Arc<Gateway>,
    draining: Drained,
    connections: Arc<Connections>,
    refusals: Arc<AtomicUsize>,
    /// Random, so that the ids of requests tell nothing about how many there were.
    names: RandomState,
    accepted: AtomicU64,
}

/// The runtime of a worker.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()
}

impl Worker {
    pub(crate) fn new(index: usize, gateway: Arc<Gateway>, draining: Drained) -> Self {
        Self {
            index,
            gateway,
            draining,
            connections: Connections::new(),
            refusals: Arc::default(),
            names: RandomState::new(),
            accepted: AtomicU64::new(0),
        }
    }

    /// Serves until it is told to drain; how many connections had to be cut then.
    /// `left` hears that others have its sockets.
    pub(crate) async fn run(self, doors: Vec<Door>, sockets: Vec<Bound>, left: UnboundedSender<()>) -> usize {
        let doors = doors.into_iter().map(Entrance::open).collect::<io::Result<Vec<_>>>();
        let opened = doors.and_then(|doors| Ok((doors, Quic::open(sockets, &self.gateway)?)));
        let (doors, quic) = match opened {
            Ok(opened) => opened,
            Err(cause) => {
                tracing::error!(%cause, worker = self.index, "the worker cannot use its listeners");
                return 0;
            }
        };
        let mut draining = self.draining.clone();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut next = 0;
        loop {
            tokio::select! {
                () = draining::begun(&mut draining) => break,
                _ = sweep.tick() => self.sweep(),
                (accepted, secure) = accept(&doors, &mut next) => match accepted {
                    Ok((tcp, from)) => self.take_on(tcp, from, secure),
                    Err(cause) => self.pause(&cause).await,
                },
                incoming = quic.accept() => self.take_on_quic(incoming),
            }
        }
        drop(doors);
        let state = draining.borrow().clone();
        if let Draining::Gently(channels) = state {
            quic.pass_on(&channels);
            while let Some(incoming) = quic.begun() {
                self.take_on_quic(incoming);
            }
            // Nobody may be waiting for it.
            let _ = left.send(());
            self.be_left(&mut draining).await;
        }
        let cut = self.drain().await;
        quic.close().await;
        cut
    }

    /// Ends whoever is over a limit.
    fn sweep(&self) {
        self.connections.sweep(&self.gateway.timeouts);
        if self.gateway.admission.is_crowded() {
            self.connections.shed_slow();
        }
    }

    /// Serves the connections that there are until their clients have left, or have had time enough.
    async fn be_left(&self, draining: &mut Drained) {
        while self.connections.len() > 0 {
            tokio::select! {
                () = sleep(LEFT_POLL) => self.sweep(),
                () = draining::now(draining) => return,
            }
        }
    }

    async fn drain(&self) -> usize {
        let ended = async {
            while self.connections.len() > 0 {
                sleep(DRAIN_POLL).await;
                self.connections.sweep(&self.gateway.timeouts);
            }
        };
        let _ = timeout(self.gateway.timeouts.drain, ended).await;
        let cut = self.connections.len();
        self.connections.abort();
        cut
    }

    /// After an error of accept: most concern one connection, but without descriptors trying at once would only spin.
    async fn pause(&self, cause: &io::Error) {
        let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if !gone.contains(&cause.kind()) {
            tracing::warn!(%cause, worker = self.index, "no connection could be accepted");
            self.connections.shed();
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn take_on(&self, tcp: TcpStream, from: SocketAddr, secure: bool) {
        match self.ticket(from) {
            Ok(ticket) => self.spawn(tcp, from.ip(), ticket, secure),
            // Before a handshake nothing can be said.
            Err(refused) if secure => tracing::debug!(?refused, "connection refused"),
            Err(refused) => self.refuse(tcp, refused),
        }
    }

    /// A place for a connection; if there is none, those that were idle longest make room.
    fn ticket(&self, from: SocketAddr) -> Result<Ticket, Refused> {
        match self.gateway.admission.connect(from.ip(), false) {
            Err(Refused::Full) if self.connections.shed() > 0 => self.gateway.admission.connect(from.ip(), true),
            other => other,
        }
    }

    fn take_on_quic(&self, incoming: quinn::Incoming) {
        let from = incoming.remote_address();
        // Whoever is many shows first that it is where it says: places are counted by address.
        if !incoming.remote_address_validated() && self.gateway.tls.is_busy() && incoming.may_retry() {
            // The answer that it is to come again may be lost like any other.
            let _ = incoming.retry();
            return;
        }
        match self.ticket(from) {
            Ok(ticket) => {
                let draining = self.draining.clone();
                self.watch(from.ip(), ticket, true, |client, activity| {
                    http3::serve(incoming, client, activity, draining)
                });
            }
            Err(refused) => {
                tracing::debug!(?refused, "connection refused");
                incoming.refuse();
            }
        }
    }

    fn spawn(&self, tcp: TcpStream, from: IpAddr, ticket: Ticket, secure: bool) {
        // Answers are written whole: waiting for more to send would only delay their end.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        let draining = self.draining.clone();
        self.watch(from, ticket, secure, |client, activity| connection::serve(tcp, client, activity, draining));
    }

    /// Serves a client in a task that ends when it is over a limit.
    fn watch<F>(&self, from: IpAddr, ticket: Ticket, secure: bool, serve: impl FnOnce(Client, Arc<Activity>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (id, activity) = self.connections.open();
        let name = self.names.hash_one(self.accepted.fetch_add(1, Ordering::Relaxed));
        let sort = (self.gateway.trusts(from), secure);
        let client = Client::new(Arc::clone(&self.gateway), ticket, sort, Arc::clone(&activity), self.index, name);
        let serving = serve(client, Arc::clone(&activity));
        let closing = Closing { connections: Arc::clone(&self.connections), id };
        let task = tokio::spawn(async move {
            let _closing = closing;
            serving.await;
        });
        self.connections.watch(id, activity, task.abort_handle());
    }

    /// Tells a client why it is not served, if not too many are being told already.
    fn refuse(&self, mut tcp: TcpStream, refused: Refused) {
        tracing::debug!(?refused, "connection refused");
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX {
            self.refusals.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let refusals = Arc::clone(&self.refusals);
        let text = if refused == Refused::Full { FULL } else { TOO_MANY };
        tokio::spawn(async move {
            let telling = async {
                tcp.write_all(text).await?;
                tcp.shutdown().await?;
                // Closing with bytes unread would reset the connection before the client read the answer.
                let mut unread = [0; 1024];
                while tcp.read(&mut unread).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(REFUSAL_TIMEOUT, telling).await;
            refusals.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// A listener of this worker.
struct Entrance {
    listener: TcpListener,
    secure: bool,
}

impl Entrance {
    fn open(door: Door) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::from_std(door.listener)?, secure: door.secure })
    }
}

/// The next connection of any, and whether it is to speak TLS. They are asked in turn, from `next` on, so that none waits for ever.
async fn accept(doors: &[Entrance], next: &mut usize) -> (io::Result<(TcpStream, SocketAddr)>, bool) {
    std::future::poll_fn(|cx| {
        let (before, from) = doors.split_at((*next).min(doors.len()));
        for door in from.iter().chain(before) {
            if let Poll::Ready(accepted) = door.listener.poll_accept(cx) {
                *next = (*next + 1) % doors.len();
                return Poll::Ready((accepted, door.secure));
            }
        }
        Poll::Pending
    })
    .await
}

/// Forgets a connection, however its task ends.
struct Closing {
    connections: Arc<Connections>,
    id: Id,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.connections.close(self.id);
    }
}
