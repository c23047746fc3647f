//! How much may be on its way to one peer, and how long an answer may take.
//!
//! A window of datagrams: slow start, then one more per round trip, 0.7 of it after a loss (the
//! factor of CUBIC, RFC 9438), once per round trip. It never goes below 16 datagrams, 19 KiB, so
//! that random loss as on radio links, which says nothing about congestion, does not stop a
//! transfer; only silence does, which puts it to 4.
//! Acknowledgements come every few datagrams and pace what is sent.

use std::time::{Duration, Instant};

/// Datagrams in the first round trip; a reply of 36 KiB leaves at once.
const WINDOW_FIRST: usize = 32;
const WINDOW_AFTER_LOSS_MIN: usize = 16;
const WINDOW_AFTER_SILENCE: usize = 4;
/// 1.2 MiB on its way: 100 Mbit/s over 100 ms.
const WINDOW_MAX: usize = 1024;
/// Before anything is measured. QUIC takes 333 ms (RFC 9002 section 6.2.2); repeating a datagram
/// costs little.
const ROUND_TRIP_FIRST: Duration = Duration::from_millis(100);
/// Shortest wait for an answer: covers a peer that acknowledges late and a sleeping scheduler.
const WAIT_MIN: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(super) struct Congestion {
    window: usize,
    slow_start_until: usize,
    /// Acknowledged since the window last grew, beyond slow start.
    credit: usize,
    in_flight: usize,
    /// Losses of what was sent before this are the same loss.
    recovery_until: u64,
    smoothed: Option<Duration>,
    variation: Duration,
}

impl Congestion {
    pub(super) const fn new() -> Self {
        Self {
            window: WINDOW_FIRST,
            slow_start_until: WINDOW_MAX,
            credit: 0,
            in_flight: 0,
            recovery_until: 0,
            smoothed: None,
            variation: Duration::ZERO,
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    pub(super) const fn on_sent(&mut self) {
        self.in_flight += 1;
    }

    /// `n` datagrams count as on their way no longer, arrived or not.
    pub(super) const fn on_gone(&mut self, n: usize) {
        self.in_flight = self.in_flight.saturating_sub(n);
    }

    pub(super) fn on_acknowledged(&mut self, n: usize) {
        // An unused window proves nothing about the path.
        let is_used = self.in_flight.saturating_mul(2) >= self.window;
        self.on_gone(n);
        if !is_used {
            return;
        }
        if self.window < self.slow_start_until {
            self.window = (self.window + n).min(WINDOW_MAX);
            return;
        }
        self.credit += n;
        if self.credit >= self.window {
            self.credit -= self.window;
            self.window = (self.window + 1).min(WINDOW_MAX);
        }
    }

    /// Datagram `sequence` is lost; `next_sequence` is the next to be sent.
    pub(super) fn on_lost(&mut self, sequence: u64, next_sequence: u64) {
        self.on_gone(1);
        if sequence < self.recovery_until {
            return;
        }
        self.recovery_until = next_sequence;
        self.window = (self.window * 7 / 10).max(WINDOW_AFTER_LOSS_MIN);
        self.slow_start_until = self.window;
    }

    /// Nothing is heard.
    pub(super) fn on_silence(&mut self, next_sequence: u64) {
        self.slow_start_until = (self.window * 7 / 10).max(WINDOW_AFTER_LOSS_MIN);
        self.window = WINDOW_AFTER_SILENCE;
        self.recovery_until = next_sequence;
    }

    /// The estimator of RFC 6298 section 2.
    pub(super) fn on_round_trip(&mut self, sample: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// How long to wait for an answer before what is on its way counts as lost.
    pub(super) fn wait(&self, longest: Duration) -> Duration {
        let smoothed = self.smoothed.unwrap_or(ROUND_TRIP_FIRST);
        let variation = if self.smoothed.is_some() {
            self.variation
        } else {
            ROUND_TRIP_FIRST / 2
        };
        (smoothed + variation * 4).max(WAIT_MIN).min(longest)
    }

    /// Whether an answer after `elapsed` can be one to what was sent then.
    pub(super) fn is_plausible(&self, elapsed: Duration) -> bool {
        self.smoothed.is_none_or(|smoothed| elapsed * 2 >= smoothed)
    }

    /// What was sent more recently than this may only be late, however much has arrived that was
    /// sent after it.
    pub(super) fn patience(&self) -> Duration {
        self.smoothed.unwrap_or_default() + self.variation * 2
    }

    /// The deadline of an answer to what is sent at `now`, after `n_silent` waits in vain.
    pub(super) fn deadline(&self, now: Instant, n_silent: u32, longest: Duration) -> Instant {
        let factor = 1_u32.checked_shl(n_silent).unwrap_or(u32::MAX);
        now + self.wait(longest).saturating_mul(factor).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    #[test]
    fn the_first_window_is_32_datagrams() {
        let mut congestion = Congestion::new();
        (0..31).for_each(|_| congestion.on_sent());
        assert!(congestion.has_room());
        congestion.on_sent();
        assert!(!congestion.has_room());
    }

    #[test]
    fn doubles_in_slow_start_and_shrinks_once_per_round_trip() {
        let mut congestion = Congestion::new();
        (0..32).for_each(|_| congestion.on_sent());
        congestion.on_acknowledged(32);
        assert_eq!((congestion.window, congestion.in_flight), (64, 0));
        (0..64).for_each(|_| congestion.on_sent());
        congestion.on_lost(40, 97);
        congestion.on_lost(41, 97);
        assert_eq!((congestion.window, congestion.in_flight), (44, 62));
        congestion.on_lost(97, 99);
        assert_eq!(congestion.window, 30);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut congestion = Congestion::new();
        (0..15).for_each(|_| congestion.on_sent());
        congestion.on_acknowledged(15);
        assert_eq!(congestion.window, 32);
    }

    #[test]
    fn grows_by_one_per_window_after_a_loss() {
        let mut congestion = Congestion::new();
        (0..32).for_each(|_| congestion.on_sent());
        congestion.on_lost(1, 33);
        assert_eq!(congestion.window, 22);
        congestion.on_acknowledged(21);
        assert_eq!(congestion.window, 22);
        (0..22).for_each(|_| congestion.on_sent());
        congestion.on_acknowledged(1);
        assert_eq!(congestion.window, 23);
    }

    #[test]
    fn loss_leaves_16_datagrams_and_silence_4() {
        let mut congestion = Congestion::new();
        (0..100).for_each(|at| congestion.on_lost(at, at + 1));
        assert_eq!(congestion.window, 16);
        congestion.on_silence(200);
        assert_eq!(congestion.window, 4);
    }

    #[test]
    fn waits_within_bounds() {
        let mut congestion = Congestion::new();
        assert_eq!(
            congestion.wait(LONGEST),
            Duration::from_millis(300),
            "nothing measured"
        );
        congestion.on_round_trip(Duration::from_millis(1));
        assert_eq!(congestion.wait(LONGEST), WAIT_MIN);
        (0..50).for_each(|_| congestion.on_round_trip(Duration::from_secs(9)));
        assert_eq!(congestion.wait(LONGEST), LONGEST);
    }
}
