//! A shared subscription: each message goes to one of its members.
//!
//! ```text
//! in memory ─ a session that outlives its connection subscribes with QoS 1 or 2 ─▶ stored, to its end
//! ```
//! In memory a message goes into a member's inbox. Stored, what has QoS 1 or 2 lies in a queue that all
//! members with a connection take from, and QoS 0 goes as in memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use postern_core::mqtt::{OutgoingPublish, Publication, Qos, ShareKey, SubscriptionOptions};

use super::{routes::Told, session::Session};

/// A shared subscription.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) key: ShareKey,
    members: Mutex<Vec<(Arc<Session>, SubscriptionOptions)>>,
    next: AtomicUsize,
    /// Its messages with QoS 1 and 2 lie in a stored queue.
    is_stored: AtomicBool,
}

impl Share {
    pub(super) const fn new(key: ShareKey) -> Self {
        Self {
            key,
            members: Mutex::new(Vec::new()),
            next: AtomicUsize::new(0),
            is_stored: AtomicBool::new(false),
        }
    }

    /// Keys of sessions count up from 1, those of shares down.
    pub(super) const fn table_key(&self) -> u64 {
        u64::MAX - self.key.0
    }

    pub(super) fn n_members(&self) -> usize {
        self.members.lock().len()
    }

    pub(super) fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Acquire)
    }

    /// Its queue is there: every member takes from it. False where that was so before.
    pub(super) fn set_stored(&self) -> bool {
        if self.is_stored.swap(true, Ordering::AcqRel) {
            return false;
        }
        for (session, _) in &*self.members.lock() {
            session.on_shares_changed();
        }
        true
    }

    /// Says whether the session is new.
    pub(super) fn join(&self, session: &Arc<Session>, options: SubscriptionOptions) -> bool {
        let mut members = self.members.lock();
        let known = members
            .iter_mut()
            .find(|(member, _)| member.key == session.key);
        match known {
            Some((_, known)) => {
                *known = options;
                false
            }
            None => {
                members.push((Arc::clone(session), options));
                true
            }
        }
    }

    /// Says whether the session was a member, and whether there are none any more.
    pub(super) fn leave(&self, session: &Session) -> (bool, bool) {
        let mut members = self.members.lock();
        let n_before = members.len();
        members.retain(|(member, _)| member.key != session.key);
        (members.len() < n_before, members.is_empty())
    }

    /// Gives a publication that was just taken to one of the members.
    pub(super) fn deliver(&self, publication: &Arc<Publication>, told: &mut Told) {
        if publication.qos != Qos::AtMostOnce && self.is_stored() {
            // Its stored queue has it.
            told.n_told += 1;
            return;
        }
        self.hand(publication, None, false, told);
    }

    /// Gives a publication to the next member that has a connection and room, else to one with room,
    /// else to the next. False where there is no member but `except`.
    pub(super) fn hand(
        &self,
        publication: &Arc<Publication>,
        except: Option<&Session>,
        is_duplicate: bool,
        told: &mut Told,
    ) -> bool {
        let members = self.members.lock();
        let n_members = members.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let candidates = (0..n_members)
            .filter_map(|idx| members.get(first.wrapping_add(idx) % n_members))
            .filter(|(session, _)| except.is_none_or(|except| except.key != session.key));
        let chosen = candidates
            .clone()
            .find(|(session, _)| session.is_connected() && session.has_room())
            .or_else(|| candidates.clone().find(|(session, _)| session.has_room()))
            .or_else(|| candidates.clone().next())
            .map(|(session, options)| (Arc::clone(session), *options));
        drop(members);
        let Some((session, options)) = chosen else {
            return false;
        };
        let mut outgoing =
            OutgoingPublish::new(Arc::clone(publication), publication.qos.min(options.qos));
        outgoing.is_retained = publication.is_retained && options.retain_as_published;
        outgoing.is_duplicate = is_duplicate;
        outgoing.subscription_ids = options.id.map(|id| Arc::from([id]));
        outgoing.share = Some(self.key);
        told.n_told += 1;
        told.push(&session, outgoing);
        true
    }
}
