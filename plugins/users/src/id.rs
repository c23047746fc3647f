//! Ids that sort by age and that two instances never choose both: 12 hex digits of the clock in
//! milliseconds, 16 random ones. (UUID version 7, RFC 9562 section 5.7, without its fixed bits.)

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

/// Digits of an id.
pub(crate) const LENGTH: usize = 28;

pub(crate) fn next() -> String {
    let age = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    id(age.as_millis(), random())
}

/// The last 48 bits of the clock last until the year 10889.
fn id(millis: u128, random: u64) -> String {
    let millis = millis & 0xffff_ffff_ffff;
    format!("{millis:012x}{random:016x}")
}

/// The standard library seeds its hash tables from the host's random source; an empty hash under
/// such a key is 64 random bits.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_28_digits_and_sort_by_age() {
        assert_eq!(id(0, 0), "0".repeat(LENGTH));
        assert_eq!(id(u128::MAX, u64::MAX), "f".repeat(LENGTH));
        assert!(id(255, u64::MAX) < id(256, 0));
    }

    #[test]
    fn two_ids_differ() {
        assert_ne!(next(), next());
    }
}
