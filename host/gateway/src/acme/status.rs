//! How it stands with all names, for readiness and metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::standing::Standing;

/// Written by whoever orders, read by whoever looks.
#[derive(Debug, Default)]
pub(crate) struct AcmeStatus {
    standings: Mutex<Vec<Standing>>,
    issued: AtomicU64,
    failed: AtomicU64,
    changed: Notify,
}

/// Numbers of names and orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcmeNumbers {
    pub standings: Vec<Standing>,
    pub issued: u64,
    pub failed: u64,
}

impl AcmeStatus {
    pub(crate) fn set(&self, standings: Vec<Standing>) {
        *self.standings.lock() = standings;
    }

    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.standings.lock().clone()
    }

    /// An order of this gateway has ended.
    pub(crate) fn count(&self, is_issued: bool) {
        let count = if is_issued {
            &self.issued
        } else {
            &self.failed
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn numbers(&self) -> AcmeNumbers {
        AcmeNumbers {
            standings: self.standings(),
            issued: self.issued.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    /// Names or settings may be others.
    pub(crate) fn on_changed(&self) {
        self.changed.notify_one();
    }

    /// Completes when they may.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
