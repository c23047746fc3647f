//! UTF-8 text that shares the buffer it was read from.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    str,
};

use bytes::Bytes;
use bytestring::ByteString;

/// Immutable UTF-8 text. Cloning and slicing copy no octets, so a name taken from a frame keeps
/// pointing into the frame's buffer.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(ByteString);

impl Text {
    /// Text with a static lifetime; nothing is allocated.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(ByteString::from_static(text))
    }

    /// Takes octets that must be UTF-8.
    ///
    /// # Errors
    /// The place of the first octet that is not UTF-8.
    pub fn from_utf8(octets: Bytes) -> Result<Self, str::Utf8Error> {
        ByteString::try_from(octets).map(Self)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Octets, as `str` counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `part`, which must be of this text, sharing its buffer.
    ///
    /// # Panics
    /// When `part` is not within this text.
    #[must_use]
    pub fn share(&self, part: &str) -> Self {
        Self(self.0.slice_ref(part))
    }

    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

// As `str` hashes, so that a map keyed by `Text` is asked with a `&str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_octets_that_are_not_utf8() {
        assert!(Text::from_utf8(Bytes::from_static(&[0xff])).is_err());
    }

    #[test]
    fn equals_and_hashes_like_its_str() {
        let text = Text::from("users");
        assert_eq!(text, "users");
        let map = std::collections::HashMap::from([(text, 1)]);
        assert_eq!(map.get("users"), Some(&1));
    }
}
