//! Sessions, for whoever looks at them.

use std::sync::Arc;

use postern_core::mqtt::{SharedFilter, SubscriptionOptions};

use super::{Broker, MqttClient};

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub client_id: postern_core::Text,
    pub is_connected: bool,
    /// Who has it, or had it last; none of one that was kept over a restart and has not come back.
    pub client: Option<Arc<MqttClient>>,
    pub subscriptions: Vec<(SharedFilter, SubscriptionOptions)>,
    /// Publications that wait here; those of a stored queue are not counted.
    pub n_queued: u64,
    /// Publications that its queue had no room for.
    pub n_dropped: u64,
    /// Whether it outlives its connection on disk.
    pub is_stored: bool,
}

impl Broker {
    /// Every session, by the names of their clients.
    #[must_use]
    pub fn session_infos(&self) -> Vec<SessionInfo> {
        let mut infos: Vec<_> = self
            .shared
            .sessions
            .all()
            .into_iter()
            .map(|session| session.info())
            .collect();
        infos.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        infos
    }

    /// The session of one client, if it is known.
    #[must_use]
    pub fn session_info(&self, client_id: &str) -> Option<SessionInfo> {
        let session = self.shared.sessions.of(client_id)?;
        Some(session.info())
    }
}
