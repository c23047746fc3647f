//! What the broker asks of whoever keeps things.

use std::{fmt, sync::Arc};

use postern_core::{
    BoxFuture, Error, Text,
    event::durable::{EventConsumer, Position},
    mqtt::{Publication, SharedFilter, SubscriptionOptions, TopicFilter, Will},
};

use super::Acceptance;

/// What is kept for all listeners together.
pub trait MqttStore: Send + Sync + fmt::Debug + 'static {
    /// Calls `found` with each retained message whose topic `filter` wants. From memory.
    fn retained(&self, filter: &TopicFilter, found: &mut dyn FnMut(Arc<Publication>));

    /// How many topics have a retained message.
    fn n_retained(&self) -> u64;

    /// Every session that is kept, read at the start. The queues of their shares are there, and no others.
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

    /// What waits for a shared subscription with QoS 1 and 2, as `session_queue` has it: each member that
    /// takes from it asks for a consumer of its own.
    ///
    /// # Errors
    /// What the store says.
    fn share_queue(&self, filter: SharedFilter)
    -> BoxFuture<Result<Box<dyn EventConsumer>, Error>>;

    /// Forgets a shared subscription, and what it was to get.
    ///
    /// # Errors
    /// What the store says.
    fn delete_share(&self, filter: SharedFilter) -> BoxFuture<Result<(), Error>>;
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
    /// Packet identifiers of QoS 2 that the client has, and that were not completed, with their positions
    /// in its queue; 0 of one that was completed and that the queue may not know of.
    pub released: Vec<(u16, Option<Position>)>,
    /// Number of the client's last publication with QoS 2 of which `received` knows (`Receipt::number`).
    pub taken_receipt: u64,
    /// What is to be published when the client does not come back in time.
    pub will: Option<Box<Will>>,
}
