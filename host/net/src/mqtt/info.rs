//! Sessions, for whoever looks at them.

use super::{Broker, session::SessionInfo};

impl Broker {
    /// Every session, by the names of their clients.
    #[must_use]
    pub fn session_infos(&self) -> Vec<SessionInfo> {
        let sessions = self.shared.sessions.all();
        let mut infos: Vec<_> = sessions.iter().map(|session| session.info()).collect();
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
