//! The clock and the dice of the clusters. The clock is tokio's, so that tests pass time by hand.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
    time::Instant,
};

use postern_core::balance::mix;

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A number that is even over 64 bits, new each time. Not for secrets.
pub(super) fn random() -> u64 {
    STATE.with(|state| {
        // SplitMix64: steps of 2^64 divided by the golden ratio, each mixed.
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        mix(next)
    })
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}
