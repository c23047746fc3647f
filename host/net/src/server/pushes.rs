//! Events on their way to sessions: the subscriptions that handlers handed to the outboxes of peers,
//! read by the driver of the connection or socket while the peer has room.
//!
//! The hub's queue of a subscription is the only one; here nothing waits but what was taken and does
//! not fit at once. Dropping this, or a peer's part of it, ends the subscriptions.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind,
    event::{Delivery, Outbox, Push, Subscription},
    limits::Limits,
};

/// Events that may wait in a session's queue, as far as its limits allow.
const QUEUED_MESSAGES_MAX: usize = 256;
/// Octets of them.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// The subscriptions of all peers of one driver. `K` says which peer.
pub(crate) struct Pushes<K> {
    intake: Arc<Intake<K>>,
    peers: HashMap<K, Peer<K>>,
    /// Peers that may have something to read, in turn; each once, and not while it is held.
    ready: VecDeque<K>,
    /// Peers without room for more.
    held: Vec<K>,
}

/// Whether the subscriptions of a peer may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PushState {
    /// Its alarm will ring.
    Asleep,
    Ready,
    Held,
}

/// An outbox of a datagram peer whose address may be forged: events would go to whoever has it.
struct Unvalidated;

impl Push for Unvalidated {
    fn attach(&self, _: Subscription) -> Result<(), Error> {
        let message = "no subscription before the address is validated: greet with feature echo, or \
                       send back the session-id of WELCOME";
        Err(Error::new(Kind::FailedPrecondition, Blame::Client, message))
    }
}

pub(super) fn unvalidated() -> Outbox {
    Outbox::new(Arc::new(Unvalidated))
}

/// What reaches the driver from elsewhere.
struct Intake<K> {
    arrived: Mutex<Arrived<K>>,
    /// Of the driver.
    driver: AtomicWaker,
}

struct Arrived<K> {
    attached: Vec<(K, Subscription)>,
    /// Peers whose subscriptions have something.
    woken: Vec<K>,
}

/// The subscriptions of one peer.
struct Peer<K> {
    subscriptions: Vec<Subscription>,
    /// Where reading goes on, so that no subscription waits for another.
    turn: usize,
    /// Taken, and larger than the room there was.
    pending: Option<Delivery>,
    state: PushState,
    alarm: Arc<Alarm<K>>,
}

/// Wakes the driver for one peer.
struct Alarm<K> {
    key: K,
    intake: Weak<Intake<K>>,
    has_rung: AtomicBool,
}

/// The outbox of one peer, as its calls carry it. It keeps neither driver nor session alive.
struct SessionOutbox<K> {
    key: K,
    intake: Weak<Intake<K>>,
    queue_max: Option<usize>,
}

/// Whether a session takes one more event of `bytes`, given what waits in its queue. Replies keep
/// half of it for themselves, and no event closes a session as a slow reader.
pub(super) fn has_room((messages, queued): (usize, usize), bytes: usize, limits: &Limits) -> bool {
    let messages_max = QUEUED_MESSAGES_MAX.min(limits.queue_messages_max / 2);
    let bytes_max = QUEUED_BYTES_MAX.min(limits.queue_bytes_max / 2);
    messages == 0 || (messages < messages_max && queued.saturating_add(bytes) <= bytes_max)
}

impl<K: Clone + Debug + Eq + Hash + Send + Sync + 'static> Pushes<K> {
    pub(crate) fn new() -> Self {
        let arrived = Arrived {
            attached: Vec::new(),
            woken: Vec::new(),
        };
        Self {
            intake: Arc::new(Intake {
                arrived: Mutex::new(arrived),
                driver: AtomicWaker::new(),
            }),
            peers: HashMap::new(),
            ready: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// What the calls of peer `key` get.
    pub(crate) fn outbox(&self, key: K) -> Outbox {
        self.bounded_outbox(key, None)
    }

    /// As `outbox`; `queue_max` events may wait in each subscription.
    pub(crate) fn bounded_outbox(&self, key: K, queue_max: Option<usize>) -> Outbox {
        Outbox::new(Arc::new(SessionOutbox {
            key,
            intake: Arc::downgrade(&self.intake),
            queue_max,
        }))
    }

    /// The next event and who gets it. `has_room` is asked with what the event will take, and with 0
    /// before one is taken; a peer without room waits for `retry`. Subscriptions of peers that
    /// `is_open` does not know are dropped.
    pub(crate) fn poll_delivery(
        &mut self,
        cx: &mut Context<'_>,
        is_open: impl Fn(&K) -> bool,
        has_room: impl Fn(&K, usize) -> bool,
    ) -> Poll<(K, Delivery)> {
        self.intake.driver.register(cx.waker());
        self.take_in(is_open);
        while let Some(key) = self.ready.pop_front() {
            let Some(peer) = self.peers.get_mut(&key) else {
                continue;
            };
            let bytes = peer.pending.as_ref().map_or(0, Delivery::bytes);
            if !has_room(&key, bytes) {
                peer.state = PushState::Held;
                self.held.push(key);
                continue;
            }
            match peer.next() {
                Some(delivery) if has_room(&key, delivery.bytes()) => {
                    self.ready.push_back(key.clone());
                    return Poll::Ready((key, delivery));
                }
                Some(delivery) => {
                    peer.pending = Some(delivery);
                    peer.state = PushState::Held;
                    self.held.push(key);
                }
                None if peer.subscriptions.is_empty() => drop(self.peers.remove(&key)),
                None => peer.state = PushState::Asleep,
            }
        }
        Poll::Pending
    }

    /// Tries peers again that had no room. True when one of them has some.
    pub(crate) fn retry(&mut self, has_room: impl Fn(&K, usize) -> bool) -> bool {
        let n_ready = self.ready.len();
        for key in std::mem::take(&mut self.held) {
            let Some(peer) = self.peers.get_mut(&key) else {
                continue;
            };
            if has_room(&key, peer.pending.as_ref().map_or(0, Delivery::bytes)) {
                peer.state = PushState::Ready;
                self.ready.push_back(key);
            } else {
                self.held.push(key);
            }
        }
        self.ready.len() > n_ready
    }

    /// The delivery was not sent and never will be; its subscriber is told with the next.
    pub(crate) fn on_unsent(&self, key: &K, delivery: &Delivery) {
        let subscriptions = self.peers.get(key).map(|peer| &peer.subscriptions);
        let mut subscriptions = subscriptions.into_iter().flatten();
        if let Some(subscription) = subscriptions.find(|one| *one.id() == delivery.subscription) {
            subscription.on_undelivered(delivery);
        }
    }

    /// Ends the subscriptions of one peer: its session is over, or about to be.
    pub(crate) fn forget(&mut self, key: &K) {
        self.peers.remove(key);
        let mut arrived = self.intake.arrived.lock();
        let dropped: Vec<_> = arrived
            .attached
            .extract_if(.., |(attached, _)| attached == key)
            .collect();
        drop(arrived);
        // A subscription that ends wants the hub, and the hub nothing of ours.
        drop(dropped);
    }

    /// Ends all subscriptions.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        let attached = std::mem::take(&mut self.intake.arrived.lock().attached);
        drop(attached);
    }

    fn take_in(&mut self, is_open: impl Fn(&K) -> bool) {
        let (attached, woken) = {
            let mut arrived = self.intake.arrived.lock();
            (
                std::mem::take(&mut arrived.attached),
                std::mem::take(&mut arrived.woken),
            )
        };
        for (key, subscription) in attached {
            if !is_open(&key) {
                continue;
            }
            let intake = &self.intake;
            let new = || Peer::new(key.clone(), intake);
            let peer = self.peers.entry(key.clone()).or_insert_with(new);
            peer.subscriptions.push(subscription);
            self.make_ready(key);
        }
        for key in woken {
            self.make_ready(key);
        }
    }

    fn make_ready(&mut self, key: K) {
        if let Some(peer) = self.peers.get_mut(&key)
            && peer.state == PushState::Asleep
        {
            peer.state = PushState::Ready;
            self.ready.push_back(key);
        }
    }
}

impl<K: Clone + Send + Sync + 'static> Peer<K> {
    fn new(key: K, intake: &Arc<Intake<K>>) -> Self {
        Self {
            subscriptions: Vec::new(),
            turn: 0,
            pending: None,
            state: PushState::Asleep,
            alarm: Arc::new(Alarm {
                key,
                intake: Arc::downgrade(intake),
                has_rung: AtomicBool::new(false),
            }),
        }
    }

    fn next(&mut self) -> Option<Delivery> {
        if let Some(pending) = self.pending.take() {
            return Some(pending);
        }
        // Whatever comes from here on wakes the driver again.
        self.alarm.has_rung.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.alarm));
        let mut cx = Context::from_waker(&waker);
        let mut n_asked = 0;
        while n_asked < self.subscriptions.len() {
            if self.turn >= self.subscriptions.len() {
                self.turn = 0;
            }
            let subscription = self.subscriptions.get_mut(self.turn)?;
            match Pin::new(subscription).poll_next(&mut cx) {
                Poll::Ready(Some(delivery)) => {
                    self.turn += 1;
                    return Some(delivery);
                }
                Poll::Ready(None) => drop(self.subscriptions.swap_remove(self.turn)),
                Poll::Pending => {
                    self.turn += 1;
                    n_asked += 1;
                }
            }
        }
        None
    }
}

impl<K: Clone + Send + Sync> Alarm<K> {
    fn ring(&self) {
        if self.has_rung.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(intake) = self.intake.upgrade() {
            intake.arrived.lock().woken.push(self.key.clone());
            intake.driver.wake();
        }
    }
}

impl<K: Clone + Send + Sync> Wake for Alarm<K> {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl<K: Clone + Send + Sync> Push for SessionOutbox<K> {
    fn attach(&self, subscription: Subscription) -> Result<(), Error> {
        let Some(intake) = self.intake.upgrade() else {
            return Err(Error::unavailable(
                Blame::Client,
                "the session has ended before its subscription began",
            ));
        };
        intake
            .arrived
            .lock()
            .attached
            .push((self.key.clone(), subscription));
        intake.driver.wake();
        Ok(())
    }

    fn queue_max(&self) -> Option<usize> {
        self.queue_max
    }
}
