//! Message headers: ordered, duplicates kept. Two layouts, one type.
//!
//! | layout | made by | keys | a lookup |
//! | --- | --- | --- | --- |
//! | section | VSTP | those of the VSP itself may be among them | exact |
//! | fields | HTTP, handlers | every one is the application's | without regard to case |
//!
//! A section is the octets of a VSTP header section (wire/mod.rs, "header section"), checked once and
//! then shared with the frame's buffer. Fields have wider lengths, so that the bounds of a section
//! are met at the edge of the VSTP only. A lookup scans: calls carry few headers and read fewer.
//!
//! ```text
//! section:  key_len:u8   value_len:u8   key  value
//! fields:   key_len:u32  value_len:u32  key  value
//! ```
//! An entry of a section with an empty key continues the value of the entry before it, so values may
//! exceed 255 octets. An empty key in first place is an ordinary (empty) key.

use std::{borrow::Cow, fmt, str};

use bytes::{Bytes, BytesMut};

/// Longest key of a section, and longest part of a value that fits in one entry, in octets: lengths
/// are `u8`.
pub const ENTRY_BYTES_MAX: usize = 255;
/// Longest header section, in octets: `hdr_len` is a `u16`.
pub const SECTION_BYTES_MAX: usize = 65_535;

/// Ordered headers; duplicates are kept and lookups take the first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    octets: Bytes,
    layout: Layout,
}

/// How octets hold headers, and with it whose names they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Layout {
    #[default]
    Section,
    Fields,
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
    #[error("header field of {length} octets exceeds the limit of {}", u32::MAX)]
    FieldTooLong { length: usize },
}

impl Headers {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            octets: Bytes::new(),
            layout: Layout::Section,
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
        Ok(Self {
            octets: section,
            layout: Layout::Section,
        })
    }

    /// The octets that hold the headers: those of a header section unless `are_fields`.
    #[must_use]
    pub fn section(&self) -> &Bytes {
        &self.octets
    }

    /// Whether every name is the application's, in whatever case: headers that came by HTTP or that a
    /// handler set. They become a section where they leave by VSTP (vsp/pseudo.rs).
    #[must_use]
    pub const fn are_fields(&self) -> bool {
        matches!(self.layout, Layout::Fields)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The first value of `key`, whole; borrowed unless it is continued over several entries.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.values(key).next()
    }

    /// Every value of `key` in order.
    pub fn values(&self, key: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.iter()
            .filter(move |(name, _)| self.layout.is_same(name, key))
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

    /// Like `get`, sharing the headers' buffer where the value stands in one entry.
    #[must_use]
    pub fn get_bytes(&self, key: &[u8]) -> Option<Bytes> {
        match self.get(key)? {
            Cow::Borrowed(value) => Some(self.octets.slice_ref(value)),
            Cow::Owned(value) => Some(value.into()),
        }
    }

    /// All headers in order, continued values joined.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
        let mut entries = self.entries().peekable();
        let is_section = self.layout == Layout::Section;
        std::iter::from_fn(move || {
            let (key, value) = entries.next()?;
            let mut value = Cow::Borrowed(value);
            if is_section && !key.is_empty() {
                while let Some((_, more)) = entries.next_if(|(key, _)| key.is_empty()) {
                    value.to_mut().extend_from_slice(more);
                }
            }
            Some((key, value))
        })
    }

    /// The raw entries: those of a section as they stand on the wire.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.octets[..];
        std::iter::from_fn(move || {
            let (key, value, tail) = match self.layout {
                Layout::Section => split_entry(rest)?,
                Layout::Fields => split_field(rest)?,
            };
            rest = tail;
            Some((key, value))
        })
    }

    /// Appends a header; a value over 255 octets is continued over several entries of a section.
    ///
    /// # Errors
    /// Of a section, `KeyTooLong` over 255 octets and `SectionTooLong` when it would pass 65,535.
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
        let mut builder = HeadersBuilder::like(self, 0);
        let mut dropping = false;
        for (key, value) in self.entries() {
            if !key.is_empty() || self.are_fields() {
                dropping = drop(key);
            }
            if !dropping {
                builder.push_entry(key, value);
            }
        }
        builder.build()
    }

    /// Headers without those of `key`, as a lookup compares them.
    #[must_use]
    pub fn without_key(&self, key: &[u8]) -> Self {
        self.without(|name| self.layout.is_same(name, key))
    }

    /// The same headers in a buffer of their own, which keeps nothing else in memory.
    #[must_use]
    pub fn to_owned_buffer(&self) -> Self {
        Self {
            octets: Bytes::copy_from_slice(&self.octets),
            layout: self.layout,
        }
    }
}

/// Builds headers in one buffer; cheaper than repeated `Headers::push`.
#[derive(Debug, Default)]
pub struct HeadersBuilder {
    octets: BytesMut,
    layout: Layout,
}

impl HeadersBuilder {
    /// Of a header section.
    #[must_use]
    pub fn with_capacity(octets: usize) -> Self {
        Self {
            octets: BytesMut::with_capacity(octets),
            layout: Layout::Section,
        }
    }

    /// Of fields: every name is the application's. `octets` are those of `n_fields` names and values.
    #[must_use]
    pub fn fields(n_fields: usize, octets: usize) -> Self {
        Self {
            octets: BytesMut::with_capacity(n_fields * FIELD_BYTES + octets),
            layout: Layout::Fields,
        }
    }

    /// Of headers of the layout of `headers`, with room for `more_octets` beyond theirs.
    #[must_use]
    pub fn like(headers: &Headers, more_octets: usize) -> Self {
        Self {
            octets: BytesMut::with_capacity(headers.octets.len() + more_octets),
            layout: headers.layout,
        }
    }

    /// Octets that hold what was pushed.
    #[must_use]
    pub fn n_octets(&self) -> usize {
        self.octets.len()
    }

    /// Appends a header; a value over 255 octets is continued over several entries of a section.
    ///
    /// # Errors
    /// As `Headers::push`; the headers before it stay.
    pub fn push(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), HeaderError> {
        let (key, value) = (key.as_ref(), value.as_ref());
        if self.layout == Layout::Fields {
            let length = key.len().max(value.len());
            if u32::try_from(length).is_err() {
                return Err(HeaderError::FieldTooLong { length });
            }
            self.push_entry(key, value);
            return Ok(());
        }
        if key.len() > ENTRY_BYTES_MAX {
            return Err(HeaderError::KeyTooLong { length: key.len() });
        }
        let n_entries = value.len().div_ceil(ENTRY_BYTES_MAX).max(1);
        let length = self.octets.len() + key.len() + value.len() + 2 * n_entries;
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
            octets: self.octets.freeze(),
            layout: self.layout,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "callers keep both lengths within those of the layout"
    )]
    fn push_entry(&mut self, key: &[u8], value: &[u8]) {
        match self.layout {
            Layout::Section => {
                debug_assert!(key.len() <= ENTRY_BYTES_MAX && value.len() <= ENTRY_BYTES_MAX);
                self.octets.reserve(2 + key.len() + value.len());
                self.octets
                    .extend_from_slice(&[key.len() as u8, value.len() as u8]);
            }
            Layout::Fields => {
                self.octets.reserve(FIELD_BYTES + key.len() + value.len());
                self.octets
                    .extend_from_slice(&(key.len() as u32).to_ne_bytes());
                self.octets
                    .extend_from_slice(&(value.len() as u32).to_ne_bytes());
            }
        }
        self.octets.extend_from_slice(key);
        self.octets.extend_from_slice(value);
    }
}

impl Layout {
    fn is_same(self, name: &[u8], key: &[u8]) -> bool {
        match self {
            Self::Section => name == key,
            Self::Fields => name.eq_ignore_ascii_case(key),
        }
    }
}

impl From<Headers> for HeadersBuilder {
    fn from(headers: Headers) -> Self {
        let octets = headers
            .octets
            .try_into_mut()
            .unwrap_or_else(|shared| shared[..].into());
        Self {
            octets,
            layout: headers.layout,
        }
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

/// As `split_entry`, of fields. The builder alone writes them, so there is no overrun.
fn split_field(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, tail) = rest.split_first_chunk()?;
    let (value_len, tail) = tail.split_first_chunk()?;
    let length = |octets: &[u8; 4]| usize::try_from(u32::from_ne_bytes(*octets)).ok();
    let (key, tail) = tail.split_at_checked(length(key_len)?)?;
    let (value, tail) = tail.split_at_checked(length(value_len)?)?;
    Some((key, value, tail))
}

/// Octets of the lengths before a field.
const FIELD_BYTES: usize = 8;

#[cfg(test)]
mod tests;
