//! UTF-8 text that shares the buffer it was read from.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    str,
};

use bytes::Bytes;

/// Immutable UTF-8 text. Cloning and slicing copy no octets, so a name taken from a frame keeps
/// pointing into the frame's buffer.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// Text with a static lifetime; nothing is allocated.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Takes octets that must be UTF-8.
    ///
    /// # Errors
    /// The place of the first octet that is not UTF-8.
    pub fn from_utf8(octets: Bytes) -> Result<Self, str::Utf8Error> {
        str::from_utf8(&octets)?;
        Ok(Self(octets))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only `from_utf8`, `From<String>` and `From<&str>` build a `Text`.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The octets, without the check that `as_str` makes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Octets, as `str` counts.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `part`, which must be of this text, sharing its buffer.
    ///
    /// # Panics
    /// When `part` is not within this text.
    #[must_use]
    pub fn share(&self, part: &str) -> Self {
        Self(self.0.slice_ref(part.as_bytes()))
    }

    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
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
        Self(text.into_bytes().into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
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
