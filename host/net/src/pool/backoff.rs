//! How long to leave an address alone after failures: full jitter above a minimum, so that clients
//! which failed together do not come back together.

use std::time::Duration;

/// The pause after failure number `n_failures` (from 1): anything between `min` and a bound that is
/// twice `min` after the first failure and doubles with each, up to `max`.
pub(crate) fn pause(min: Duration, max: Duration, n_failures: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(n_failures).unwrap_or(u32::MAX);
    let bound = min.saturating_mul(factor).min(max);
    let span = bound.saturating_sub(min).as_nanos();
    // A span is less than 2^64 ns for every `max` below 584 years.
    let part = span.saturating_mul(u128::from(random)) >> 64;
    min.saturating_add(Duration::from_nanos(
        u64::try_from(part).unwrap_or(u64::MAX),
    ))
    .min(max.max(min))
}

#[cfg(test)]
mod tests {
    use postern_core::testing::Rng;

    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    fn check(n_failures: u32, shortest_ms: u64, longest_ms: u64) {
        let shortest = pause(MIN, MAX, n_failures, 0);
        let longest = pause(MIN, MAX, n_failures, u64::MAX);
        assert_eq!(shortest, Duration::from_millis(shortest_ms));
        // The largest random number is just below the whole span.
        let short_of = Duration::from_millis(longest_ms) - longest;
        assert!(short_of <= Duration::from_nanos(1), "{longest:?}");
    }

    #[test]
    fn the_bound_doubles_up_to_the_longest_pause() {
        check(1, 100, 200);
        check(2, 100, 400);
        check(6, 100, 6_400);
        check(7, 100, 10_000);
        check(31, 100, 10_000);
        check(32, 100, 10_000);
        check(u32::MAX, 100, 10_000);
    }

    #[test]
    fn pauses_are_spread_over_the_whole_span() {
        let mut rng = Rng::new(1);
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let above = pause(MIN, MAX, 20, rng.next_u64()) - MIN;
            let tenth = above.as_millis() * 10 / (MAX - MIN).as_millis();
            tenths[tenth as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (850..1150).contains(n)), "{tenths:?}");
    }

    #[test]
    fn a_fixed_pause_is_kept() {
        assert_eq!(pause(MIN, MIN, 9, u64::MAX), MIN);
    }
}
