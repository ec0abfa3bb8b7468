//! A member that lies, for the drill: its record is valid and its probe answers are signed, but every block that it hands
//! out is wrong in one bit. No node contains this; it is a process of the drill alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use atoll_core::keys::{AnswerKey, IdentityKey, OperatorKey};
use atoll_core::record::{Member, OperatorCertificate, ProbeAnswer, PurgeAnswer};
use atoll_core::transport::{Request as Message, Response as Reply, encode};
use atoll_core::{Cid, Multiaddr, Signed, SiteId, SystemClock, Transport};
use atoll_routing::{HttpConfig, HttpTransport, exchange};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How often it presents itself.
const ANNOUNCE: Duration = Duration::from_secs(1);
/// How long its record counts.
const LIFETIME: Duration = Duration::from_secs(3600);

struct Liar {
    identity: IdentityKey,
    transport: HttpTransport,
    honest: Vec<Multiaddr>,
}

/// Lies until it is killed. `gateways` are honest nodes, which it joins and whose bytes it twists.
pub(super) async fn run(gateways: &[String]) -> Result<()> {
    let honest = gateways.iter().map(|gateway| atoll_node::address::parse(gateway)).collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let identity = IdentityKey::generate()?;
    let now = SystemClock::now();
    let exp = now.after(LIFETIME).as_secs();
    let certificate = OperatorCertificate::issue(&OperatorKey::generate()?, "liar", &identity.peer_id(), exp);
    let mut member =
        Member::new(&identity, &AnswerKey::generate()?, certificate, &[atoll_node::address::of_socket(address)]);
    (member.seq, member.exp, member.free) = (now.as_millis(), exp, 1 << 40);
    let record = Signed::seal(member, &identity)?;
    let peer_id = identity.peer_id().to_string();
    println!("{}", serde_json::json!({ "peer_id": peer_id, "gateway": format!("http://{address}") }));
    let liar = Arc::new(Liar { identity, transport: HttpTransport::new(HttpConfig::default()), honest });
    tokio::spawn(announce(Arc::clone(&liar), record.bytes().clone()));
    loop {
        let (stream, _) = listener.accept().await?;
        let liar = Arc::clone(&liar);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let liar = Arc::clone(&liar);
                async move { Ok::<_, Infallible>(liar.answer(request).await.unwrap_or_else(|_| refuse())) }
            });
            // A connection that fails is no loss to anybody.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Presents itself to every honest node, again and again.
async fn announce(liar: Arc<Liar>, record: Bytes) {
    let message = Message::Announce { records: vec![serde_bytes::ByteBuf::from(record.to_vec())] };
    loop {
        for to in &liar.honest {
            let _ = liar.transport.request(to, &message).await;
        }
        tokio::time::sleep(ANNOUNCE).await;
    }
}

impl Liar {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Some(cid) = path.strip_prefix("/ipfs/") {
            let cid: Cid = cid.parse()?;
            let is_car = head.uri.query().is_some_and(|query| query.contains("format=car"));
            return Ok(Response::new(Full::new(self.wrong(&cid, is_car).await?)));
        }
        let body = http_body_util::Limited::new(body, atoll_core::transport::MESSAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let message = exchange::request_from(path, &body).context("another path")??;
        let reply = match message {
            Message::Records { epoch, since } => Reply::Records { epoch, next: since, records: vec![], more: false },
            Message::Announce { .. } => Reply::Announced { accepted: 0 },
            Message::Name { .. } => Reply::Name { record: Some(serde_bytes::ByteBuf::from(*b"a lie")) },
            Message::Names { .. } => Reply::Named { accepted: 0 },
            Message::Purged { nonce, site } => {
                let exp = SystemClock::now().after(Duration::from_secs(30)).as_secs();
                let answer = PurgeAnswer::new(nonce, exp, &SiteId(site), (u64::MAX, true));
                let answer = Signed::seal(answer, &self.identity)?;
                Reply::Purged { answer: serde_bytes::ByteBuf::from(answer.bytes().to_vec()) }
            }
            // The claim itself is a lie: it holds nothing.
            Message::Probe { nonce, roots } => {
                let exp = SystemClock::now().after(Duration::from_secs(30)).as_secs();
                let answer = Signed::seal(ProbeAnswer::new(nonce, exp, roots), &self.identity)?;
                Reply::Probe { answer: serde_bytes::ByteBuf::from(answer.bytes().to_vec()) }
            }
        };
        Ok(Response::new(Full::new(encode(&reply)?.into())))
    }

    /// The block, or a CAR of it alone, with one bit turned.
    async fn wrong(&self, cid: &Cid, is_car: bool) -> Result<Bytes> {
        let mut bytes = Vec::new();
        for from in &self.honest {
            if let Ok(block) = self.transport.block(from, cid).await {
                bytes = block.bytes().to_vec();
                break;
            }
        }
        match bytes.last_mut() {
            Some(last) => *last ^= 1,
            None => bytes.push(1),
        }
        if is_car {
            let mut car = atoll_core::car::encode_header(&[*cid])?.to_vec();
            car.extend_from_slice(&atoll_core::car::encode_section_prefix(cid, bytes.len()));
            car.append(&mut bytes);
            return Ok(car.into());
        }
        Ok(bytes.into())
    }
}

fn refuse() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
