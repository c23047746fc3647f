//! Headers by name in any case: VSTP keys are octets as their sender wrote them, HTTP's are lower
//! case, and a rule must not be escaped by writing a name in another case.

use std::borrow::Cow;

use postern_core::Headers;

/// The first value of a header.
pub(super) fn first<'h>(headers: &'h Headers, name: &str) -> Option<Cow<'h, [u8]>> {
    let mut headers = headers.iter();
    let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| value)
}
