//! Brokers of others: where events go to and come from beside the subscribers of this gateway. A
//! bridge to an MQTT broker is one, and so are the channels of a Redis server.

use std::{fmt, time::Duration};

use super::{Event, TopicPattern};
use crate::{
    boxed::BoxFuture,
    call::{Call, Reply},
    error::Error,
    text::Text,
};

/// One broker and the connections to it, which it keeps up by itself. Implementations are shared.
pub trait EventBroker: Send + Sync + fmt::Debug {
    /// `mqtt`, `redis`, `websocket`, `vstp`: what is spoken with it.
    fn protocol(&self) -> &'static str;

    /// Hands an event over. Resolves when the broker has acknowledged it, as far as its protocol and
    /// the settings acknowledge.
    ///
    /// # Errors
    /// `unavailable` while there is no connection, or when it broke before the acknowledgement.
    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>>;

    /// Events of `patterns` from here on, until the source is dropped. It lives through connections:
    /// what was published while there was none is lost unless the broker kept it.
    ///
    /// # Errors
    /// `unavailable`, as above; `unimplemented` for patterns that the protocol cannot ask for.
    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>>;

    /// A request to whoever answers behind the broker, by the protocol's own convention.
    ///
    /// # Errors
    /// Those of the call; `unimplemented` where the protocol has no requests.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>>;

    /// How it stands with the connections.
    fn standing(&self) -> BrokerStanding;

    /// Whether what is published here comes back to whoever subscribes here.
    fn gives_back(&self) -> bool {
        true
    }
}

/// Events that come from a broker.
pub trait EventSource: Send + fmt::Debug {
    /// The next one; none once the broker was closed for good.
    fn next(&mut self) -> BoxFuture<Option<Event>>;
}

/// How it stands with a broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerStanding {
    pub is_connected: bool,
    /// For how long that has been so.
    pub since: Duration,
    /// Why it is not connected, where that is known.
    pub fault: Option<Text>,
    /// Connections that were made, the first included.
    pub n_connects: u64,
    /// Events that wait for it.
    pub n_queued: u64,
    /// Events that its queue had no room for.
    pub n_dropped: u64,
}
