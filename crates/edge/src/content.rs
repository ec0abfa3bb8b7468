//! The content steps of a request: resolve, then a file, a listing, a block or a CAR. Each waits for a limited time.

use std::sync::Arc;
use std::time::Duration;

use atoll_content::ReadError;
use atoll_content::reader::{Kind, Resolved, read, read_cached, resolve, resolve_cached};
use atoll_core::site::{Found, INDEX};
use atoll_core::{Blocks, Cid, FetchError, NameError, Subject};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, header};
use tokio::time::timeout;

use crate::body::Body;
use crate::failure::{Failure, Step};
use crate::gateway::Gateway;
use crate::negotiate::{Format, Wanted};
use crate::respond::file::Part;
use crate::respond::{self, Described, insert, mime, modified, redirect};
use crate::route::{ContentPath, Site, Target};
use crate::timing::Timing;

mod car;
mod data;
mod earlier;
mod keep;
mod listing;
mod proof;
mod said;
mod site;
mod tar;

/// The type of a symlink, whose content is its target (Path Gateway, "Symlinks").
const SYMLINK: HeaderValue = HeaderValue::from_static("inode/symlink");
/// How long each step took (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const RAW: HeaderValue = HeaderValue::from_static("application/vnd.ipld.raw");

/// Answers a request for content.
pub(crate) async fn answer(gateway: &Gateway, target: Target, request: &Parts) -> Result<Response<Body>, Failure> {
    let wanted = Wanted::parse(request.uri.query(), &request.headers)?;
    if wanted.format == Format::IpnsRecord {
        return record(gateway, &target, request, &wanted).await;
    }
    let timing = Timing::default();
    let path = locate(gateway, target, &timing).await?;
    read_from(gateway, path, request, wanted, timing).await
}

/// Answers a request to a host that is a site's own domain if its DNSLink says so, and a path gateway otherwise.
pub(crate) async fn answer_domain(
    gateway: &Gateway,
    site: Target,
    otherwise: Result<Target, Failure>,
    request: &Parts,
) -> Result<Response<Body>, Failure> {
    let timing = Timing::default();
    match locate(gateway, site, &timing).await {
        Ok(path) => {
            let wanted = Wanted::parse(request.uri.query(), &request.headers)?;
            read_from(gateway, path, request, wanted, timing).await
        }
        Err(Failure::Name(NameError::NotFound(_) | NameError::Malformed(_))) => {
            answer(gateway, otherwise?, request).await
        }
        Err(failure) => Err(failure),
    }
}

/// Finds out what the name of a site points at.
async fn locate(gateway: &Gateway, target: Target, timing: &Timing) -> Result<ContentPath, Failure> {
    let name = match &target.site {
        Site::Root(root) => {
            let root = *root;
            return Ok(target.at(root, None));
        }
        Site::Name(name) => name,
    };
    check_name(gateway, name, &target.segments)?;
    let names = &gateway.services.names;
    let resolution = match names.cached(name) {
        Some(resolution) => resolution,
        None => {
            let limit = gateway.timeouts.resolve;
            let late = |_| Failure::TimedOut { step: Step::Name, limit };
            timing.of(Step::Name, timeout(limit, names.resolve(name))).await.map_err(late)??
        }
    };
    resolution.via.iter().try_for_each(|name| check_name(gateway, name, &[]))?;
    Ok(target.at(resolution.root, Some(resolution)))
}

/// Whether a name, or a path below it, may be shown at all.
fn check_name(gateway: &Gateway, name: &str, segments: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let denied = gateway.services.deny.decide(Subject::Name { name, names: &names });
    denied.map_or(Ok(()), |denied| Err(Failure::Denied(denied)))
}

/// The record of a name as it was signed.
async fn record(
    gateway: &Gateway,
    target: &Target,
    request: &Parts,
    wanted: &Wanted,
) -> Result<Response<Body>, Failure> {
    let Site::Name(name) = &target.site else { return Err(Failure::NoRecord) };
    if name.contains('.') || !target.segments.is_empty() {
        return Err(Failure::NoRecord);
    }
    check_name(gateway, name, &[])?;
    let limit = gateway.timeouts.resolve;
    let late = |_| Failure::TimedOut { step: Step::Name, limit };
    let record = timeout(limit, gateway.services.names.record(name)).await.map_err(late)??;
    Ok(respond::record::respond(&request.headers, &record, wanted))
}

async fn read_from(
    gateway: &Gateway,
    path: ContentPath,
    request: &Parts,
    wanted: Wanted,
    timing: Timing,
) -> Result<Response<Body>, Failure> {
    check_service_worker(&path, request)?;
    let held_only = only_if_cached(request);
    let blocks = if held_only { &gateway.services.local } else { &gateway.services.blocks };
    let deny_version = gateway.services.deny.version();
    let reading = Reading { gateway, blocks, path: &path, request, wanted, timing, deny_version };
    let answered = reading.answer().await;
    match answered {
        Err(Failure::Read { cause: ReadError::Fetch(FetchError::NotFound(_) | FetchError::NotAllowed(_)), .. })
            if held_only =>
        {
            Err(Failure::OnlyIfCached)
        }
        Ok(mut response) => {
            if let Some(timing) = reading.timing.header().filter(|_| gateway.server_timing) {
                response.headers_mut().insert(SERVER_TIMING, timing);
            }
            Ok(response)
        }
        Err(failure) => Err(failure),
    }
}

/// One request for content.
struct Reading<'a> {
    gateway: &'a Gateway,
    blocks: &'a Arc<dyn Blocks>,
    path: &'a ContentPath,
    request: &'a Parts,
    wanted: Wanted,
    timing: Timing,
    /// The version of what is denied, as of before anything was looked at.
    deny_version: u64,
}

impl Reading<'_> {
    async fn answer(&self) -> Result<Response<Body>, Failure> {
        let way: Vec<&str> = self.path.way().collect();
        if self.wanted.format == Format::Proof {
            self.check_path(&self.path.root, &way)?;
            return self.proof();
        }
        let resolved = match self.resolve(&way).await {
            Err(Failure::Read { cause, .. }) if self.wants_car() && cause.is_absence() => {
                return self.absence(&way).await;
            }
            Err(failure) if self.wanted.format == Format::UnixFs && site::is_absence(&failure) => {
                return match self.earlier().await {
                    Some(response) => Ok(response),
                    None => self.absent(failure).await,
                };
            }
            resolved => resolved?,
        };
        if resolved.inside > 0 && !self.wants_car() {
            return Err(Failure::InsideBlock);
        }
        match self.wanted.format {
            Format::Raw => Ok(self.block(&resolved)),
            Format::Car(selection) => self.car(&resolved, selection).await,
            Format::Tar => self.tar(&resolved).await,
            Format::Data(format) => self.data(&resolved, format).await,
            // Answered before anything was looked up.
            Format::IpnsRecord => Err(Failure::NoRecord),
            Format::Proof => Err(Failure::NoProof),
            Format::UnixFs => self.shown(&resolved).await,
        }
    }

    /// What a browser is shown.
    async fn shown(&self, resolved: &Resolved) -> Result<Response<Body>, Failure> {
        match resolved.kind {
            Kind::File { .. } => self.file(resolved, resolved, self.path.name()).await,
            Kind::Directory { .. } => self.directory(resolved).await,
            Kind::Symlink { ref target } => Ok(self.symlink(resolved, target)),
            _ => self.data_shown(resolved),
        }
    }

    async fn resolve(&self, segments: &[&str]) -> Result<Resolved, Failure> {
        self.resolve_in(&self.path.root, segments).await
    }

    async fn resolve_in(&self, root: &Cid, segments: &[&str]) -> Result<Resolved, Failure> {
        self.check_path(root, segments)?;
        let resolved = match resolve_cached(&**self.blocks, root, segments) {
            Some(resolved) => resolved.map_err(Failure::reading(Step::Resolve))?,
            None => {
                let resolved = resolve(&**self.blocks, root, segments);
                self.within(self.gateway.timeouts.resolve, Step::Resolve, resolved).await?
            }
        };
        // A folder around what is denied does not make it another thing. In IPLD data names and links do not go in step.
        if resolved.roots.len() == segments.len().saturating_add(1) {
            for (at, root) in resolved.roots.iter().enumerate().skip(1) {
                self.check_path(root, segments.get(at..).unwrap_or_default())?;
            }
        }
        Ok(resolved)
    }

    /// Whether a path may be shown at all.
    fn check_path(&self, root: &Cid, names: &[&str]) -> Result<(), Failure> {
        let denied = self.gateway.services.deny.decide(Subject::Path { root, names });
        denied.map_or(Ok(()), |denied| Err(Failure::Denied(denied)))
    }

    /// A file, which `shown` stands for: itself, or the directory whose index it is.
    async fn file(&self, file: &Resolved, shown: &Resolved, name: Option<&str>) -> Result<Response<Body>, Failure> {
        let mut described = self.describe(file, shown, name).await?;
        let found = if shown.is_directory() { Found::Directory { index: true } } else { Found::File };
        let edits = self.edit(&mut described, found).await?;
        described.said = self.said_of_file(&described.headers, &edits);
        self.send(file, described).await
    }

    async fn describe(&self, file: &Resolved, shown: &Resolved, name: Option<&str>) -> Result<Described, Failure> {
        let Kind::File { len } = file.kind else { return Err(Failure::Codec(file.cid.codec())) };
        let name = self.wanted.filename.as_deref().or(name);
        let content_type = match name.and_then(mime::by_name) {
            Some(known) => known,
            None => mime::by_content(&self.start(file).await?),
        };
        let mut described = self.described(shown, &format!("\"{}\"", shown.cid), content_type, len);
        modified::set(&mut described.headers, &file.meta);
        Ok(described)
    }

    /// The first bytes of a file, for what its name does not tell.
    async fn start(&self, file: &Resolved) -> Result<Bytes, Failure> {
        let range = 0..mime::SNIFF_BYTES;
        if let Some(parts) = read_cached(&**self.blocks, file, range.clone(), mime::SNIFF_BYTES) {
            return parts.map(|parts| parts.concat().into()).map_err(Failure::reading(Step::Read));
        }
        let stream = read(Arc::clone(self.blocks), file, range).map_err(Failure::reading(Step::Read))?;
        let (first, _) = self.first(stream).await?;
        Ok(first.unwrap_or_default())
    }

    async fn send(&self, file: &Resolved, described: Described) -> Result<Response<Body>, Failure> {
        let part = described.part(&self.request.headers);
        let keep = part == Part::Whole;
        self.send_part(file, described, part, keep).await
    }

    /// Sends a part of a file, and may keep the answer for plain requests to come.
    async fn send_part(
        &self,
        file: &Resolved,
        described: Described,
        part: Part,
        keep: bool,
    ) -> Result<Response<Body>, Failure> {
        let range = match &part {
            Part::NotModified | Part::Unsatisfiable => return Ok(described.respond(&part, Body::empty())),
            Part::Whole => 0..described.len,
            Part::Range(range) => range.clone(),
        };
        let said = described.said.clone().filter(|_| part == Part::Whole);
        if self.request.method == Method::HEAD {
            let mut response = described.respond(&part, Body::empty());
            said::attach(&mut response, said);
            return Ok(response);
        }
        let in_memory = self.gateway.hot.body_bytes_max().max(mime::SNIFF_BYTES);
        if let Some(parts) = read_cached(&**self.blocks, file, range.clone(), in_memory) {
            let parts = parts.map_err(Failure::reading(Step::Read))?;
            let mut response = described.respond(&part, Body::whole(parts.iter().cloned()));
            said::attach(&mut response, said);
            if keep {
                self.keep(described, parts);
            }
            return Ok(response);
        }
        let len = range.end.saturating_sub(range.start);
        let stream = read(Arc::clone(self.blocks), file, range).map_err(Failure::reading(Step::Read))?;
        let mut response = described.respond(&part, self.body(stream, Some(len)).await?);
        said::attach(&mut response, said);
        Ok(response)
    }

    async fn directory(&self, directory: &Resolved) -> Result<Response<Body>, Failure> {
        if !self.path.slash {
            return Ok(self.redirect(redirect::to_slash(self.path, self.request.uri.query())));
        }
        let index: Vec<&str> = self.path.way().chain([INDEX]).collect();
        match self.resolve(&index).await {
            Ok(file) if matches!(file.kind, Kind::File { .. }) => self.file(&file, directory, Some(INDEX)).await,
            Ok(_) | Err(Failure::Read { cause: ReadError::NoEntry { .. }, .. }) => self.listing(directory).await,
            Err(failure) => Err(failure),
        }
    }

    fn symlink(&self, resolved: &Resolved, target: &Bytes) -> Response<Body> {
        let etag = format!("\"{}\"", resolved.cid);
        let described = self.described(resolved, &etag, SYMLINK, target.len() as u64);
        described.respond_from(&self.request.headers, std::slice::from_ref(target))
    }

    fn block(&self, resolved: &Resolved) -> Response<Body> {
        let etag = format!("\"{}.raw\"", resolved.cid);
        let mut described = self.described(resolved, &etag, RAW, resolved.bytes.len() as u64);
        let name = format!("{}.bin", resolved.cid);
        if let Some(value) = respond::disposition(&self.wanted, Some(name)) {
            described.headers.insert(header::CONTENT_DISPOSITION, value);
        }
        self.locate(&mut described.headers, "raw");
        described.respond_from(&self.request.headers, std::slice::from_ref(&resolved.bytes))
    }

    fn described(&self, shown: &Resolved, etag: &str, content_type: HeaderValue, len: u64) -> Described {
        let mut headers = respond::content_headers(self.path, shown);
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, respond::cache_control(self.path));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // CIDs are ASCII without quotes, so this is always a tag.
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
        if let Some(value) = respond::disposition(&self.wanted, None) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
        Described::new(headers, etag, len)
    }

    /// Says under which URL the form that `Accept` had a say in is found (IPIP-523), for caches that know only URLs.
    fn locate(&self, headers: &mut http::HeaderMap, format: &str) {
        if self.wanted.by_accept || self.wanted.contested {
            let chosen = format!("format={format}");
            let chosen = self.wanted.by_accept.then_some(chosen.as_str());
            let parameters =
                self.request.uri.query().into_iter().chain(chosen).chain(self.wanted.details.iter().copied());
            let query = parameters.collect::<Vec<_>>().join("&");
            insert(headers, header::CONTENT_LOCATION, format!("{}?{query}", self.path.link()));
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
    }

    /// A body whose first part is there, so that a failure before it still has its own status.
    async fn body<S>(&self, stream: S, len: Option<u64>) -> Result<Body, Failure>
    where
        S: Stream<Item = Result<Bytes, ReadError>> + Send + Unpin + 'static,
    {
        let (first, rest) = self.first(stream).await?;
        let parts = stream::iter(first.map(Ok)).chain(rest);
        Ok(Body::stream(Box::pin(parts), len, self.gateway.timeouts.chunk))
    }

    async fn first<S>(&self, mut stream: S) -> Result<(Option<Bytes>, S), Failure>
    where
        S: Stream<Item = Result<Bytes, ReadError>> + Send + Unpin + 'static,
    {
        let first = async { stream.next().await.transpose() };
        let first = self.within(self.gateway.timeouts.first_byte, Step::Read, first).await?;
        Ok((first, stream))
    }

    /// Waits for a step no longer than `limit`.
    async fn within<T>(
        &self,
        limit: Duration,
        step: Step,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, Failure> {
        self.timing.of(step, within(limit, step, work)).await
    }
}

/// Waits no longer than `limit`.
async fn within<T>(
    limit: Duration,
    step: Step,
    work: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, Failure> {
    let late = |_| Failure::TimedOut { step, limit };
    timeout(limit, work).await.map_err(late)?.map_err(Failure::reading(step))
}

/// A worker at the root of a path gateway would control all content of the gateway (Path Gateway, "Service-Worker").
fn check_service_worker(path: &ContentPath, request: &Parts) -> Result<(), Failure> {
    let scoped = path.is_isolated() || path.slash || !path.segments.is_empty();
    let script = request.headers.get("service-worker").is_some_and(|value| value == "script");
    if script && !scoped { Err(Failure::ServiceWorker) } else { Ok(()) }
}

fn only_if_cached(request: &Parts) -> bool {
    let values = request.headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
}
