//! Sessions by client: connections come and go, and what is to end without one does.
//!
//! ```text
//! attach ─▶ connected ─ detach ─▶ detached ─ expiry ─▶ gone
//!    │          ▲ └─ taken over: told to end, then `attach` of the next goes on
//!    └──────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    mqtt::{
        ClientKey, ClientLimits, KeptState, Reason, SharedFilter, SubscriptionOptions, Window,
    },
};
use postern_system::clock;
use tokio::sync::Notify;

use super::{
    Broker, Refusal, StoredSession,
    routes::Told,
    session::{Ending, Session},
    wills::PendingWill,
};

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<SessionsState>,
    /// A deadline has come that is earlier than the others.
    earlier: Notify,
    n_durable: AtomicUsize,
}

#[derive(Debug, Default)]
struct SessionsState {
    entries: HashMap<Text, Entry>,
    last_key: u64,
    n_connected: u64,
    /// When to look at which detached session. May name ones that are connected again.
    deadlines: BTreeSet<(Instant, Text)>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    standing: Standing,
    /// Whether the store has it.
    is_stored: bool,
}

#[derive(Debug)]
enum Standing {
    /// Whoever waits for its end is told.
    Connected(Arc<Notify>),
    Detached(Box<Detached>),
}

#[derive(Debug)]
struct Detached {
    kept: KeptState,
    /// None: never.
    expires_at: Option<Instant>,
    will: Option<(Instant, PendingWill)>,
}

/// A session with a connection.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) session: Arc<Session>,
    pub(super) kept: KeptState,
    pub(super) is_present: bool,
}

/// Numbers of a moment.
#[derive(Debug, Default)]
pub(super) struct SessionsStanding {
    pub(super) n_sessions: u64,
    pub(super) n_connected: u64,
    pub(super) n_queued: u64,
}

/// What is to be done before a client has its session.
enum Claim {
    Attached(Attached, Option<Discarded>),
    /// Another connection has it, and was told to end.
    Taken(Arc<Notify>),
    Full,
}

/// A session that a client does not want to go on with.
struct Discarded {
    session: Arc<Session>,
    is_stored: bool,
    will: Option<PendingWill>,
}

impl Sessions {
    pub(super) fn has_durable(&self) -> bool {
        self.n_durable.load(Relaxed) > 0
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.state.lock().deadlines.first().map(|(at, _)| *at)
    }

    pub(super) async fn changed(&self) {
        self.earlier.notified().await;
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        let state = self.state.lock();
        let entries = state.entries.values();
        entries.map(|entry| Arc::clone(&entry.session)).collect()
    }

    pub(super) fn of(&self, client_id: &str) -> Option<Arc<Session>> {
        let state = self.state.lock();
        let entry = state.entries.get(client_id)?;
        Some(Arc::clone(&entry.session))
    }

    pub(super) fn disconnect(&self, client_id: &str) -> bool {
        let state = self.state.lock();
        let connected = state.entries.get(client_id).filter(|entry| entry.session.is_connected());
        let session = connected.map(|entry| Arc::clone(&entry.session));
        drop(state);
        session.is_some_and(|session| {
            session.end(Ending::Administrative);
            true
        })
    }

    pub(super) fn standing(&self) -> SessionsStanding {
        let state = self.state.lock();
        let queued = state.entries.values().map(|entry| entry.session.n_queued() as u64);
        SessionsStanding {
            n_sessions: state.entries.len() as u64,
            n_connected: state.n_connected,
            n_queued: queued.sum(),
        }
    }

    /// Makes what is published with QoS 1 and 2 come to a session by its stored queue.
    fn set_durable(&self, session: &Session, is_durable: bool) {
        if session.is_durable() == is_durable {
            return;
        }
        session.set_durable(is_durable);
        match is_durable {
            true => self.n_durable.fetch_add(1, Relaxed),
            false => self.n_durable.fetch_sub(1, Relaxed),
        };
    }
}

impl SessionsState {
    fn claim(
        &mut self,
        client_id: &Text,
        is_clean: bool,
        limits: &ClientLimits,
        sessions_max: usize,
    ) -> Claim {
        let mut discarded = None;
        if let Some(entry) = self.entries.get_mut(client_id) {
            let detached = match &mut entry.standing {
                Standing::Connected(ended) => {
                    entry.session.end(Ending::TakenOver);
                    return Claim::Taken(Arc::clone(ended));
                }
                Standing::Detached(detached) => detached,
            };
            let will = detached.will.take().map(|(_, will)| will);
            if !is_clean {
                let kept = std::mem::take(&mut detached.kept);
                entry.standing = Standing::Connected(Arc::default());
                self.n_connected += 1;
                let session = Arc::clone(&entry.session);
                session.on_connected(limits);
                // The client is back in time: its will is not published.
                drop(will);
                let attached = Attached {
                    session,
                    kept,
                    is_present: true,
                };
                return Claim::Attached(attached, None);
            }
            discarded = Some(Discarded {
                session: Arc::clone(&entry.session),
                is_stored: entry.is_stored,
                will,
            });
        } else if self.entries.len() >= sessions_max {
            return Claim::Full;
        }
        let session = self.insert(client_id, limits);
        session.on_connected(limits);
        self.n_connected += 1;
        let attached = Attached {
            session,
            kept: KeptState::default(),
            is_present: false,
        };
        Claim::Attached(attached, discarded)
    }

    fn insert(&mut self, client_id: &Text, limits: &ClientLimits) -> Arc<Session> {
        self.last_key += 1;
        let key = ClientKey(self.last_key);
        let session = Arc::new(Session::new(key, client_id.clone(), limits));
        let entry = Entry {
            session: Arc::clone(&session),
            standing: Standing::Connected(Arc::default()),
            is_stored: false,
        };
        self.entries.insert(client_id.clone(), entry);
        session
    }
}

impl Broker {
    /// Gives a client its session, or a new one; a connection that has it is ended first.
    pub(super) async fn attach(
        &self,
        client_id: &Text,
        is_clean: bool,
        expiry_s: u32,
        limits: &ClientLimits,
    ) -> Result<Attached, Refusal> {
        let sessions_max = self.shared.config.read().sessions_max;
        let sessions = &self.shared.sessions;
        let deadline = clock::now() + TAKEOVER_TIMEOUT;
        let (attached, discarded) = loop {
            let ended = {
                let mut state = sessions.state.lock();
                match state.claim(client_id, is_clean, limits, sessions_max) {
                    Claim::Attached(attached, discarded) => break (attached, discarded),
                    Claim::Full => {
                        let text = format!("{sessions_max} sessions are kept, which is the limit");
                        return Err(Refusal::new(Reason::QUOTA_EXCEEDED, text));
                    }
                    // To be made before the lock is given back, or the end might be missed.
                    Claim::Taken(ended) => ended.notified_owned(),
                }
            };
            if tokio::time::timeout_at(deadline.into(), ended).await.is_err() {
                let text = "the connection that has the session does not end";
                return Err(Refusal::new(Reason::SERVER_BUSY, text));
            }
        };
        if let Some(discarded) = discarded {
            self.discard(discarded).await;
        }
        let is_durable = expiry_s > 0 && self.shared.store.keeps_queues();
        sessions.set_durable(&attached.session, is_durable);
        if attached.is_present {
            self.shared.routes.touch();
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
        if is_durable {
            self.save(session, &kept, expiry_s, true).await;
        }
        let expires_at = (expiry_s != u32::MAX)
            .then(|| now.checked_add(Duration::from_secs(expiry_s.into())))
            .flatten();
        let (will_now, will_later) = match will {
            Some(will) if will.delay().is_zero() => (Some(will), None),
            will => (None, will.map(|will| (now + will.delay(), will))),
        };
        let will_at = will_later.as_ref().map(|(at, _)| *at);
        let sessions = &self.shared.sessions;
        let mut state = sessions.state.lock();
        state.n_connected = state.n_connected.saturating_sub(1);
        for at in [expires_at, will_at].into_iter().flatten() {
            state.deadlines.insert((at, session.client_id.clone()));
        }
        let detached = Detached {
            kept,
            expires_at,
            will: will_later,
        };
        let mut ended = None;
        if let Some(entry) = state.entries.get_mut(&session.client_id) {
            let standing = Standing::Detached(Box::new(detached));
            entry.is_stored |= is_durable;
            ended = Some(std::mem::replace(&mut entry.standing, standing));
        }
        drop(state);
        sessions.earlier.notify_one();
        if let Some(Standing::Connected(ended)) = ended {
            ended.notify_waiters();
        }
        if let Some(will) = will_now {
            will.publish(self).await;
        }
    }

    /// A session of which nothing is kept.
    async fn forget(&self, session: &Arc<Session>, will: Option<PendingWill>) {
        let mut state = self.shared.sessions.state.lock();
        let known = state.entries.get(&session.client_id);
        let is_own = known.is_some_and(|entry| entry.session.key == session.key);
        let entry = is_own.then(|| state.entries.remove(&session.client_id)).flatten();
        let is_connected = matches!(&entry, Some(Entry { standing: Standing::Connected(_), .. }));
        state.n_connected = state.n_connected.saturating_sub(is_connected.into());
        drop(state);
        let is_stored = entry.as_ref().is_some_and(|entry| entry.is_stored);
        let discarded = Discarded {
            session: Arc::clone(session),
            is_stored,
            will,
        };
        self.discard(discarded).await;
        if let Some(Entry { standing: Standing::Connected(ended), .. }) = entry {
            ended.notify_waiters();
        }
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
        if is_stored {
            let deleted = self.shared.store.delete_session(session.client_id.clone()).await;
            if let Err(error) = deleted {
                let client = session.client_id.as_str();
                tracing::warn!(client, %error, "an MQTT session was not deleted");
            }
        }
        if let Some(will) = will {
            will.publish(self).await;
        }
    }

    /// What came by shared subscriptions goes to other members, as far as there are any.
    fn hand_on_shared(&self, session: &Session, kept: &mut KeptState) {
        let mut told = Told::default();
        let taken = kept.window.take_shared().into_iter().chain(session.take_shared());
        for outgoing in taken {
            if !self.shared.routes.hand_on(&outgoing, session, &mut told) {
                session.push(outgoing);
            }
        }
        self.on_told(&mut told);
    }

    /// Keeps a session as it is. Says whether that is on disk.
    pub(super) async fn save(
        &self,
        session: &Session,
        kept: &KeptState,
        expiry_s: u32,
        has_ended: bool,
    ) -> bool {
        self.save_state(stored(session, kept, expiry_s, has_ended)).await
    }

    pub(super) async fn save_state(&self, stored: StoredSession) -> bool {
        let client_id = stored.client_id.clone();
        match self.shared.store.save_session(stored).await {
            Ok(()) => {
                let mut state = self.shared.sessions.state.lock();
                if let Some(entry) = state.entries.get_mut(&client_id) {
                    entry.is_stored = true;
                }
                true
            }
            Err(error) => {
                let client = client_id.as_str();
                tracing::warn!(client, %error, "an MQTT session was not stored");
                false
            }
        }
    }

    /// Takes a session of an earlier run up again.
    pub(super) fn restore(&self, stored: StoredSession) {
        let now = clock::now();
        let limits = ClientLimits::default();
        let sessions = &self.shared.sessions;
        let left = left_of(&stored);
        let expires_at = left.and_then(|left| now.checked_add(left));
        let mut state = sessions.state.lock();
        let session = state.insert(&stored.client_id, &limits);
        let received = stored.received.iter().map(|id| (*id, true)).collect();
        let kept = KeptState {
            window: Window::with_released(&stored.released),
            received,
        };
        if let Some(entry) = state.entries.get_mut(&stored.client_id) {
            entry.is_stored = true;
            entry.standing = Standing::Detached(Box::new(Detached {
                kept,
                expires_at,
                will: None,
            }));
        }
        if let Some(at) = expires_at {
            state.deadlines.insert((at, stored.client_id.clone()));
        }
        drop(state);
        sessions.set_durable(&session, self.shared.store.keeps_queues());
        for (filter, options) in &stored.subscriptions {
            self.shared.routes.subscribe(filter, &session, *options);
        }
        let subscriptions: BTreeMap<SharedFilter, SubscriptionOptions> =
            stored.subscriptions.into_iter().collect();
        *session.subscriptions.lock() = subscriptions;
    }

    /// Ends sessions and publishes wills whose time has come.
    pub(super) async fn end_overdue(&self) {
        let now = clock::now();
        loop {
            let mut state = self.shared.sessions.state.lock();
            let Some((at, client_id)) = state.deadlines.first().cloned() else {
                return;
            };
            if at > now {
                return;
            }
            state.deadlines.pop_first();
            let Some(entry) = state.entries.get_mut(&client_id) else {
                continue;
            };
            let Standing::Detached(detached) = &mut entry.standing else {
                continue;
            };
            let is_over = detached.expires_at.is_some_and(|at| at <= now);
            let is_due = |(at, _): &mut (Instant, PendingWill)| is_over || *at <= now;
            let will = detached.will.take_if(is_due).map(|(_, will)| will);
            let session = Arc::clone(&entry.session);
            drop(state);
            if is_over {
                self.forget(&session, will).await;
            } else if let Some(will) = will {
                will.publish(self).await;
            }
        }
    }
}

/// A session as it is kept.
pub(super) fn stored(
    session: &Session,
    kept: &KeptState,
    expiry_s: u32,
    has_ended: bool,
) -> StoredSession {
    let ended_at = has_ended.then(|| clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default());
    let received = kept.received.iter().filter(|(_, is_answered)| **is_answered);
    let subscriptions = session.subscriptions.lock();
    StoredSession {
        client_id: session.client_id.clone(),
        expiry_s,
        ended_at_ms: ended_at.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
        subscriptions: subscriptions.iter().map(|(f, o)| (f.clone(), *o)).collect(),
        received: received.map(|(id, _)| *id).collect(),
        released: kept.window.released(),
    }
}

/// How long a stored session is kept from here on; none for ever. One whose connection the gateway's end
/// has cut begins anew.
fn left_of(stored: &StoredSession) -> Option<Duration> {
    if stored.expiry_s == u32::MAX {
        return None;
    }
    let expiry = Duration::from_secs(stored.expiry_s.into());
    let Some(ended_at_ms) = stored.ended_at_ms else {
        return Some(expiry);
    };
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let gone = now.saturating_sub(Duration::from_millis(ended_at_ms));
    Some(expiry.saturating_sub(gone))
}

/// How long a connection may take to give its session to the next one of its client.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(15);
