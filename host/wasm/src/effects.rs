//! What a guest did on the inline path and others see once its call has ended. A call that bails out begins
//! anew, so what it had done by then is forgotten.

/// Effects of one entry, in order. An entry has one at most for each call of the host, and those are
/// bounded.
#[derive(Default)]
pub(crate) struct Effects(Vec<Box<dyn FnOnce() + Send>>);

impl Effects {
    pub(crate) fn push(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.0.push(Box::new(effect));
    }

    /// The call has ended.
    pub(crate) fn apply(&mut self) {
        for effect in self.0.drain(..) {
            effect();
        }
    }

    /// The call has not been.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn effects_are_seen_once_when_the_call_has_ended_and_never_when_it_has_not_been() {
        let seen = Arc::new(AtomicU32::new(0));
        let mut effects = Effects::default();
        let push = |effects: &mut Effects| {
            let seen = Arc::clone(&seen);
            effects.push(move || {
                seen.fetch_add(1, Relaxed);
            });
        };
        push(&mut effects);
        assert_eq!(seen.load(Relaxed), 0);
        effects.apply();
        effects.apply();
        assert_eq!(seen.load(Relaxed), 1);
        push(&mut effects);
        effects.forget();
        effects.apply();
        assert_eq!(seen.load(Relaxed), 1);
    }
}
