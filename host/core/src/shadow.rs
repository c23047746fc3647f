//! Copies of calls: their answers are compared with those of the calls themselves, and go to nobody.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Marks a copy. Whoever answers it has no effect outside: what would have one is refused and noted here, so
/// that an answer which lacks it is not taken for another answer.
#[derive(Debug, Default)]
pub struct ShadowMark {
    wanted_effect: AtomicBool,
}

impl ShadowMark {
    /// Something was refused that would have had an effect.
    pub fn note_effect(&self) {
        self.wanted_effect.store(true, Relaxed);
    }

    #[must_use]
    pub fn has_wanted_effect(&self) -> bool {
        self.wanted_effect.load(Relaxed)
    }
}
