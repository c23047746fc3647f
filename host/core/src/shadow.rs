//! Copies of calls: their answers are compared with those of the calls themselves, and go to nobody.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// What a copy reads and writes in the place of what its call does. Whoever makes it knows its type.
pub type CopiedState = Arc<dyn Any + Send + Sync>;

/// Marks a copy. Whoever answers it has no effect outside: what would have one is refused and noted here, so
/// that an answer which lacks it is not taken for another answer.
#[derive(Default)]
pub struct ShadowMark {
    wanted_effect: AtomicBool,
    state: Mutex<Option<CopiedState>>,
}

impl ShadowMark {
    /// Of a copy that works on `state`.
    #[must_use]
    pub fn over(state: Option<CopiedState>) -> Self {
        Self {
            state: Mutex::new(state),
            ..Self::default()
        }
    }

    /// What the copy works on; `None` where it may only read.
    #[must_use]
    pub fn state(&self) -> Option<CopiedState> {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The copy has ended: what it works on goes, whoever still has the mark.
    pub fn end(&self) {
        let state = self.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner).take();
        drop(state);
    }

    /// Something was refused that would have had an effect.
    pub fn note_effect(&self) {
        self.wanted_effect.store(true, Relaxed);
    }

    #[must_use]
    pub fn has_wanted_effect(&self) -> bool {
        self.wanted_effect.load(Relaxed)
    }
}

impl fmt::Debug for ShadowMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowMark")
            .field("wanted_effect", &self.wanted_effect)
            .field("has_state", &self.state().is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_state_until_it_ends() {
        let mark = ShadowMark::over(Some(Arc::new(7_u8)));
        let state = mark.state().expect("it has one");
        assert_eq!(state.downcast_ref(), Some(&7_u8));
        mark.end();
        assert!(mark.state().is_none());
        assert!(!mark.has_wanted_effect());
        assert!(ShadowMark::default().state().is_none());
    }
}
