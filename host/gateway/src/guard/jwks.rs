//! Where an issuer's keys are held, and when a set of them is fetched again.
//!
//! ```text
//!            ok                        jwks-refresh over
//! empty ───────────▶ fresh ─────────────────────────────▶ due ──ok──▶ fresh
//!   │ error            │ a token of no key in the set       │ error
//!   ▼                  ▼                                    ▼
//! again after        due, unless the last fetch is       again after jwks-refetch, doubled each
//! jwks-refetch       younger than jwks-refetch           time up to jwks-refresh; the old keys
//!                                                        serve until jwks-stale-max is over
//! ```
//! `Freshness` decides and is pure; `KeyStore` is what calls read and the fetching task writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::keys::{KeyId, KeySet};

/// How often a set is fetched and how long it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    pub refresh: Duration,
    pub refetch: Duration,
    pub stale_max: Duration,
}

/// When the next fetch is due.
#[derive(Debug)]
pub(super) struct Freshness {
    timing: Timing,
    /// When the last fetch began.
    tried: Option<Instant>,
    /// Fetches that failed since the last that did not.
    n_failures: u32,
    is_fetching: bool,
    is_wanted: bool,
}

/// What comes of asking for a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// One is on its way.
    Coming,
    /// The last one is too young; another may be asked for after this long.
    TooSoon(Duration),
}

impl Freshness {
    pub(super) const fn new(timing: Timing) -> Self {
        Self {
            timing,
            tried: None,
            n_failures: 0,
            is_fetching: false,
            is_wanted: false,
        }
    }

    /// When to fetch; `None` while that is being done.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.is_fetching {
            return None;
        }
        let Some(tried) = self.tried.filter(|_| !self.is_wanted) else {
            return Some(now);
        };
        Some(tried + self.pause())
    }

    pub(super) fn on_begin(&mut self, now: Instant) {
        self.tried = Some(now);
        self.is_fetching = true;
        self.is_wanted = false;
    }

    /// The set came; says until when it may be used.
    pub(super) fn on_success(&mut self, now: Instant) -> Instant {
        self.is_fetching = false;
        self.n_failures = 0;
        now + self.timing.refresh + self.timing.stale_max
    }

    pub(super) fn on_failure(&mut self) {
        self.is_fetching = false;
        self.n_failures = self.n_failures.saturating_add(1);
    }

    /// The fetch under way will not end. Nothing happens after one that did.
    pub(super) fn on_abandoned(&mut self) {
        if self.is_fetching {
            self.is_fetching = false;
            self.tried = None;
        }
    }

    /// Somebody shows a token of a key that is not in the set.
    pub(super) fn ask(&mut self, now: Instant) -> Asked {
        if self.is_fetching || self.is_wanted {
            return Asked::Coming;
        }
        let age = self.tried.map(|tried| now.saturating_duration_since(tried));
        match age {
            Some(age) if age < self.timing.refetch => Asked::TooSoon(self.timing.refetch - age),
            _ => {
                self.is_wanted = true;
                Asked::Coming
            }
        }
    }

    /// Something that a fetch depends on is another: the next one is due at once.
    pub(super) fn on_changed(&mut self) {
        self.is_wanted = true;
    }

    /// From the beginning of one fetch to that of the next.
    fn pause(&self) -> Duration {
        match self.n_failures {
            0 => self.timing.refresh,
            n_failures => {
                let doubled = 1 << (n_failures - 1).min(16);
                let pause = self.timing.refetch.saturating_mul(doubled);
                pause.min(self.timing.refresh).max(self.timing.refetch)
            }
        }
    }
}

/// An issuer's keys at present.
#[derive(Debug)]
pub(super) struct KeyStore {
    held: ArcSwapOption<Held>,
    fetching: Option<Fetching>,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    /// When they are too old to be used; keys of files never are.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Fetching {
    freshness: Mutex<Freshness>,
    asked: Notify,
    /// Counts fetches that ended.
    answers: watch::Sender<u64>,
}

/// A fetch that a call may wait for.
#[derive(Debug)]
pub struct Waiting {
    answers: watch::Receiver<u64>,
    limit: Duration,
}

impl Waiting {
    /// Completes when the fetch has ended, or when it takes longer than it may.
    pub async fn answered(mut self) {
        let _ = tokio::time::timeout(self.limit, self.answers.changed()).await;
    }
}

impl KeyStore {
    /// Keys that are there from the beginning.
    pub(super) fn of_keys(keys: KeySet) -> Self {
        let held = Held { keys, until: None };
        Self {
            held: ArcSwapOption::from_pointee(held),
            fetching: None,
        }
    }

    /// Keys that are to be fetched.
    pub(super) fn to_fetch(timing: Timing) -> Self {
        Self {
            held: ArcSwapOption::empty(),
            fetching: Some(Fetching {
                freshness: Mutex::new(Freshness::new(timing)),
                asked: Notify::new(),
                answers: watch::Sender::new(0),
            }),
        }
    }

    /// Reads the keys, where there are any that may be used at `now`.
    pub(super) fn read<T>(&self, now: Instant, read: impl FnOnce(&KeySet) -> T) -> Option<T> {
        let held = self.held.load();
        let held = held.as_deref()?;
        let is_good = held.until.is_none_or(|until| now < until);
        is_good.then(|| read(&held.keys))
    }

    pub(super) fn holds(&self, id: &KeyId, now: Instant) -> bool {
        self.read(now, |keys| keys.holds(id)).unwrap_or(false)
    }

    /// New keys of a file.
    pub(super) fn replace(&self, keys: KeySet) {
        self.held.store(Some(Arc::new(Held { keys, until: None })));
    }

    /// Asks for a fetch; `None` where there is nothing to fetch or it is too soon.
    pub(super) fn ask(&self, now: Instant, limit: Duration) -> Option<Waiting> {
        let fetching = self.fetching.as_ref()?;
        // Subscribed before it is asked for, so that no answer is missed.
        let answers = fetching.answers.subscribe();
        match fetching.freshness.lock().ask(now) {
            Asked::TooSoon(_) => None,
            Asked::Coming => {
                fetching.asked.notify_one();
                Some(Waiting { answers, limit })
            }
        }
    }

    /// Fetches as soon as it can, however young the last fetch is.
    pub(super) fn fetch_again(&self) {
        if let Some(fetching) = &self.fetching {
            fetching.freshness.lock().on_changed();
            fetching.asked.notify_one();
        }
    }

    /// Waits until the next fetch is due and begins it. Never completes where there is nothing to
    /// fetch.
    pub(super) async fn due(&self) -> Fetch<'_> {
        let Some(fetching) = &self.fetching else {
            return std::future::pending().await;
        };
        loop {
            let now = tokio::time::Instant::now();
            let due = fetching.freshness.lock().poll_timeout(now.into_std());
            match due {
                None => fetching.asked.notified().await,
                Some(due) if due <= now.into_std() => {
                    fetching.freshness.lock().on_begin(now.into_std());
                    return Fetch { store: self };
                }
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = fetching.asked.notified() => {}
                },
            }
        }
    }

    /// What a fetch brought; `None` when it failed.
    fn on_fetched(&self, now: Instant, keys: Option<KeySet>) {
        let Some(fetching) = &self.fetching else {
            return;
        };
        let mut freshness = fetching.freshness.lock();
        match keys {
            None => freshness.on_failure(),
            Some(keys) => {
                let until = Some(freshness.on_success(now));
                self.held.store(Some(Arc::new(Held { keys, until })));
            }
        }
        drop(freshness);
        fetching.answers.send_modify(|n_answers| *n_answers += 1);
    }
}

/// A fetch that has begun. Dropped without an end it counts as never begun, so that whoever fetches
/// next does it at once.
pub(super) struct Fetch<'s> {
    store: &'s KeyStore,
}

impl Fetch<'_> {
    pub(super) fn finish(self, now: Instant, keys: Option<KeySet>) {
        self.store.on_fetched(now, keys);
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        if let Some(fetching) = &self.store.fetching {
            fetching.freshness.lock().on_abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_core::testing::epoch;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn freshness() -> Freshness {
        Freshness::new(Timing {
            refresh: 600 * S,
            refetch: 10 * S,
            stale_max: 3600 * S,
        })
    }

    #[test]
    fn the_first_fetch_is_due_at_once_and_the_next_after_the_interval() {
        let (mut freshness, now) = (freshness(), epoch());
        assert_eq!(freshness.poll_timeout(now), Some(now));
        freshness.on_begin(now);
        assert_eq!(freshness.poll_timeout(now), None);
        assert_eq!(freshness.on_success(now + S), now + 4201 * S);
        assert_eq!(freshness.poll_timeout(now + S), Some(now + 600 * S));
    }

    #[test]
    fn failures_double_the_pause_up_to_the_interval() {
        let (mut freshness, now) = (freshness(), epoch());
        for expected in [10, 20, 40, 80, 160, 320, 600, 600] {
            freshness.on_begin(now);
            freshness.on_failure();
            assert_eq!(freshness.poll_timeout(now), Some(now + expected * S));
        }
        freshness.on_begin(now);
        freshness.on_success(now);
        assert_eq!(freshness.poll_timeout(now), Some(now + 600 * S));
    }

    #[test]
    fn a_fetch_is_asked_for_at_most_once_in_a_while() {
        let (mut freshness, now) = (freshness(), epoch());
        freshness.on_begin(now);
        assert_eq!(freshness.ask(now + S), Asked::Coming, "one is under way");
        freshness.on_success(now + S);
        assert_eq!(freshness.ask(now + 9 * S), Asked::TooSoon(S));
        let nearly = now + 10 * S - Duration::from_nanos(1);
        assert_eq!(
            freshness.ask(nearly),
            Asked::TooSoon(Duration::from_nanos(1))
        );
        assert_eq!(freshness.ask(now + 10 * S), Asked::Coming);
        assert_eq!(freshness.poll_timeout(now + 10 * S), Some(now + 10 * S));
        assert_eq!(
            freshness.ask(now + 10 * S),
            Asked::Coming,
            "it is wanted already"
        );
        freshness.on_begin(now + 10 * S);
        freshness.on_success(now + 11 * S);
        assert_eq!(freshness.ask(now + 11 * S), Asked::TooSoon(9 * S));
    }

    #[test]
    fn a_change_of_what_a_fetch_depends_on_makes_one_due_at_once() {
        let (mut freshness, now) = (freshness(), epoch());
        freshness.on_begin(now);
        freshness.on_changed();
        assert_eq!(freshness.poll_timeout(now), None, "one is under way");
        freshness.on_success(now + S);
        assert_eq!(freshness.poll_timeout(now + S), Some(now + S));
        freshness.on_begin(now + S);
        freshness.on_success(now + 2 * S);
        assert_eq!(freshness.poll_timeout(now + 2 * S), Some(now + 601 * S));
    }

    #[test]
    fn keys_are_used_until_the_bound_and_not_a_moment_longer() {
        let store = KeyStore::to_fetch(freshness().timing);
        let now = epoch();
        assert_eq!(store.read(now, |_| ()), None);
        store.on_fetched(now, Some(KeySet::default()));
        let end = now + 4200 * S;
        assert_eq!(store.read(end - Duration::from_nanos(1), |_| ()), Some(()));
        assert_eq!(store.read(end, |_| ()), None);
        store.on_fetched(end, None);
        assert_eq!(store.read(end, |_| ()), None);
        store.on_fetched(end, Some(KeySet::default()));
        assert_eq!(store.read(end, |_| ()), Some(()));
    }

    #[test]
    fn a_fetch_that_is_given_up_is_due_again_at_once() {
        let (mut freshness, now) = (freshness(), epoch());
        freshness.on_begin(now);
        freshness.on_abandoned();
        assert_eq!(freshness.poll_timeout(now + S), Some(now + S));
        freshness.on_begin(now + S);
        freshness.on_success(now + S);
        freshness.on_abandoned();
        assert_eq!(freshness.poll_timeout(now + S), Some(now + 601 * S));
    }

    #[test]
    fn keys_of_files_do_not_age() {
        let store = KeyStore::of_keys(KeySet::default());
        assert_eq!(store.read(epoch() + 1_000_000 * S, |_| ()), Some(()));
        assert!(store.ask(epoch(), S).is_none());
    }
}
