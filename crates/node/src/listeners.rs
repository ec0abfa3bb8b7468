//! The node's own listeners, beside the public gateway: the CLI's socket, the operators', and Delegated Routing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use atoll_edge::{Passed, Server};
use atoll_pinning::Service;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::Ready;
use crate::config::{Config, Folder};
use crate::control::{self, Door};
use crate::delegated;
use crate::network::Network;
use crate::node::{Inner, NodeError, open_token};

/// Bound, not yet serving.
pub(crate) struct Listeners {
    socket: UnixListener,
    admin: TcpListener,
    door: Door,
    delegated: Vec<TcpListener>,
}

/// Sockets that another process passed on, and those that the next one is offered.
pub(crate) struct Sockets {
    pub(crate) passed: Passed,
    pub(crate) offered: Passed,
}

/// A listener that another process passed on, or one that is bound here; the next one is offered it.
pub(crate) async fn listen(setting: &str, address: SocketAddr, sockets: &mut Sockets) -> io::Result<TcpListener> {
    let name = format!("{setting} {address}");
    let listener = match sockets.passed.take_listener(&name) {
        Some(listener) => TcpListener::from_std(listener)?,
        None => TcpListener::bind(address).await?,
    };
    sockets.offered.add(&name, "", listener.as_fd().try_clone_to_owned()?);
    Ok(listener)
}

/// The CLI's socket, by the same rule.
async fn open_socket(path: &Path, sockets: &mut Sockets) -> io::Result<UnixListener> {
    let socket = match sockets.passed.take(SOCKET).pop() {
        Some(socket) => UnixListener::from_std(socket.descriptor.into())?,
        None => control::bind_socket(path).await?,
    };
    sockets.offered.add(SOCKET, "", socket.as_fd().try_clone_to_owned()?);
    Ok(socket)
}

/// What the CLI's socket is called among those that are passed on.
const SOCKET: &str = "node.sock";

impl Listeners {
    /// Binds all that are set.
    ///
    /// # Errors
    /// [`NodeError`] names the setting.
    pub(crate) async fn bind(folder: &Folder, config: &Config, sockets: &mut Sockets) -> Result<Self, NodeError> {
        let path = folder.socket();
        let socket = open_socket(&path, sockets).await.map_err(|error| NodeError::Socket(path, error))?;
        let admin = config.admin.listen;
        let bound = listen("admin.listen", admin, sockets).await;
        let admin = bound.map_err(|error| NodeError::Admin(admin, error))?;
        let mut delegated = Vec::new();
        for address in &config.delegated.listen {
            let bound = listen("delegated.listen", *address, sockets).await;
            delegated.push(bound.map_err(|error| NodeError::Delegated(*address, error))?);
        }
        let door = Door::admin(config.admin.hosts.clone(), &open_token(folder)?);
        Ok(Self { socket, admin, door, delegated })
    }

    /// What people are told of where the node serves.
    pub(crate) fn ready(
        &self,
        folder: &Folder,
        gateway: &Server,
        me: String,
        (network, pinning): (&Network, Option<&Service>),
    ) -> Ready {
        let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}"));
        let swarm = network.swarm.iter().flat_map(atoll_swarm::Swarm::addresses);
        Ready {
            ready: true,
            peer_id: me,
            gateway: format!("http://{}", gateway.local_addr()),
            secure: gateway.secure_addrs().iter().map(|address| format!("https://{address}")).collect(),
            http3: gateway.http3_addrs().iter().map(|address| format!("https://{address}")).collect(),
            admin: url(&self.admin).unwrap_or_default(),
            socket: folder.socket().to_string_lossy().into_owned(),
            swarm: swarm.map(|address| address.to_string()).collect(),
            delegated: self.delegated.iter().filter_map(|listener| url(listener).ok()).collect(),
            pinning: pinning.iter().flat_map(|service| service.snapshot().listen).collect(),
        }
    }

    /// Serves on all of them until `stop` changes.
    pub(crate) fn spawn(self, node: &Arc<Inner>, tasks: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        tasks.spawn(control::serve_socket(self.socket, Arc::clone(node), stop.clone()));
        tasks.spawn(control::serve_admin(self.admin, Arc::clone(node), self.door, stop.clone()));
        for listener in self.delegated {
            tasks.spawn(delegated::serve(listener, Arc::clone(node), stop.clone()));
        }
    }
}
