//! Time in which a guest waited for the other end, told from outside its store: by whoever reads what it
//! answers, and by the body that it reads. None of it counts against the guest's own time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What was waited so far.
#[derive(Debug, Default)]
pub(crate) struct Waited(Mutex<WaitedTime>);

#[derive(Debug, Default)]
struct WaitedTime {
    /// Of waits that are over.
    total: Duration,
    /// Ends that are waited for.
    n_waiting: u8,
    /// Since when one of them is.
    since: Option<Instant>,
    /// Whether a piece of a body has crossed since that was asked last.
    has_crossed: bool,
}

/// One end that is waited for at times.
#[derive(Debug, Default)]
pub(crate) struct WaitedFor {
    is_waiting: bool,
}

impl Waited {
    /// At `now`, what is waited for at present included.
    pub(crate) fn total(&self, now: Instant) -> Duration {
        let time = self.0.lock();
        let present = time.since.map(|since| now.saturating_duration_since(since));
        time.total + present.unwrap_or_default()
    }
}

impl Waited {
    /// A piece of a body has crossed, in or out.
    pub(crate) fn on_crossing(&self) {
        self.0.lock().has_crossed = true;
    }

    /// Where a piece has crossed: what was waited up to `now`, which counts from nothing from here on.
    pub(crate) fn take_crossed(&self, now: Instant) -> Option<Duration> {
        let mut time = self.0.lock();
        if !std::mem::take(&mut time.has_crossed) {
            return None;
        }
        let present = time.since.map(|since| now.saturating_duration_since(since));
        time.since = time.since.map(|_| now);
        Some(std::mem::take(&mut time.total) + present.unwrap_or_default())
    }
}

impl WaitedFor {
    /// The other end is waited for, since `now` if it was not before.
    pub(crate) fn begin(&mut self, waited: &Waited, now: impl FnOnce() -> Instant) {
        if std::mem::replace(&mut self.is_waiting, true) {
            return;
        }
        let mut time = waited.0.lock();
        time.n_waiting += 1;
        time.since.get_or_insert_with(now);
    }

    /// It has done its part.
    pub(crate) fn end(&mut self, waited: &Waited, now: impl FnOnce() -> Instant) {
        if !std::mem::replace(&mut self.is_waiting, false) {
            return;
        }
        let mut time = waited.0.lock();
        time.n_waiting = time.n_waiting.saturating_sub(1);
        if time.n_waiting == 0
            && let Some(since) = time.since.take()
        {
            time.total += now().saturating_duration_since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    #[test]
    fn a_wait_counts_from_its_begin_and_once() {
        let waited = Waited::default();
        let (mut one, mut other) = (WaitedFor::default(), WaitedFor::default());
        let start = clock::now();
        let at = |seconds| move || start + Duration::from_secs(seconds);
        let total = |seconds| waited.total(at(seconds)());
        one.end(&waited, at(9));
        one.begin(&waited, at(0));
        one.begin(&waited, at(1));
        assert_eq!(total(1), Duration::from_secs(1));
        // Both at one time are one wait.
        other.begin(&waited, at(1));
        one.end(&waited, at(2));
        other.end(&waited, at(3));
        other.end(&waited, at(4));
        assert_eq!(total(9), Duration::from_secs(3));
    }

    #[test]
    fn a_piece_that_crosses_begins_the_count_anew() {
        let (waited, mut one) = (Waited::default(), WaitedFor::default());
        let start = clock::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        one.begin(&waited, || at(0));
        assert_eq!(waited.take_crossed(at(2)), None);
        waited.on_crossing();
        assert_eq!(waited.take_crossed(at(2)), Some(Duration::from_secs(2)));
        assert_eq!(waited.take_crossed(at(2)), None);
        one.end(&waited, || at(3));
        assert_eq!(waited.total(at(9)), Duration::from_secs(1));
    }
}
