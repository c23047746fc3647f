//! MQTT as operators see it.

use postern_core::mqtt::MqttVersion;
use postern_net::mqtt::{BrokerNumbers, SessionInfo};
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
    pub is_connected: bool,
    /// "3.1.1" or "5"; none of one that has not come back since a restart, as all that follows.
    pub version: Option<&'static str>,
    pub user_name: Option<String>,
    pub principal: Option<String>,
    pub transport: Option<&'static str>,
    pub address: Option<String>,
    /// How many filters it is subscribed to.
    pub subscriptions: usize,
    pub filters: Vec<FilterView>,
    /// Messages that wait in memory.
    pub queued: u64,
    pub dropped: u64,
    /// Whether it is kept over a restart.
    pub is_stored: bool,
}

/// One filter of a session.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FilterView {
    pub filter: String,
    pub qos: u8,
}

impl From<SessionInfo> for SessionView {
    fn from(info: SessionInfo) -> Self {
        let client = info.client.as_deref();
        let filters = info.subscriptions.iter();
        Self {
            client: info.client_id.to_string(),
            is_connected: info.is_connected,
            version: client.map(|client| match client.version {
                MqttVersion::V3 => "3.1.1",
                MqttVersion::V5 => "5",
            }),
            user_name: client.and_then(|client| Some(client.user_name.as_ref()?.to_string())),
            principal: client.and_then(|client| Some(client.principal.as_ref()?.name.to_string())),
            transport: client.map(|client| client.peer.transport.name()),
            address: client.map(|client| client.peer.origin.to_string()),
            subscriptions: info.subscriptions.len(),
            filters: filters
                .map(|(filter, options)| FilterView {
                    filter: filter.to_string(),
                    qos: options.qos.bits(),
                })
                .collect(),
            queued: info.n_queued,
            dropped: info.n_dropped,
            is_stored: info.is_stored,
        }
    }
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
        self.broker.session_info(client).map(SessionView::from)
    }

    /// Every session.
    #[must_use]
    pub(crate) fn view(&self) -> SessionsView {
        let numbers = self.broker.numbers();
        let clients = self.broker.session_infos().into_iter();
        SessionsView {
            connected: numbers.clients_connected,
            sessions: numbers.sessions,
            subscriptions: numbers.subscriptions,
            retained: numbers.retained,
            queued: numbers.queued,
            dropped: numbers.dropped,
            clients: clients.map(SessionView::from).collect(),
        }
    }
}
