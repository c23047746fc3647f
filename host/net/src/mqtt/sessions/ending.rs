//! Sessions whose connection has ended, and those that end without one.

use std::{sync::Arc, time::Instant};

use super::{Detached, Entry, Sessions, Standing};
use crate::mqtt::{StoredSession, keeping::stored, session::Session, wills::PendingWill};

/// A session without a connection whose time has come.
pub(in super::super) struct Overdue {
    pub(in super::super) session: Arc<Session>,
    pub(in super::super) will: Option<PendingWill>,
    /// It is to be forgotten.
    pub(in super::super) is_over: bool,
    /// The state that is to be kept of it once its will is published, where it is stored.
    pub(in super::super) remains: Option<u64>,
}

impl Sessions {
    /// The connection of a session has ended.
    pub(in super::super) fn detach(&self, session: &Session, detached: Detached, is_stored: bool) {
        let mut state = self.state.lock();
        state.n_connected = state.n_connected.saturating_sub(1);
        let will_at = detached.will.as_ref().map(|(at, _)| *at);
        for at in [detached.expires_at, will_at].into_iter().flatten() {
            state.deadlines.insert((at, session.client_id.clone()));
        }
        let mut before = None;
        if let Some(entry) = state.entries.get_mut(&session.client_id) {
            let standing = Standing::Detached(Box::new(detached));
            entry.is_stored |= is_stored;
            before = Some(std::mem::replace(&mut entry.standing, standing));
        }
        drop(state);
        self.earlier.notify_one();
        if let Some(Standing::Connected(ended)) = before {
            ended.notify_waiters();
        }
    }

    /// Lets nobody have a session that is about to be forgotten. Says whether it is stored; none where
    /// it is another's by now.
    pub(in super::super) fn begin_end(&self, session: &Session) -> Option<bool> {
        let mut state = self.state.lock();
        let entry = state.entries.get_mut(&session.client_id)?;
        if entry.session.key != session.key {
            return None;
        }
        let is_stored = entry.is_stored;
        if let Standing::Detached(_) = &entry.standing {
            entry.standing = Standing::Connected(Arc::default());
            state.n_connected += 1;
        }
        Some(is_stored)
    }

    /// It is gone.
    pub(in super::super) fn end(&self, session: &Session) {
        let mut state = self.state.lock();
        let entry = state.entries.remove(&session.client_id);
        state.n_connected = state.n_connected.saturating_sub(1);
        drop(state);
        if let Some(Entry {
            standing: Standing::Connected(ended),
            ..
        }) = entry
        {
            ended.notify_waiters();
        }
    }

    /// The next session that something is to be done with.
    pub(in super::super) fn pop_overdue(&self, now: Instant) -> Option<Overdue> {
        let mut state = self.state.lock();
        loop {
            let (at, client_id) = state.deadlines.first().cloned()?;
            if at > now {
                return None;
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
            let is_kept = will.is_some() && !is_over && entry.is_stored;
            let remains = is_kept.then(|| {
                session.set_will(None);
                session.record.replace(detached.stored(&session, now))
            });
            return Some(Overdue {
                session,
                will,
                is_over,
                remains,
            });
        }
    }
}

impl Detached {
    /// As it is kept while it has no connection.
    fn stored(&self, session: &Session, now: Instant) -> StoredSession {
        let left = self.expires_at.map(|at| at.saturating_duration_since(now));
        let expiry_s = left.map_or(u32::MAX, |left| {
            u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
        });
        stored(session, &self.kept, expiry_s, true)
    }
}
