//! Connects, moves octets and time, and connects again. What follows from a packet is the business of
//! `session.rs`.
//!
//! ```text
//! dial ─▶ CONNECT, CONNACK ─▶ subscriptions ─▶ queue ⇄ broker ⇄ observer, readers
//!   ▲                                             │
//!   └── pause ◀── end of the stream, fault ◀──────┘
//! ```

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use postern_core::{
    Blame, BoxFuture, Error, Kind, Retry, Text,
    event::Publisher,
    mqtt::{MqttVersion, Qos, Reason},
};
use postern_system::{clock, random};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    back_off::ReconnectPause,
    fault::BrokerFault,
    incoming::MessageToken,
    link::{BrokerLink, LinkEnd},
    mapping::{event_of, event_topic_of},
    message::BrokerMessage,
    observer::BrokerObserver,
    outgoing::{OnLost, Ticket},
    queue::Waiting,
    session::{ClientSession, SessionEvent, Unsettled},
    shared::{ClientShared, Command},
    written::BrokerSubscription,
};
use crate::dial::{self, Carried};

/// Runs a client. Dropping it ends the connection without a word.
#[derive(Debug)]
pub struct BrokerDriver {
    shared: Arc<ClientShared>,
    commands: mpsc::Receiver<Command>,
    subscriptions: Vec<BrokerSubscription>,
    observer: Option<Arc<dyn BrokerObserver>>,
    session: ClientSession,
    judging: FuturesOrdered<BoxFuture<Judged>>,
    told: HashMap<Ticket, Told>,
    next_ticket: u64,
    /// Whether the next connection of 3.1.1 is marked as a bridge's.
    is_marked: bool,
    /// Whether a subscription of this process is known to the broker.
    has_subscribed: bool,
}

/// A message that was judged, where it has an acknowledgement.
type Judged = (Option<MessageToken>, Reason);

/// Who waits for what the broker says.
#[derive(Debug)]
enum Told {
    /// None of a message from the bounded queue.
    Message(Option<oneshot::Sender<Result<(), Error>>>),
    Subscription(oneshot::Sender<Result<(), Error>>),
    /// Filters of the client's own.
    Own(Vec<Text>),
}

impl BrokerDriver {
    pub(super) fn new(
        shared: Arc<ClientShared>,
        commands: mpsc::Receiver<Command>,
        (subscriptions, observer): (Vec<BrokerSubscription>, Option<Arc<dyn BrokerObserver>>),
    ) -> Self {
        let config = shared.config.clone();
        let [first_id, ..] = u16_pair(random::even());
        Self {
            is_marked: config.is_bridge && config.version == MqttVersion::V3,
            session: ClientSession::new(config, first_id, clock::now()),
            shared,
            commands,
            subscriptions,
            observer,
            judging: FuturesOrdered::new(),
            told: HashMap::new(),
            next_ticket: 0,
            has_subscribed: false,
        }
    }

    /// Runs until `shutdown`, then says goodbye to the broker.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (min, max) = (
            self.shared.config.back_off_min,
            self.shared.config.back_off_max,
        );
        let mut pause = ReconnectPause::new(min, max);
        while !shutdown.is_cancelled() {
            let begun = clock::now();
            // Boxed: its state holds buffers and the state of handshakes.
            if let Some(reason) = Box::pin(self.connection(&shutdown)).await {
                self.on_ended(&reason);
            }
            if shutdown.is_cancelled() {
                break;
            }
            pause.on_ended(clock::since(begun));
            let pausing = sleep(pause.take(random::even()));
            self.away(&shutdown, pausing).await;
        }
        self.shared.set_lost(clock::now(), "the client is closed");
        self.shared.sources.close();
    }

    /// One connection from its dial to its end. Says why it ended; nothing where this side ended it.
    async fn connection(&mut self, shutdown: &CancellationToken) -> Option<String> {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let deadline = clock::now() + config.connect_timeout;
        let dialling = timeout(
            config.connect_timeout,
            dial::open_stream(
                config.transport,
                &config.authority,
                Carried::MQTT,
                (&config.tls, config.server_name.as_ref()),
            ),
        );
        let stream = match self.away(shutdown, Box::pin(dialling)).await? {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Some(error.message.into_owned()),
            Err(_) => return Some(late(config.connect_timeout)),
        };
        if let Some(source) = &config.password_source {
            let asking = source.password();
            match self.away(shutdown, asking).await? {
                Ok(password) => self.session.set_password(password),
                Err(reason) => return Some(reason),
            }
        }
        let is_marked = self.is_marked;
        if let Err(fault) = self.session.connect(clock::now(), is_marked) {
            return Some(fault.to_string());
        }
        let mut link = BrokerLink::new(stream);
        let (end, has_been_taken) = self.drive(&mut link, deadline, shutdown).await;
        if !has_been_taken && config.is_bridge && config.version == MqttVersion::V3 {
            // Not every broker that does not know the mark says so.
            self.is_marked = !is_marked;
        }
        let fault = match &end {
            LinkEnd::Fault(fault) => Some(fault),
            LinkEnd::Closed | LinkEnd::Io(_) | LinkEnd::Late | LinkEnd::Leaving => None,
        };
        let says_goodbye = fault.is_some() || matches!(end, LinkEnd::Leaving);
        if says_goodbye {
            self.session.disconnect(clock::now(), fault);
        }
        while let Some(octets) = self.session.poll_transmit() {
            link.push(octets);
        }
        // A broker that takes nothing more is not waited for.
        let _ = timeout(GOODBYE, link.finish()).await;
        self.session.on_lost();
        self.take_events();
        match end {
            LinkEnd::Leaving => None,
            LinkEnd::Closed => Some("the broker has closed the connection".to_owned()),
            LinkEnd::Late => Some(late(config.connect_timeout)),
            LinkEnd::Io(error) => Some(error.to_string()),
            LinkEnd::Fault(fault) => Some(fault.to_string()),
        }
    }

    /// Moves octets until the connection ends. Says whether the broker had taken it.
    async fn drive(
        &mut self,
        link: &mut BrokerLink,
        deadline: Instant,
        shutdown: &CancellationToken,
    ) -> (LinkEnd, bool) {
        let mut has_been_taken = false;
        loop {
            has_been_taken |= self.session.is_connected();
            self.take_events();
            while let Some(octets) = self.session.poll_transmit() {
                link.push(octets);
            }
            match self.step(link, deadline, shutdown).await {
                Ok(()) => {}
                Err(end) => return (end, has_been_taken || self.session.is_connected()),
            }
        }
    }

    /// One thing that happens.
    async fn step(
        &mut self,
        link: &mut BrokerLink,
        deadline: Instant,
        shutdown: &CancellationToken,
    ) -> Result<(), LinkEnd> {
        let is_connected = self.session.is_connected();
        let is_reading = self.judging.len() < usize::from(self.shared.config.receive_maximum);
        self.session.set_reading(clock::now(), is_reading);
        let has_room = self.session.has_room() && link.has_room();
        let timer = match is_connected {
            true => self.session.poll_timeout().map(|(at, _)| at),
            false => Some(deadline),
        };
        let timer = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            moved = link.exchange(is_reading) => {
                moved?;
                self.session.handle_bytes(clock::now(), link.input()).map_err(LinkEnd::Fault)
            }
            waiting = shared.queue.take(), if has_room => {
                let Waiting { message, done } = waiting;
                self.publish(message, done, OnLost::Repeat);
                Ok(())
            }
            Some(command) = self.commands.recv(), if has_room => {
                self.on_command(command).map_err(LinkEnd::Fault)
            }
            Some((token, reason)) = self.judging.next(), if !self.judging.is_empty() => {
                self.on_judged(token, reason).map_err(LinkEnd::Fault)
            }
            () = timer => match is_connected {
                true => self.session.handle_timeout(clock::now()).map_err(LinkEnd::Fault),
                false => Err(LinkEnd::Late),
            },
            () = shutdown.cancelled() => Err(LinkEnd::Leaving),
        }
    }

    /// Waits for `done` without a connection: who asks for one meanwhile is told that there is none.
    /// None where `shutdown` comes first.
    async fn away<T>(
        &mut self,
        shutdown: &CancellationToken,
        done: impl Future<Output = T>,
    ) -> Option<T> {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                done = &mut done => return Some(done),
                Some(command) = self.commands.recv() => self.refuse(command),
                Some((token, reason)) = self.judging.next(), if !self.judging.is_empty() => {
                    // Nothing is written where there is no connection.
                    let _ = self.on_judged(token, reason);
                }
                () = shutdown.cancelled() => return None,
            }
        }
    }

    fn on_ended(&mut self, reason: &str) {
        self.shared.requests.on_lost();
        if self.shared.set_lost(clock::now(), reason)
            && let Some(observer) = &self.observer
        {
            observer.on_lost(reason);
        }
    }

    fn on_command(&mut self, command: Command) -> Result<(), BrokerFault> {
        match command {
            Command::Publish { message, done } => {
                self.publish(message, Some(done), OnLost::Fail);
                Ok(())
            }
            Command::Subscribe {
                subscriptions,
                done,
            } => {
                let ticket = self.ticket(Told::Subscription(done));
                let now = clock::now();
                self.session.subscribe(now, Some(ticket), &subscriptions)
            }
            Command::Unsubscribe { mut filters } => {
                let own = &self.subscriptions;
                filters.retain(|filter| own.iter().all(|one| one.filter != *filter));
                match filters.is_empty() {
                    true => Ok(()),
                    false => self.session.unsubscribe(clock::now(), &filters),
                }
            }
        }
    }

    fn refuse(&self, command: Command) {
        let away = || Err(self.shared.away());
        match command {
            Command::Publish { done, .. } | Command::Subscribe { done, .. } => {
                let _ = done.send(away());
            }
            // The broker forgets it, or sends what nobody reads until the client is gone.
            Command::Unsubscribe { .. } => {}
        }
    }

    fn publish(
        &mut self,
        message: BrokerMessage,
        done: Option<oneshot::Sender<Result<(), Error>>>,
        on_lost: OnLost,
    ) {
        let ticket = self.ticket(Told::Message(done));
        self.session.publish(clock::now(), ticket, message, on_lost);
    }

    fn ticket(&mut self, told: Told) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.told.insert(ticket, told);
        ticket
    }

    fn on_judged(
        &mut self,
        token: Option<MessageToken>,
        reason: Reason,
    ) -> Result<(), BrokerFault> {
        match token {
            Some(token) => self.session.on_judged(clock::now(), token, reason),
            None => Ok(()),
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                SessionEvent::Connected { has_session } => self.on_connected(has_session),
                SessionEvent::Message { message, token } => self.on_message(message, token),
                SessionEvent::Settled { ticket, outcome } => self.on_settled(ticket, outcome),
                SessionEvent::Subscribed { ticket, codes } => self.on_subscribed(ticket, &codes),
            }
        }
        let n_in_flight = self.session.n_in_flight() as u64;
        self.shared.n_in_flight.store(n_in_flight, Relaxed);
    }

    fn on_connected(&mut self, has_session: bool) {
        let suppresses_echo = match self.shared.config.version {
            MqttVersion::V3 => self.is_marked,
            MqttVersion::V5 => true,
        };
        self.shared.set_connected(clock::now(), suppresses_echo);
        if let Some(observer) = &self.observer {
            observer.on_connected(has_session);
        }
        let mut wanted = Vec::new();
        if !(has_session && self.has_subscribed) {
            wanted.extend(self.subscriptions.iter().cloned());
        }
        if !has_session {
            wanted.extend(self.shared.sources.filters().into_iter().map(|filter| {
                BrokerSubscription {
                    filter,
                    qos: Qos::AtLeastOnce,
                    is_bridge: false,
                }
            }));
        }
        self.has_subscribed = true;
        for some in wanted.chunks(FILTERS_PER_PACKET) {
            let filters = some.iter().map(|one| one.filter.clone()).collect();
            let ticket = self.ticket(Told::Own(filters));
            if let Err(fault) = self.session.subscribe(clock::now(), Some(ticket), some) {
                tracing::warn!(%fault, "cannot subscribe at the broker");
            }
        }
    }

    fn on_message(&mut self, message: BrokerMessage, token: Option<MessageToken>) {
        self.shared.n_received.fetch_add(1, Relaxed);
        let mut judged: BoxFuture<Reason> = Box::pin(std::future::ready(Reason::SUCCESS));
        if !self.shared.requests.take(&message) {
            if !self.shared.sources.is_empty()
                && let Some(topic) = event_topic_of(&message.topic)
            {
                let event = event_of(&message, topic, clock::now(), Publisher::default());
                self.shared.sources.offer(&event);
            }
            if let Some(observer) = &self.observer {
                judged = observer.take(message);
            }
        }
        self.judging
            .push_back(Box::pin(async move { (token, judged.await) }));
    }

    fn on_settled(&mut self, ticket: Ticket, outcome: Result<(), Unsettled>) {
        let counter = match &outcome {
            Ok(()) => &self.shared.n_published,
            Err(_) => &self.shared.n_refused,
        };
        match self.told.remove(&ticket) {
            Some(Told::Message(done)) => {
                counter.fetch_add(1, Relaxed);
                match (done, outcome) {
                    // Who has given up is told nothing.
                    (Some(done), outcome) => drop(done.send(outcome.map_err(error_of))),
                    (None, Err(unsettled)) => {
                        tracing::warn!(reason = %unsettled, "a message is not taken by the broker");
                    }
                    (None, Ok(())) => {}
                }
            }
            Some(Told::Subscription(done)) => {
                let _ = done.send(outcome.map_err(error_of));
            }
            Some(Told::Own(_)) | None => {}
        }
    }

    fn on_subscribed(&mut self, ticket: Ticket, codes: &[u8]) {
        match self.told.remove(&ticket) {
            Some(Told::Subscription(done)) => {
                let mut codes = codes.iter().map(|code| Reason(*code));
                let refused = codes.find(|code| code.is_failure());
                let outcome =
                    refused.map_or(Ok(()), |reason| Err(error_of(Unsettled::Refused(reason))));
                let _ = done.send(outcome);
            }
            Some(Told::Own(filters)) => {
                for (filter, code) in filters.iter().zip(codes) {
                    let reason = Reason(*code);
                    if reason.is_failure()
                        && let Some(observer) = &self.observer
                    {
                        observer.on_refused(filter, reason);
                    }
                }
            }
            Some(Told::Message(_)) | None => {}
        }
    }
}

fn error_of(unsettled: Unsettled) -> Error {
    let message = unsettled.to_string();
    match unsettled {
        Unsettled::Lost => {
            Error::unavailable(Blame::Upstream, message).with_retry(Retry::IfIdempotent)
        }
        Unsettled::TooLong { .. } => {
            Error::new(Kind::ResourceExhausted, Blame::Client, message).with_too_large()
        }
        Unsettled::Unwritable(_) => Error::invalid_argument(message),
        Unsettled::Refused(reason) => {
            let kind = match reason {
                Reason::NOT_AUTHORIZED => Kind::PermissionDenied,
                Reason::QUOTA_EXCEEDED => Kind::ResourceExhausted,
                Reason::TOPIC_NAME_INVALID | Reason::PAYLOAD_FORMAT_INVALID => {
                    Kind::InvalidArgument
                }
                Reason(_) => Kind::FailedPrecondition,
            };
            Error::new(kind, Blame::Upstream, message)
        }
    }
}

fn late(limit: Duration) -> String {
    format!("the broker has not taken the connection within {limit:?}")
}

fn u16_pair(number: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes)
}

/// For the last octets of a connection.
const GOODBYE: Duration = Duration::from_secs(1);
/// Filters of one SUBSCRIBE; some brokers take few.
const FILTERS_PER_PACKET: usize = 8;
