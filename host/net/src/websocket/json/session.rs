//! One connection: messages become calls, outcomes and events become messages.
//!
//! ```text
//! pieces ─▶ message ─▶ call ─▶ handler ─┬─▶ response, or error
//!                      item ─▶ inbox ───┤
//!                                       └─▶ open, item …, end        ─▶ queue ─▶ stream
//!                       events of the session's subscriptions ─────────▶┘
//! ```
//! While a call or a stream waits for the peer to take something, or an inbox for its handler, the
//! connection is not read.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use postern_core::{
    Blame, Body, BodyStream, Error, Reply, Text,
    event::Outbox,
    websocket::{CloseCode, CloseFrame, ClosedBy, WebSocketFault},
};
use postern_system::clock;
use tokio::task::AbortHandle;

use super::{
    JsonDependencies, JsonLimits, MessageHead,
    inbox::{Inbox, inbox},
    message::{self, CallBody, ClientMessage, ServerMessage},
};
use crate::{
    ByteBudgetError, Counters, HeldBytes, Shutdown,
    calls::{Begun, CallResult, Calls},
    driver::Alarm,
    link::StreamLink,
    server::Pushes,
    websocket::channel::Channel,
};

/// Serves a connection until it is closed.
pub(crate) async fn serve<S: StreamLink>(
    channel: Channel<S>,
    dependencies: JsonDependencies,
    counters: Arc<Counters>,
    shutdown: Shutdown,
) {
    let mut session = JsonSession::new(channel, dependencies, counters);
    let mut draining = pin!(shutdown.draining());
    let ended = poll_fn(|cx| session.poll(cx, draining.as_mut())).await;
    session.close(ended).await;
}

struct JsonSession<S> {
    channel: Channel<S>,
    dependencies: JsonDependencies,
    limits: JsonLimits,
    /// The message that is being read, and what it takes.
    message: BytesMut,
    held: Option<HeldBytes>,
    calls: Calls<CallKey>,
    /// Those in flight that bear an id.
    by_id: BTreeMap<Text, OpenCall>,
    /// Replies whose messages come one by one.
    replies: VecDeque<StreamedReply>,
    /// Calls so far.
    n_calls: u64,
    pushes: Pushes<()>,
    outbox: Outbox,
    /// Woken when a handler has taken something.
    taken: Arc<AtomicWaker>,
    alarm: Alarm,
    counters: Arc<Counters>,
    is_draining: bool,
}

/// A call that was begun. Its id may be used again once it was reset, its number never.
#[derive(Debug, Clone)]
struct CallKey {
    id: Text,
    number: u64,
}

/// What is kept of a call until all is said of it.
struct OpenCall {
    number: u64,
    inbox: Option<Inbox>,
    task: Option<AbortHandle>,
}

struct StreamedReply {
    id: Text,
    content_type: Option<String>,
    body: BodyStream,
}

/// Why a session is over before its connection was closed in order.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    #[error("slow reader: took nothing for {0:?}")]
    SlowReader(std::time::Duration),
}

impl<S: StreamLink> JsonSession<S> {
    fn new(channel: Channel<S>, dependencies: JsonDependencies, counters: Arc<Counters>) -> Self {
        let pushes = Pushes::new();
        let outbox = pushes.bounded_outbox((), Some(dependencies.queue_max));
        Self {
            channel,
            limits: dependencies.form.limits(),
            message: BytesMut::new(),
            held: None,
            calls: Calls::new(Arc::clone(&dependencies.handler)),
            by_id: BTreeMap::new(),
            replies: VecDeque::new(),
            n_calls: 0,
            pushes,
            outbox,
            taken: Arc::default(),
            alarm: Alarm::default(),
            counters,
            is_draining: false,
            dependencies,
        }
    }

    /// Ready when the connection closes, or breaks.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), SessionEnd>> {
        for _ in 0..ROUNDS_MAX {
            self.limits = self.dependencies.form.limits();
            self.taken.register(cx.waker());
            let had_room = self.has_room();
            if !self.is_draining && draining.as_mut().poll(cx).is_ready() {
                self.is_draining = true;
                self.pushes.clear();
            }
            let mut is_busy = self.take_finished(cx);
            is_busy |= self.read(cx)?;
            is_busy |= self.begin_gathered(cx);
            is_busy |= self.poll_replies(cx);
            is_busy |= self.poll_pushes(cx);
            if self.channel.poll_send(cx)?.is_ready() {
                is_busy |= self.pushes.retry(|(), _| true);
            }
            if self.is_draining && self.is_idle() {
                self.channel
                    .close(&CloseFrame::new(CloseCode::GOING_AWAY, "draining"));
            }
            if !self.channel.is_open() {
                return Poll::Ready(Ok(()));
            }
            self.poll_stalled(cx)?;
            // What was held back must be tried before sleeping, or nothing would wake it.
            is_busy |= !had_room && self.has_room();
            if !is_busy && !self.calls.is_unwatched() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nothing is in flight, and nothing waits to be said.
    fn is_idle(&self) -> bool {
        self.calls.len() + self.calls.n_gathered() + self.replies.len() == 0
            && self.channel.queued().0 == 0
    }

    fn has_room(&self) -> bool {
        let (n_queued, n_bytes) = self.channel.queued();
        n_queued < self.dependencies.queue_max && (n_queued == 0 || n_bytes < QUEUED_BYTES_MAX)
    }

    fn may_read(&self) -> bool {
        let n_calls = self.calls.len() + self.calls.n_gathered() + self.replies.len();
        let mut inboxes = self.by_id.values().filter_map(|call| call.inbox.as_ref());
        n_calls < self.limits.calls_max
            && self.has_room()
            && inboxes.all(|inbox| inbox.len() < self.dependencies.queue_max)
    }

    /// Reads messages while there is room for what they ask for; says whether any came.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        let mut n_messages = 0;
        while n_messages < MESSAGES_MAX && self.channel.is_open() {
            if !self.may_read() {
                self.channel.poll_unread(cx);
                break;
            }
            let piece = match self.channel.poll_piece(cx)? {
                Poll::Pending => break,
                Poll::Ready(None) if self.channel.is_open() => {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Poll::Ready(None) => break,
                Poll::Ready(Some(piece)) => piece,
            };
            if let Err(error) = self.collect(&piece.octets, piece.is_last) {
                self.channel.fail(WebSocketFault::NoRoom(error.to_string()));
                break;
            }
            if piece.is_last {
                n_messages += 1;
                let message = match self.message.is_empty() {
                    true => piece.octets,
                    false => std::mem::take(&mut self.message).freeze(),
                };
                let held = self.held.take();
                self.on_message(held.map_or(message.clone(), |held| held.attach_to(message)));
            }
        }
        Ok(n_messages > 0)
    }

    /// Counts a piece of a message, and joins it with those before; a message of one piece is not copied.
    fn collect(&mut self, octets: &Bytes, is_last: bool) -> Result<(), ByteBudgetError> {
        match &mut self.held {
            Some(held) => held.grow(octets.len())?,
            none => *none = Some(self.dependencies.bytes.hold(octets.len())?),
        }
        if !is_last || !self.message.is_empty() {
            self.message.extend_from_slice(octets);
        }
        Ok(())
    }

    fn on_message(&mut self, message: Bytes) {
        self.counters.frames_in.add(1);
        match message::read(&message, self.limits.body_bytes_max) {
            Ok(ClientMessage::Call(head, body)) => self.on_call(head, body),
            Ok(ClientMessage::Item(id, item)) => {
                // Of a call that is over, it comes too late.
                if let Some(inbox) = self.by_id.get(&id).and_then(|call| call.inbox.as_ref()) {
                    inbox.push(item);
                }
            }
            Ok(ClientMessage::End(id)) => {
                let inbox = self.by_id.get_mut(&id).and_then(|call| call.inbox.take());
                if let Some(inbox) = inbox {
                    inbox.end();
                }
            }
            Ok(ClientMessage::Reset(id)) => self.on_reset(&id),
            Err(unfit) => self.send_error(&unfit.id, &unfit.error),
        }
    }

    fn on_call(&mut self, head: MessageHead, body: CallBody) {
        let id = head.id.clone();
        if self.by_id.contains_key(&id) {
            // An error with this id would be taken for the answer of the call that has it.
            let shown: String = id.chars().take(ID_CHARS_MAX).collect();
            let rule = format!("id {shown:?} is that of a call in flight");
            return self.channel.fail(WebSocketFault::Policy(rule));
        }
        if self.is_draining {
            let error = Error::unavailable(Blame::Gateway, "the gateway is closing");
            return self.send_error(&id, &error);
        }
        let (body, inbox) = match body {
            CallBody::One(payload) => (payload.map_or(Body::Empty, Body::One), None),
            CallBody::Stream => {
                let (inbox, items) = inbox(&self.taken);
                (Body::Messages(items), Some(inbox))
            }
        };
        match self.dependencies.form.call(head, body, &self.outbox) {
            Ok(call) => {
                self.n_calls += 1;
                let number = self.n_calls;
                if !id.is_empty() {
                    let open = OpenCall {
                        number,
                        inbox,
                        task: None,
                    };
                    self.by_id.insert(id.clone(), open);
                }
                self.calls.gather(CallKey { id, number }, call);
            }
            Err(error) => self.send_error(&id, &error),
        }
    }

    /// The caller wants no more of a call.
    fn on_reset(&mut self, id: &Text) {
        if let Some(task) = self.by_id.remove(id).and_then(|call| call.task) {
            task.abort();
        }
        self.replies.retain(|reply| reply.id != *id);
    }

    /// Begins what is gathered, as far as there is room for answers.
    fn begin_gathered(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_begun = false;
        while self.has_room() {
            let key = self.calls.next_key().cloned();
            let Some((key, begun)) = key.zip(self.calls.begin_next(cx)) else {
                break;
            };
            has_begun = true;
            match begun {
                Begun::Done(key, outcome) => self.finish(key, outcome),
                Begun::Task(task) => match self.open(&key) {
                    Some(call) => call.task = Some(task),
                    // Reset before it began.
                    None if !key.id.is_empty() => task.abort(),
                    None => {}
                },
            }
        }
        has_begun
    }

    /// Says what has ended, as far as there is room.
    fn take_finished(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_finished = false;
        while self.has_room()
            && let Poll::Ready((_, key, outcome)) = self.calls.poll_finished(cx)
        {
            has_finished = true;
            self.finish(key, outcome);
        }
        has_finished
    }

    /// The call of `key`, where it bears an id and was not reset.
    fn open(&mut self, key: &CallKey) -> Option<&mut OpenCall> {
        let call = self.by_id.get_mut(&key.id)?;
        (call.number == key.number).then_some(call)
    }

    fn finish(&mut self, key: CallKey, outcome: CallResult) {
        let is_wanted = key.id.is_empty() || self.open(&key).is_some();
        let id = key.id;
        if !is_wanted {
            return;
        }
        match outcome {
            Ok(reply) => self.on_reply(id, reply),
            Err(error) => {
                self.by_id.remove(&id);
                self.send_error(&id, &error);
            }
        }
    }

    fn on_reply(&mut self, id: Text, reply: Reply) {
        let headers = self.dependencies.form.headers(&reply.headers);
        let content_type = content_type(&headers);
        let payload = match reply.body {
            Body::Empty => None,
            Body::One(payload) => Some(payload),
            body @ (Body::Messages(_) | Body::Octets(_)) => {
                let mut message = ServerMessage::new("open", &id, 0);
                if let Some(status) = reply.status {
                    message.number("http-status", u128::from(status.number()));
                }
                message.headers(&headers);
                self.send(message.finish());
                self.replies.push_back(StreamedReply {
                    id,
                    content_type,
                    body: body.into_messages(self.limits.body_bytes_max),
                });
                return;
            }
        };
        self.by_id.remove(&id);
        let room = payload.as_ref().map_or(0, Bytes::len);
        let mut message = ServerMessage::new("response", &id, room);
        if let Some(status) = reply.status {
            message.number("http-status", u128::from(status.number()));
        }
        message.headers(&headers);
        if let Some(payload) = payload {
            message.payload(content_type.as_deref(), &payload);
        }
        self.send_or(&id, message.finish());
    }

    /// Sends messages of replies, each reply in its turn, as far as there is room.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut n_asked, mut has_sent) = (0, false);
        while n_asked < self.replies.len() && self.has_room() {
            let Some(mut reply) = self.replies.pop_front() else {
                break;
            };
            let polled = Pin::new(&mut reply.body).poll_next(cx);
            match polled {
                Poll::Pending => {
                    n_asked += 1;
                    self.replies.push_back(reply);
                    continue;
                }
                Poll::Ready(Some(Ok(item))) => {
                    let mut message = ServerMessage::new("item", &reply.id, item.len());
                    message.payload(reply.content_type.as_deref(), &item);
                    if self.send_or(&reply.id, message.finish()) {
                        self.replies.push_back(reply);
                    } else {
                        self.by_id.remove(&reply.id);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.by_id.remove(&reply.id);
                    self.send_error(&reply.id, &error);
                }
                Poll::Ready(None) => {
                    self.by_id.remove(&reply.id);
                    let mut message = ServerMessage::new("end", &reply.id, 0);
                    if let Some(trailers) = reply.body.trailers() {
                        message.headers(&self.dependencies.form.headers(&trailers));
                    }
                    self.send(message.finish());
                }
            }
            has_sent = true;
        }
        has_sent
    }

    /// Sends events, as far as there is room; the others wait in their queue, which loses the oldest
    /// and says so.
    fn poll_pushes(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_sent = false;
        loop {
            let (has_room, is_open) = (self.has_room(), !self.is_draining);
            let polled = self
                .pushes
                .poll_delivery(cx, |()| is_open, |(), _| has_room);
            let Poll::Ready(((), delivery)) = polled else {
                return has_sent;
            };
            has_sent = true;
            let message = ServerMessage::event(&delivery);
            match self.dependencies.bytes.hold(message.len()) {
                Ok(held) => self.send(held.attach_to(message)),
                Err(error) => {
                    tracing::debug!(%error, "event not sent");
                    self.pushes.on_unsent(&(), &delivery);
                }
            }
        }
    }

    /// Sends a message about `id`, or the error that there is no room for it. Says which.
    fn send_or(&mut self, id: &str, message: Bytes) -> bool {
        match self.dependencies.bytes.hold(message.len()) {
            Ok(held) => {
                self.send(held.attach_to(message));
                true
            }
            Err(error) => {
                self.send_error(id, &error.into());
                false
            }
        }
    }

    fn send_error(&mut self, id: &str, error: &Error) {
        self.send(ServerMessage::error(id, error));
    }

    fn send(&mut self, message: Bytes) {
        self.counters.frames_out.add(1);
        self.channel.send(message);
    }

    /// # Errors
    /// When the peer has taken nothing for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let timeout = self.limits.write_timeout;
        let until = self
            .channel
            .stalled_since()
            .map(|since: Instant| since + timeout);
        match self.alarm.poll(cx, until) {
            Poll::Ready(()) if until.is_some_and(|until| until <= clock::now()) => {
                Err(SessionEnd::SlowReader(timeout))
            }
            Poll::Ready(()) | Poll::Pending => Ok(()),
        }
    }

    async fn close(self, ended: Result<(), SessionEnd>) {
        let Self {
            mut channel,
            calls,
            by_id,
            replies,
            counters,
            ..
        } = self;
        // What nobody will read need not be worked out.
        drop((calls, by_id, replies));
        match ended {
            Ok(()) => {
                if let Some(ClosedBy::Fault(fault)) = channel.closed_by() {
                    counters.protocol_errors.add(1);
                    tracing::debug!(%fault, "websocket failed");
                }
                channel.finish().await;
            }
            Err(error @ SessionEnd::SlowReader(_)) => {
                counters.slow_readers.add(1);
                tracing::warn!(%error, "websocket closed");
            }
            Err(error @ SessionEnd::Io(_)) => tracing::debug!(%error, "websocket lost"),
        }
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(http::header::CONTENT_TYPE)?;
    kind.to_str().ok().map(str::to_owned)
}

/// Rounds of reading, answering and writing before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Messages that are read in one round, as many as are called together (calls.rs).
const MESSAGES_MAX: usize = 32;
/// Octets that wait for the peer beyond which nothing more is made for it.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// Of a stranger's text, shown back to it.
const ID_CHARS_MAX: usize = 32;
