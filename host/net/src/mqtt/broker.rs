//! All sessions, and who gets what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use postern_core::{
    Error,
    event::Event,
    mqtt::{Publication, from_event},
};
use postern_system::clock;

use super::{
    BrokerConfig, MqttStore,
    routes::{Routes, Told},
    sessions::Sessions,
    sys,
};
use crate::Shutdown;

/// One for a gateway; its listeners share it. Clones are the same broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(super) shared: Arc<BrokerShared>,
}

#[derive(Debug)]
pub(super) struct BrokerShared {
    pub(super) config: RwLock<BrokerConfig>,
    pub(super) store: Arc<dyn MqttStore>,
    pub(super) routes: Routes,
    pub(super) sessions: Sessions,
    pub(super) tally: Tally,
    /// Held while the queue of a share is made or taken away.
    pub(super) changing_shares: tokio::sync::Mutex<()>,
    opened_at: Instant,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
}

/// What the broker counts, since the start where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrokerNumbers {
    /// Clients with a connection at present.
    pub clients_connected: u64,
    /// Sessions at present, with a connection and without.
    pub sessions: u64,
    /// At present.
    pub subscriptions: u64,
    /// Topics with a retained message at present.
    pub retained: u64,
    /// Publications taken of clients.
    pub received: u64,
    /// Publications sent to clients.
    pub sent: u64,
    /// Publications that a subscriber's queue had no room for, that expired in it, or that were larger
    /// than what the subscriber takes.
    pub dropped: u64,
    /// Publications that wait for clients at present, those of stored queues not counted.
    pub queued: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Since the broker was opened.
    pub uptime: Duration,
}

impl Broker {
    /// A broker with the sessions that `store` has kept.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(config: BrokerConfig, store: Arc<dyn MqttStore>) -> Result<Self, Error> {
        let stored = store.load_sessions().await?;
        let shared = BrokerShared {
            config: RwLock::new(config),
            store,
            routes: Routes::default(),
            sessions: Sessions::default(),
            tally: Tally::default(),
            changing_shares: tokio::sync::Mutex::default(),
            opened_at: clock::now(),
        };
        let broker = Self {
            shared: Arc::new(shared),
        };
        for session in stored {
            broker.restore(session);
        }
        Ok(broker)
    }

    /// Puts `config` in force for what begins from here on.
    pub fn reconfigure(&self, config: BrokerConfig) {
        *self.shared.config.write() = config;
    }

    /// What ends by itself: sessions, wills that wait; and `$SYS`. Runs until `shutdown` drains.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut sys = sys::SysTopics::new(clock::now());
        loop {
            let interval = self.shared.config.read().sys_interval;
            let next = self.shared.sessions.next_deadline();
            tokio::select! {
                biased;
                () = shutdown.draining() => return,
                () = self.shared.sessions.changed() => {}
                () = until(next) => Box::pin(self.end_overdue()).await,
                () = sys.tick(interval) => sys.publish(self),
            }
        }
    }

    /// Gives an event that was published elsewhere to the MQTT subscribers of its topic, and says how
    /// many there are. Never waits. To be called once the event is stored, where `keeps` says so.
    pub fn deliver_event(&self, event: &Event) -> u32 {
        if self.shared.routes.is_empty() {
            return 0;
        }
        let name = from_event(&event.topic);
        let route = self.shared.routes.route(&name);
        if route.is_empty() {
            return 0;
        }
        let publication = Publication::of_event(event, clock::now(), Duration::ZERO);
        let mut told = Told::default();
        route.deliver(&Arc::new(publication), &mut told);
        self.on_told(&mut told)
    }

    /// Whether a session that outlives its connection, or a share of such, wants the event's `topic` with
    /// QoS 1 or 2, so that it is to be appended to what `MqttStore::session_queue` and `share_queue` read,
    /// before `deliver_event`.
    #[must_use]
    pub fn keeps(&self, topic: &str) -> bool {
        let BrokerShared {
            sessions, routes, ..
        } = &*self.shared;
        let keeps_any = sessions.has_durable() || routes.has_stored_shares();
        keeps_any && routes.keeps(&from_event(topic))
    }

    /// Gives a publication to MQTT subscribers alone: a reply to a request, for instance. Says how many.
    pub fn deliver(&self, publication: &Arc<Publication>) -> u32 {
        let mut told = Told::default();
        let route = self.shared.routes.route(&publication.topic.name);
        route.deliver(publication, &mut told);
        self.on_told(&mut told)
    }

    /// Ends the connection of a client, with `ADMINISTRATIVE_ACTION`. False where it has none.
    #[must_use]
    pub fn disconnect(&self, client_id: &str) -> bool {
        self.shared.sessions.disconnect(client_id)
    }

    #[must_use]
    pub fn numbers(&self) -> BrokerNumbers {
        let BrokerShared {
            store,
            routes,
            sessions,
            tally,
            opened_at,
            ..
        } = &*self.shared;
        let standing = sessions.standing();
        BrokerNumbers {
            clients_connected: standing.n_connected,
            sessions: standing.n_sessions,
            subscriptions: routes.n_subscriptions() as u64,
            retained: store.n_retained(),
            received: tally.received.load(Relaxed),
            sent: tally.sent.load(Relaxed),
            dropped: tally.dropped.load(Relaxed),
            queued: standing.n_queued,
            bytes_received: tally.bytes_received.load(Relaxed),
            bytes_sent: tally.bytes_sent.load(Relaxed),
            uptime: clock::now().saturating_duration_since(*opened_at),
        }
    }

    /// Wakes whoever was told something, and counts.
    pub(super) fn on_told(&self, told: &mut Told) -> u32 {
        told.wake();
        if told.n_lost > 0 {
            self.shared.tally.dropped.fetch_add(told.n_lost, Relaxed);
        }
        told.n_told
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
