//! Visitors who ask a node for one page after the other, over each protocol, as long as a test wants, and count what fails. They do what
//! clients may: a connection that the node says it leaves is left, and a request that it says it has not taken is made again.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use atoll_testkit::tls::Visitor;
use atoll_testkit::trial::until;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// What a visitor does between two requests: look at the page.
const LOOK: Duration = Duration::from_millis(2);

/// Where and for what is asked.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) plain: SocketAddr,
    pub(crate) secure: SocketAddr,
    pub(crate) visitor: Visitor,
    pub(crate) host: &'static str,
    pub(crate) paths: Vec<String>,
}

/// What became of the requests over one protocol.
#[derive(Default)]
pub(crate) struct Tally {
    served: AtomicU64,
    failed: AtomicU64,
    why: Mutex<Vec<String>>,
}

/// Visitors over each protocol.
pub(crate) struct Visits {
    tallies: Vec<(&'static str, Arc<Tally>)>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    http3: Option<Child>,
}

impl Tally {
    fn fail(&self, why: impl std::fmt::Debug) {
        self.failed.fetch_add(1, Ordering::SeqCst);
        self.why.lock().unwrap().push(format!("{why:?}"));
    }

    fn count(&self, answered: Result<StatusCode, String>) {
        match answered {
            Ok(StatusCode::OK) => drop(self.served.fetch_add(1, Ordering::SeqCst)),
            other => self.fail(other),
        }
    }
}

impl Visits {
    /// Begins, over HTTP/1.1 alone.
    pub(crate) fn plain(site: &Site) -> Self {
        let over = Arc::<AtomicBool>::default();
        let mut visits = Self { tallies: Vec::new(), over, threads: Vec::new(), http3: None };
        visits.spawn("HTTP/1.1", site, |site, tally, over| async move { http1(&site, &tally, &over, true).await });
        visits.spawn("connections", site, |site, tally, over| async move { http1(&site, &tally, &over, false).await });
        visits
    }

    /// Begins, with HTTP/3 too if somebody speaks that.
    pub(crate) fn begin(site: &Site, http3: Option<Command>) -> Self {
        let mut visits = Self::plain(site);
        visits.spawn("HTTP/2", site, |site, tally, over| async move { http2(&site, &tally, &over).await });
        if let Some(mut command) = http3 {
            let tally = Arc::<Tally>::default();
            visits.tallies.push(("HTTP/3", Arc::clone(&tally)));
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let told = BufReader::new(child.stdout.take().unwrap());
            visits.threads.push(std::thread::spawn(move || {
                for line in told.lines() {
                    let line = line.unwrap();
                    let (served, failed) = line.split_once(' ').unwrap();
                    tally.served.store(served.parse().unwrap(), Ordering::SeqCst);
                    tally.failed.store(failed.parse().unwrap(), Ordering::SeqCst);
                }
            }));
            visits.http3 = Some(child);
        }
        visits
    }

    /// Two of them.
    fn spawn<F: Future<Output = ()> + Send>(
        &mut self,
        name: &'static str,
        site: &Site,
        visit: impl Fn(Site, Arc<Tally>, Arc<AtomicBool>) -> F + Send + 'static,
    ) {
        let tally = Arc::<Tally>::default();
        self.tallies.push((name, Arc::clone(&tally)));
        let (site, over) = (site.clone(), Arc::clone(&self.over));
        self.threads.push(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::join!(visit(site.clone(), Arc::clone(&tally), Arc::clone(&over)), visit(site, tally, over))
            });
        }));
    }

    /// Waits until over each protocol so many more requests were served.
    pub(crate) fn more(&self, count: u64) {
        let now = |tally: &Tally| tally.served.load(Ordering::SeqCst);
        let before: Vec<_> = self.tallies.iter().map(|(_, tally)| now(tally)).collect();
        for ((name, tally), before) in self.tallies.iter().zip(before) {
            until(name, || now(tally) >= before + count);
        }
    }

    /// Ends; over each protocol, how many requests were served. None has failed.
    pub(crate) fn end(mut self) -> Vec<(&'static str, u64)> {
        self.over.store(true, Ordering::SeqCst);
        if let Some(child) = &mut self.http3 {
            drop(child.stdin.take());
        }
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        if let Some(child) = &mut self.http3 {
            assert!(child.wait().unwrap().success());
        }
        for (name, tally) in &self.tallies {
            let (served, failed) = (tally.served.load(Ordering::SeqCst), tally.failed.load(Ordering::SeqCst));
            println!("{name}: {served} served, {failed} failed");
            assert_eq!(failed, 0, "{name}: {:?}", tally.why.lock().unwrap());
        }
        self.tallies.iter().map(|(name, tally)| (*name, tally.served.load(Ordering::SeqCst))).collect()
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        if let Some(child) = &mut self.http3 {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// From an address of their own: others may have used up what one address may have.
async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 3], 0)))?;
    socket.connect(to).await
}

/// Over HTTP/1.1, with many requests on a connection or with one.
async fn http1(site: &Site, tally: &Tally, over: &AtomicBool, keep: bool) {
    let mut paths = site.paths.iter().cycle();
    while !over.load(Ordering::SeqCst) {
        let tcp = match connect(site.plain).await {
            Ok(tcp) => tcp,
            Err(error) => {
                tally.fail(error);
                continue;
            }
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        while sender.ready().await.is_ok() && !over.load(Ordering::SeqCst) {
            let request = Request::get(paths.next().unwrap()).header(HOST, site.host);
            let request = if keep { request } else { request.header("connection", "close") };
            let answered = match sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await {
                Ok(answer) => whole(answer).await,
                Err(error) => Err(format!("{error:?}")),
            };
            tally.count(answered);
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn http2(site: &Site, tally: &Tally, over: &AtomicBool) {
    let mut paths = site.paths.iter().cycle();
    let connector = TlsConnector::from(site.visitor.speaking(b"h2"));
    while !over.load(Ordering::SeqCst) {
        let connected = async {
            let tcp = connect(site.secure).await?;
            connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
        };
        let tls = match connected.await {
            Ok(tls) => tls,
            Err(error) => {
                tally.fail(error);
                continue;
            }
        };
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        while sender.ready().await.is_ok() && !over.load(Ordering::SeqCst) {
            let request = Request::get(format!("https://{}{}", site.host, paths.next().unwrap()));
            match sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await {
                Ok(answer) => tally.count(whole(answer).await),
                // It was not sent.
                Err(error) if error.is_canceled() => break,
                Err(error) => tally.fail(error),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn whole(answer: http::Response<hyper::body::Incoming>) -> Result<StatusCode, String> {
    let status = answer.status();
    answer.into_body().collect().await.map(|_| status).map_err(|error| format!("{error:?}"))
}
