//! What one HTTP connection does, and when it only takes up a place.
//!
//! ```text
//! no request yet, or a head that does not end ──header_timeout──▶ refused
//! nothing in flight                           ──idle_timeout────▶ told to go, then dropped
//! client takes nothing of what is for it      ──write_timeout───▶ dropped
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_system::clock;

use super::{HttpConfig, flood::Progress};

/// What one connection is doing, as its watcher sees it.
#[derive(Debug)]
pub(super) struct Activity {
    n_requests: AtomicU64,
    n_in_flight: AtomicU64,
    /// Of them, those that have no reply yet.
    n_waiting: AtomicU64,
    /// Replies so far, and pieces of their bodies.
    n_replies: AtomicU64,
    n_pieces: AtomicU64,
    bytes_out: AtomicU64,
    is_write_blocked: AtomicBool,
    began: Instant,
    /// When the head began that has not ended: milliseconds after `began`, and 1. 0 where none has.
    head_began: AtomicU64,
}

/// A request being answered, until its reply has been handed to the connection.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    is_waiting: bool,
}

/// Why a connection has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    SlowHead,
    Idle,
    SlowReader,
    /// It was told to go, and has not by the end of its grace.
    Old,
}

/// Decides when a connection has been of no use for too long.
#[derive(Debug)]
pub(super) struct Watch {
    since: Instant,
    seen: Seen,
}

/// What tells that something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    n_requests: u64,
    bytes_out: u64,
    bytes_held: usize,
    is_in_flight: bool,
    is_write_blocked: bool,
    /// Replies are handed over and not taken; `bytes_held` is the least that was held since.
    is_held: bool,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            n_requests: AtomicU64::new(0),
            n_in_flight: AtomicU64::new(0),
            n_waiting: AtomicU64::new(0),
            n_replies: AtomicU64::new(0),
            n_pieces: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            is_write_blocked: AtomicBool::new(false),
            began: now,
            head_began: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.n_requests.fetch_add(1, Relaxed);
        self.n_in_flight.fetch_add(1, Relaxed);
        self.n_waiting.fetch_add(1, Relaxed);
        InFlight {
            activity: Arc::clone(self),
            is_waiting: true,
        }
    }

    /// Requests so far.
    pub(super) fn n_requests(&self) -> u64 {
        self.n_requests.load(Relaxed)
    }

    /// What the connection has been good for so far.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            n_steps: self.n_requests() + self.n_pieces.load(Relaxed),
            n_replies: self.n_replies.load(Relaxed),
        }
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.n_in_flight.load(Relaxed) == 0
    }

    /// Whether a request waits for its reply, and none is being written.
    pub(super) fn is_waiting(&self) -> bool {
        let n_waiting = self.n_waiting.load(Relaxed);
        n_waiting > 0
            && n_waiting == self.n_in_flight.load(Relaxed)
            && !self.is_write_blocked.load(Relaxed)
    }

    pub(super) fn on_written(&self, n_octets: usize) {
        self.is_write_blocked.store(false, Relaxed);
        self.bytes_out.fetch_add(n_octets as u64, Relaxed);
    }

    /// Whether the client takes nothing of what is for it.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.is_write_blocked.load(Relaxed)
    }

    pub(super) fn on_write_blocked(&self) {
        self.is_write_blocked.store(true, Relaxed);
    }

    /// Whether a request head has begun and not ended, as of the octets just read.
    pub(super) fn set_in_head(&self, is_in_head: bool) {
        if is_in_head != self.is_in_head() {
            let began = if is_in_head {
                u64::try_from(clock::since(self.began).as_millis()).unwrap_or(u64::MAX - 1) + 1
            } else {
                0
            };
            self.head_began.store(began, Relaxed);
        }
    }

    pub(super) fn is_in_head(&self) -> bool {
        self.head_began.load(Relaxed) != 0
    }

    fn head_began(&self) -> Option<Instant> {
        let after = self.head_began.load(Relaxed).checked_sub(1)?;
        Some(self.began + Duration::from_millis(after))
    }
}

impl InFlight {
    /// Whether no other request of the connection waits for its reply.
    pub(super) fn is_alone(&self) -> bool {
        self.activity.n_waiting.load(Relaxed) <= 1
    }

    /// What goes on after the reply, as an upgraded stream does.
    pub(super) fn go_on(&self) -> Self {
        self.activity.n_in_flight.fetch_add(1, Relaxed);
        Self {
            activity: Arc::clone(&self.activity),
            is_waiting: false,
        }
    }

    /// The reply is there.
    pub(super) fn on_reply(&mut self) {
        self.activity.n_replies.fetch_add(1, Relaxed);
        self.end_waiting();
    }

    /// A piece of its body is given.
    pub(super) fn on_piece(&self) {
        self.activity.n_pieces.fetch_add(1, Relaxed);
    }

    fn end_waiting(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.activity.n_waiting.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end_waiting();
        self.activity.n_in_flight.fetch_sub(1, Relaxed);
    }
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            seen: Seen::default(),
        }
    }

    /// Looks at the connection, which holds `bytes_held`; `Err` says when to look again.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        activity: &Activity,
        bytes_held: usize,
        config: &HttpConfig,
    ) -> Result<Expiry, Instant> {
        let is_write_blocked = activity.is_write_blocked.load(Relaxed);
        let is_in_flight = activity.n_in_flight.load(Relaxed) > 0;
        let is_held = !is_in_flight && !is_write_blocked && bytes_held > 0;
        let mut seen = Seen {
            n_requests: activity.n_requests.load(Relaxed),
            bytes_out: activity.bytes_out.load(Relaxed),
            bytes_held,
            is_in_flight,
            is_write_blocked,
            is_held,
        };
        // While the client owes us the taking, only what leaves counts: it may ask on for ever.
        let has_moved = if is_write_blocked {
            !self.seen.is_write_blocked || seen.bytes_out != self.seen.bytes_out
        } else if is_held {
            // PINGs are answered beside replies that stay, so octets written tell nothing.
            !self.seen.is_held || bytes_held < self.seen.bytes_held
        } else {
            // PINGs and their answers are octets, and no use.
            let bytes_out = self.seen.bytes_out;
            is_in_flight || Seen { bytes_out, ..seen } != self.seen
        };
        if has_moved {
            self.since = now;
        } else if is_held {
            seen.bytes_held = self.seen.bytes_held;
        }
        self.seen = seen;
        let (mut expiry, mut deadline) = if is_write_blocked || is_held {
            (Expiry::SlowReader, self.since + config.write_timeout)
        } else if seen.n_requests == 0 {
            (Expiry::SlowHead, activity.began + config.header_timeout)
        } else {
            (Expiry::Idle, self.since + config.idle_timeout)
        };
        if let Some(began) = activity.head_began()
            && began + config.header_timeout < deadline
        {
            (expiry, deadline) = (Expiry::SlowHead, began + config.header_timeout);
        }
        if now >= deadline {
            return Ok(expiry);
        }
        // What changes meanwhile is noticed at most one of its own timeouts later.
        let timeouts = [config.idle_timeout, config.header_timeout];
        let period = timeouts
            .into_iter()
            .fold(config.write_timeout, Duration::min);
        Err(deadline.min(now + period.max(Duration::from_millis(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> HttpConfig {
        HttpConfig {
            header_timeout: SECOND,
            idle_timeout: 3 * SECOND,
            write_timeout: 2 * SECOND,
            ..HttpConfig::default()
        }
    }

    fn activity() -> Arc<Activity> {
        Arc::new(Activity::new(clock::now()))
    }

    /// Looks after `seconds` of nothing.
    #[track_caller]
    fn check(activity: &Activity, bytes_held: usize, seconds: u32, expected: Option<Expiry>) {
        let now = clock::now();
        let mut watch = Watch::new(now);
        // Takes note of what has happened so far.
        let _ = watch.handle_timeout(now, activity, bytes_held, &config());
        let late = now + seconds * SECOND;
        let expiry = watch.handle_timeout(late, activity, bytes_held, &config());
        assert_eq!(expiry.ok(), expected, "{seconds} s");
    }

    #[test]
    fn a_fresh_connection_has_the_header_timeout_whatever_is_written_to_it() {
        let activity = activity();
        check(&activity, 0, 0, None);
        check(&activity, 0, 1, Some(Expiry::SlowHead));
        activity.on_written(10);
        check(&activity, 0, 1, Some(Expiry::SlowHead));
    }

    #[test]
    fn an_answered_connection_has_the_idle_timeout() {
        let activity = activity();
        drop(activity.begin());
        check(&activity, 0, 2, None);
        check(&activity, 0, 3, Some(Expiry::Idle));
    }

    #[test]
    fn a_head_that_does_not_end_has_the_header_timeout_also_beside_a_call() {
        let activity = activity();
        drop(activity.begin());
        activity.set_in_head(true);
        check(&activity, 0, 2, Some(Expiry::SlowHead));
        let _in_flight = activity.begin();
        check(&activity, 0, 2, Some(Expiry::SlowHead));
        activity.set_in_head(false);
        check(&activity, 0, 1000, None);
    }

    #[test]
    fn a_call_in_flight_keeps_the_connection_unless_the_client_stops_reading() {
        let activity = activity();
        let _in_flight = activity.begin();
        check(&activity, 5, 1000, None);
        activity.on_write_blocked();
        check(&activity, 5, 1, None);
        check(&activity, 5, 2, Some(Expiry::SlowReader));
    }

    #[test]
    fn replies_that_stay_where_they_are_have_the_write_timeout() {
        let activity = activity();
        drop(activity.begin());
        check(&activity, 5, 1, None);
        check(&activity, 5, 2, Some(Expiry::SlowReader));
        let now = clock::now();
        let mut watch = Watch::new(now);
        for (seconds, bytes_held) in [(0, 5), (1, 5), (2, 4), (3, 4)] {
            // PINGs and their answers are no progress.
            activity.on_written(17);
            let later = now + seconds * SECOND;
            assert!(
                watch
                    .handle_timeout(later, &activity, bytes_held, &config())
                    .is_err()
            );
        }
        let expiry = watch.handle_timeout(now + 4 * SECOND, &activity, 4, &config());
        assert_eq!(expiry, Ok(Expiry::SlowReader));
    }

    /// Looks each second while `change` happens; says after how many the connection expired.
    fn seconds_until_expiry(
        activity: &Arc<Activity>,
        mut change: impl FnMut(u32) -> usize,
    ) -> Option<u32> {
        let now = clock::now();
        let mut watch = Watch::new(now);
        (0..10).find(|seconds| {
            let bytes_held = change(*seconds);
            let later = now + *seconds * SECOND;
            let expiry = watch.handle_timeout(later, activity, bytes_held, &config());
            expiry == Ok(Expiry::SlowReader)
        })
    }

    #[test]
    fn a_client_that_asks_on_and_takes_nothing_has_the_write_timeout() {
        let activity = activity();
        activity.on_write_blocked();
        let mut asked = Vec::new();
        let expired = seconds_until_expiry(&activity, |seconds| {
            asked.push(activity.begin());
            seconds as usize
        });
        assert_eq!(expired, Some(2));
    }

    #[test]
    fn what_is_held_and_grows_or_swings_is_not_taken() {
        for held in [[5, 6, 7, 8], [5, 9, 5, 9]] {
            let activity = activity();
            let expired = seconds_until_expiry(&activity, |seconds| {
                drop(activity.begin());
                held[seconds as usize % 4]
            });
            assert_eq!(expired, Some(2), "{held:?}");
        }
    }

    #[test]
    fn a_client_that_takes_slowly_is_kept() {
        let activity = activity();
        let expired = seconds_until_expiry(&activity, |_| {
            activity.on_written(1);
            activity.on_write_blocked();
            5
        });
        assert_eq!(expired, None);
    }
}
