//! How long a slot stays empty after its instance trapped.

use std::time::{Duration, Instant};

/// After the first trap. 100 ms are thousands of calls that the native balancer places.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause; traps further apart than this count as first ones.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Doubles with every trap: 100 ms, 200 ms, ... 30 s.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    pause: Duration,
    until: Option<Instant>,
}

impl Quarantine {
    pub(super) fn on_trap(&mut self, now: Instant) {
        let recent = |until: Instant| now.saturating_duration_since(until) < PAUSE_MAX;
        self.pause = if self.until.is_some_and(recent) {
            (self.pause * 2).min(PAUSE_MAX)
        } else {
            PAUSE_MIN
        };
        self.until = Some(now + self.pause);
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_start_over_after_as_long_without_a_trap() {
        let mut quarantine = Quarantine::default();
        let mut now = Instant::now();
        assert!(!quarantine.holds(now));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            quarantine.on_trap(now);
            let pause = quarantine.pause;
            assert!(quarantine.holds(now + pause - Duration::from_nanos(1)));
            assert!(!quarantine.holds(now + pause));
            pauses.push(pause.as_millis());
            now += pause;
        }
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000];
        assert_eq!(pauses, expected);
        quarantine.on_trap(now + PAUSE_MAX);
        assert_eq!(quarantine.pause, PAUSE_MIN);
    }
}
