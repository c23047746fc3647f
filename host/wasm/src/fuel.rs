//! Time as work: what a guest may execute for a budget of microseconds.
//!
//! wasmtime counts one unit of fuel for nearly every instruction, and one for every octet of a bulk
//! copy. Counting is exact: the same work always fits or never, on a busy machine too.

use std::time::Duration;

/// Units of fuel that stand for a microsecond. Measured on a busy x86-64 machine with
/// `benches/direct.rs`: an endless empty loop uses about 900 units in a microsecond, a loop of four
/// instructions about 5,200. The lower end, rounded: a budget of 100 us is over after 20 to 110 us.
pub(crate) const PER_MICRO: u64 = 1000;

/// What an octet of a payload that crosses adds to the budget. 20 ns are 20 instructions, what a
/// parser of JSON needs for one, and 160 ms for the largest message (8 MiB).
const NANOS_PER_OCTET: u64 = 20;

/// Fuel for `budget`.
pub(crate) fn of(budget: Duration) -> u64 {
    let nanos = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
    nanos.saturating_mul(PER_MICRO) / 1000
}

/// What a payload of that many octets adds to a budget.
pub(crate) fn time_of(octets: usize) -> Duration {
    let octets = u64::try_from(octets).unwrap_or(u64::MAX);
    Duration::from_nanos(octets.saturating_mul(NANOS_PER_OCTET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_fuel_by_the_rate() {
        assert_eq!(of(Duration::from_micros(1)), PER_MICRO);
        assert_eq!(of(Duration::from_micros(100)), 100 * PER_MICRO);
        assert_eq!(of(Duration::MAX), u64::MAX / 1000);
        assert_eq!(time_of(50), Duration::from_micros(1));
    }
}
