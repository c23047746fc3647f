//! W3C trace context (Trace Context level 2, section 3.2): a `traceparent` is continued when it is
//! valid, otherwise a trace begins here. Ids are random, not secret.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

use postern_core::Text;

/// The trace of one call, with the gateway's own span in it.
///
/// ```text
/// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
///    trace id, 3..35                  span, 36..52     flags
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(Text);

impl Trace {
    /// A new span in the trace of `received`; a new trace when there is none or it is not valid.
    #[must_use]
    pub fn continue_or_begin(received: Option<&str>) -> Self {
        let span = hex(random_nonzero());
        let Some((trace_id, flags)) = received.and_then(parse) else {
            let (high, low) = (hex(random_nonzero()), hex(random_nonzero()));
            // Flags 02: a random id, not sampled: nobody has decided to record it yet.
            return Self::assemble([b"00-", &high, &low, b"-", &span, b"-02"]);
        };
        Self::assemble([
            b"00-",
            trace_id.as_bytes(),
            b"-",
            &span,
            b"-",
            flags.as_bytes(),
        ])
    }

    fn assemble(parts: [&[u8]; 6]) -> Self {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        for part in parts {
            header.extend_from_slice(part);
        }
        // Every part is ASCII, so this never falls back.
        Self(Text::from_utf8(header.into()).unwrap_or_default())
    }

    /// The value of the header `traceparent` for the next hop.
    #[must_use]
    pub fn header(&self) -> &Text {
        &self.0
    }

    #[must_use]
    pub fn into_header(self) -> Text {
        self.0
    }
}

/// The trace id in a valid `traceparent`; empty when it is none.
#[must_use]
pub fn trace_id(traceparent: &str) -> &str {
    traceparent.get(3..35).unwrap_or_default()
}

/// Trace id and flags. A version after 00 is read by its first 55 octets (section 3.2.4).
fn parse(received: &str) -> Option<(&str, &str)> {
    let (head, tail) = received.split_at_checked(HEADER_BYTES)?;
    let [version, trace_id, span_id, flags] = split_four(head)?;
    let is_known = version == "00" && tail.is_empty();
    let is_later = version != "00" && version != "ff" && (tail.is_empty() || tail.starts_with('-'));
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    let is_valid = (is_known || is_later)
        && is_hex(version, 2)
        && is_hex(trace_id, 32)
        && !is_zero(trace_id)
        && is_hex(span_id, 16)
        && !is_zero(span_id)
        && is_hex(flags, 2);
    is_valid.then_some((trace_id, flags))
}

fn split_four(head: &str) -> Option<[&str; 4]> {
    let mut parts = head.split('-');
    let four = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(four)
}

/// Sixteen lower-case digits, all at once: each nibble in an octet of its own, `0` added to it, and
/// the distance from `:` to `a` where it is over nine.
fn hex(value: u64) -> [u8; 16] {
    let each = |octet: u8| u128::from_ne_bytes([octet; 16]);
    let mut nibbles = u128::from(value);
    nibbles = (nibbles | nibbles << 32) & 0x00000000_ffffffff_00000000_ffffffff;
    nibbles = (nibbles | nibbles << 16) & 0x0000ffff_0000ffff_0000ffff_0000ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff00ff_00ff00ff_00ff00ff_00ff00ff;
    nibbles = (nibbles | nibbles << 4) & each(0x0f);
    let letters = ((nibbles + each(6)) >> 4) & each(1);
    let gap = u128::from(b'a' - b':');
    (nibbles + each(b'0') + letters * gap).to_be_bytes()
}

/// `SplitMix64` (Steele, Lea, Flood 2014), one stream per thread, seeded from the system's entropy.
fn random_nonzero() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).max(1)
    })
}

/// Of version 00.
const HEADER_BYTES: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn is_continued(received: &str) -> bool {
        let trace = Trace::continue_or_begin(Some(received));
        assert!(
            parse(trace.header()).is_some(),
            "what goes on is always valid"
        );
        received
            .get(3..35)
            .is_some_and(|id| id == trace_id(trace.header()))
    }

    #[test]
    fn keeps_trace_id_and_flags_and_changes_the_span() {
        let trace = Trace::continue_or_begin(Some(VALID));
        assert_eq!(trace.header()[..36], VALID[..36]);
        assert_ne!(trace.header()[36..52], VALID[36..52]);
        assert_eq!(trace.header()[52..], VALID[52..]);
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for value in [0, 1, 9, 10, 15, 16, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(value), *format!("{value:016x}").as_bytes());
        }
    }

    #[test]
    fn begins_a_trace_of_its_own_each_time() {
        let (one, other) = (
            Trace::continue_or_begin(None),
            Trace::continue_or_begin(None),
        );
        assert_eq!(one.header().len(), 55);
        assert_ne!(trace_id(one.header()), trace_id(other.header()));
    }

    #[test]
    fn reads_a_later_version_by_its_first_55_octets() {
        let later = VALID.replacen("00", "cc", 1);
        assert!(is_continued(&later));
        assert!(is_continued(&format!(
            "{later}-what-the-future-will-be-like"
        )));
        assert!(!is_continued(&format!("{later}.what")));
    }

    #[test]
    fn begins_anew_when_what_came_is_not_valid() {
        assert!(is_continued(VALID));
        for broken in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-"),
            &VALID.replacen("00", "ff", 1),
            &VALID.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331-0-1",
        ] {
            assert!(!is_continued(broken), "{broken}");
        }
    }
}
