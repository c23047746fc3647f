//! What the broker asks of the gateway.
//!
//! ```text
//! CONNECT   ─▶ MqttBackend::connect ─▶ MqttAdmission, or the reason why not
//! PUBLISH   ─▶ may_publish ─▶ publish ─▶ (stored, handed to events and services) ─▶ PUBACK, subscribers
//! SUBSCRIBE ─▶ may_subscribe ─▶ MqttStore::retained
//! sessions that outlive their connection ─▶ MqttStore
//! ```

use std::{fmt, sync::Arc};

use bytes::Bytes;
use postern_core::{
    BoxFuture, Error, Peer, Principal, Text,
    event::durable::EventConsumer,
    mqtt::{
        ClientLimits, MqttVersion, Publication, Reason, SharedFilter, SubscriptionOptions,
        TopicFilter, TopicName, Will,
    },
};

/// A listener's side: who may do what, and where publications go besides MQTT subscribers. One for
/// each listener.
pub trait MqttBackend: Send + Sync + fmt::Debug + 'static {
    /// Judges a client that wants to connect.
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<Result<MqttAdmission, MqttRefusal>>;

    /// Counts changes of the rules: answers that were given under another number are asked for again.
    fn rules_version(&self) -> u64;

    /// Whether `client` may publish to `topic`. Asked once for each topic that a connection publishes to
    /// and remembered while `rules_version` stays.
    ///
    /// # Errors
    /// Usually `NOT_AUTHORIZED`.
    fn may_publish(&self, client: &MqttClient, topic: &TopicName) -> Result<(), Reason>;

    /// Whether `client` may subscribe to `filter`. Asked for each SUBSCRIBE, and again for what a
    /// session kept when its client comes back.
    ///
    /// # Errors
    /// Usually `NOT_AUTHORIZED`.
    fn may_subscribe(&self, client: &MqttClient, filter: &SharedFilter) -> Result<(), Reason>;

    /// Takes a publication that may be published. It is to be resolved when everything that its QoS
    /// promises is done: stored on disk where its topic is durable or `is_kept`, retained where
    /// `publication.is_retained`, told to subscribers of events, begun as a call where a route takes it. MQTT
    /// subscribers are told by the broker, afterwards. What needs no wait is `Acceptance::Now`.
    ///
    /// `is_kept`: a session that outlives its connection wants it with QoS 1 or 2, so it is to be
    /// appended to what `MqttStore::session_queue` reads.
    fn publish(
        &self,
        client: &Arc<MqttClient>,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance;
}

/// What is kept for all listeners together.
pub trait MqttStore: Send + Sync + fmt::Debug + 'static {
    /// Calls `found` with each retained message whose topic `filter` wants. From memory.
    fn retained(&self, filter: &TopicFilter, found: &mut dyn FnMut(Arc<Publication>));

    /// How many topics have a retained message.
    fn n_retained(&self) -> u64;

    /// Every session that is kept, read at the start.
    ///
    /// # Errors
    /// What the store says.
    fn load_sessions(&self) -> BoxFuture<Result<Vec<StoredSession>, Error>>;

    /// Keeps a session in place of what was kept of its client. On disk when it resolves.
    ///
    /// # Errors
    /// What the store says.
    fn save_session(&self, session: StoredSession) -> BoxFuture<Result<(), Error>>;

    /// Forgets a session, and what its queue was to get.
    ///
    /// # Errors
    /// What the store says.
    fn delete_session(&self, client_id: Text) -> BoxFuture<Result<(), Error>>;

    /// Takes the will of a client whose connection was of an earlier run of the gateway, as
    /// `MqttBackend::publish` takes publications: its rules were asked when it connected.
    fn publish_will(
        &self,
        client_id: &Text,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance;

    /// Whether there are stored queues. Otherwise sessions outlive their connection in memory only.
    fn keeps_queues(&self) -> bool;

    /// What waits for a session with QoS 1 and 2: a consumer by the client's name of what was published
    /// with `is_kept` to one of `filters`, made where there is none, beginning with what is published
    /// from here on. It is not ordered, has no `ack_wait` and no bound of
    /// deliveries. Asked only where `keeps_queues` says so, and again with each change of the filters:
    /// the consumer that was given before is dropped then.
    ///
    /// # Errors
    /// What the store says.
    fn session_queue(
        &self,
        client_id: Text,
        filters: Vec<TopicFilter>,
        in_flight_max: usize,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>>;
}

/// A client that wants to connect.
#[derive(Debug, Clone)]
pub struct ConnectAttempt {
    /// Assigned by the broker where the client sent none.
    pub client_id: Text,
    pub version: MqttVersion,
    pub user_name: Option<Text>,
    pub password: Option<Bytes>,
    /// Transport, address, certificate.
    pub peer: Arc<Peer>,
    pub user_properties: Vec<(Text, Text)>,
    /// Where its will would go.
    pub will_topic: Option<Text>,
}

/// A client that may connect.
#[derive(Debug, Clone)]
pub struct MqttAdmission {
    /// None where nobody had to say who he is.
    pub principal: Option<Arc<Principal>>,
    /// Bounds for this client; none takes those of the listener.
    pub limits: Option<Arc<ClientLimits>>,
    /// Told to a client of MQTT 5 that asks: what the topics of its responses are to begin with.
    pub response_information: Option<Text>,
}

/// Why a client may not connect, or a publication was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttRefusal {
    pub reason: Reason,
    /// Told to clients of MQTT 5.
    pub text: Text,
}

/// What became of a publication: how many beside MQTT subscribers got it, or why it was not taken.
pub type PublishOutcome = Result<u32, MqttRefusal>;

/// A publication on its way.
pub enum Acceptance {
    Now(PublishOutcome),
    /// Something has to be stored first.
    Later(BoxFuture<PublishOutcome>),
}

/// A client with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttClient {
    pub client_id: Text,
    pub version: MqttVersion,
    pub user_name: Option<Text>,
    pub principal: Option<Arc<Principal>>,
    pub peer: Arc<Peer>,
}

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pub client_id: Text,
    /// Seconds that it outlives its connection by; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// When its connection ended, in milliseconds since 1970; none while it has one.
    pub ended_at_ms: Option<u64>,
    pub subscriptions: Vec<(SharedFilter, SubscriptionOptions)>,
    /// Packet identifiers of QoS 2 that came and were not released by the client.
    pub received: Vec<u16>,
    /// Packet identifiers of QoS 2 that the client has, and that were not completed.
    pub released: Vec<u16>,
    /// What is to be published when the client does not come back in time.
    pub will: Option<Box<Will>>,
}

impl MqttRefusal {
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<Text>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
}

impl fmt::Debug for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(taken) => f.debug_tuple("Now").field(taken).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}
