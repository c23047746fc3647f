//! What a client and its driver share.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Text,
    event::{QueueBounds, broker::BrokerStanding},
};
use tokio::sync::oneshot;

use super::{
    config::BrokerClientConfig,
    message::BrokerMessage,
    queue::{BrokerQueue, BrokerQueueFull},
    requests::PendingRequests,
    sources::Sources,
    written::BrokerSubscription,
};

/// What the client and its driver share.
#[derive(Debug)]
pub(super) struct ClientShared {
    pub(super) config: BrokerClientConfig,
    pub(super) queue: BrokerQueue,
    pub(super) sources: Sources,
    pub(super) requests: PendingRequests,
    state: Mutex<LinkState>,
    pub(super) n_published: AtomicU64,
    pub(super) n_refused: AtomicU64,
    pub(super) n_received: AtomicU64,
    pub(super) n_in_flight: AtomicU64,
}

#[derive(Debug)]
struct LinkState {
    is_connected: bool,
    since: Instant,
    fault: Option<Text>,
    n_connects: u64,
    suppresses_echo: bool,
    /// Whether responses to requests are subscribed to, on this connection.
    has_responses: bool,
}

/// Something that is asked of the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Refused where there is no connection; told of its loss.
    Publish {
        message: BrokerMessage,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Subscribe {
        subscriptions: Vec<BrokerSubscription>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Unsubscribe {
        filters: Vec<Text>,
    },
}

impl ClientShared {
    pub(super) fn new(
        config: BrokerClientConfig,
        (queue, when_full): (QueueBounds, BrokerQueueFull),
        first_request: u64,
        now: Instant,
    ) -> Self {
        Self {
            queue: BrokerQueue::new(queue, when_full),
            sources: Sources::default(),
            requests: PendingRequests::new(&config, first_request),
            state: Mutex::new(LinkState {
                is_connected: false,
                since: now,
                fault: None,
                n_connects: 0,
                suppresses_echo: false,
                has_responses: false,
            }),
            config,
            n_published: AtomicU64::new(0),
            n_refused: AtomicU64::new(0),
            n_received: AtomicU64::new(0),
            n_in_flight: AtomicU64::new(0),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().is_connected
    }

    pub(super) fn suppresses_echo(&self) -> bool {
        self.state.lock().suppresses_echo
    }

    pub(super) fn has_responses(&self) -> bool {
        let state = self.state.lock();
        state.is_connected && state.has_responses
    }

    pub(super) fn set_responses(&self) {
        self.state.lock().has_responses = true;
    }

    pub(super) fn set_connected(&self, now: Instant, suppresses_echo: bool) {
        let mut state = self.state.lock();
        *state = LinkState {
            is_connected: true,
            since: now,
            fault: None,
            n_connects: state.n_connects + 1,
            suppresses_echo,
            has_responses: false,
        };
    }

    /// Says whether that is news.
    pub(super) fn set_lost(&self, now: Instant, reason: &str) -> bool {
        let mut state = self.state.lock();
        let is_news = state.is_connected || state.fault.is_none();
        if state.is_connected {
            state.since = now;
        }
        state.is_connected = false;
        state.fault = Some(reason.into());
        is_news
    }

    pub(super) fn away(&self) -> Error {
        away(self.state.lock().fault.as_ref())
    }

    pub(super) fn standing(&self, now: Instant) -> BrokerStanding {
        let (n_waiting, n_dropped) = self.queue.counts();
        let state = self.state.lock();
        BrokerStanding {
            is_connected: state.is_connected,
            since: now.saturating_duration_since(state.since),
            fault: state.fault.clone(),
            n_connects: state.n_connects,
            n_queued: n_waiting as u64 + self.n_in_flight.load(Relaxed),
            n_dropped,
        }
    }
}

/// There is no connection.
fn away(fault: Option<&Text>) -> Error {
    let message = match fault {
        Some(fault) => format!("no connection with the broker: {fault}"),
        None => "no connection with the broker yet".to_owned(),
    };
    Error::unavailable(Blame::Upstream, message)
}
