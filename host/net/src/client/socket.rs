//! The driver of a client on a datagram link.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Blame, Error, Kind,
    wire::{
        CloseReason, DeliveryMode, Dialect, Endpoint, EndpointConfig, Frame, FrameType, Role,
        SendId, SessionConfig, SessionId,
        endpoint::{PeerEvent, SendRefusal},
    },
};

use super::{
    command::StreamRequest,
    config::{ClientConfig, Speak},
    dispatch::{Dispatch, Machine, Unsent},
    lost,
};
use crate::{
    counters::Counters,
    driver::{self, Socket},
    link::DatagramLink,
};

/// Rounds of receive, answer, send before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// How long the last datagrams may take to leave the socket.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Drives a session until it is over; then every call has its answer or its error.
pub(super) fn drive<L: DatagramLink>(
    link: L,
    address: SocketAddr,
    config: &ClientConfig,
    dispatch: Dispatch,
) -> Result<impl Future<Output = ()> + Send + use<L>, Error> {
    let hello = config.speak != Speak::Base;
    let session = SessionConfig {
        hello,
        ..config.session.clone()
    };
    let settings = EndpointConfig {
        retry: config.retry.clone(),
        ..EndpointConfig::new(session)
    };
    let mut endpoint = Endpoint::new(settings, Role::Client, driver::random_session_id);
    endpoint
        .connect(driver::now(), address)
        .map_err(|error| lost(&address, &error))?;
    let counters = Arc::clone(&config.counters);
    let driver = Driver {
        socket: Socket::new(link, endpoint, Arc::clone(&counters)),
        address,
        sent: HashMap::new(),
        session: None,
        has_greeted: hello,
        is_unproven: false,
    };
    Ok(run(driver, dispatch, counters))
}

async fn run<L: DatagramLink>(
    mut driver: Driver<L>,
    mut dispatch: Dispatch,
    counters: Arc<Counters>,
) {
    counters.connections_opened.add(1);
    match poll_fn(|cx| driver.poll(&mut dispatch, cx)).await {
        Ok(reason) => {
            dispatch.end(&reason);
            let last_word = poll_fn(|cx| driver.socket.poll_write(cx));
            if !matches!(tokio::time::timeout(LAST_WORD, last_word).await, Ok(Ok(()))) {
                tracing::debug!(address = %driver.address, "the last word was not sent");
            }
        }
        Err(error) => dispatch.end(&error),
    }
    dispatch.closed();
    counters.connections_closed.add(1);
}

struct Driver<L> {
    socket: Socket<L>,
    address: SocketAddr,
    /// Calls whose requests are on their way.
    sent: HashMap<SendId, u64>,
    /// Of the greeting.
    session: Option<SessionId>,
    /// It has said HELLO from the present port.
    has_greeted: bool,
    /// In the base dialect: something that was sent from the present port may still be answered, and
    /// nothing would tell that answer from the next one. The next request leaves from another port.
    is_unproven: bool,
}

impl<L: DatagramLink> Driver<L> {
    /// Ready when the session is over, with its reason, or the socket is.
    fn poll(
        &mut self,
        dispatch: &mut Dispatch,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<CloseReason>> {
        for _ in 0..ROUNDS_MAX {
            let now = driver::now();
            let mut is_busy = dispatch.take_commands(cx, now, self);
            if let Some(reason) = dispatch.take_cut() {
                return Poll::Ready(Err(io::Error::other(reason)));
            }
            is_busy |= self.socket.poll_timer(cx).is_ready();
            if let Poll::Ready(read) = self.socket.poll_read(cx, now, |_| true) {
                pass_refusal(read, dispatch)?;
                is_busy = true;
            }
            if let Some(reason) = self.handle_events(dispatch, now) {
                return Poll::Ready(Ok(reason));
            }
            if let Poll::Ready(written) = self.socket.poll_write(cx) {
                is_busy |= written.is_err();
                pass_refusal(written, dispatch)?;
            }
            is_busy |= self.socket.poll_written(cx).is_ready();
            if let Some(reason) = self.handle_events(dispatch, now) {
                return Poll::Ready(Ok(reason));
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handle_events(&mut self, dispatch: &mut Dispatch, now: Instant) -> Option<CloseReason> {
        loop {
            match self.socket.endpoint.poll_event()?.1 {
                PeerEvent::Established(dialect) => self.on_established(dispatch, now, dialect),
                PeerEvent::Message(frame) => dispatch.on_message(now, frame, self),
                PeerEvent::Delivered(send) => drop(self.sent.remove(&send)),
                PeerEvent::Undelivered(send, reason) => {
                    if let Some(id) = self.sent.remove(&send) {
                        dispatch.on_undelivered(now, id, &reason, self);
                    }
                }
                PeerEvent::Pong(payload) => dispatch.on_pong(&payload),
                PeerEvent::Validated => {}
                PeerEvent::PeerDraining => dispatch.on_closing(),
                PeerEvent::Closed(reason) => return Some(reason),
            }
        }
    }
}

impl<L: DatagramLink> Driver<L> {
    fn on_established(&mut self, dispatch: &mut Dispatch, now: Instant, dialect: Dialect) {
        let session = match &dialect {
            Dialect::Full(greeting) => Some(greeting.session),
            Dialect::Base => None,
        };
        let before = self.session;
        self.session = session;
        // A published server answers HELLO, too, and late answers look like any other.
        self.is_unproven = session.is_none() && self.has_greeted;
        dispatch.on_established(now, dialect, self);
        if before.is_some() && before != session {
            let under_way: HashSet<u64> = self.sent.values().copied().collect();
            dispatch.on_restart(now, |id| under_way.contains(&id), self);
        }
    }

    /// Goes on from another port, if an answer to what was sent from this one may still come.
    fn renew(&mut self) -> io::Result<()> {
        if !self.is_unproven {
            return Ok(());
        }
        self.socket.renew(self.address)?;
        self.sent.clear();
        (self.is_unproven, self.has_greeted) = (false, false);
        Ok(())
    }
}

/// Nobody listens at the peer's port. A server that restarts comes back, and repetitions find it;
/// one that never was there need not be waited for.
fn pass_refusal(result: io::Result<()>, dispatch: &Dispatch) -> io::Result<()> {
    match result {
        Err(error)
            if error.kind() == io::ErrorKind::ConnectionRefused && dispatch.is_established() =>
        {
            tracing::debug!(%error, "the peer's port is closed");
            Ok(())
        }
        other => other,
    }
}

impl<L: DatagramLink> Machine for Driver<L> {
    fn begin(&mut self) -> bool {
        self.socket.endpoint.begin(self.address)
    }

    fn can_renew(&self) -> bool {
        true
    }

    fn on_unproven(&mut self) {
        self.is_unproven = self.session.is_none();
    }

    fn finish(&mut self) {
        self.socket.endpoint.finish(self.address);
    }

    fn send(&mut self, now: Instant, id: u64, frame: Frame) -> Result<(), Unsent> {
        if let Err(error) = self.renew() {
            return Err(Unsent::Closed(format!("no other local port: {error}")));
        }
        let endpoint = &mut self.socket.endpoint;
        match endpoint.send(now, self.address, frame, DeliveryMode::Acknowledged) {
            Ok(send) => {
                self.sent.insert(send, id);
                Ok(())
            }
            Err(SendRefusal::Split(error)) => Err(Unsent::TooLong(error.to_string())),
            Err(
                error @ (SendRefusal::UnknownPeer
                | SendRefusal::TooManyPeers { .. }
                | SendRefusal::Unvalidated { .. }
                | SendRefusal::Session(_)),
            ) => Err(Unsent::Closed(error.to_string())),
        }
    }

    fn ping(&mut self, now: Instant, payload: Bytes) {
        let ping = Frame {
            payload,
            ..Frame::new(FrameType::Ping)
        };
        // Whoever waits for the PONG says it again and has a limit.
        let _ = self
            .socket
            .endpoint
            .send(now, self.address, ping, DeliveryMode::Plain);
    }

    fn stream(&mut self, _: Instant, request: StreamRequest) {
        // Feature mux is not offered on datagram links.
        let message = "datagrams carry one message per call: use TCP or HTTP for streams";
        let error = Error::new(Kind::Unimplemented, Blame::Client, message);
        let _ = request.reply.send(Err(error));
    }

    fn cancel_stream(&mut self, _: Instant, _: u64) {}

    fn close(&mut self, now: Instant) {
        self.socket
            .endpoint
            .close(now, self.address, CloseReason::Requested);
    }
}
