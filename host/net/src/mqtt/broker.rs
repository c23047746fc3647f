//! All sessions, and who gets what.

use std::sync::Arc;

use postern_core::{
    Error,
    event::Event,
    mqtt::Publication,
};

use super::{BrokerConfig, MqttStore};
use crate::Shutdown;

/// One for a gateway; its listeners share it. Clones are the same broker.
#[derive(Debug, Clone)]
pub struct Broker {
    store: Arc<dyn MqttStore>,
}

/// What the broker counts, since the start where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrokerNumbers {
    pub clients_connected: u64,
    /// Sessions at present, with a connection and without.
    pub sessions: u64,
    pub subscriptions: u64,
    pub retained: u64,
    /// Publications taken of clients.
    pub received: u64,
    /// Publications sent to clients.
    pub sent: u64,
    /// Publications that a subscriber's queue had no room for, or that expired in it.
    pub dropped: u64,
    /// Publications that wait for clients at present.
    pub queued: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl Broker {
    /// A broker with the sessions that `store` has kept.
    ///
    /// # Errors
    /// What the store says.
    #[expect(clippy::unused_async, reason = "the interface first")]
    pub async fn open(_config: BrokerConfig, store: Arc<dyn MqttStore>) -> Result<Self, Error> {
        Ok(Self { store })
    }

    /// Puts `config` in force for what begins from here on.
    pub fn reconfigure(&self, _config: BrokerConfig) {}

    /// What ends by itself: sessions, wills that wait; and `$SYS`. Runs until `shutdown` drains.
    pub async fn run(&self, shutdown: Shutdown) {
        shutdown.draining().await;
    }

    /// Gives an event that was published elsewhere to the MQTT subscribers of its topic, and says how
    /// many there are. Never waits. To be called once the event is stored, where `keeps` says so.
    pub fn deliver_event(&self, _event: &Event) -> u32 {
        0
    }

    /// Whether a session that outlives its connection wants the event's `topic` with QoS 1 or 2, so that
    /// it is to be appended to what `MqttStore::session_queue` reads, before `deliver_event`.
    #[must_use]
    pub fn keeps(&self, _topic: &str) -> bool {
        false
    }

    /// Gives a publication to MQTT subscribers alone: a reply to a request, for instance. Says how many.
    pub fn deliver(&self, _publication: &Arc<Publication>) -> u32 {
        0
    }

    /// Ends the connection of a client, with `ADMINISTRATIVE_ACTION`. False where it has none.
    #[must_use]
    pub fn disconnect(&self, _client_id: &str) -> bool {
        false
    }

    #[must_use]
    pub fn numbers(&self) -> BrokerNumbers {
        BrokerNumbers {
            retained: self.store.n_retained(),
            ..BrokerNumbers::default()
        }
    }
}
