//! One process of a node takes over from another: the sockets on which it listens pass over the CLI's socket, and then what only one may
//! have at a time. A crash of the one that comes gives all back to the one that was there; one that hangs is ended.
//!
//! What is said, once the request for it has been answered with 101: the sockets, as a line of JSON and then the descriptors themselves
//! (`SCM_RIGHTS`); `ready` by the one that comes, whose settings are good; `yours` by the other, when it has let go of the folder;
//! `serving` by the first.

use std::io::{self, IoSlice, IoSliceMut, Read, Write as _};
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
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Where it is asked for, with this protocol.
pub(crate) const PATH: &str = "/v1/takeover";
pub(crate) const PROTOCOL: &str = "atoll-takeover-1";
/// Descriptors that pass at once; the system takes at most 253.
const BATCH: usize = 64;
/// The most sockets, and the longest line, in bytes.
const SOCKETS_MAX: usize = 8192;
const LINE_BYTES_MAX: usize = 4 << 20;
/// The longest line of a head or a few words, in bytes, and the most lines of a head.
const SHORT_BYTES_MAX: usize = 8 * 1024;
const HEAD_LINES_MAX: usize = 64;
/// The longest reason why a node does not want to, in bytes.
const REASON_BYTES_MAX: u64 = 64 * 1024;
/// How long the other process may take to say something that needs no work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the system may take to end a process, all its descriptors included.
const END_TIMEOUT: Duration = Duration::from_secs(10);

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
pub struct Successor {
    stream: UnixStream,
    /// What ends it, and never another process of the same number; `None` if it is not seen from here, as out of a container.
    process: Option<OwnedFd>,
}

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
        answered(&mut stream)?;
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
        match read_line(&mut self.0, SHORT_BYTES_MAX)?.as_str() {
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
    /// Wants to block. `id` is that of the other process, if the system told it.
    pub(crate) fn new(stream: UnixStream, id: Option<i32>) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let other = id.and_then(Pid::from_raw).filter(|id| *id != getpid());
        Ok(Self { stream, process: other.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) })
    }

    /// Passes the sockets, and waits until the other process can start. It blocks.
    pub(crate) fn offer(&mut self, passed: &Passed) -> Result<(), TakeoverError> {
        let sockets = passed.sockets();
        let said: Vec<_> = sockets.iter().map(|one| Said { name: one.name.clone(), note: one.note.clone() }).collect();
        writeln!(self.stream, "{}", serde_json::to_string(&said).map_err(io::Error::from)?)?;
        for batch in sockets.chunks(BATCH) {
            let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(|one| one.descriptor.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(&self.stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        }
        match read_line(&mut self.stream, SHORT_BYTES_MAX)?.as_str() {
            READY => Ok(()),
            other => Err(TakeoverError::Refused(other.to_owned())),
        }
    }

    /// Says that the folder can be had, and waits until the other process serves; `false` if it ended instead, or was ended because it
    /// took longer than `limit`. It blocks.
    pub(crate) fn is_in_charge(&mut self, limit: Duration) -> bool {
        let told = writeln!(self.stream, "{YOURS}").and_then(|()| self.stream.set_read_timeout(Some(limit)));
        match told.and_then(|()| read_line(&mut self.stream, SERVING.len() + 1)) {
            Ok(line) => line == SERVING,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.is_waited_for(limit)
            }
            Err(_) => false,
        }
    }

    /// Ends the other process, which hangs: it has the folder, so that nobody else can serve. One that cannot be ended from here is waited
    /// for as long as it lives.
    fn is_waited_for(&mut self, limit: Duration) -> bool {
        let ended = self.process.as_ref().map(|process| pidfd_send_signal(process, Signal::KILL));
        if matches!(ended, Some(Ok(()))) {
            tracing::error!(
                ?limit,
                "the process that was to take over did not serve in time (node.takeover_timeout), and is ended"
            );
            let gone = self.stream.set_read_timeout(Some(END_TIMEOUT));
            let _ = gone.and_then(|()| self.stream.read_to_end(&mut Vec::new()));
            return false;
        }
        tracing::error!(
            ?limit,
            "the process that is to take over does not serve in time (node.takeover_timeout), and cannot be ended from here: end it, and this one goes on"
        );
        let waits = self.stream.set_read_timeout(None);
        waits.and_then(|()| read_line(&mut self.stream, SERVING.len() + 1)).is_ok_and(|line| line == SERVING)
    }

    /// Says why not.
    pub(crate) fn refuse(&mut self, why: &str) {
        // Whoever is gone need not hear it.
        let _ = writeln!(self.stream, "{}", why.replace('\n', " "));
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

/// A line without its end, of fewer bytes than these. Nothing behind it is read.
fn read_line(stream: &mut impl Read, bytes_max: usize) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < bytes_max {
        stream.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into()),
            [byte] => line.push(byte),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// What a node answers to whom asks for its sockets, up to where they follow.
fn answered(stream: &mut impl Read) -> Result<(), TakeoverError> {
    let mut head = Vec::new();
    loop {
        let line = read_line(stream, SHORT_BYTES_MAX)?;
        if line.trim().is_empty() {
            break;
        }
        if head.len() == HEAD_LINES_MAX {
            return Err(TakeoverError::Stranger);
        }
        head.push(line);
    }
    if head.first().is_some_and(|status| status.contains(" 101 ")) {
        return Ok(());
    }
    Err(TakeoverError::Refused(refusal(&head, stream)))
}

/// What a node says that does not want to.
fn refusal(head: &[String], stream: &mut impl Read) -> String {
    let length = |line: &String| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    };
    let mut body = Vec::new();
    let len = head.iter().find_map(length).unwrap_or(0).min(REASON_BYTES_MAX);
    // What was said up to a broken end is said.
    let _ = stream.take(len).read_to_end(&mut body);
    let error = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let error = error.as_ref().and_then(|error| error.get("error")?.as_str());
    error.or(head.first().map(|line| line.trim())).unwrap_or("it hung up").to_owned()
}

/// What is said of all sockets.
fn announced(stream: &mut impl Read) -> Result<Vec<Said>, TakeoverError> {
    let line = read_line(stream, LINE_BYTES_MAX)?;
    let said: Vec<Said> = serde_json::from_str(&line).map_err(|_| TakeoverError::Stranger)?;
    if said.len() > SOCKETS_MAX { Err(TakeoverError::Stranger) } else { Ok(said) }
}

/// Reads what the other process says up to its sockets, for fuzzing.
///
/// # Panics
/// If more is taken than may be.
pub fn judge(mut bytes: &[u8]) {
    match answered(&mut bytes) {
        Ok(()) => assert!(announced(&mut bytes).map_or(0, |said| said.len()) <= SOCKETS_MAX),
        // What is no UTF-8 in it takes three bytes each.
        Err(TakeoverError::Refused(why)) => assert!(why.len() as u64 <= 3 * REASON_BYTES_MAX),
        Err(_) => {}
    }
}

fn receive(stream: &mut UnixStream) -> Result<Passed, TakeoverError> {
    let said = announced(stream)?;
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
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn sockets_pass_with_their_names_and_go_on_listening() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut successor = Successor::new(here, None).unwrap();
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
        let mut successor = Successor::new(here, None).unwrap();
        drop(there);
        assert!(!successor.is_in_charge(LIMIT));
        let (here, mut there) = UnixStream::pair().unwrap();
        writeln!(there, "{SERVING}").unwrap();
        assert!(Successor::new(here, None).unwrap().is_in_charge(LIMIT));
        // What only looks like one that can be taken over from.
        let (mut here, mut there) = UnixStream::pair().unwrap();
        writeln!(there, "[{{\"name\":\"x\",\"note\":\"\"}}]x").unwrap();
        assert!(matches!(receive(&mut here), Err(TakeoverError::Stranger)));
    }

    #[test]
    fn who_hangs_is_ended_and_who_cannot_be_is_waited_for() {
        let short = Duration::from_millis(50);
        let (here, there) = UnixStream::pair().unwrap();
        // It holds the other end, and says nothing.
        let mut hangs = Command::new("sleep").arg("600").stdin(OwnedFd::from(there)).spawn().unwrap();
        let mut successor = Successor::new(here, i32::try_from(hangs.id()).ok()).unwrap();
        assert!(!successor.is_in_charge(short));
        assert_eq!(hangs.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
        // This process does not end itself.
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut successor = Successor::new(here, i32::try_from(std::process::id()).ok()).unwrap();
        writeln!(there, "{SERVING}").unwrap();
        assert!(successor.is_waited_for(short));
    }

    #[test]
    fn a_stranger_may_say_so_much_and_no_more() {
        let said = |text: &str| answered(&mut text.as_bytes());
        assert!(said("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").is_ok());
        let refused = said("HTTP/1.1 503 x\r\nContent-Length: 17\r\n\r\n{\"error\":\"busy.\"}").unwrap_err();
        assert_eq!(refused.to_string(), "the node that runs goes on: busy.");
        assert!(matches!(said(&"a: b\r\n".repeat(HEAD_LINES_MAX + 1)), Err(TakeoverError::Stranger)));
        assert!(matches!(said(&"a".repeat(SHORT_BYTES_MAX)), Err(TakeoverError::Lost(_))));
        let many = format!("[{}]\n", vec!["{\"name\":\"\",\"note\":\"\"}"; SOCKETS_MAX + 1].join(","));
        assert!(matches!(announced(&mut many.as_bytes()), Err(TakeoverError::Stranger)));
    }
}
