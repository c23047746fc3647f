//! A trace that a caller has begun goes on, otherwise one begins here. Ids are random, not secret.

use std::num::{NonZeroU64, NonZeroU128};

use postern_core::TraceContext;
use postern_system::random;

/// A random id, and nobody has decided to record the trace yet.
const BEGUN: u8 = 0b10;

/// A new span in the trace that was `received`, or in a new one.
pub(super) fn continue_or_begin(received: Option<TraceContext>) -> TraceContext {
    let span_id = id();
    match received {
        Some(trace) => TraceContext { span_id, ..trace },
        None => TraceContext {
            trace_id: NonZeroU128::from(id()) | u128::from(id().get()) << 64,
            span_id,
            flags: BEGUN,
        },
    }
}

fn id() -> NonZeroU64 {
    NonZeroU64::new(random::even()).unwrap_or(NonZeroU64::MIN)
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
