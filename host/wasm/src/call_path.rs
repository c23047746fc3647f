//! The two paths of a call of one message into a component: inline, as a plain function call on the
//! thread that serves, or async, on a fiber.
//!
//! A call of a synchronous world costs wasmtime 0.28 us inline and 0.42 on a fiber (ADR 16). On the
//! inline path it may not wait. A call begins there, and when that was wrong it bails out: it begins
//! anew on the async path, with what is left of its time:
//!
//! ```text
//!          ┌─ answer, or a trap of the guest: the end
//! inline ──┤
//!          └─ bailout: its instance is gone ─► async, another instance ─► the end
//! ```
//! That is right because nothing outside its store knows of a call that bailed out: what has an effect
//! or may wait is linked as a bailout there and does nothing, and what a pooled instance keeps from
//! call to call is not promised to anybody.
//!
//! A bailout costs an instance, so each one closes the inline path for a while, twice as long each
//! time. It opens again by itself, and what counts against it decays while it is open.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use wasmtime::component::LinkerInstance;

/// How an instance is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallPath {
    Inline,
    Async,
}

/// Why a call leaves the inline path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bailout {
    /// It called something that has an effect outside its store, or for which it may have to wait.
    #[error("a call on the inline path asked for what only the async path can give")]
    HostCall,
    /// More ticks than `TICKS_MAX` found it at work.
    #[error("a call on the inline path took longer than a tick")]
    Overran,
}

/// Ticks of the epoch that a call may see before it bails out. One: a tick comes at any moment, and the
/// system may have taken the thread away in the middle of a call of a microsecond; whoever sees a
/// second one was at work for all the time between the two. So a call holds its thread for two ticks
/// at most.
pub(crate) const TICKS_MAX: u8 = 1;

/// How long the inline path is closed after the first bailout, in rounds of maintenance (about a second
/// each). Doubled with each one that the count stands at, up to `DOUBLINGS_MAX` times: half an hour,
/// which makes the cost of an instance (24 us to 5 ms) nothing.
const CLOSED_ROUNDS: u32 = 8;
const DOUBLINGS_MAX: u32 = 8;

/// Whether calls of one generation may begin on the inline path.
#[derive(Debug, Default)]
pub(crate) struct InlinePath {
    is_closed: AtomicBool,
    bailouts: Mutex<BailoutCount>,
}

/// A count that grows with each bailout that closes the path and decays while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BailoutCount {
    /// Bailouts, less those that have decayed.
    pub(crate) count: u32,
    /// Until it opens, while it is closed; until the count decays by one, while it is open.
    pub(crate) rounds_left: u32,
}

impl InlinePath {
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closed.load(Relaxed)
    }

    /// Closes it. Says for how many rounds; `None` where it is closed already, by a call that began
    /// before.
    pub(crate) fn on_bailout(&self) -> Option<u32> {
        let mut bailouts = self.bailouts.lock();
        if self.is_closed.swap(true, Relaxed) {
            return None;
        }
        bailouts.count = (bailouts.count + 1).min(DOUBLINGS_MAX + 1);
        bailouts.rounds_left = bailouts.rounds();
        Some(bailouts.rounds_left)
    }

    /// A round of maintenance has passed. Says whether that has opened it.
    pub(crate) fn on_round(&self) -> bool {
        let mut bailouts = self.bailouts.lock();
        if bailouts.count == 0 {
            return false;
        }
        bailouts.rounds_left = bailouts.rounds_left.saturating_sub(1);
        if bailouts.rounds_left > 0 {
            return false;
        }
        let has_opened = self.is_closed.swap(false, Relaxed);
        if !has_opened {
            bailouts.count -= 1;
        }
        bailouts.rounds_left = bailouts.rounds();
        has_opened
    }

    pub(crate) fn bailouts(&self) -> BailoutCount {
        *self.bailouts.lock()
    }
}

impl BailoutCount {
    const fn rounds(self) -> u32 {
        match self.count.checked_sub(1) {
            Some(doublings) => CLOSED_ROUNDS << doublings,
            None => 0,
        }
    }
}

/// Links a function that bails out.
pub(crate) fn link_bailout<T: 'static>(
    interface: &mut LinkerInstance<'_, T>,
    name: &str,
) -> wasmtime::Result<()> {
    interface.func_new(name, |_, _, _, _| Err(Bailout::HostCall.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds_until(path: &InlinePath, is_there: impl Fn(&InlinePath) -> bool) -> u32 {
        let mut n_rounds = 0;
        while !is_there(path) {
            path.on_round();
            n_rounds += 1;
            assert!(n_rounds < 100_000, "it never comes");
        }
        n_rounds
    }

    #[test]
    fn one_bailout_closes_the_path_for_a_while_and_not_for_ever() {
        let path = InlinePath::default();
        assert_eq!(path.on_bailout(), Some(CLOSED_ROUNDS));
        assert!(!path.is_open());
        assert_eq!(path.on_bailout(), None, "one that was under way");
        assert_eq!(path.bailouts().count, 1);
        assert_eq!(rounds_until(&path, InlinePath::is_open), CLOSED_ROUNDS);
    }

    #[test]
    fn who_bails_out_again_and_again_is_tried_ever_more_seldom() {
        let path = InlinePath::default();
        let closed: Vec<u32> = (0..11)
            .map(|_| {
                path.on_bailout();
                rounds_until(&path, InlinePath::is_open)
            })
            .collect();
        assert_eq!(
            closed,
            [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 2048, 2048]
        );
    }

    #[test]
    fn the_count_decays_while_the_path_is_open() {
        let path = InlinePath::default();
        for _ in 0..3 {
            path.on_bailout();
            rounds_until(&path, InlinePath::is_open);
        }
        let is = |count| move |path: &InlinePath| path.bailouts().count == count;
        assert_eq!(rounds_until(&path, is(2)), 32);
        assert_eq!(rounds_until(&path, is(1)), 16);
        assert_eq!(rounds_until(&path, is(0)), 8);
        assert_eq!(path.on_bailout(), Some(CLOSED_ROUNDS));
    }
}
