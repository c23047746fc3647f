//! Time in which a guest waited for the other end, told from outside its store: by whoever reads what it
//! answers, and by the body that it reads. None of it counts against the guest's own time.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// What was waited so far.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    nanos: AtomicU64,
}

/// One end that is waited for at times.
#[derive(Debug, Default)]
pub(crate) struct WaitedFor {
    since: Option<Instant>,
}

impl Waited {
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }

    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Relaxed);
    }
}

impl WaitedFor {
    /// The other end is waited for, since `now` if it was not before.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It has done its part.
    pub(crate) fn end(&mut self, waited: &Waited, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            waited.add(now().saturating_duration_since(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    #[test]
    fn a_wait_counts_from_its_begin_and_once() {
        let (waited, mut other) = (Waited::default(), WaitedFor::default());
        let start = clock::now();
        let after = |seconds| move || start + Duration::from_secs(seconds);
        other.end(&waited, after(9));
        other.begin(start);
        other.begin(start + Duration::from_secs(1));
        other.end(&waited, after(2));
        other.end(&waited, after(3));
        assert_eq!(waited.total(), Duration::from_secs(2));
    }
}
