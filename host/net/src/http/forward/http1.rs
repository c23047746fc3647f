//! A connection of HTTP/1.1: it answers one request at a time, and waits for the next in between.
//!
//! ```text
//! opened ─▶ leased ─▶ given back ─▶ kept ─▶ leased ...
//!              └ not given back       └ `keep_timeout`, or the upstream: closed
//! ```
//! The task of a request polls its connection itself, so that a request and its response pass from the
//! client's connection to the upstream's and back without another task between. One that sends while its
//! response is read, or that goes on in another protocol, has its connection driven by a task: its
//! directions must not wait for each other. Nothing runs for one that is kept: its upkeep polls it when the
//! upstream says or closes something, and closes it after `keep_timeout`.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use postern_system::clock;
use tokio::{
    sync::{Notify, oneshot},
    time::sleep_until,
};
use tracing::debug;

use super::{
    connections::{Connections, OpenConnection},
    heads::{HeadReader, ResponseHeads},
    request_body::RequestBody,
    signal::Signal,
};
use crate::{http::head::HEAD_BYTES_MAX, link::StreamLink};

type Http1Sender = http1::SendRequest<RequestBody>;
type Http1Connection = http1::Connection<TokioIo<HeadReader<Box<dyn StreamLink>>>, RequestBody>;

/// A connection without a request. Dropping it closes the connection.
pub(super) struct FreeHttp1 {
    sender: Http1Sender,
    polled: Polled,
    held: HeldHttp1,
    /// When it is closed for want of a request.
    pub(super) kept_until: Instant,
}

/// Connections with one address that have no request.
#[derive(Default)]
pub(super) struct KeptConnections {
    list: Mutex<KeptList>,
    upkeep: Arc<Notify>,
}

#[derive(Default)]
struct KeptList {
    /// The last used at the end.
    free: Vec<FreeHttp1>,
    /// The upkeep has a timer.
    is_timed: bool,
}

/// A connection with a request. Dropping it closes the connection, whatever is under way.
pub(super) struct Http1Lease {
    sender: Http1Sender,
    driver: Http1Driver,
    held: HeldHttp1,
    pub(super) is_reused: bool,
}

/// What goes with a connection wherever it is.
#[derive(Clone)]
struct HeldHttp1 {
    heads: Arc<ResponseHeads>,
    _open: Arc<OpenConnection>,
}

/// Who polls a connection that has a request.
enum Http1Driver {
    /// Whoever waits for the response.
    Caller(Polled),
    /// A task, which keeps the connection once the sender is given back and drops it where it is not.
    Task(oneshot::Sender<Http1Sender>),
}

/// A connection that is polled by whoever has it.
struct Polled {
    /// `None` once it has ended.
    connection: Option<Box<Http1Connection>>,
    signal: Arc<Signal>,
    /// Raises the signal.
    waker: Waker,
}

/// Begins HTTP/1.1 on `stream`.
///
/// # Errors
/// What hyper says.
pub(super) async fn open(
    connections: &Arc<Connections>,
    stream: Box<dyn StreamLink>,
    open: Arc<OpenConnection>,
) -> hyper::Result<Http1Lease> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let heads = Arc::<ResponseHeads>::default();
    let stream = HeadReader::new(stream, Arc::clone(&heads));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let polled = Polled::new(Box::new(connection), connections);
    Ok(Http1Lease {
        sender,
        driver: Http1Driver::Caller(polled),
        held: HeldHttp1 { heads, _open: open },
        is_reused: false,
    })
}

impl FreeHttp1 {
    pub(super) fn lease(self) -> Http1Lease {
        Http1Lease {
            sender: self.sender,
            driver: Http1Driver::Caller(self.polled),
            held: self.held,
            is_reused: true,
        }
    }

    pub(super) fn begin_keeping(&self) {
        self.polled.signal.begin_keeping();
    }

    pub(super) fn end_keeping(&self) {
        self.polled.signal.end_keeping();
    }

    /// Moves what there is to move; says whether it takes a request.
    pub(super) fn settle(&mut self) -> bool {
        self.polled.settle() && self.sender.is_ready()
    }
}

impl KeptConnections {
    pub(super) const fn upkeep(&self) -> &Arc<Notify> {
        &self.upkeep
    }

    /// Keeps one; the one that was used longest ago makes room where there are more than `limit`.
    pub(super) fn push(&self, free: FreeHttp1, limit: usize) {
        let closed = {
            let mut list = self.list.lock();
            // Told of under the lock, so that the upkeep finds it.
            free.begin_keeping();
            list.free.push(free);
            if !std::mem::replace(&mut list.is_timed, true) {
                self.upkeep.notify_one();
            }
            (list.free.len() > limit).then(|| list.free.remove(0))
        };
        drop(closed);
    }

    /// The last used that takes a request.
    pub(super) fn pop(&self) -> Option<FreeHttp1> {
        loop {
            let mut free = self.list.lock().free.pop()?;
            free.end_keeping();
            if free.settle() {
                return Some(free);
            }
        }
    }

    /// Closes what has ended or was kept long enough. Says when the next one will have been.
    fn maintain(&self, now: Instant) -> Option<Instant> {
        let mut list = self.list.lock();
        let closed = list
            .free
            .extract_if(.., |free| free.kept_until <= now || !free.settle());
        let closed: Vec<_> = closed.collect();
        let next = list.free.first().map(|free| free.kept_until);
        list.is_timed = next.is_some();
        drop(list);
        drop(closed);
        next
    }
}

impl Http1Lease {
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.held.heads.expect();
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = match &mut self.driver {
            Http1Driver::Caller(polled) => {
                poll_fn(|cx| polled.poll(cx, |cx| answer.as_mut().poll(cx))).await
            }
            Http1Driver::Task(_) => answer.await,
        };
        let mut response = answered?;
        self.held.heads.add_late(response.headers_mut());
        Ok(response)
    }

    /// The next frame of the response.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut body = Pin::new(body);
        match &mut self.driver {
            Http1Driver::Caller(polled) => polled.poll(cx, |cx| body.as_mut().poll_frame(cx)),
            Http1Driver::Task(_) => body.poll_frame(cx),
        }
    }

    /// Has a task drive it; `goes_on` in another protocol, where the upstream agrees.
    pub(super) fn leave_to_task(&mut self, connections: &Arc<Connections>, goes_on: bool) {
        let Http1Driver::Caller(polled) = &mut self.driver else {
            return;
        };
        let (giving_back, given_back) = oneshot::channel();
        if let Some(connection) = polled.connection.take() {
            let driver = Driver {
                connections: Arc::downgrade(connections),
                given_back,
                held: self.held.clone(),
            };
            match goes_on {
                true => connections.spawn(driver.drive_upgradable(*connection)),
                false => connections.spawn(driver.drive(connection)),
            }
        }
        self.driver = Http1Driver::Task(giving_back);
    }

    /// The exchange is over in both directions.
    pub(super) fn give_back(mut self, connections: &Arc<Connections>) {
        if let Http1Driver::Caller(polled) = &mut self.driver {
            if !polled.settle() {
                return;
            }
            if !self.sender.is_ready() {
                self.leave_to_task(connections, false);
            }
        }
        match self.driver {
            Http1Driver::Caller(polled) => {
                connections.keep(FreeHttp1 {
                    sender: self.sender,
                    polled,
                    held: self.held,
                    kept_until: connections.kept_until(),
                });
            }
            // Who drives it is gone where the connection is closed.
            Http1Driver::Task(giving_back) => drop(giving_back.send(self.sender)),
        }
    }
}

impl Polled {
    fn new(connection: Box<Http1Connection>, connections: &Connections) -> Self {
        let signal = Signal::new(Arc::clone(connections.kept().upkeep()));
        Self {
            connection: Some(connection),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
        }
    }

    /// Polls the connection if anything has happened; says whether it is there still.
    fn settle(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if !self.signal.lower() {
            return true;
        }
        let mut cx = Context::from_waker(&self.waker);
        let Poll::Ready(ended) = Pin::new(connection).poll(&mut cx) else {
            return true;
        };
        tell_end(ended);
        // What waits for its answer is told so.
        self.connection = None;
        false
    }

    /// What `next` gives, which waits for the connection. Both are polled with the connection's own waker:
    /// each wakes the other, which need not wake the task that polls them.
    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.signal.unregister();
        for _ in 0..ROUNDS_MAX {
            self.settle();
            let mut own = Context::from_waker(&self.waker);
            if let Poll::Ready(output) = next(&mut own) {
                return Poll::Ready(output);
            }
            if self.signal.is_raised() {
                continue;
            }
            self.signal.register(cx.waker());
            if !self.signal.is_raised() {
                return Poll::Pending;
            }
            self.signal.unregister();
        }
        // tokio's budget for the task may be used up.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Drives one connection for one request.
struct Driver {
    connections: Weak<Connections>,
    given_back: oneshot::Receiver<Http1Sender>,
    held: HeldHttp1,
}

impl Driver {
    /// The connection moves first, so that one which was just given back is ready when it is asked.
    async fn drive(self, mut connection: Box<Http1Connection>) {
        let given_back = tokio::select! {
            biased;
            ended = &mut connection => return tell_end(ended),
            given_back = self.given_back => given_back,
        };
        let Ok(mut sender) = given_back else { return };
        let ready = tokio::select! {
            biased;
            ended = &mut connection => return tell_end(ended),
            ready = sender.ready() => ready,
        };
        if let (Ok(()), Some(connections)) = (ready, self.connections.upgrade()) {
            connections.keep(FreeHttp1 {
                sender,
                polled: Polled::new(connection, &connections),
                held: self.held,
                kept_until: connections.kept_until(),
            });
        }
    }

    /// A connection that might have gone on in another protocol is not kept.
    async fn drive_upgradable(self, connection: Http1Connection) {
        tokio::select! {
            biased;
            ended = connection.with_upgrades() => tell_end(ended),
            _ = self.given_back => {}
        }
    }
}

/// Looks after what `connections` keeps, as long as there are such.
pub(super) async fn look_after(connections: Weak<Connections>, upkeep: Arc<Notify>) {
    loop {
        let Some(next) = connections
            .upgrade()
            .map(|connections| connections.kept().maintain(clock::now()))
        else {
            return;
        };
        match next {
            Some(next) => tokio::select! {
                () = upkeep.notified() => {}
                () = sleep_until(next.into()) => {}
            },
            None => upkeep.notified().await,
        }
    }
}

fn tell_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%error, "connection with an upstream failed");
    }
}

/// How often what waits and its connection are polled in turn before other tasks are.
const ROUNDS_MAX: usize = 8;
