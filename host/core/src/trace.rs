//! W3C trace context (Trace Context level 2, section 3.2): what the header `traceparent` says. Kept as
//! numbers; a call pays for the text where it is written.

use std::{
    fmt,
    num::{NonZero, NonZeroU64, NonZeroU128},
};

/// A place in a trace.
///
/// ```
/// # use postern_core::TraceContext;
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// //             trace id                         span             flags
/// assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: NonZeroU128,
    pub span_id: NonZeroU64,
    /// Bit 0: the caller records this trace. Bit 1: the trace id is random.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent`; `None` when it is not valid, and then it counts as absent. A version
    /// after 00 is read by its first 55 octets (section 3.2.4).
    #[must_use]
    pub fn parse(received: &str) -> Option<Self> {
        let (head, tail) = received.split_at_checked(HEADER_BYTES)?;
        let mut parts = head.split('-');
        let version: u8 = digits(parts.next()?, 2)?.try_into().ok()?;
        let trace_id = digits(parts.next()?, 32)?;
        let span_id = digits(parts.next()?, 16)?;
        let flags = digits(parts.next()?, 2)?;
        let fits = match version {
            0 => tail.is_empty(),
            0xff => false,
            _ => tail.is_empty() || tail.starts_with('-'),
        };
        if !fits || parts.next().is_some() {
            return None;
        }
        Some(Self {
            trace_id: NonZero::new(trace_id)?,
            span_id: NonZero::new(span_id.try_into().ok()?)?,
            flags: flags.try_into().ok()?,
        })
    }
}

impl fmt::Display for TraceContext {
    /// The header's value, of version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// The number that so many lower-case hex digits say.
fn digits(text: &str, length: usize) -> Option<u128> {
    let is_digit = |octet: u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == length && text.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Of version 00.
const HEADER_BYTES: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn text(received: &str) -> Option<String> {
        TraceContext::parse(received).map(|trace| trace.to_string())
    }

    #[test]
    fn is_written_as_it_was_read() {
        assert_eq!(text(VALID).as_deref(), Some(VALID));
        let small = "00-00000000000000000000000000000001-0000000000000002-00";
        assert_eq!(text(small).as_deref(), Some(small));
    }

    #[test]
    fn a_later_version_is_read_by_its_first_55_octets() {
        let later = VALID.replacen("00", "cc", 1);
        assert_eq!(text(&later).as_deref(), Some(VALID));
        let longer = format!("{later}-what-the-future-will-be-like");
        assert_eq!(text(&longer).as_deref(), Some(VALID));
        assert_eq!(text(&format!("{later}.what")), None);
    }

    #[test]
    fn what_is_not_valid_is_none() {
        for broken in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-"),
            &VALID.replacen("00", "ff", 1),
            &VALID.replacen("00", "0g", 1),
            &VALID.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331-0-1",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(text(broken), None, "{broken}");
        }
    }

    #[test]
    fn takes_no_more_room_when_it_may_be_absent() {
        assert_eq!(size_of::<Option<TraceContext>>(), 32);
    }
}
