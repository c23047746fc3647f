//! A trace that a caller has begun goes on, otherwise one begins here. Ids are random, not secret.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
    num::{NonZeroU64, NonZeroU128},
};

use postern_core::TraceContext;

/// A random id, and nobody has decided to record the trace yet.
const BEGUN: u8 = 0b10;

/// A new span in the trace that was `received`, or in a new one.
pub(super) fn continue_or_begin(received: Option<TraceContext>) -> TraceContext {
    let span_id = random();
    match received {
        Some(trace) => TraceContext { span_id, ..trace },
        None => TraceContext {
            trace_id: NonZeroU128::from(random()) | u128::from(random().get()) << 64,
            span_id,
            flags: BEGUN,
        },
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014), one stream per thread, seeded from the system's entropy.
fn random() -> NonZeroU64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        NonZeroU64::new(mixed ^ (mixed >> 31)).unwrap_or(NonZeroU64::MIN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_trace_id_and_flags_and_changes_the_span() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let received = TraceContext::parse(text).expect("valid");
        let goes_on = continue_or_begin(Some(received));
        assert_eq!(goes_on.trace_id, received.trace_id);
        assert_ne!(goes_on.span_id, received.span_id);
        assert_eq!(goes_on.flags, received.flags);
    }

    #[test]
    fn begins_a_trace_of_its_own_each_time() {
        let (one, other) = (continue_or_begin(None), continue_or_begin(None));
        assert_ne!(one.trace_id, other.trace_id);
        assert_ne!(one.span_id, other.span_id);
        assert!(one.to_string().ends_with("-02"), "{one}");
    }
}
