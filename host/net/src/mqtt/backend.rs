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
    BoxFuture, Peer, Principal, Text,
    mqtt::{ClientLimits, MqttVersion, Publication, Reason, SharedFilter, TopicName},
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

impl MqttRefusal {
    #[must_use]
    pub fn new(reason: Reason, text: impl Into<Text>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
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
    /// A service is called in the place of telling subscribers. What it resolves to is its answer.
    Call(BoxFuture<PublishOutcome>),
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

impl fmt::Debug for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(taken) => f.debug_tuple("Now").field(taken).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}
