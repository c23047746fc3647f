//! Message headers, held as the octets of a VSTP header section (wire/mod.rs, "header section").
//!
//! A received section is checked once and then shared with the frame's buffer; a lookup scans it.
//! Calls carry few headers and read fewer, so a scan is cheaper than a table.
//!
//! ```text
//! entry:  key_len:u8  value_len:u8  key  value
//! ```
//! An entry with an empty key continues the value of the entry before it, so values may exceed
//! 255 octets. An empty key in first place is an ordinary (empty) key.

use std::{borrow::Cow, fmt, str};

use bytes::{Bytes, BytesMut};

/// Longest key, and longest part of a value that fits in one entry, in octets: lengths are `u8`.
pub const ENTRY_BYTES_MAX: usize = 255;
/// Longest header section, in octets: `hdr_len` is a `u16`.
pub const SECTION_BYTES_MAX: usize = 65_535;

/// Ordered headers; duplicates are kept and lookups take the first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    section: Bytes,
}

/// Why octets are not a header section, or a header cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("header entry at octet {at} needs {needed} octets, {left} are left in the section")]
    Overrun {
        at: usize,
        needed: usize,
        left: usize,
    },
    #[error("header key of {length} octets exceeds the limit of {ENTRY_BYTES_MAX}")]
    KeyTooLong { length: usize },
    #[error("headers of {length} octets exceed the limit of {SECTION_BYTES_MAX}")]
    SectionTooLong { length: usize },
}

impl Headers {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            section: Bytes::new(),
        }
    }

    /// Takes the octets of a header section.
    ///
    /// # Errors
    /// `Overrun` where an entry's lengths pass the end, `SectionTooLong` over 65,535 octets.
    pub fn from_section(section: Bytes) -> Result<Self, HeaderError> {
        if section.len() > SECTION_BYTES_MAX {
            return Err(HeaderError::SectionTooLong {
                length: section.len(),
            });
        }
        let mut at = 0;
        let mut rest = &section[..];
        while !rest.is_empty() {
            let Some((_, _, tail)) = split_entry(rest) else {
                let needed = match rest {
                    [key_len, value_len, ..] => 2 + usize::from(*key_len) + usize::from(*value_len),
                    _ => 2,
                };
                return Err(HeaderError::Overrun {
                    at,
                    needed,
                    left: rest.len(),
                });
            };
            at += rest.len() - tail.len();
            rest = tail;
        }
        Ok(Self { section })
    }

    /// The encoded section.
    #[must_use]
    pub fn section(&self) -> &Bytes {
        &self.section
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.section.is_empty()
    }

    /// The first value of `key`, whole; borrowed unless it is continued over several entries.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// Like `get`, for text. A value that is not UTF-8 counts as absent.
    #[must_use]
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        match self.get(key.as_bytes())? {
            Cow::Borrowed(value) => str::from_utf8(value).ok().map(Cow::Borrowed),
            Cow::Owned(value) => String::from_utf8(value).ok().map(Cow::Owned),
        }
    }

    /// Like `get`, sharing the section's buffer where the value stands in one entry.
    #[must_use]
    pub fn get_bytes(&self, key: &[u8]) -> Option<Bytes> {
        match self.get(key)? {
            Cow::Borrowed(value) => Some(self.section.slice_ref(value)),
            Cow::Owned(value) => Some(value.into()),
        }
    }

    /// All headers in order, continued values joined.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
        let mut entries = self.entries().peekable();
        std::iter::from_fn(move || {
            let (key, value) = entries.next()?;
            let mut value = Cow::Borrowed(value);
            if !key.is_empty() {
                while let Some((_, more)) = entries.next_if(|(key, _)| key.is_empty()) {
                    value.to_mut().extend_from_slice(more);
                }
            }
            Some((key, value))
        })
    }

    /// The raw entries as they stand on the wire.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.section[..];
        std::iter::from_fn(move || {
            let (key, value, tail) = split_entry(rest)?;
            rest = tail;
            Some((key, value))
        })
    }

    /// Appends a header; a value over 255 octets is continued over several entries.
    ///
    /// # Errors
    /// `KeyTooLong` over 255 octets, `SectionTooLong` when the section would pass 65,535.
    pub fn push(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), HeaderError> {
        let mut builder = HeadersBuilder::from(std::mem::take(self));
        let result = builder.push(key, value);
        *self = builder.build();
        result
    }

    /// Headers without those whose key `drop` accepts, continuations included.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&[u8]) -> bool) -> Self {
        if !self.entries().any(|(key, _)| drop(key)) {
            return self.clone();
        }
        let mut builder = HeadersBuilder::default();
        let mut dropping = false;
        for (key, value) in self.entries() {
            if !key.is_empty() {
                dropping = drop(key);
            }
            if !dropping {
                builder.push_entry(key, value);
            }
        }
        builder.build()
    }
}

/// Builds a header section in one buffer; cheaper than repeated `Headers::push`.
#[derive(Debug, Default)]
pub struct HeadersBuilder {
    section: BytesMut,
}

impl HeadersBuilder {
    #[must_use]
    pub fn with_capacity(octets: usize) -> Self {
        Self {
            section: BytesMut::with_capacity(octets),
        }
    }

    /// Appends a header; a value over 255 octets is continued over several entries.
    ///
    /// # Errors
    /// As `Headers::push`; the headers before it stay.
    pub fn push(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), HeaderError> {
        let (key, value) = (key.as_ref(), value.as_ref());
        if key.len() > ENTRY_BYTES_MAX {
            return Err(HeaderError::KeyTooLong { length: key.len() });
        }
        let n_entries = value.len().div_ceil(ENTRY_BYTES_MAX).max(1);
        let length = self.section.len() + key.len() + value.len() + 2 * n_entries;
        if length > SECTION_BYTES_MAX {
            return Err(HeaderError::SectionTooLong { length });
        }
        let (first, mut rest) = value.split_at(value.len().min(ENTRY_BYTES_MAX));
        self.push_entry(key, first);
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(rest.len().min(ENTRY_BYTES_MAX));
            self.push_entry(b"", part);
            rest = tail;
        }
        Ok(())
    }

    #[must_use]
    pub fn build(self) -> Headers {
        Headers {
            section: self.section.freeze(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "callers keep both lengths within 255"
    )]
    fn push_entry(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(key.len() <= ENTRY_BYTES_MAX && value.len() <= ENTRY_BYTES_MAX);
        self.section.reserve(2 + key.len() + value.len());
        self.section
            .extend_from_slice(&[key.len() as u8, value.len() as u8]);
        self.section.extend_from_slice(key);
        self.section.extend_from_slice(value);
    }
}

impl From<Headers> for HeadersBuilder {
    fn from(headers: Headers) -> Self {
        let section = headers
            .section
            .try_into_mut()
            .unwrap_or_else(|shared| shared[..].into());
        Self { section }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |octets: &[u8]| octets.escape_ascii().to_string();
        f.debug_map()
            .entries(self.iter().map(|(key, value)| (text(key), text(&value))))
            .finish()
    }
}

/// Splits the first entry off `rest`: its key, its value, what follows. `None` at an overrun.
fn split_entry(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [key_len, value_len, tail @ ..] = rest else {
        return None;
    };
    let (key, tail) = tail.split_at_checked(usize::from(*key_len))?;
    let (value, tail) = tail.split_at_checked(usize::from(*value_len))?;
    Some((key, value, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (key, value) in pairs {
            headers.push(key, value).expect("short test headers fit");
        }
        headers
    }

    #[test]
    fn lookup_takes_the_first_of_duplicates() {
        assert_eq!(
            headers(&[("k", "1"), ("k", "2")]).get_str("k").as_deref(),
            Some("1")
        );
    }

    #[test]
    fn a_value_of_256_octets_is_continued_and_joined() {
        let long = "v".repeat(256);
        let headers = headers(&[("a", &long), ("b", "2")]);
        assert_eq!(headers.entries().count(), 3);
        assert_eq!(headers.get_str("a").as_deref(), Some(&*long));
        assert_eq!(headers.get_str("b").as_deref(), Some("2"));
    }

    #[test]
    fn an_empty_first_key_is_a_header_of_its_own() {
        let headers = Headers::from_section(Bytes::from_static(&[0, 0, 0, 0])).expect("legal");
        assert_eq!(headers.iter().count(), 2);
    }

    #[test]
    fn refuses_an_entry_that_overruns_the_section() {
        let section = Bytes::from_static(&[1, 1, b'k', b'v', 1, 9, b'k']);
        let error = HeaderError::Overrun {
            at: 4,
            needed: 12,
            left: 3,
        };
        assert_eq!(Headers::from_section(section), Err(error));
    }

    #[test]
    fn refuses_a_section_over_65535_and_keeps_what_was_there() {
        let mut headers = Headers::new();
        let value = vec![0; 65_021];
        headers.push("k", &value).expect("exactly at the limit");
        assert_eq!(headers.section().len(), 65_532);
        let length = 65_536;
        assert_eq!(
            headers.push("", "xx"),
            Err(HeaderError::SectionTooLong { length })
        );
        assert_eq!(headers.section().len(), 65_532);
    }

    #[test]
    fn without_drops_continuations_too() {
        let long = "v".repeat(600);
        let headers = headers(&[("a", &long), ("b", "2")]).without(|key| key == b"a");
        assert_eq!(headers, self::headers(&[("b", "2")]));
    }
}
