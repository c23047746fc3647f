//! MQTT as operators see it.

use postern_net::mqtt::BrokerNumbers;
use serde::Serialize;

use super::MqttGateway;

/// For the exporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MqttNumbers {
    pub broker: BrokerNumbers,
    /// Octets of retained messages.
    pub retained_bytes: u64,
    /// Publishes that were calls.
    pub calls: u64,
    /// Of these, those that failed.
    pub calls_failed: u64,
}

/// For the admin listener.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SessionsView {
    pub connected: u64,
    pub sessions: u64,
    pub subscriptions: u64,
    pub retained: u64,
    pub queued: u64,
    pub dropped: u64,
    pub clients: Vec<SessionView>,
}

/// One session.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SessionView {
    pub client: String,
}

impl MqttGateway {
    #[must_use]
    pub(crate) fn numbers(&self) -> MqttNumbers {
        let (calls, calls_failed) = self.calls.counts();
        MqttNumbers {
            broker: self.broker.numbers(),
            retained_bytes: self.store.retained.bytes() as u64,
            calls,
            calls_failed,
        }
    }

    /// The session of `client`, if it is known.
    #[must_use]
    pub(crate) fn session(&self, client: &str) -> Option<SessionView> {
        let mut sessions = self.view().clients.into_iter();
        sessions.find(|session| session.client == client)
    }

    /// Every session.
    #[must_use]
    pub(crate) fn view(&self) -> SessionsView {
        let numbers = self.broker.numbers();
        SessionsView {
            connected: numbers.clients_connected,
            sessions: numbers.sessions,
            subscriptions: numbers.subscriptions,
            retained: numbers.retained,
            queued: numbers.queued,
            dropped: numbers.dropped,
            clients: Vec::new(),
        }
    }
}
