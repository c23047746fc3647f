//! The end of a generation that is out of service: its calls have some time, then they are cut off.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern_core::{Blame, Error, Kind, Retry};
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::limits::time;

/// What the calls of one generation are told.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// When they are cut off; unset while the generation is in service.
    until: OnceLock<Instant>,
    is_cut: AtomicBool,
    cut: Arc<Notify>,
}

impl Drain {
    /// The generation is out of service; its calls have until `until`.
    pub(crate) fn begin(&self, until: Instant) {
        self.until.get_or_init(|| until);
    }

    /// Whether the time of its calls is over at `now`.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.get().is_some_and(|until| now >= *until)
    }

    /// Cuts off all calls that wait for `told`. Says whether this was the first time.
    pub(crate) fn cut(&self) -> bool {
        let is_first = !self.is_cut.swap(true, SeqCst);
        self.cut.notify_waiters();
        is_first
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(SeqCst)
    }

    /// Ends when calls are cut off after this was called. Whoever calls it looks at `is_cut`
    /// afterwards.
    pub(crate) fn told(&self) -> OwnedNotified {
        Arc::clone(&self.cut).notified_owned()
    }
}

/// What a call is told that was cut off: it has begun, and nobody knows how far it came.
pub(crate) fn error(plugin: &str, limit: Duration) -> Error {
    let limit = time(limit);
    let message = format!(
        "plugin {plugin} was replaced, and this call took longer than its drain-timeout of {limit}"
    );
    Error::new(Kind::Unavailable, Blame::Gateway, message).with_retry(Retry::IfIdempotent)
}
