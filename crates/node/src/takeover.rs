//! One process of a node takes over from another: the sockets on which it listens pass over the CLI's socket, and then what only one may
//! have at a time. A crash of the one that comes gives all back to the one that was there.
//!
//! What is said, once the request for it has been answered with 101: the sockets, as a line of JSON and then the descriptors themselves
//! (`SCM_RIGHTS`); `ready` by the one that comes, whose settings are good; `yours` by the other, when it has let go of the folder;
//! `serving` by the first.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use atoll_edge::Passed;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// Where it is asked for, with this protocol.
pub(crate) const PATH: &str = "/v1/takeover";
pub(crate) const PROTOCOL: &str = "atoll-takeover-1";
/// Descriptors that pass at once; the system takes at most 253.
const BATCH: usize = 64;
/// The most sockets, and the longest line, in bytes.
const SOCKETS_MAX: usize = 8192;
const LINE_BYTES_MAX: usize = 4 << 20;
/// How long the other process may take to say something that needs no work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const READY: &str = "ready";
const YOURS: &str = "yours";
const SERVING: &str = "serving";

/// What is said of a socket.
#[derive(Serialize, Deserialize)]
struct Said {
    name: String,
    note: String,
}

/// The process that has the node, as the one sees it that comes.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

/// The process that comes, as the other one sees it.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Predecessor {
    /// Asks the node of which `socket` is the CLI's for its sockets; `None` if none runs. It blocks.
    ///
    /// # Errors
    /// [`TakeoverError`]; that node goes on as before.
    pub fn ask(socket: &Path) -> Result<Option<(Self, Passed)>, TakeoverError> {
        let Ok(mut stream) = UnixStream::connect(socket) else { return Ok(None) };
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        write!(
            stream,
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
        )?;
        let mut head = Vec::new();
        loop {
            let line = read_line(&mut stream)?;
            if line.trim().is_empty() {
                break;
            }
            head.push(line);
        }
        if !head.first().is_some_and(|status| status.contains(" 101 ")) {
            return Err(TakeoverError::Refused(refusal(&head, &mut stream)));
        }
        let passed = receive(&mut stream)?;
        Ok(Some((Self(stream), passed)))
    }

    /// Says that this process can start, and waits until the other one has let go. It blocks.
    ///
    /// # Errors
    /// [`TakeoverError`]; that node goes on as before.
    pub fn wait(&mut self) -> Result<(), TakeoverError> {
        writeln!(self.0, "{READY}")?;
        // It may have to write much first.
        self.0.set_read_timeout(None)?;
        match read_line(&mut self.0)?.as_str() {
            YOURS => Ok(()),
            why => Err(TakeoverError::Refused(why.to_owned())),
        }
    }

    /// Says that this process serves; the other one ends once its connections have.
    ///
    /// # Errors
    /// That of the system.
    pub fn serving(&mut self) -> io::Result<()> {
        writeln!(self.0, "{SERVING}")
    }

    /// Waits until that has ended. It blocks.
    pub(crate) fn ended(mut self) {
        // However it does.
        let _ = self.0.read_to_end(&mut Vec::new());
    }
}

impl Successor {
    /// Wants to block.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(stream))
    }

    /// Passes the sockets, and waits until the other process can start. It blocks.
    pub(crate) fn offer(&mut self, passed: &Passed) -> Result<(), TakeoverError> {
        let sockets = passed.sockets();
        let said: Vec<_> = sockets.iter().map(|one| Said { name: one.name.clone(), note: one.note.clone() }).collect();
        writeln!(self.0, "{}", serde_json::to_string(&said).map_err(io::Error::from)?)?;
        for batch in sockets.chunks(BATCH) {
            let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(|one| one.descriptor.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(&self.0, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        }
        match read_line(&mut self.0)?.as_str() {
            READY => Ok(()),
            other => Err(TakeoverError::Refused(other.to_owned())),
        }
    }

    /// Says that the folder can be had, and waits until the other process serves; `false` if it ended instead. It blocks.
    pub(crate) fn is_in_charge(&mut self) -> bool {
        let told = writeln!(self.0, "{YOURS}").and_then(|()| self.0.set_read_timeout(None));
        told.is_ok() && read_line(&mut self.0).is_ok_and(|line| line == SERVING)
    }

    /// Says why not.
    pub(crate) fn refuse(&mut self, why: &str) {
        // Whoever is gone need not hear it.
        let _ = writeln!(self.0, "{}", why.replace('\n', " "));
    }
}

/// Why no process takes over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeoverError {
    /// The other process does not want to.
    #[error("the node that runs goes on: {0}")]
    Refused(String),
    /// The other process is gone, or says nothing.
    #[error("the other process of this node is gone, or hangs: {0}")]
    Lost(#[from] io::Error),
    /// Something else listens there.
    #[error("what listens on this node's socket is none that can be taken over from: stop it, then start")]
    Stranger,
}

/// A line without its end. Nothing behind it is read.
fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LINE_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into()),
            [byte] => line.push(byte),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// What a node says that does not want to.
fn refusal(head: &[String], stream: &mut UnixStream) -> String {
    let length = |line: &String| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    };
    let mut body = Vec::new();
    let len = head.iter().find_map(length).unwrap_or(0).min(64 * 1024);
    // What was said up to a broken end is said.
    let _ = stream.take(len).read_to_end(&mut body);
    let error = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let error = error.as_ref().and_then(|error| error.get("error")?.as_str());
    error.or(head.first().map(|line| line.trim())).unwrap_or("it hung up").to_owned()
}

fn receive(stream: &mut UnixStream) -> Result<Passed, TakeoverError> {
    let line = read_line(stream)?;
    let said: Vec<Said> = serde_json::from_str(&line).map_err(|_| TakeoverError::Stranger)?;
    if said.len() > SOCKETS_MAX {
        return Err(TakeoverError::Stranger);
    }
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    while descriptors.len() < said.len() {
        let before = descriptors.len();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&*stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).map_err(io::Error::from)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if descriptors.len() == before {
            return Err(TakeoverError::Stranger);
        }
    }
    let mut passed = Passed::default();
    for (Said { name, note }, descriptor) in said.into_iter().zip(descriptors) {
        passed.add(&name, &note, descriptor);
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_pass_with_their_names_and_go_on_listening() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut successor = Successor::new(here).unwrap();
        let listeners: Vec<_> = (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let mut passed = Passed::default();
        for (number, listener) in listeners.into_iter().enumerate() {
            passed.add(&format!("number {number}"), "", listener);
        }
        let takes = std::thread::spawn(move || {
            let passed = receive(&mut there).unwrap();
            Predecessor(there).wait().map(|()| passed)
        });
        successor.offer(&passed).unwrap();
        drop(passed);
        let connected = TcpStream::connect(addresses[140]).unwrap();
        successor.refuse("not\nnow");
        assert_eq!(takes.join().unwrap().unwrap_err().to_string(), "the node that runs goes on: not now");
        drop(connected);
    }

    #[test]
    fn who_hangs_up_is_not_in_charge() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut successor = Successor::new(here).unwrap();
        drop(there);
        assert!(!successor.is_in_charge());
        let (here, mut there) = UnixStream::pair().unwrap();
        writeln!(there, "{SERVING}").unwrap();
        assert!(Successor::new(here).unwrap().is_in_charge());
        // What only looks like one that can be taken over from.
        let (mut here, mut there) = UnixStream::pair().unwrap();
        writeln!(there, "[{{\"name\":\"x\",\"note\":\"\"}}]x").unwrap();
        assert!(matches!(receive(&mut here), Err(TakeoverError::Stranger)));
    }
}
