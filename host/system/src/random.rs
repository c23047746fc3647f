//! Numbers that nobody can foresee, and numbers that are merely even.

use std::{cell::Cell, time::Duration};

/// 128 bits from the system's generator: for session ids, tokens, and whatever else must not be
/// guessed. A system call each time.
///
/// # Panics
/// Where the system has no entropy to give, as a machine may in its first moments. Going on with what
/// can be guessed would be worse.
#[must_use]
pub fn secret() -> u128 {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).expect("the system gives entropy once it has booted");
    u128::from_ne_bytes(octets)
}

/// A number that is even over 64 bits, new each time. Not for secrets: who has seen one knows all
/// that follow on the same thread.
///
/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), one
/// stream per thread, seeded by the system.
#[must_use]
pub fn even() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// A random part of `whole`, evenly. For jitter.
#[must_use]
pub fn part_of(whole: Duration) -> Duration {
    // 32 bits are fine enough for any wait.
    let share = (even() >> 32) as f64 / f64::from(u32::MAX);
    whole.mul_f64(share.min(1.0))
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

fn seed() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = secret().to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_secret_comes_twice_and_every_bit_of_it_changes() {
        let secrets: BTreeSet<_> = std::iter::repeat_with(secret).take(1000).collect();
        assert_eq!(secrets.len(), 1000);
        let (all, any) = secrets.iter().fold((u128::MAX, 0), |(all, any), secret| {
            (all & secret, any | secret)
        });
        assert_eq!((all, any), (0, u128::MAX));
    }

    #[test]
    fn numbers_are_even_and_threads_have_streams_of_their_own() {
        let n_high = std::iter::repeat_with(even)
            .take(10_000)
            .filter(|number| number >> 63 == 1)
            .count();
        // Five standard deviations of a fair coin.
        assert!((4_750..5_250).contains(&n_high), "{n_high} of 10,000");
        let other = std::thread::spawn(even).join().expect("it only counts");
        assert_ne!(even(), other);
    }

    #[test]
    fn a_part_is_never_more_than_the_whole() {
        let whole = Duration::from_secs(10);
        let parts: Vec<_> = std::iter::repeat_with(|| part_of(whole))
            .take(1000)
            .collect();
        assert!(parts.iter().all(|part| *part <= whole));
        let mean = parts.iter().sum::<Duration>() / 1000;
        assert!((4.5..5.5).contains(&mean.as_secs_f64()), "{mean:?}");
        assert_eq!(part_of(Duration::ZERO), Duration::ZERO);
    }
}
