//! Who is told of what: filters to sessions and shares.
//!
//! A route is worked out once for a topic and kept by whoever publishes to it, until a subscription
//! anywhere changes (`version`).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use parking_lot::{Mutex, RwLock};
use postern_core::mqtt::{
    FilterTable, OutgoingPublish, Publication, Qos, ShareKey, SharedFilter, SubscriptionOptions,
};

use super::{session::Session, share::Share};

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Routes {
    table: RwLock<FilterTable<Subscriber>>,
    shares: Mutex<Shares>,
    n_stored_shares: AtomicUsize,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Shares {
    by_filter: HashMap<SharedFilter, Arc<Share>>,
    by_key: HashMap<ShareKey, Arc<Share>>,
    last_key: u64,
    /// Stored ones whose queue is to go.
    ended: Vec<SharedFilter>,
}

#[derive(Debug)]
enum Subscriber {
    Own(Arc<Session>, SubscriptionOptions),
    Share(Arc<Share>),
}

/// Who gets what is published to one topic.
#[derive(Debug, Default)]
pub(super) struct Route {
    version: u64,
    targets: Vec<RouteTarget>,
    shares: Vec<Arc<Share>>,
    /// A session that outlives its connection, or a share of such, wants it with QoS 1 or 2 from its stored
    /// queue.
    pub(super) is_kept: bool,
}

/// One session, with what all of its subscriptions that match want together.
#[derive(Debug)]
struct RouteTarget {
    session: Arc<Session>,
    qos: Qos,
    no_local: bool,
    retain_as_published: bool,
    ids: Vec<u32>,
    shared_ids: Option<Arc<[u32]>>,
}

/// What a delivery did, added up over publications that came together.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) n_told: u32,
    pub(super) n_lost: u64,
    pub(super) is_crowded: bool,
    wakers: Vec<Waker>,
}

impl Routes {
    /// Changes with every subscription.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes every route be worked out again.
    pub(super) fn touch(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nobody has subscribed to anything.
    pub(super) fn is_empty(&self) -> bool {
        self.table.read().is_empty()
    }

    pub(super) fn n_subscriptions(&self) -> usize {
        let shares = self.shares.lock();
        let members = shares.by_key.values().map(|share| share.n_members());
        let n_shared: usize = members.sum();
        self.table.read().len() - shares.by_key.len() + n_shared
    }

    /// Subscribes a session, in place of what it had under that filter. Says whether that is new.
    pub(super) fn subscribe(
        &self,
        filter: &SharedFilter,
        session: &Arc<Session>,
        options: SubscriptionOptions,
    ) -> bool {
        let is_new = if filter.group.is_some() {
            self.join(filter, session, options)
        } else {
            let subscriber = Subscriber::Own(Arc::clone(session), options);
            let mut table = self.table.write();
            table
                .insert(&filter.filter, session.key.0, subscriber)
                .is_none()
        };
        self.touch();
        is_new
    }

    /// False where there was no such subscription.
    pub(super) fn unsubscribe(&self, filter: &SharedFilter, session: &Session) -> bool {
        let was_there = if filter.group.is_some() {
            self.leave(filter, session)
        } else {
            let removed = self.table.write().remove(&filter.filter, session.key.0);
            removed.is_some()
        };
        self.touch();
        was_there
    }

    fn join(
        &self,
        filter: &SharedFilter,
        session: &Arc<Session>,
        options: SubscriptionOptions,
    ) -> bool {
        let mut shares = self.shares.lock();
        let share = match shares.by_filter.get(filter) {
            Some(share) => Arc::clone(share),
            None => {
                shares.last_key += 1;
                let share = Arc::new(Share::new(ShareKey(shares.last_key)));
                shares.by_filter.insert(filter.clone(), Arc::clone(&share));
                shares.by_key.insert(share.key, Arc::clone(&share));
                let subscriber = Subscriber::Share(Arc::clone(&share));
                self.table
                    .write()
                    .insert(&filter.filter, share.table_key(), subscriber);
                share
            }
        };
        share.join(session, options)
    }

    fn leave(&self, filter: &SharedFilter, session: &Session) -> bool {
        let mut shares = self.shares.lock();
        let Some(share) = shares.by_filter.get(filter).map(Arc::clone) else {
            return false;
        };
        let (was_there, is_empty) = share.leave(session);
        if is_empty {
            shares.by_filter.remove(filter);
            shares.by_key.remove(&share.key);
            self.table.write().remove(&filter.filter, share.table_key());
            if share.is_stored() {
                shares.ended.push(filter.clone());
                self.n_stored_shares.fetch_sub(1, Ordering::Relaxed);
            }
        }
        was_there
    }

    pub(super) fn share_of(&self, filter: &SharedFilter) -> Option<Arc<Share>> {
        self.shares.lock().by_filter.get(filter).map(Arc::clone)
    }

    /// The queue of a share is there: what is published for it from here on is kept.
    pub(super) fn set_share_stored(&self, share: &Share) {
        // Under the lock: a share that has ended is counted by nobody.
        let shares = self.shares.lock();
        if shares.by_key.contains_key(&share.key) && share.set_stored() {
            self.n_stored_shares.fetch_add(1, Ordering::Relaxed);
        }
        drop(shares);
        self.touch();
    }

    pub(super) fn has_stored_shares(&self) -> bool {
        self.n_stored_shares.load(Ordering::Relaxed) > 0
    }

    /// Whether there are stored shares that have ended.
    pub(super) fn has_ended_shares(&self) -> bool {
        !self.shares.lock().ended.is_empty()
    }

    /// Stored shares that have ended, each given once.
    pub(super) fn take_ended_shares(&self) -> Vec<SharedFilter> {
        std::mem::take(&mut self.shares.lock().ended)
    }

    /// Who gets what is published to the topic `name`.
    pub(super) fn route(&self, name: &str) -> Route {
        // Before the table: a change between the two makes the route be worked out once more.
        let version = self.version();
        let mut route = Route {
            version,
            ..Route::default()
        };
        self.table.read().find(name, |subscriber| match subscriber {
            Subscriber::Own(session, options) => route.add(session, options),
            Subscriber::Share(share) => route.shares.push(Arc::clone(share)),
        });
        for target in &mut route.targets {
            if !target.ids.is_empty() {
                target.shared_ids = Some(Arc::from(target.ids.as_slice()));
            }
        }
        let keeps =
            |target: &RouteTarget| target.qos != Qos::AtMostOnce && target.session.is_durable();
        route.is_kept =
            route.targets.iter().any(keeps) || route.shares.iter().any(|share| share.is_stored());
        route
    }

    /// Whether what is published to `name` is to be kept for a session, without working out who gets it.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let mut is_kept = false;
        self.table.read().find(name, |subscriber| {
            is_kept |= match subscriber {
                Subscriber::Own(session, options) => {
                    options.qos != Qos::AtMostOnce && session.is_durable()
                }
                Subscriber::Share(share) => share.is_stored(),
            };
        });
        is_kept
    }

    /// Gives what a member of a share cannot handle any more to another. False where there is none.
    pub(super) fn hand_on(
        &self,
        outgoing: &OutgoingPublish,
        from: &Session,
        told: &mut Told,
    ) -> bool {
        let share = outgoing
            .share
            .and_then(|key| self.shares.lock().by_key.get(&key).map(Arc::clone));
        share.is_some_and(|share| {
            share.hand(
                &outgoing.publication,
                Some(from),
                outgoing.is_duplicate,
                told,
            )
        })
    }
}

impl Route {
    /// Whether it is still true.
    pub(super) fn is_current(&self, routes: &Routes) -> bool {
        self.version == routes.version()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.shares.is_empty()
    }

    fn add(&mut self, session: &Arc<Session>, options: &SubscriptionOptions) {
        let known = self
            .targets
            .iter_mut()
            .find(|target| target.session.key == session.key);
        let Some(target) = known else {
            self.targets.push(RouteTarget {
                session: Arc::clone(session),
                qos: options.qos,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                ids: options.id.into_iter().collect(),
                shared_ids: None,
            });
            return;
        };
        // One copy for all subscriptions that overlap, with the highest QoS of them (section 3.3.4).
        target.qos = target.qos.max(options.qos);
        target.no_local &= options.no_local;
        target.retain_as_published |= options.retain_as_published;
        target.ids.extend(options.id);
    }

    /// Puts a publication into the inboxes of whoever is to get it. Wakes nobody: `Told::wake` does.
    #[inline]
    pub(super) fn deliver(&self, publication: &Arc<Publication>, told: &mut Told) {
        for target in &self.targets {
            target.deliver(publication, told);
        }
        for share in &self.shares {
            share.deliver(publication, told);
        }
    }
}

impl RouteTarget {
    #[inline]
    fn deliver(&self, publication: &Arc<Publication>, told: &mut Told) {
        if self.no_local && self.session.key == publication.client {
            return;
        }
        told.n_told += 1;
        let qos = publication.qos.min(self.qos);
        if qos != Qos::AtMostOnce && self.session.is_durable() {
            // Its stored queue has it.
            return;
        }
        let mut outgoing = OutgoingPublish::new(Arc::clone(publication), qos);
        outgoing.is_retained = publication.is_retained && self.retain_as_published;
        outgoing.subscription_ids.clone_from(&self.shared_ids);
        told.push(&self.session, outgoing);
    }
}

impl Told {
    #[inline]
    pub(super) fn push(&mut self, session: &Session, outgoing: OutgoingPublish) {
        if let Some(pushed) = session.push(outgoing) {
            self.n_lost += pushed.n_lost;
            self.is_crowded |= pushed.is_crowded;
            self.wakers.extend(pushed.waker);
        }
    }

    /// Wakes the connections that have something to send.
    pub(super) fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}
