//! Ids of stream entries. An event at position 17 of its log is the entry `17-0`.

use std::fmt;

use super::{arguments::RespError, request::number};
use crate::event::durable::Position;

/// `position-sequence`, in the order of both numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub position: u64,
    pub sequence: u64,
}

/// An end of a range, both of which belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeEnd {
    At(Position),
    /// Nothing lies before it, or behind it.
    Nowhere,
}

impl StreamId {
    #[must_use]
    pub const fn of(position: Position) -> Self {
        Self {
            position: position.0,
            sequence: 0,
        }
    }

    /// `17-0`, or `17` with `sequence` for the rest.
    ///
    /// # Errors
    /// `INVALID_ID`.
    pub fn read(text: &[u8], sequence: u64) -> Result<Self, RespError> {
        let part = |part: &[u8]| {
            let digits = std::str::from_utf8(part).ok()?;
            let is_plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
            is_plain.then(|| digits.parse().ok())?
        };
        let bar = text.iter().position(|octet| *octet == b'-');
        let id = match bar.and_then(|bar| text.split_at_checked(bar)) {
            None => part(text).map(|position| Self { position, sequence }),
            Some((first, second)) => {
                let second = part(second.get(1..).unwrap_or_default());
                let both = part(first).zip(second);
                both.map(|(position, sequence)| Self { position, sequence })
            }
        };
        id.ok_or(RespError::INVALID_ID)
    }

    /// The first position behind it.
    #[must_use]
    pub const fn next(self) -> Position {
        Position(self.position.saturating_add(1))
    }

    /// The position of the event that it is the id of, if there can be one.
    #[must_use]
    pub fn event(self) -> Option<Position> {
        (self.sequence == 0 && self.position > 0).then_some(Position(self.position))
    }
}

/// Where a range begins: `-`, `17-0`, `(17-0` for what lies behind.
///
/// # Errors
/// `INVALID_ID`.
pub fn range_from(text: &[u8]) -> Result<RangeEnd, RespError> {
    match text {
        b"-" => Ok(RangeEnd::At(Position(0))),
        b"+" => Ok(RangeEnd::Nowhere),
        [b'(', id @ ..] => Ok(RangeEnd::At(StreamId::read(id, 0)?.next())),
        id => {
            let id = StreamId::read(id, 0)?;
            Ok(RangeEnd::At(match id.sequence {
                0 => Position(id.position),
                _ => id.next(),
            }))
        }
    }
}

/// Where a range ends: `+`, `17-0`, `(17-0` for what lies before.
///
/// # Errors
/// `INVALID_ID`.
pub fn range_until(text: &[u8]) -> Result<RangeEnd, RespError> {
    match text {
        b"+" => Ok(RangeEnd::At(Position(u64::MAX))),
        b"-" => Ok(RangeEnd::Nowhere),
        [b'(', id @ ..] => {
            let id = StreamId::read(id, 0)?;
            Ok(match (id.sequence, id.position.checked_sub(1)) {
                (1.., _) => RangeEnd::At(Position(id.position)),
                (0, Some(before)) => RangeEnd::At(Position(before)),
                (0, None) => RangeEnd::Nowhere,
            })
        }
        id => Ok(RangeEnd::At(Position(
            StreamId::read(id, u64::MAX)?.position,
        ))),
    }
}

/// A whole number that is no time: `COUNT`, `MAXLEN`.
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    number(text).and_then(|number| u64::try_from(number).ok())
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_two_numbers_of_which_the_second_may_be_left_out() {
        let read = |text: &str| StreamId::read(text.as_bytes(), 9).ok();
        let id = |position, sequence| Some(StreamId { position, sequence });
        assert_eq!(read("17-0"), id(17, 0));
        assert_eq!(read("17"), id(17, 9));
        for wrong in [
            "",
            "-",
            "17-",
            "-1",
            "+1",
            "a",
            "1-a",
            "1-2-3",
            "18446744073709551616",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ranges_hold_the_events_between_their_ends() {
        let from = |text: &str| range_from(text.as_bytes()).expect("an id");
        let until = |text: &str| range_until(text.as_bytes()).expect("an id");
        let at = |position| RangeEnd::At(Position(position));
        assert_eq!(
            [from("-"), from("5"), from("5-0"), from("5-1")].map(Some),
            [Some(at(0)), Some(at(5)), Some(at(5)), Some(at(6))]
        );
        assert_eq!([from("(5"), from("(5-3")], [at(6), at(6)]);
        assert_eq!(
            [until("5"), until("5-0"), until("5-9")],
            [at(5), at(5), at(5)]
        );
        assert_eq!(
            [until("(5"), until("(5-1"), until("(0")],
            [at(4), at(5), RangeEnd::Nowhere]
        );
        assert_eq!(
            (from("+"), until("-")),
            (RangeEnd::Nowhere, RangeEnd::Nowhere)
        );
        assert_eq!(until("+"), at(u64::MAX));
    }
}
