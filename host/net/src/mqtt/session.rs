//! A client's session: what waits for it, whether it has a connection or not.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    event::QueueBounds,
    mqtt::{
        ClientKey, ClientLimits, OutgoingPublish, OutgoingQueue, Qos, SharedFilter,
        SubscriptionOptions, Will,
    },
};

use super::{MqttClient, session_record::SessionRecord, share_member::HeldShare};

/// Shared by its connection, the routes that lead to it, and the broker.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: ClientKey,
    pub(super) client_id: Text,
    pub(super) subscriptions: Mutex<BTreeMap<SharedFilter, SubscriptionOptions>>,
    inbox: Mutex<Inbox>,
    is_connected: AtomicBool,
    /// QoS 1 and 2 come by a stored queue, not by the inbox.
    is_durable: AtomicBool,
    /// The last position of the stored queue that a client was sent.
    sent_up_to: AtomicU64,
    /// Who has it, or had it last.
    client: Mutex<Option<Arc<MqttClient>>>,
    /// What is owed when the client goes without a word, where that is kept on disk.
    will: Mutex<Option<Box<Will>>>,
    /// Where it is kept on disk.
    pub(super) record: SessionRecord,
    /// The stored shares that its connection takes from may be other ones.
    has_other_shares: AtomicBool,
    /// What a share has given with QoS 2 over an earlier connection.
    held_shares: Mutex<Vec<HeldShare>>,
}

/// One session, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub client_id: Text,
    pub is_connected: bool,
    /// Who has it, or had it last; none of one that was kept over a restart and has not come back.
    pub client: Option<Arc<MqttClient>>,
    pub subscriptions: Vec<(SharedFilter, SubscriptionOptions)>,
    /// Publications that wait here; those of a stored queue are not counted.
    pub n_queued: u64,
    /// Publications that its queue had no room for.
    pub n_dropped: u64,
    /// Whether QoS 1 and 2 come by a queue on disk.
    pub is_stored: bool,
}

#[derive(Debug)]
struct Inbox {
    queue: OutgoingQueue,
    /// Of the connection, while nothing waits for it here.
    waker: Option<Waker>,
    ending: Option<Ending>,
    /// Of the connection, always.
    ending_waker: Option<Waker>,
}

/// Why a connection is to end, for reasons that are not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    TakenOver,
    Administrative,
}

/// What became of a publication at an inbox.
#[derive(Debug)]
pub(super) struct Pushed {
    /// To be woken once everything that came together is in.
    pub(super) waker: Option<Waker>,
    pub(super) n_lost: u64,
    /// More than three quarters of what may wait do.
    pub(super) is_crowded: bool,
}

impl Session {
    pub(super) fn new(key: ClientKey, client_id: Text, limits: &ClientLimits) -> Self {
        Self {
            key,
            client_id,
            subscriptions: Mutex::default(),
            inbox: Mutex::new(Inbox {
                queue: OutgoingQueue::new(bounds(limits)),
                waker: None,
                ending: None,
                ending_waker: None,
            }),
            is_connected: AtomicBool::new(false),
            is_durable: AtomicBool::new(false),
            sent_up_to: AtomicU64::new(0),
            client: Mutex::new(None),
            will: Mutex::new(None),
            record: SessionRecord::default(),
            has_other_shares: AtomicBool::new(false),
            held_shares: Mutex::default(),
        }
    }

    /// Has its connection look at its shares.
    pub(super) fn on_shares_changed(&self) {
        self.has_other_shares.store(true, Relaxed);
        if let Some(waker) = &self.inbox.lock().ending_waker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn shared_subscriptions(&self) -> Vec<(SharedFilter, SubscriptionOptions)> {
        let subscriptions = self.subscriptions.lock();
        let shared = subscriptions.iter().filter(|(one, _)| one.group.is_some());
        shared
            .map(|(one, options)| (one.clone(), *options))
            .collect()
    }

    pub(super) fn has_shares(&self) -> bool {
        let subscriptions = self.subscriptions.lock();
        subscriptions.keys().any(|filter| filter.group.is_some())
    }

    /// Whether its shares are to be looked at; said once.
    pub(super) fn take_shares_changed(&self) -> bool {
        self.has_other_shares.load(Relaxed) && self.has_other_shares.swap(false, Relaxed)
    }

    pub(super) fn hold_shares(&self, held: Vec<HeldShare>) {
        *self.held_shares.lock() = held;
    }

    pub(super) fn take_held_shares(&self) -> Vec<HeldShare> {
        std::mem::take(&mut self.held_shares.lock())
    }

    pub(super) fn set_client(&self, client: Arc<MqttClient>) {
        *self.client.lock() = Some(client);
    }

    pub(super) fn set_will(&self, will: Option<&Will>) {
        *self.will.lock() = will.cloned().map(Box::new);
    }

    pub(super) fn will(&self) -> Option<Box<Will>> {
        self.will.lock().clone()
    }

    pub(super) fn info(&self) -> SessionInfo {
        let subscriptions = self.subscriptions.lock();
        let all = subscriptions.iter();
        let subscriptions = all
            .map(|(filter, options)| (filter.clone(), *options))
            .collect();
        let inbox = self.inbox.lock();
        SessionInfo {
            client_id: self.client_id.clone(),
            is_connected: self.is_connected(),
            client: self.client.lock().clone(),
            subscriptions,
            n_queued: inbox.queue.len() as u64,
            n_dropped: inbox.queue.n_lost(),
            is_stored: self.is_durable(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    pub(super) fn is_durable(&self) -> bool {
        self.is_durable.load(Relaxed)
    }

    pub(super) fn set_durable(&self, is_durable: bool) {
        self.is_durable.store(is_durable, Relaxed);
    }

    pub(super) fn sent_up_to(&self) -> u64 {
        self.sent_up_to.load(Relaxed)
    }

    pub(super) fn set_sent_up_to(&self, position: u64) {
        self.sent_up_to.fetch_max(position, Relaxed);
    }

    pub(super) fn on_connected(&self, limits: &ClientLimits) {
        let mut inbox = self.inbox.lock();
        inbox.queue.set_bounds(bounds(limits));
        inbox.ending = None;
        drop(inbox);
        self.is_connected.store(true, Relaxed);
    }

    pub(super) fn on_disconnected(&self) {
        self.is_connected.store(false, Relaxed);
        let mut inbox = self.inbox.lock();
        (inbox.waker, inbox.ending_waker) = (None, None);
        inbox.queue.shrink();
    }

    /// Puts a publication in. Without a connection nothing waits that may be lost.
    #[inline]
    pub(super) fn push(&self, outgoing: OutgoingPublish) -> Option<Pushed> {
        if outgoing.qos == Qos::AtMostOnce && !self.is_connected() {
            return None;
        }
        let mut inbox = self.inbox.lock();
        let n_lost = inbox.queue.push(outgoing);
        Some(Pushed {
            waker: inbox.waker.take(),
            n_lost,
            is_crowded: inbox.queue.is_crowded(),
        })
    }

    /// Whether another publication would push none out.
    pub(super) fn has_room(&self) -> bool {
        self.inbox.lock().queue.has_room()
    }

    pub(super) fn n_queued(&self) -> usize {
        self.inbox.lock().queue.len()
    }

    /// Moves what waits to the end of `into`; where nothing does, `waker` is woken by the next that
    /// comes. Says why the connection is to end, where it is.
    pub(super) fn take(
        &self,
        into: &mut VecDeque<OutgoingPublish>,
        n_max: usize,
        waker: &Waker,
    ) -> Option<Ending> {
        let mut inbox = self.inbox.lock();
        inbox.queue.take(into, n_max);
        if inbox.queue.is_empty() {
            register(&mut inbox.waker, waker);
        }
        register(&mut inbox.ending_waker, waker);
        inbox.ending
    }

    /// Puts back what was taken and not sent, in its order.
    pub(super) fn give_back(&self, waiting: VecDeque<OutgoingPublish>) {
        let mut inbox = self.inbox.lock();
        for outgoing in waiting.into_iter().rev() {
            inbox.queue.push_front(outgoing);
        }
    }

    /// Drops what expired, and QoS 0; gives how many expired.
    pub(super) fn settle(&self, now: Instant) -> u64 {
        let mut inbox = self.inbox.lock();
        let is_kept = |outgoing: &OutgoingPublish| outgoing.qos != Qos::AtMostOnce;
        inbox.queue.retain(now, is_kept)
    }

    /// Drops what waits: nobody will come for it.
    pub(super) fn clear(&self) {
        let mut inbox = self.inbox.lock();
        let bounds = inbox.queue.bounds();
        inbox.queue = OutgoingQueue::new(bounds);
    }

    /// Takes out what came by shared subscriptions.
    pub(super) fn take_shared(&self) -> Vec<OutgoingPublish> {
        let mut inbox = self.inbox.lock();
        let mut all = VecDeque::new();
        inbox.queue.take(&mut all, usize::MAX);
        let (shared, own): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|outgoing| outgoing.share.is_some());
        for outgoing in own {
            inbox.queue.push(outgoing);
        }
        shared
    }

    /// Ends its connection.
    pub(super) fn end(&self, ending: Ending) {
        let mut inbox = self.inbox.lock();
        inbox.ending = Some(ending);
        let waker = inbox.ending_waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether `limits` leave room for one more filter.
    pub(super) fn may_subscribe(&self, filter: &SharedFilter, limits: &ClientLimits) -> bool {
        let subscriptions = self.subscriptions.lock();
        subscriptions.contains_key(filter) || subscriptions.len() < limits.subscriptions_max
    }
}

fn register(known: &mut Option<Waker>, waker: &Waker) {
    match known {
        Some(known) => known.clone_from(waker),
        none => *none = Some(waker.clone()),
    }
}

const fn bounds(limits: &ClientLimits) -> QueueBounds {
    QueueBounds {
        events_max: limits.queue_messages_max,
        bytes_max: limits.queue_bytes_max,
    }
}
