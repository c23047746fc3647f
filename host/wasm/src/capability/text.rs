//! Headers as guests read them.

use postern_core::Headers;

/// All headers in order. Names that are not UTF-8 are shown with replacement characters.
pub(super) fn all(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let all = headers.iter();
    all.map(|(name, value)| (text(name), value.into_owned()))
        .collect()
}
