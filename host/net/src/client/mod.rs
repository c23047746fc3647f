//! A client: one session to one peer, shared by any number of concurrent calls.

mod command;
mod config;
mod connection;
mod dispatch;
mod events;
mod exchange;
mod failure;
mod life;
mod liveness;
mod socket;
mod streaming;

use std::{
    fmt,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use postern_core::{
    Blame, Body, BoxFuture, Call, Error, Handler, Kind, Reply,
    bounded::BoundedHandler,
    event::{Mailbox, QueueBounds},
    vsp::Payload,
    wire::{Dialect, Features, Link},
};
use postern_system::wait;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

pub use self::config::{ClientConfig, Speak};
pub use self::events::Events;
use self::{
    command::{Answered, Command, Request, StreamRequest},
    dispatch::{Dispatch, Established},
    failure::{lost, unanswered},
    life::Life,
};
use crate::{
    dial::{Destination, Target},
    driver::{self, Alarm},
    link::{DatagramLink, StreamLink},
    quic::QuicLink,
};

/// A session with one peer. Clones share it. Dropping the last clone cuts it; `close` ends it in
/// order. A client whose session has ended answers every call with `unavailable`.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    /// Bounds what is in `commands` and under way.
    permits: Semaphore,
    next_id: AtomicU64,
    destination: Destination,
    call_timeout: Duration,
    message_bytes_max: usize,
    dialect: watch::Receiver<Dialect>,
    link: Link,
    life: watch::Receiver<Life>,
    events: Arc<Mailbox>,
    /// The driver's task; aborted with the last clone.
    _driver: AbortOnDropHandle<()>,
}

/// A client's ends of what it shares with its driver.
struct Ends {
    commands: mpsc::UnboundedSender<Command>,
    established: oneshot::Receiver<Result<(), Error>>,
    dialect: watch::Receiver<Dialect>,
    life: watch::Receiver<Life>,
    events: Arc<Mailbox>,
}

impl Client {
    /// Connects and settles the dialect.
    ///
    /// # Errors
    /// `unavailable` when nobody answers at the address or not within `connect_timeout`;
    /// `failed-precondition` when the peer does not speak what `Speak::Vsp` demands.
    pub async fn connect(target: Target, config: ClientConfig) -> Result<Self, Error> {
        let timeout = config.connect_timeout;
        tokio::time::timeout(timeout, target.dial(config))
            .await
            .unwrap_or_else(|_| {
                let destination = target.destination();
                let message = format!("no session with {destination} within {timeout:?}");
                Err(Error::unavailable(Blame::Upstream, message))
            })
    }

    /// How both ends speak. A session over datagrams that began in the base dialect, because its
    /// greeting was lost, may have another one later.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect.borrow().clone()
    }

    /// Completes when both ends have greeted each other.
    pub(crate) async fn greeted(&self) {
        let mut dialect = self.shared.dialect.clone();
        let is_full = |dialect: &Dialect| matches!(dialect, Dialect::Full(_));
        if dialect.wait_for(is_full).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Where its session leads.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.shared.destination
    }

    /// The session by itself, whose calls somebody else bounds.
    pub(crate) fn session(&self) -> ClientSession {
        ClientSession(Arc::clone(&self.shared))
    }

    /// The events that the server sends to this session, once they are subscribed to by a call of
    /// service `events`. The stream ends with the session, and keeps it as a clone does.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.clone())
    }

    /// Begins no more calls, waits for those under way and for the peer's BYE, at most as long as
    /// the session's `drain_timeout`.
    pub async fn close(self) {
        let (closed, done) = oneshot::channel();
        if self.shared.commands.send(Command::Close(closed)).is_ok() {
            // An error means that the driver has ended, which is what is waited for.
            let _ = done.await;
        }
    }

    /// A session on a link that a dialer has opened.
    pub(crate) async fn over_stream<S: StreamLink>(
        link: S,
        destination: Destination,
        config: ClientConfig,
    ) -> Result<Self, Error> {
        let (dispatch, ends) = dispatch(&destination, config.events);
        let driver = connection::drive(link, None, &destination, &config, dispatch);
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self::established(destination, &config, Link::Stream, ends, driver).await
    }

    /// A session on the first stream of a QUIC connection that a dialer has opened.
    pub(crate) async fn over_quic(
        link: QuicLink,
        connection: quinn::Connection,
        destination: Destination,
        config: ClientConfig,
    ) -> Result<Self, Error> {
        let (dispatch, ends) = dispatch(&destination, config.events);
        let driver = connection::drive(link, Some(connection), &destination, &config, dispatch);
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self::established(destination, &config, Link::Stream, ends, driver).await
    }

    /// A session on a link that a dialer has opened, with whoever has `address` there.
    pub(crate) async fn over_datagrams<L: DatagramLink>(
        link: L,
        address: SocketAddr,
        config: ClientConfig,
    ) -> Result<Self, Error> {
        let destination = Destination::Ip(address);
        let (dispatch, ends) = dispatch(&destination, config.events);
        let driver = socket::drive(link, address, &config, dispatch)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self::established(destination, &config, Link::Datagram, ends, driver).await
    }

    async fn established(
        destination: Destination,
        config: &ClientConfig,
        link: Link,
        ends: Ends,
        driver: AbortOnDropHandle<()>,
    ) -> Result<Self, Error> {
        ends.established
            .await
            .unwrap_or_else(|_| Err(lost(&destination, &"the driver ended")))?;
        let is_base = matches!(*ends.dialect.borrow(), Dialect::Base);
        if config.speak == Speak::Vsp && is_base {
            let message =
                format!("{destination} did not answer HELLO and speaks the base dialect only");
            return Err(Error::new(
                Kind::FailedPrecondition,
                Blame::Upstream,
                message,
            ));
        }
        let shared = Shared {
            commands: ends.commands,
            permits: Semaphore::new(config.calls_in_flight_max),
            next_id: AtomicU64::new(1),
            destination,
            call_timeout: config.call_timeout,
            message_bytes_max: config.session.limits.message_bytes_max,
            dialect: ends.dialect,
            link,
            life: ends.life,
            events: ends.events,
            _driver: driver,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Handler for Client {
    /// Sends the call and waits for its answer.
    ///
    /// Fails with `deadline-exceeded` when the deadline passes first, with `unavailable` when the
    /// session ends first: `Retry::Elsewhere` when the call was not sent, `Retry::IfIdempotent` when
    /// it was, or may have been. Dropping the future leaves the answer, when it comes, unread. The
    /// messages of a streamed reply end at the deadline as well.
    ///
    /// A body that is a stream makes a streaming call; that needs a stream link and feature `mux`.
    /// Elsewhere it is collected: octets up to `Limits::message_bytes_max`, messages when there is one.
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let deadline = &mut call.context.deadline;
        deadline.get_or_insert_with(|| driver::now() + self.shared.call_timeout);
        BoundedHandler::<_, Alarm>::new(self.session(), Blame::Upstream).call(call)
    }
}

/// The session of a client, for calls that somebody else bounds.
pub(crate) struct ClientSession(Arc<Shared>);

impl Handler for ClientSession {
    /// As a client, but for the timer: whoever bounds the call asks at its deadline.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let deadline = call.context.deadline;
            let answered = wait::before(deadline, pin!(shared.exchange(call))).await;
            let answered = answered.map(|(outcome, _)| outcome);
            answered.unwrap_or_else(|| {
                let message = format!("{} did not answer before the deadline", shared.destination);
                Err(Error::deadline_exceeded(Blame::Upstream, message))
            })
        })
    }
}

impl Shared {
    async fn exchange(&self, mut call: Call) -> Result<Reply, Error> {
        // The semaphore is never closed; were it, the session would be gone as well.
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| lost(&self.destination, &error))?;
        let (reply, answer) = oneshot::channel();
        let id = self.next_id();
        let (body, has_mux) = (std::mem::take(&mut call.body), self.has_mux());
        let kind = body.kind();
        let command = match body.try_into_stream() {
            Ok(body) if has_mux => Command::Stream(Box::new(StreamRequest {
                id,
                call,
                kind,
                body,
                reply,
            })),
            body => {
                let body = body.map_or_else(|body| body, |stream| kind.of_stream(stream));
                let payload = Payload::collect(body, self.message_bytes_max).await?;
                let payload = Payload {
                    // What HTTP asks for may be of any size.
                    takes_stream: has_mux && call.http.is_some(),
                    ..payload
                };
                Command::Call(Box::new(Request {
                    id,
                    call,
                    payload,
                    reply,
                }))
            }
        };
        let gone = |_| lost(&self.destination, &"the session has ended");
        self.commands.send(command).map_err(gone)?;
        let mut abandon = Abandon {
            id: Some(id),
            commands: &self.commands,
        };
        let answered = answer.await;
        abandon.id = None;
        let gone = |_| Err(unanswered(&self.destination, &"the session has ended"));
        let Answered { mut reply, is_one } = answered.unwrap_or_else(gone)?;
        if is_one {
            let body = std::mem::take(&mut reply.body);
            reply.body = Body::One(body.into_one(self.message_bytes_max).await?);
        }
        Ok(reply)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn has_mux(&self) -> bool {
        match &*self.dialect.borrow() {
            Dialect::Full(greeting) => greeting.features.contains(Features::MUX),
            Dialect::Base => false,
        }
    }
}

/// Tells the driver when nobody waits any more.
struct Abandon<'a> {
    id: Option<u64>,
    commands: &'a mpsc::UnboundedSender<Command>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // A driver that has ended holds no call.
            let _ = self.commands.send(Command::Cancel(id));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.shared.destination)
            .field("dialect", &*self.shared.dialect.borrow())
            .finish_non_exhaustive()
    }
}

/// Both ends of what a client shares with its driver.
fn dispatch(destination: &Destination, bounds: QueueBounds) -> (Dispatch, Ends) {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (settled, established) = oneshot::channel();
    let (spoken, dialect) = watch::channel(Dialect::Base);
    let (told, life) = watch::channel(Life::Open);
    let events = Arc::new(Mailbox::new(bounds));
    let ends = Ends {
        commands,
        established,
        dialect,
        life,
        events: Arc::clone(&events),
    };
    let established = Established {
        settled: Some(settled),
        spoken,
    };
    (
        Dispatch::new(destination.clone(), receiver, events, established, told),
        ends,
    )
}
