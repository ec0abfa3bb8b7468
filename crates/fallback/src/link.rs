//! A connection to an origin over HTTP/1.1, and the body of an answer that comes over it.
//!
//! Whoever asks over it drives it, first the request and then whoever reads the body: an ordinary request needs no second task, and
//! nobody wakes anybody. Over HTTP/2, and for what is set apart, a task of its own does it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest};
use tokio::runtime::Handle;

use crate::body::Noted;
use crate::connect::Stream;
use crate::http1::Home;

/// See the module.
pub(crate) struct Link {
    sender: SendRequest<Noted>,
    driver: Driver,
    has_answered: bool,
    home: Home,
}

/// Who has a connection go on.
enum Driver {
    /// Whoever polls it here. Never locked: only its owner uses it, and a lock lets others refer to the owner.
    Here(Box<Mutex<Connection<Stream, Noted>>>),
    /// A task of its own.
    Task,
    /// It is over.
    Nobody,
}

impl Driver {
    /// Has the connection go on, if that is done here.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Here(connection) = self
            && let Poll::Ready(ended) = Pin::new(connection.get_mut().unwrap_or_else(PoisonError::into_inner)).poll(cx)
        {
            if let Err(cause) = ended {
                tracing::debug!(%cause, "a connection to an origin failed");
            }
            // Whoever waits for something of it hears of the end.
            *self = Self::Nobody;
        }
    }
}

impl Link {
    pub(crate) fn new((sender, connection): (SendRequest<Noted>, Connection<Stream, Noted>), home: Home) -> Self {
        Self { sender, driver: Driver::Here(Box::new(Mutex::new(connection))), has_answered: false, home }
    }

    /// Whether it has answered a request before.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether it may be used, as far as it is known here.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.driver, Driver::Nobody) && !self.sender.is_closed()
    }

    /// From now on it goes on by itself, and in whatever protocol both sides agree on.
    pub(crate) fn set_apart(&mut self) {
        if let Driver::Here(connection) = std::mem::replace(&mut self.driver, Driver::Task) {
            let connection = connection.into_inner().unwrap_or_else(PoisonError::into_inner);
            tokio::spawn(async move {
                if let Err(cause) = connection.with_upgrades().await {
                    tracing::debug!(%cause, "a connection to an origin failed");
                }
            });
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What broke; with the request, if nothing of it was sent.
    pub(crate) fn ask(
        &mut self,
        request: Request<Noted>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Noted>>>> {
        let Self { sender, driver, has_answered, .. } = self;
        let answer = sender.try_send_request(request);
        async move {
            let mut answer = pin!(answer);
            let answered = poll_fn(|cx| going_on(driver, cx, |cx| answer.as_mut().poll(cx))).await;
            *has_answered |= answered.is_ok();
            answered
        }
    }

    /// Whether nothing is left to be done of the last request.
    fn is_idle(&self) -> bool {
        self.is_open() && self.sender.is_ready()
    }

    /// Is there for other requests, if it is fit for any.
    fn rest(mut self: Box<Self>) {
        if !self.is_idle() {
            self.driver.poll(&mut Context::from_waker(Waker::noop()));
        }
        if self.is_idle() {
            return self.home.clone().take_in(self);
        }
        if let (Driver::Task, Ok(runtime)) = (&self.driver, Handle::try_current()) {
            runtime.spawn(async move {
                if self.sender.ready().await.is_ok() {
                    self.home.clone().take_in(self);
                }
            });
        }
    }
}

/// Has a connection go on, and then looks for what may have come of it.
fn going_on<T>(driver: &mut Driver, cx: &mut Context<'_>, look: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    match driver {
        Driver::Task => look(cx),
        Driver::Here(_) | Driver::Nobody => {
            driver.poll(cx);
            // Nothing comes but by polling it here.
            look(&mut Context::from_waker(Waker::noop()))
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("has_answered", &self.has_answered).finish_non_exhaustive()
    }
}

/// What comes of reading a part of a body.
type Frames = Option<Result<Frame<Bytes>, hyper::Error>>;

/// See the module. Dropped before its end, it takes the connection with it, unless little is left of it.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// There until it is dropped.
    body: Option<Incoming>,
    /// What was read ahead.
    ahead: Option<Box<Frames>>,
    /// What it comes over, until all has come; `None` if that is another task's affair.
    link: Option<Box<Link>>,
}

impl From<Incoming> for Arriving {
    fn from(body: Incoming) -> Self {
        Self { body: Some(body), ahead: None, link: None }
    }
}

impl Arriving {
    pub(crate) fn over(body: Incoming, link: Box<Link>) -> Self {
        let mut arriving = Self { body: Some(body), ahead: None, link: Some(link) };
        // A short one is all there.
        arriving.rest_if_over();
        arriving
    }

    /// All of it, if it is there in one part and its length was told.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        if self.link.is_some() || self.ahead.is_some() || self.size_hint().exact().is_none() {
            return None;
        }
        // Whoever reads on is told when there is more.
        let Poll::Ready(part) = Pin::new(self.body.as_mut()?).poll_frame(&mut Context::from_waker(Waker::noop()))
        else {
            return None;
        };
        match part {
            Some(Ok(frame)) if frame.is_data() && self.is_end_stream() => frame.into_data().ok(),
            part => {
                self.ahead = Some(Box::new(part));
                None
            }
        }
    }

    /// Gives the connection back if all has come over it.
    fn rest_if_over(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_idle()) {
            link.rest();
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Frames> {
        let this = self.get_mut();
        if let Some(part) = this.ahead.take() {
            return Poll::Ready(*part);
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let mut look = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
        let frame = match &mut this.link {
            None => look(cx),
            Some(link) => match look(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => going_on(&mut link.driver, cx, look),
                there => there,
            },
        };
        this.rest_if_over();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let ahead = match self.ahead.as_deref() {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        match (hint.exact(), ahead) {
            (_, 0) => hint,
            (Some(rest), ahead) => SizeHint::with_exact(rest.saturating_add(ahead)),
            (None, _) => SizeHint::default(),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // First, so that the connection learns that nobody wants the rest.
        self.body = None;
        if let Some(link) = self.link.take() {
            link.rest();
        }
    }
}
