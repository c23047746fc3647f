//! How a client gets its session, and gives it back.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use postern_core::{
    Text,
    mqtt::{ClientLimits, KeptState, Reason},
};
use postern_system::clock;

use super::{
    Broker, MqttRefusal,
    keeping::first_receipt,
    routes::Told,
    session::Session,
    sessions::{Attached, Claim, Detached, Discarded, Overdue},
    wills::PendingWill,
};

impl Broker {
    /// Gives a client its session, or a new one; a connection that has it is ended first.
    pub(super) async fn attach(
        &self,
        client_id: &Text,
        is_clean: bool,
        expiry_s: u32,
        limits: &ClientLimits,
    ) -> Result<Attached, MqttRefusal> {
        let sessions_max = self.shared.config.read().sessions_max;
        let sessions = &self.shared.sessions;
        let deadline = clock::now() + TAKEOVER_TIMEOUT;
        let (mut attached, discarded) = loop {
            let ended = match sessions.claim(client_id, is_clean, limits, sessions_max) {
                Claim::Attached(attached, discarded) => break (attached, discarded),
                Claim::Full => {
                    let text = format!("{sessions_max} sessions are kept, which is the limit");
                    return Err(MqttRefusal::new(Reason::QUOTA_EXCEEDED, text));
                }
                Claim::Taken(ended) => ended,
            };
            if tokio::time::timeout_at(deadline.into(), ended)
                .await
                .is_err()
            {
                let text = "the connection that has the session does not end";
                return Err(MqttRefusal::new(Reason::SERVER_BUSY, text));
            }
        };
        if let Some(discarded) = discarded {
            self.discard(discarded).await;
        }
        // What a session has stored it keeps to its end, also where that comes with this connection.
        let has_stored = attached.is_present && attached.session.is_durable();
        let is_durable = has_stored || (expiry_s > 0 && self.shared.store.keeps_queues());
        sessions.set_durable(&attached.session, is_durable);
        match attached.is_present {
            true => self.shared.routes.touch(),
            false => attached.kept = KeptState::new(first_receipt()),
        }
        Ok(attached)
    }

    /// The connection of a session has ended. `expiry_s` is how long the session is kept.
    pub(super) async fn detach(
        &self,
        session: &Arc<Session>,
        kept: KeptState,
        expiry_s: u32,
        will: Option<PendingWill>,
    ) {
        let now = clock::now();
        session.on_disconnected();
        let n_expired = session.settle(now);
        self.shared.tally.dropped.fetch_add(n_expired, Relaxed);
        let mut kept = kept;
        self.hand_on_shared(session, &mut kept);
        if expiry_s == 0 {
            self.forget(session, will).await;
            return;
        }
        let is_durable = session.is_durable();
        let (mut will_now, will_later) = match will {
            Some(will) if will.delay().is_zero() => (Some(will), None),
            will => (None, will.map(|will| (now + will.delay(), will))),
        };
        if is_durable {
            if let Some(will) = will_now.take() {
                // Owed on disk until it is published.
                self.publish_will(will).await;
            }
            session.set_will(will_later.as_ref().map(|(_, will)| &*will.will));
            self.save(session, &kept, expiry_s, true).await;
        }
        let expires_at = (expiry_s != u32::MAX)
            .then(|| now.checked_add(Duration::from_secs(expiry_s.into())))
            .flatten();
        let detached = Detached {
            kept,
            expires_at,
            will: will_later,
        };
        self.shared.sessions.detach(session, detached, is_durable);
        if let Some(will) = will_now {
            self.publish_will(will).await;
        }
    }

    /// A session of which nothing is kept. Whoever comes meanwhile by its name waits until it is gone,
    /// so that nothing of the next is deleted with it.
    async fn forget(&self, session: &Arc<Session>, will: Option<PendingWill>) {
        let Some(is_stored) = self.shared.sessions.begin_end(session) else {
            return;
        };
        let discarded = Discarded {
            session: Arc::clone(session),
            is_stored,
            will,
        };
        self.discard(discarded).await;
        self.shared.sessions.end(session);
    }

    /// Takes a session off every list, and out of the store.
    async fn discard(&self, discarded: Discarded) {
        let Discarded {
            session,
            is_stored,
            will,
        } = discarded;
        let subscriptions = std::mem::take(&mut *session.subscriptions.lock());
        for filter in subscriptions.keys() {
            self.shared.routes.unsubscribe(filter, &session);
        }
        self.shared.sessions.set_durable(&session, false);
        session.clear();
        self.drop_held_shares(&session).await;
        self.end_shares().await;
        if is_stored {
            let deleted = self
                .shared
                .store
                .delete_session(session.client_id.clone())
                .await;
            if let Err(error) = deleted {
                let client = session.client_id.as_str();
                tracing::warn!(client, %error, "an MQTT session was not deleted");
            }
        }
        if let Some(will) = will {
            self.publish_will(will).await;
        }
    }

    async fn publish_will(&self, will: PendingWill) {
        let mut told = Told::default();
        will.publish(&self.shared.routes, &mut told).await;
        self.on_told(&mut told);
    }

    /// What came by shared subscriptions goes to other members, as far as there are any.
    fn hand_on_shared(&self, session: &Session, kept: &mut KeptState) {
        let mut told = Told::default();
        let taken = kept
            .window
            .take_shared()
            .into_iter()
            .chain(session.take_shared());
        for outgoing in taken {
            if !self.shared.routes.hand_on(&outgoing, session, &mut told) {
                session.push(outgoing);
            }
        }
        self.on_told(&mut told);
    }

    /// Ends sessions and publishes wills whose time has come.
    pub(super) async fn end_overdue(&self) {
        let now = clock::now();
        while let Some(overdue) = self.shared.sessions.pop_overdue(now) {
            let Overdue {
                session,
                will,
                is_over,
                remains,
            } = overdue;
            if is_over {
                self.forget(&session, will).await;
                continue;
            }
            if let Some(will) = will {
                self.publish_will(will).await;
            }
            if let Some(remains) = remains {
                self.save_state(&session, remains).await;
            }
        }
    }
}

/// How long a connection may take to give its session to the next one of its client.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(15);
