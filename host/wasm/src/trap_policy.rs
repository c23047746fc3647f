//! What traps do to a plugin (`on-trap`). Pure: time is passed in.
//!
//! ```text
//!           threshold traps in the window           back-off is over
//! serving ────────────────────────────────► closed ─────────────────► trying ── a window without one ─► serving
//!    │                                        ▲                          │
//!    │                                        └──── a trap, twice as long ┘
//!    ├── threshold traps in the window (`quarantine`) ─► quarantined ─┐
//!    └── a trap (`stop`) ─► stopped ──────────────────────────────────┴─ an operator ─► serving
//! ```
//! `closed`, `open` and `last-good` all close the plugin; what its callers see meanwhile is for whoever
//! is told of the change.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::{Blame, Error, Retry};

use crate::{
    limits::time,
    on_trap::{OnTrap, TrapBounds, TrapState},
};

/// What there is to tell of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TrapStatus {
    /// `on-trap`.
    pub policy: &'static str,
    pub state: TrapState,
    /// Why, unless it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until calls are taken again, while it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

/// The policy of one generation.
#[derive(Debug)]
pub(crate) struct TrapPolicy {
    on_trap: OnTrap,
    bounds: TrapBounds,
    /// Whether its generation is in service. What traps before is refused, and is no matter of calls.
    is_active: AtomicBool,
    /// Whether calls are refused, unless it is time to try again. Read for every call.
    is_barred: AtomicBool,
    record: Mutex<TrapRecord>,
}

/// What it remembers.
#[derive(Debug)]
struct TrapRecord {
    state: TrapState,
    /// Traps within the window, `threshold` at most.
    recent: VecDeque<Instant>,
    pause: Duration,
    /// While closed: when calls are taken again. While trying: when it counts as serving.
    until: Option<Instant>,
    reason: String,
}

impl TrapPolicy {
    pub(crate) fn new(on_trap: OnTrap, bounds: TrapBounds) -> Self {
        Self {
            on_trap,
            bounds,
            is_active: AtomicBool::new(false),
            is_barred: AtomicBool::new(false),
            record: Mutex::new(TrapRecord {
                state: TrapState::Serving,
                recent: VecDeque::new(),
                pause: Duration::ZERO,
                until: None,
                reason: String::new(),
            }),
        }
    }

    /// Whether calls are refused, as far as is known without a look at the clock.
    pub(crate) fn is_barred(&self) -> bool {
        self.is_barred.load(SeqCst)
    }

    /// The generation comes into service.
    pub(crate) fn activate(&self) {
        self.is_active.store(true, SeqCst);
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(SeqCst)
    }

    /// A guest has trapped, for the reason `text`. Says what that changes.
    pub(crate) fn on_trap(&self, now: Instant, text: &str) -> Option<TrapState> {
        let mut record = self.record.lock();
        match (self.on_trap, record.state) {
            (OnTrap::Restart, _)
            | (_, TrapState::Closed | TrapState::Quarantined | TrapState::Stopped) => None,
            (OnTrap::Stop, TrapState::Serving | TrapState::Trying) => {
                text.clone_into(&mut record.reason);
                Some(self.enter(&mut record, TrapState::Stopped))
            }
            (
                OnTrap::Closed | OnTrap::Open | OnTrap::LastGood | OnTrap::Quarantine,
                TrapState::Serving | TrapState::Trying,
            ) => {
                let n_traps = record.count(now, &self.bounds)?;
                let window = time(self.bounds.window);
                record.reason = format!("{n_traps} traps within {window}, the last: {text}");
                record.recent.clear();
                if self.on_trap == OnTrap::Quarantine {
                    return Some(self.enter(&mut record, TrapState::Quarantined));
                }
                let pause = match record.state {
                    TrapState::Trying => (record.pause * 2).min(self.bounds.back_off_max),
                    TrapState::Serving
                    | TrapState::Closed
                    | TrapState::Quarantined
                    | TrapState::Stopped => self.bounds.back_off,
                };
                (record.pause, record.until) = (pause, now.checked_add(pause));
                Some(self.enter(&mut record, TrapState::Closed))
            }
        }
    }

    /// Time has passed. Says what that changes.
    pub(crate) fn on_time(&self, now: Instant) -> Option<TrapState> {
        let mut record = self.record.lock();
        if record.until.is_none_or(|until| now < until) {
            return None;
        }
        match record.state {
            TrapState::Closed => {
                record.until = now.checked_add(self.bounds.window);
                Some(self.enter(&mut record, TrapState::Trying))
            }
            TrapState::Trying => {
                record.until = None;
                record.reason = format!("no trap within {}", time(self.bounds.window));
                Some(self.enter(&mut record, TrapState::Serving))
            }
            TrapState::Serving | TrapState::Quarantined | TrapState::Stopped => None,
        }
    }

    /// An operator lets it take calls again. Says what that changes.
    pub(crate) fn release(&self) -> Option<TrapState> {
        let mut record = self.record.lock();
        if record.state == TrapState::Serving {
            return None;
        }
        record.until = None;
        record.recent.clear();
        "an operator has released it".clone_into(&mut record.reason);
        Some(self.enter(&mut record, TrapState::Serving))
    }

    pub(crate) fn reason(&self) -> String {
        self.record.lock().reason.clone()
    }

    pub(crate) fn status(&self, now: Instant) -> TrapStatus {
        let record = self.record.lock();
        let left = record.left(now);
        TrapStatus {
            policy: self.on_trap.name(),
            state: record.state,
            reason: (record.state != TrapState::Serving).then(|| record.reason.clone()),
            retry_in_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// What a call is told; `None` where it is taken.
    pub(crate) fn refusal(&self, now: Instant, plugin: &str) -> Option<Error> {
        let record = self.record.lock();
        let reason = &record.reason;
        let unavailable = |message: String| Some(Error::unavailable(Blame::Guest, message));
        match record.state {
            TrapState::Serving | TrapState::Trying => None,
            TrapState::Stopped => unavailable(format!("plugin {plugin} has stopped: {reason}")),
            TrapState::Quarantined => {
                unavailable(format!("plugin {plugin} is in quarantine: {reason}"))
            }
            TrapState::Closed => {
                let left = record.left(now).unwrap_or_default();
                let told = time(Duration::from_millis(
                    u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                ));
                let message = format!("plugin {plugin} is closed for {told}: {reason}");
                let error = Error::unavailable(Blame::Guest, message);
                Some(error.with_retry(Retry::After(left)))
            }
        }
    }

    fn enter(&self, record: &mut TrapRecord, state: TrapState) -> TrapState {
        record.state = state;
        self.is_barred.store(state.is_barred(), SeqCst);
        state
    }
}

impl TrapRecord {
    /// Counts a trap; how many there were within the window once they are too many.
    fn count(&mut self, now: Instant, bounds: &TrapBounds) -> Option<usize> {
        let is_old = |trap: &Instant| now.saturating_duration_since(*trap) > bounds.window;
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let most = match self.state {
            TrapState::Trying => 1,
            TrapState::Serving
            | TrapState::Closed
            | TrapState::Quarantined
            | TrapState::Stopped => usize::try_from(bounds.threshold).unwrap_or(usize::MAX),
        };
        (self.recent.len() >= most).then_some(self.recent.len())
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.until.filter(|_| self.state == TrapState::Closed)?;
        Some(until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(on_trap: OnTrap) -> TrapPolicy {
        let bounds = TrapBounds {
            threshold: 3,
            window: SECOND * 10,
            back_off: SECOND,
            back_off_max: SECOND * 3,
        };
        TrapPolicy::new(on_trap, bounds)
    }

    /// Three traps at once.
    fn three(policy: &TrapPolicy, now: Instant) -> Option<TrapState> {
        assert_eq!(policy.on_trap(now, "a"), None);
        assert_eq!(policy.on_trap(now, "b"), None);
        policy.on_trap(now, "unreachable")
    }

    #[test]
    fn restart_goes_on_for_ever_and_stop_ends_at_once() {
        let now = clock::now();
        let restart = policy(OnTrap::Restart);
        for _ in 0..100 {
            assert_eq!(restart.on_trap(now, "t"), None);
        }
        assert!(!restart.is_barred() && restart.refusal(now, "p").is_none());
        let stop = policy(OnTrap::Stop);
        assert_eq!(stop.on_trap(now, "t"), Some(TrapState::Stopped));
        assert_eq!(stop.on_trap(now, "t"), None);
        let error = stop.refusal(now, "p").unwrap();
        assert_eq!(error.message, "plugin p has stopped: t");
        assert_eq!(stop.on_time(now + SECOND * 1000), None);
        assert_eq!(stop.release(), Some(TrapState::Serving));
        assert_eq!(stop.release(), None);
    }

    #[test]
    fn traps_further_apart_than_the_window_change_nothing() {
        let policy = policy(OnTrap::Closed);
        let mut now = clock::now();
        for _ in 0..100 {
            assert_eq!(policy.on_trap(now, "t"), None);
            now += SECOND * 6;
        }
        assert_eq!(
            policy.on_trap(now - SECOND * 2, "t"),
            Some(TrapState::Closed)
        );
    }

    #[test]
    fn a_closed_plugin_is_tried_again_after_pauses_that_double_to_a_bound() {
        let policy = policy(OnTrap::Closed);
        let mut now = clock::now();
        assert_eq!(three(&policy, now), Some(TrapState::Closed));
        for pause in [1, 2, 3, 3] {
            let pause = SECOND * pause;
            let error = policy.refusal(now, "p").unwrap();
            assert_eq!(error.retry, Retry::After(pause));
            assert_eq!(policy.on_time(now + pause - Duration::from_nanos(1)), None);
            assert!(policy.is_barred());
            now += pause;
            assert_eq!(policy.on_time(now), Some(TrapState::Trying));
            assert!(!policy.is_barred() && policy.refusal(now, "p").is_none());
            assert_eq!(policy.on_trap(now, "t"), Some(TrapState::Closed));
        }
    }

    #[test]
    fn a_window_without_a_trap_forgets_the_pauses() {
        let policy = policy(OnTrap::LastGood);
        let mut now = clock::now();
        three(&policy, now);
        now += SECOND;
        assert_eq!(policy.on_time(now), Some(TrapState::Trying));
        assert_eq!(policy.on_time(now + SECOND * 9), None);
        now += SECOND * 10;
        assert_eq!(policy.on_time(now), Some(TrapState::Serving));
        assert_eq!(three(&policy, now), Some(TrapState::Closed));
        let error = policy.refusal(now, "p").unwrap();
        let expected = "plugin p is closed for 1 s: 3 traps within 10 s, the last: unreachable";
        assert_eq!(error.message, expected);
        assert_eq!(error.retry, Retry::After(SECOND));
    }

    #[test]
    fn a_quarantine_ends_by_an_operator_alone() {
        let policy = policy(OnTrap::Quarantine);
        let now = clock::now();
        assert_eq!(three(&policy, now), Some(TrapState::Quarantined));
        assert_eq!(policy.on_time(now + SECOND * 1000), None);
        let status = policy.status(now);
        assert_eq!(
            (status.policy, status.state),
            ("quarantine", TrapState::Quarantined)
        );
        assert!(policy.refusal(now, "p").is_some());
        assert_eq!(policy.release(), Some(TrapState::Serving));
        assert!(policy.refusal(now, "p").is_none());
        assert_eq!(three(&policy, now), Some(TrapState::Quarantined));
    }
}
