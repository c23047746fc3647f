//! Whether a store can be asked at present, and since when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::Text;
use postern_system::clock;
use tokio::sync::watch;
use tracing::{info, warn};

/// How it stands with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisStanding {
    pub is_connected: bool,
    /// For how long that has been so.
    pub since: Duration,
    /// Why it is not connected.
    pub fault: Option<Text>,
}

/// The standing as it changes. A success that changes nothing costs one load.
#[derive(Debug)]
pub(super) struct Standing {
    store: Text,
    is_connected: AtomicBool,
    inner: Mutex<Inner>,
    changes: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    since: Instant,
    fault: Option<Arc<str>>,
}

impl Standing {
    pub(super) fn new(store: Text) -> Self {
        Self {
            store,
            is_connected: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                since: clock::now(),
                fault: None,
            }),
            changes: watch::Sender::new(false),
        }
    }

    pub(super) fn on_answer(&self) {
        if self.is_connected.load(Relaxed) {
            return;
        }
        let mut inner = self.inner.lock();
        if !self.is_connected.swap(true, Relaxed) {
            inner.since = clock::now();
            inner.fault = None;
            drop(inner);
            info!(store = %self.store, "store connected");
            self.changes.send_replace(true);
        }
    }

    pub(super) fn on_failure(&self, reason: &str) {
        let mut inner = self.inner.lock();
        let was_connected = self.is_connected.swap(false, Relaxed);
        let is_told = inner.fault.as_deref() == Some(reason);
        if was_connected {
            inner.since = clock::now();
        }
        let is_first = was_connected || inner.fault.is_none();
        if !is_told {
            inner.fault = Some(reason.into());
        }
        drop(inner);
        if is_first {
            warn!(store = %self.store, reason, "store not connected");
        }
        self.changes
            .send_if_modified(|is| std::mem::replace(is, false));
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.changes.subscribe()
    }

    pub(super) fn read(&self) -> RedisStanding {
        let inner = self.inner.lock();
        RedisStanding {
            is_connected: self.is_connected.load(Relaxed),
            since: clock::since(inner.since),
            fault: inner.fault.as_deref().map(Text::from),
        }
    }
}
