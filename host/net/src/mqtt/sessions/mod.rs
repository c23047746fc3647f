//! Sessions by client: connections come and go, and what is to end without one does.
//!
//! ```text
//! attach ─▶ connected ─ detach ─▶ detached ─ expiry ─▶ gone
//!    │          ▲ └─ taken over: told to end, then `attach` of the next goes on
//!    └──────────┘
//! ```

mod ending;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    mqtt::{ClientKey, ClientLimits, KeptState},
};
use tokio::sync::{Notify, futures::OwnedNotified};

pub(super) use self::ending::Overdue;
use super::{
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
pub(super) struct Detached {
    pub(super) kept: KeptState,
    /// None: never.
    pub(super) expires_at: Option<Instant>,
    pub(super) will: Option<(Instant, PendingWill)>,
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
pub(super) enum Claim {
    Attached(Attached, Option<Discarded>),
    /// Another connection has it, and was told to end.
    Taken(OwnedNotified),
    Full,
}

/// A session that a client does not want to go on with.
pub(super) struct Discarded {
    pub(super) session: Arc<Session>,
    pub(super) is_stored: bool,
    pub(super) will: Option<PendingWill>,
}

impl Sessions {
    pub(super) fn has_durable(&self) -> bool {
        self.n_durable.load(Relaxed) > 0
    }

    /// Gives `client_id` a session, where nobody has it.
    pub(super) fn claim(
        &self,
        client_id: &Text,
        is_clean: bool,
        limits: &ClientLimits,
        sessions_max: usize,
    ) -> Claim {
        let mut state = self.state.lock();
        state.claim(client_id, is_clean, limits, sessions_max)
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
        let connected = state
            .entries
            .get(client_id)
            .filter(|entry| entry.session.is_connected());
        let session = connected.map(|entry| Arc::clone(&entry.session));
        drop(state);
        session.is_some_and(|session| {
            session.end(Ending::Administrative);
            true
        })
    }

    pub(super) fn standing(&self) -> SessionsStanding {
        let state = self.state.lock();
        let queued = state
            .entries
            .values()
            .map(|entry| entry.session.n_queued() as u64);
        SessionsStanding {
            n_sessions: state.entries.len() as u64,
            n_connected: state.n_connected,
            n_queued: queued.sum(),
        }
    }

    /// Puts in a session that has no connection.
    pub(super) fn restore(
        &self,
        client_id: &Text,
        kept: KeptState,
        expires_at: Option<Instant>,
        will: impl FnOnce(ClientKey) -> Option<(Instant, PendingWill)>,
    ) -> Arc<Session> {
        let mut state = self.state.lock();
        let session = state.insert(client_id, &ClientLimits::default());
        let will = will(session.key);
        let will_at = will.as_ref().map(|(at, _)| *at);
        for at in [expires_at, will_at].into_iter().flatten() {
            state.deadlines.insert((at, client_id.clone()));
        }
        if let Some(entry) = state.entries.get_mut(client_id) {
            entry.is_stored = true;
            entry.standing = Standing::Detached(Box::new(Detached {
                kept,
                expires_at,
                will,
            }));
        }
        session
    }

    /// The store has the session.
    pub(super) fn on_stored(&self, client_id: &Text) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(client_id) {
            entry.is_stored = true;
        }
    }

    /// Makes what is published with QoS 1 and 2 come to a session by its stored queue.
    pub(super) fn set_durable(&self, session: &Session, is_durable: bool) {
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
                    // To be made before the lock is given back, or the end might be missed.
                    return Claim::Taken(Arc::clone(ended).notified_owned());
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
