//! One client: what its requests come to. Whatever is asked of a store, a log or a service goes on as a
//! future; everything else is answered in place.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Headers, Kind, Peer, Principal, Text,
    event::{ChangingSubscription, Event, QueueTaken},
    resp::{
        ChannelKind, CommandAccess, Lane, RespCommand, RespError, RespRequest, RespValue,
        RespVersion, Subscriptions, Unknown, encode_event,
    },
};
use postern_net::resp::{EventsEnded, RespAnswer, RespClient};
use postern_system::clock;

use super::{
    access,
    failure::{Refusal, settled, told},
    listener::{ListenerRules, RedisListener},
};

/// A client, as its connection has it.
pub(super) struct RedisClient {
    pub(super) listener: Arc<RedisListener>,
    pub(super) peer: Arc<Peer>,
    pub(super) id: u64,
    pub(super) opened_at: Instant,
    pub(super) state: Arc<ClientState>,
    pub(super) subscriptions: Subscriptions,
    pub(super) events: Option<ChangingSubscription>,
    /// Events that were taken and are not written.
    taken: VecDeque<Arc<Event>>,
    pub(super) answers: Answers,
}

/// What futures of the client read and change. A request that changes it goes on alone.
pub(super) struct ClientState {
    is_v3: AtomicBool,
    said: Mutex<Said>,
}

/// What a client has said of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub login: Option<Login>,
    pub name: Bytes,
    pub library: Bytes,
    pub library_version: Bytes,
    /// Of the stores that are granted.
    pub database: usize,
}

/// Credentials that were good when they were shown.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub user: Text,
    /// They go along with each request.
    pub headers: Headers,
}

/// Whether a client is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Answers {
    #[default]
    On,
    Off,
    /// The next request is not.
    Skip,
}

impl RedisClient {
    pub(super) fn new(listener: Arc<RedisListener>, peer: Arc<Peer>) -> Self {
        Self {
            id: listener.front.next_client(),
            listener,
            peer,
            opened_at: clock::now(),
            state: Arc::new(ClientState {
                is_v3: AtomicBool::new(false),
                said: Mutex::default(),
            }),
            subscriptions: Subscriptions::default(),
            events: None,
            taken: VecDeque::new(),
            answers: Answers::On,
        }
    }

    pub(super) fn rules(&self) -> Arc<ListenerRules> {
        self.listener.settings.load_full()
    }

    /// The credentials that go along with a request.
    pub(super) fn headers(&self) -> Headers {
        let said = self.state.said();
        said.login.map_or_else(Headers::new, |login| login.headers)
    }

    /// Why `row` cannot be asked for at present, whoever asks.
    fn refusal(&self, row: &'static RespCommand, is_clear: bool) -> Option<RespError> {
        if !is_clear && !row.is_for_strangers() && row.access != CommandAccess::Call {
            let (service, method) = access::named(row);
            if !self.is_known_or_need_not(&service, &method) {
                return Some(RespError::NO_AUTH);
            }
        }
        let is_only_told = !self.subscriptions.is_empty() && self.version() == RespVersion::V2;
        (is_only_told && !row.is_for_subscribers()).then(|| {
            RespError::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                row.name
            ))
        })
    }

    pub(super) fn is_known_or_need_not(&self, service: &str, method: &str) -> bool {
        self.listener.is_clear()
            || self.state.has_login()
            || self
                .listener
                .pipeline
                .takes_strangers(&self.peer, service, method)
    }

    fn answer(&mut self, request: RespRequest, row: &'static RespCommand) -> RespAnswer {
        let is_clear = self.listener.is_clear();
        if let Some(refusal) = self.refusal(row, is_clear) {
            return RespAnswer::Now(refusal.into());
        }
        match row.access {
            CommandAccess::Session => self.answer_session(&request, row),
            CommandAccess::Publish => self.publish(&request, is_clear),
            CommandAccess::Subscribe => self.subscribe(request, row),
            CommandAccess::Append | CommandAccess::Consume | CommandAccess::Acknowledge => {
                let job = self.stream_job(request, row);
                self.judged(row, job)
            }
            CommandAccess::Read | CommandAccess::Write | CommandAccess::Update => {
                self.key_command(request, row)
            }
            CommandAccess::Call => self.call(&request),
        }
    }

    /// `job`, once the caller is known to be allowed what `row` does. It has not begun before.
    pub(super) fn judged(
        &self,
        row: &'static RespCommand,
        job: BoxFuture<Result<RespValue, Refusal>>,
    ) -> RespAnswer {
        if self.listener.is_clear() {
            return RespAnswer::Later(Box::pin(async move { settled(job.await) }));
        }
        let permission = self.permission(row);
        RespAnswer::Later(Box::pin(async move {
            match permission.await {
                Ok(_) => settled(job.await),
                Err(refused) => refused,
            }
        }))
    }

    /// Whether the client may do what `row` does, and who it is.
    pub(super) fn permission(
        &self,
        row: &'static RespCommand,
    ) -> BoxFuture<Result<Option<Arc<Principal>>, RespValue>> {
        let said = self.state.said();
        let user = said.login.as_ref().map(|login| login.user.clone());
        let headers = said.login.map_or_else(Headers::new, |login| login.headers);
        let permission = self
            .listener
            .permit(&self.peer, &headers, access::named(row));
        Box::pin(async move {
            permission.await.map_err(|error| {
                if error.kind != Kind::PermissionDenied {
                    return told(&error);
                }
                let user = user.as_deref().unwrap_or("default");
                RespValue::error(format!(
                    "NOPERM User {user} has no permissions to run the '{}' command",
                    row.name
                ))
            })
        })
    }

    fn take_told(&mut self, row: Option<&RespCommand>) -> bool {
        match self.answers {
            Answers::On => true,
            // Only the request that ends it is answered.
            Answers::Off => row.is_some_and(|row| row.name == "client|reply"),
            Answers::Skip => {
                self.answers = Answers::On;
                false
            }
        }
    }
}

impl RespClient for RedisClient {
    fn begin(
        &mut self,
        request: RespRequest,
        command: Result<&'static RespCommand, Unknown>,
    ) -> RespAnswer {
        if request.is_of_http() {
            let said = "ERR this is no listener of HTTP; the connection is closed";
            return RespAnswer::Last(RespValue::error(said));
        }
        let is_told = self.take_told(command.ok());
        let answer = match command {
            Ok(row) => self.answer(request, row),
            Err(unknown) => RespAnswer::Now(RespValue::error(unknown.text(&request))),
        };
        match (answer, is_told) {
            (RespAnswer::Now(_), false) => RespAnswer::Untold,
            (RespAnswer::Later(future), false) => RespAnswer::UntoldLater(future),
            (answer, _) => answer,
        }
    }

    fn resume(&mut self, request: RespRequest, row: &'static RespCommand) -> RespValue {
        self.subscribe_now(&request, row)
    }

    fn lane(&self, row: &'static RespCommand) -> Lane {
        let changes = matches!(
            row.access,
            CommandAccess::Publish
                | CommandAccess::Append
                | CommandAccess::Acknowledge
                | CommandAccess::Write
        );
        // What a plugin is asked about may be answered in another order than it was asked in.
        match changes && self.listener.pipeline.asks_plugins() {
            true => Lane::Alone,
            false => row.lane(),
        }
    }

    fn version(&self) -> RespVersion {
        self.state.version()
    }

    fn is_trusted(&self) -> bool {
        self.is_known_or_need_not(access::REDIS, "ping")
    }

    fn is_subscribed(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<Result<(), EventsEnded>> {
        let version = self.version();
        let Some(events) = &mut self.events else {
            return Poll::Pending;
        };
        while output.len() < bytes_max {
            let Some(event) = self.taken.pop_front() else {
                match events.poll_take(cx, &mut self.taken) {
                    Poll::Ready(QueueTaken::Events) => continue,
                    Poll::Ready(QueueTaken::Lost) => return Poll::Ready(Err(EventsEnded::Lost)),
                    Poll::Ready(QueueTaken::Ended) => {
                        return Poll::Ready(Err(EventsEnded::Closed));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            };
            let channel = event.topic.as_bytes();
            self.subscriptions.deliveries(channel, |pattern| {
                encode_event(version, pattern, channel, &event.payload, output);
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl ClientState {
    pub(super) fn version(&self) -> RespVersion {
        match self.is_v3.load(Relaxed) {
            true => RespVersion::V3,
            false => RespVersion::V2,
        }
    }

    pub(super) fn set_version(&self, version: RespVersion) {
        self.is_v3.store(version == RespVersion::V3, Relaxed);
    }

    pub(super) fn said(&self) -> Said {
        self.said.lock().clone()
    }

    pub(super) fn has_login(&self) -> bool {
        self.said.lock().login.is_some()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock());
    }
}

impl Drop for RedisClient {
    fn drop(&mut self) {
        let counts = &self.listener.front.channels;
        for kind in [ChannelKind::Channel, ChannelKind::Pattern] {
            for name in self.subscriptions.names(kind) {
                counts.remove(kind, &name);
            }
        }
    }
}
