//! The two clocks. Both follow tokio's: a test that pauses time there, or advances it, sees the same
//! time in every crate. Threads outside of a runtime always see the machine's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, for durations and deadlines.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the monotonic clock"
)]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Time since `begin` on the monotonic clock; zero when that is still to come.
#[must_use]
pub fn since(begin: Instant) -> Duration {
    now().saturating_duration_since(begin)
}

/// The wall clock, for what people and other machines see. Whoever sets it may set it back.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn wall() -> SystemTime {
    let wall = SystemTime::now();
    // Only tests pause time, and they are built with assertions; others need no second clock.
    if !cfg!(debug_assertions) {
        return wall;
    }
    let (machine, shown) = (Instant::now(), now());
    match shown.checked_duration_since(machine) {
        Some(ahead) => wall + ahead,
        None => wall - machine.duration_since(shown),
    }
}

/// The wall clock as time since 1970. Zero when it stands before that.
#[must_use]
pub fn unix_time() -> Duration {
    wall().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `unix_time` in milliseconds.
#[must_use]
pub fn unix_time_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    /// What the machine's wall clock may have been set by while a test ran.
    const SLACK: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn time_that_a_test_advances_passes_on_both_clocks() {
        let (begin, wall_begin) = (now(), unix_time());
        tokio::time::advance(HOUR).await;
        assert_eq!(since(begin), HOUR);
        let passed = unix_time().saturating_sub(wall_begin);
        assert!(passed > HOUR - SLACK && passed < HOUR + SLACK, "{passed:?}");
    }

    #[test]
    fn outside_of_a_runtime_the_clocks_are_the_machines() {
        let before = now();
        assert!(now() >= before);
        assert_eq!(since(before + HOUR), Duration::ZERO);
        // 2020; a machine that believes less has no clock.
        assert!(unix_time() > Duration::from_secs(1_577_836_800));
    }
}
