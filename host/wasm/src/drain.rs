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
    /// Their time and when it is over; unset while the generation is in service.
    limit: OnceLock<(Duration, Instant)>,
    is_cut: AtomicBool,
    cut: Arc<Notify>,
}

impl Drain {
    /// The generation is out of service since `now`; its calls have `limit`. The first word counts.
    pub(crate) fn begin(&self, now: Instant, limit: Duration) {
        self.limit.get_or_init(|| (limit, now + limit));
    }

    /// Whether the generation is out of service.
    pub(crate) fn has_begun(&self) -> bool {
        self.limit.get().is_some()
    }

    /// Whether the time of its calls is over at `now`.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.limit.get().is_some_and(|(_, until)| now >= *until)
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

    /// What a call is told that was cut off: it has begun, and nobody knows how far it came.
    pub(crate) fn error(&self, plugin: &str) -> Error {
        let limit = self.limit.get().map_or(Duration::ZERO, |(limit, _)| *limit);
        let limit = time(limit);
        let message = format!(
            "plugin {plugin} was replaced, and this call took longer than its drain-timeout of {limit}"
        );
        Error::new(Kind::Unavailable, Blame::Gateway, message).with_retry(Retry::IfIdempotent)
    }

    /// Ends when calls are cut off after this was called. Whoever calls it looks at `is_cut`
    /// afterwards.
    pub(crate) fn told(&self) -> OwnedNotified {
        Arc::clone(&self.cut).notified_owned()
    }
}
