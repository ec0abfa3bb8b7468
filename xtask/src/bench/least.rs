//! A server that does the least: it waits for the end of a request's head, writes a head, and has the kernel send the file
//! (`sendfile(2)`). What it reaches is what the machine and the client allow any server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};

/// Serves a folder's files with the least effort; the bench starts it as a process of its own.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    folder: PathBuf,
}

/// What is sent for a path.
struct Answer {
    head: Vec<u8>,
    file: File,
    len: u64,
}

struct Connection<'a> {
    tcp: TcpStream,
    /// The answer that is being sent, how much of its head is, and how much of its file.
    sending: Option<(&'a Answer, usize, u64)>,
}

/// Names the listener among what is waited for; connections count from 1.
const LISTENER: u64 = 0;
/// A request's head is taken whole from one read, which is enough for wrk's.
const HEAD_BYTES_MAX: usize = 4096;

/// Serves until it is killed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut answers = HashMap::new();
    for entry in std::fs::read_dir(&options.folder)? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().context("a file without a name")?.to_string_lossy().into_owned();
            let file = File::open(&path)?;
            let len = file.metadata()?.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").into_bytes();
            answers.insert(name, Answer { head, file, len });
        }
    }
    let listener = TcpListener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(|| serve(&listener, &answers))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a serving thread panicked"))?)
    })?;
    Ok(true)
}

fn serve(listener: &TcpListener, answers: &HashMap<String, Answer>) -> Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::EXCLUSIVE)?;
    let mut connections = HashMap::new();
    let mut last = LISTENER;
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                let Ok((tcp, _)) = listener.accept() else { continue };
                tcp.set_nonblocking(true)?;
                tcp.set_nodelay(true)?;
                last += 1;
                epoll::add(&poll, &tcp, EventData::new_u64(last), EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
                connections.insert(last, Connection { tcp, sending: None });
            } else if connections.get_mut(&id).is_some_and(|connection| !connection.go_on(answers)) {
                connections.remove(&id);
            }
        }
    }
}

impl<'a> Connection<'a> {
    /// Reads and sends for as long as nothing must be waited for; `false` when the connection is over.
    fn go_on(&mut self, answers: &'a HashMap<String, Answer>) -> bool {
        loop {
            let done = match &mut self.sending {
                None => self.ask(answers),
                Some(sending) => send_more(&self.tcp, sending).map(|over| {
                    if over {
                        self.sending = None;
                    }
                    true
                }),
            };
            match done {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Reads a request; `false` at the end, and for what it cannot answer.
    fn ask(&mut self, answers: &'a HashMap<String, Answer>) -> std::io::Result<bool> {
        let mut head = [0; HEAD_BYTES_MAX];
        let len = self.tcp.read(&mut head)?;
        let head = String::from_utf8_lossy(&head[..len]);
        let name = head.strip_prefix("GET /").and_then(|rest| rest.split(' ').next());
        let answer = name.filter(|_| head.ends_with("\r\n\r\n")).and_then(|name| answers.get(name));
        self.sending = answer.map(|answer| (answer, 0, 0));
        Ok(self.sending.is_some())
    }
}

/// Sends what the socket takes; whether that was the rest.
fn send_more(tcp: &TcpStream, (answer, head, sent): &mut (&Answer, usize, u64)) -> std::io::Result<bool> {
    if *head < answer.head.len() {
        *head += send(tcp, &answer.head[*head..], SendFlags::MORE | SendFlags::NOSIGNAL)?;
        return Ok(false);
    }
    let rest = usize::try_from(answer.len - *sent).unwrap_or(usize::MAX);
    // Moves `sent` on by as much.
    sendfile(tcp, &answer.file, Some(sent), rest)?;
    Ok(*sent == answer.len)
}
