//! Requests out of a stream of octets, cut anywhere.
//!
//! | form | octets |
//! | --- | --- |
//! | array of bulk strings | `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n` |
//! | inline, as people type it | `ECHO hi\r\n` |
//!
//! Bounded by [`RespLimits`]: a declared length is looked at before anything is kept for it, and what
//! has not arrived whole is at most `request_bytes_max`. As Redis does, an array of no strings and an
//! empty line are passed over, and the octets behind a bulk string are not looked at.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

use super::inline::split_line;

/// What one request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RespLimits {
    /// Longest string. Redis: 512 MiB.
    pub bulk_bytes_max: usize,
    /// Strings of one request, its name included. Redis: 1,048,576.
    pub arguments_max: usize,
    /// All of one request.
    pub request_bytes_max: usize,
}

/// One request: its name and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RespRequest {
    octets: Bytes,
    arguments: SmallVec<[Range<usize>; ARGUMENTS_INLINE]>,
}

/// Reads requests off the front of a buffer.
#[derive(Debug)]
pub struct RespDecoder {
    limits: RespLimits,
    /// Who has not said who it is may send short requests only.
    is_trusted: bool,
    /// Of the request that is being read: what of the buffer was looked at.
    position: usize,
    /// Where no end of a line was found yet.
    searched: usize,
    /// Strings that are to come; `None` between requests.
    missing: Option<usize>,
    /// Length of the string that is being read.
    bulk: Option<usize>,
    arguments: SmallVec<[Range<usize>; ARGUMENTS_INLINE]>,
}

/// Why octets are no request. The connection cannot go on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RespFault {
    #[error("Protocol error: invalid multibulk length")]
    Count,
    #[error("Protocol error: unauthenticated multibulk length")]
    CountOfStranger,
    #[error("Protocol error: too big mbulk count string")]
    CountLine,
    #[error("Protocol error: expected '$', got '{}'", char::from(*.found))]
    NoBulk { found: u8 },
    #[error("Protocol error: invalid bulk length")]
    Length,
    #[error("Protocol error: unauthenticated bulk length")]
    LengthOfStranger,
    #[error("Protocol error: too big bulk count string")]
    LengthLine,
    #[error("Protocol error: too big inline request")]
    Inline,
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    #[error("Protocol error: the request exceeds the limit of {limit} octets")]
    Request { limit: usize },
}

impl RespDecoder {
    #[must_use]
    pub fn new(limits: RespLimits) -> Self {
        Self {
            limits,
            is_trusted: true,
            position: 0,
            searched: 0,
            missing: None,
            bulk: None,
            arguments: SmallVec::new(),
        }
    }

    /// What holds for requests from here on.
    pub fn apply(&mut self, limits: RespLimits) {
        self.limits = limits;
    }

    /// Whether whoever sends has said who it is, or need not. Others send at most
    /// `STRANGER_ARGUMENTS_MAX` strings of `STRANGER_BULK_BYTES_MAX` octets.
    pub fn set_trusted(&mut self, is_trusted: bool) {
        self.is_trusted = is_trusted;
    }

    /// Whether a part of a request has been read.
    #[must_use]
    pub const fn is_within_request(&self) -> bool {
        self.missing.is_some()
    }

    /// The next request of `buffer`; `None` until it has come whole.
    ///
    /// # Errors
    /// Why what comes next is none.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<RespRequest>, RespFault> {
        loop {
            let Some(first) = buffer.first() else {
                return Ok(None);
            };
            if self.missing.is_none() && *first != b'*' {
                match self.inline(buffer)? {
                    Some(request) if request.is_empty() => continue,
                    request => return Ok(request),
                }
            }
            match self.array(buffer)? {
                Some(request) if request.is_empty() => continue,
                request => return Ok(request),
            }
        }
    }

    fn array(&mut self, buffer: &mut BytesMut) -> Result<Option<RespRequest>, RespFault> {
        if self.missing.is_none() {
            let Some(count) = self.line(buffer, RespFault::CountLine)? else {
                return Ok(None);
            };
            let count = number(buffer.get(count).unwrap_or_default()).ok_or(RespFault::Count)?;
            self.missing = Some(self.check_count(count)?);
        }
        while let Some(missing @ 1..) = self.missing {
            if !self.string(buffer)? {
                return Ok(None);
            }
            self.missing = Some(missing - 1);
        }
        let octets = buffer.split_to(self.position).freeze();
        let arguments = std::mem::take(&mut self.arguments);
        (self.position, self.searched, self.missing) = (0, 0, None);
        Ok(Some(RespRequest { octets, arguments }))
    }

    /// Reads a bulk string; whether it is there whole.
    fn string(&mut self, buffer: &BytesMut) -> Result<bool, RespFault> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let sign = buffer.get(self.position).copied();
                let Some(line) = self.line(buffer, RespFault::LengthLine)? else {
                    return Ok(false);
                };
                if let Some(found) = sign.filter(|sign| *sign != b'$') {
                    return Err(RespFault::NoBulk { found });
                }
                let length = number(buffer.get(line).unwrap_or_default());
                self.check_length(length.ok_or(RespFault::Length)?)?
            }
        };
        self.bulk = Some(length);
        let end = self.position + length;
        if buffer.len() < end + LINE_END {
            return Ok(false);
        }
        self.arguments.push(self.position..end);
        (self.position, self.searched, self.bulk) = (end + LINE_END, end + LINE_END, None);
        Ok(true)
    }

    /// Takes a line that begins with its sign, and gives what stands behind that.
    fn line(
        &mut self,
        buffer: &BytesMut,
        fault: RespFault,
    ) -> Result<Option<Range<usize>>, RespFault> {
        let start = self.position;
        let rest = buffer.get(self.searched.max(start)..).unwrap_or_default();
        let Some(found) = rest.iter().position(|octet| *octet == b'\r') else {
            self.searched = buffer.len();
            return match buffer.len() - start > LINE_BYTES_MAX {
                true => Err(fault),
                false => Ok(None),
            };
        };
        let end = self.searched.max(start) + found;
        if end - start > LINE_BYTES_MAX {
            return Err(fault);
        }
        if buffer.len() < end + LINE_END {
            self.searched = end;
            return Ok(None);
        }
        (self.position, self.searched) = (end + LINE_END, end + LINE_END);
        Ok(Some(start + 1..end))
    }

    fn check_count(&self, count: i64) -> Result<usize, RespFault> {
        // None, or a number below zero, is no request at all.
        let count = usize::try_from(count.max(0)).map_err(|_| RespFault::Count)?;
        if count > self.limits.arguments_max {
            return Err(RespFault::Count);
        }
        if !self.is_trusted && count > STRANGER_ARGUMENTS_MAX {
            return Err(RespFault::CountOfStranger);
        }
        Ok(count)
    }

    fn check_length(&self, length: i64) -> Result<usize, RespFault> {
        let length = usize::try_from(length).map_err(|_| RespFault::Length)?;
        if length > self.limits.bulk_bytes_max {
            return Err(RespFault::Length);
        }
        if !self.is_trusted && length > STRANGER_BULK_BYTES_MAX {
            return Err(RespFault::LengthOfStranger);
        }
        let limit = self.limits.request_bytes_max;
        match self.position.saturating_add(length) > limit {
            true => Err(RespFault::Request { limit }),
            false => Ok(length),
        }
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<RespRequest>, RespFault> {
        let rest = buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = rest.iter().position(|octet| *octet == b'\n') else {
            self.searched = buffer.len();
            return match buffer.len() > LINE_BYTES_MAX {
                true => Err(RespFault::Inline),
                false => Ok(None),
            };
        };
        let end = std::mem::take(&mut self.searched) + found;
        if end > LINE_BYTES_MAX {
            return Err(RespFault::Inline);
        }
        let line = buffer.split_to(end);
        buffer.advance(1);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let words = split_line(line).ok_or(RespFault::Quotes)?;
        if words.len() > self.limits.arguments_max {
            return Err(RespFault::Count);
        }
        if words
            .iter()
            .any(|word| word.len() > self.limits.bulk_bytes_max)
        {
            return Err(RespFault::Length);
        }
        Ok(Some(RespRequest::of(words)))
    }
}

impl RespRequest {
    /// A request of these strings.
    #[must_use]
    pub fn of<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        let (mut octets, mut arguments) = (Vec::new(), SmallVec::new());
        for string in strings {
            let start = octets.len();
            octets.extend_from_slice(string.as_ref());
            arguments.push(start..octets.len());
        }
        Self {
            octets: octets.into(),
            arguments,
        }
    }

    /// Strings, the name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    /// The string at `idx`; that at 0 is the name. Empty behind the last.
    #[must_use]
    pub fn octets(&self, idx: usize) -> &[u8] {
        self.try_octets(idx).unwrap_or_default()
    }

    /// Whether it is a line of a request of HTTP, which a page of somebody else may have a browser send to
    /// any port: what stands in its body would be requests. Redis ends such connections, too.
    #[must_use]
    pub fn is_of_http(&self) -> bool {
        let name = self.octets(0);
        name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
    }

    #[must_use]
    pub fn try_octets(&self, idx: usize) -> Option<&[u8]> {
        let range = self.arguments.get(idx)?;
        self.octets.get(range.clone())
    }

    /// As `octets`, sharing the buffer.
    #[must_use]
    pub fn bytes(&self, idx: usize) -> Bytes {
        let range = self.arguments.get(idx);
        range.map_or_else(Bytes::new, |range| self.octets.slice(range.clone()))
    }

    /// The strings from `idx` on.
    pub fn rest(&self, idx: usize) -> impl Iterator<Item = &[u8]> {
        (idx..self.len()).map(|idx| self.octets(idx))
    }

    /// Octets that it keeps.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.octets.len()
    }

    /// Appends it as an array of bulk strings.
    pub fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(NumberLine::count(b'*', self.len()).as_bytes());
        for string in self.rest(0) {
            out.extend_from_slice(NumberLine::count(b'$', string.len()).as_bytes());
            out.extend_from_slice(string);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A line of a sign and a number, as `$12` is one, without an allocation.
#[derive(Debug)]
pub(super) struct NumberLine {
    octets: [u8; Self::BYTES],
    first: usize,
}

impl NumberLine {
    /// Sign, minus, 20 digits, end of the line.
    const BYTES: usize = 24;

    pub(super) fn new(sign: u8, number: i64) -> Self {
        Self::of(sign, number.unsigned_abs(), number < 0)
    }

    pub(super) fn count(sign: u8, count: usize) -> Self {
        Self::of(sign, count as u64, false)
    }

    fn of(sign: u8, mut number: u64, is_negative: bool) -> Self {
        let mut octets = [0; Self::BYTES];
        let mut first = octets.len();
        let mut places = octets.iter_mut().rev();
        let mut put = |octet| {
            if let Some(place) = places.next() {
                *place = octet;
                first -= 1;
            }
        };
        put(b'\n');
        put(b'\r');
        loop {
            // Below ten.
            put(b'0' + u8::try_from(number % 10).unwrap_or_default());
            number /= 10;
            if number == 0 {
                break;
            }
        }
        if is_negative {
            put(b'-');
        }
        put(sign);
        Self { octets, first }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.octets.get(self.first..).unwrap_or_default()
    }
}

/// A decimal number as Redis reads one: no sign but `-`, no zero in front, nothing around it.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !is_plain {
        return None;
    }
    let is_negative = digits.len() < text.len();
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let number = number.checked_mul(10)?;
        match is_negative {
            true => number.checked_sub(digit),
            false => number.checked_add(digit),
        }
    })
}

/// Strings of a request that need no allocation of their own.
const ARGUMENTS_INLINE: usize = 6;
/// Octets of `\r\n`.
const LINE_END: usize = 2;
/// Redis: `PROTO_INLINE_MAX_SIZE`.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Redis: bounds of clients that have not authenticated.
pub(super) const STRANGER_ARGUMENTS_MAX: usize = 10;
pub(super) const STRANGER_BULK_BYTES_MAX: usize = 16 * 1024;
