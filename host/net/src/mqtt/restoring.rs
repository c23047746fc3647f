//! Sessions on their way to the store and back.

use std::sync::Arc;

use postern_core::mqtt::{KeptState, ReceivedStage, Window};
use postern_system::clock;

use super::{
    Broker, StoredSession,
    keeping::{left_of, stored, will_left_of},
    session::Session,
    shares::is_stored_share,
    wills::{PendingWill, WillPublisher},
};

impl Broker {
    /// Keeps a session as it is. Says whether that is on disk.
    pub(super) async fn save(
        &self,
        session: &Session,
        kept: &KeptState,
        expiry_s: u32,
        has_ended: bool,
    ) -> bool {
        let state = stored(session, kept, expiry_s, has_ended);
        let number = session.record.replace(state);
        self.save_state(session, number).await
    }

    /// Keeps a state of a session, by the number that its record has given it.
    pub(super) async fn save_state(&self, session: &Session, number: u64) -> bool {
        let save = |state| self.shared.store.save_session(state);
        match session.record.write(number, save).await {
            Ok(()) => {
                self.shared.sessions.on_stored(&session.client_id);
                true
            }
            Err(error) => {
                let client = session.client_id.as_str();
                tracing::warn!(client, %error, "an MQTT session was not stored");
                false
            }
        }
    }

    /// Takes a session of an earlier run up again.
    pub(super) fn restore(&self, stored: StoredSession) {
        let now = clock::now();
        let left = left_of(&stored);
        let expires_at = left.and_then(|left| now.checked_add(left));
        let will_at = will_left_of(&stored).and_then(|left| now.checked_add(left));
        let received = stored
            .received
            .iter()
            .map(|id| (*id, ReceivedStage::Answered))
            .collect();
        let kept = KeptState {
            window: Window::with_released(&stored.released),
            received,
            last_receipt: stored.taken_receipt,
            taken_receipt: stored.taken_receipt,
        };
        let store = &self.shared.store;
        let owed = stored.will.clone();
        let will = |key| {
            let will = PendingWill {
                will: owed?,
                key,
                publisher: WillPublisher::Store(stored.client_id.clone(), Arc::clone(store)),
            };
            // It waits no longer than its session is kept.
            let at = will_at.map(|at| expires_at.map_or(at, |expires_at| at.min(expires_at)));
            Some((at?, will))
        };
        let sessions = &self.shared.sessions;
        let session = sessions.restore(&stored.client_id, kept, expires_at, will);
        session.set_will(stored.will.as_deref());
        sessions.set_durable(&session, store.keeps_queues());
        for (filter, options) in &stored.subscriptions {
            let routes = &self.shared.routes;
            routes.subscribe(filter, &session, *options);
            if is_stored_share(&session, filter, options)
                && let Some(share) = routes.share_of(filter)
            {
                routes.set_share_stored(&share);
            }
        }
        *session.subscriptions.lock() = stored.subscriptions.into_iter().collect();
    }
}
