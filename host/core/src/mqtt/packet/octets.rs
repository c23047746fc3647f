//! Data as packets have it (section 1.5), read where it lies and written to the end of a buffer.

use bytes::{BufMut, BytesMut};

use super::PacketFault;

/// Largest variable byte integer, and with it the longest packet behind its fixed header.
pub const VARINT_MAX: u32 = 268_435_455;

/// Takes data off the front of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, n_octets: usize) -> Result<&'a [u8], PacketFault> {
        let split = self.0.split_at_checked(n_octets);
        let (taken, rest) = split.ok_or(PacketFault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn octet(&mut self) -> Result<u8, PacketFault> {
        let (first, rest) = self.0.split_first().ok_or(PacketFault::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u16(&mut self) -> Result<u16, PacketFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(PacketFault::Short)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PacketFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(PacketFault::Short)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    /// A variable byte integer, in as few octets as it needs (section 1.5.5).
    pub(super) fn varint(&mut self) -> Result<u32, PacketFault> {
        let (value, n_octets) = varint(self.0)?.ok_or(PacketFault::Short)?;
        if n_octets != varint_bytes(value) {
            return Err(PacketFault::LongVarint);
        }
        self.take(n_octets)?;
        Ok(value)
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], PacketFault> {
        let n_octets = self.u16()?;
        self.take(n_octets.into())
    }

    /// UTF-8 without U+0000 (section 1.5.4).
    pub(super) fn text(&mut self) -> Result<&'a str, PacketFault> {
        let octets = self.binary()?;
        let text = std::str::from_utf8(octets).map_err(|_| PacketFault::NotUtf8)?;
        match octets.contains(&0) {
            true => Err(PacketFault::Null),
            false => Ok(text),
        }
    }

    /// A packet identifier, which is never zero (section 2.2.1).
    pub(super) fn packet_id(&mut self) -> Result<u16, PacketFault> {
        match self.u16()? {
            0 => Err(PacketFault::NoPacketId),
            id => Ok(id),
        }
    }
}

/// A variable byte integer at the front of `octets` and how many it takes; none while it is not whole.
pub(super) fn varint(octets: &[u8]) -> Result<Option<(u32, usize)>, PacketFault> {
    let mut value = 0;
    for (idx, octet) in octets.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u32::from(octet & 0x7f) << (7 * idx);
        if octet & 0x80 == 0 {
            return Ok(Some((value, idx + 1)));
        }
    }
    match octets.len() >= VARINT_BYTES_MAX {
        true => Err(PacketFault::LongVarint),
        false => Ok(None),
    }
}

/// Octets that `value` takes.
pub(super) const fn varint_bytes(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(super) fn put_varint(into: &mut BytesMut, mut value: u32) {
    while value > 127 {
        into.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    into.put_u8(value as u8);
}

/// Writes a length and octets; what is longer than a length can say is cut.
pub(super) fn put_binary(into: &mut BytesMut, octets: &[u8]) {
    let n_octets = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    into.put_u16(n_octets);
    into.extend_from_slice(octets.get(..n_octets.into()).unwrap_or(octets));
}

/// Writes a text; what is longer than a length can say is cut before a character.
pub(super) fn put_text(into: &mut BytesMut, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_binary(into, text.get(..end).unwrap_or_default().as_bytes());
}

const VARINT_BYTES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    // The table of section 1.5.5.
    #[test]
    fn varints_have_one_to_four_octets() {
        let check = |value: u32, expected: &[u8]| {
            let mut octets = BytesMut::new();
            put_varint(&mut octets, value);
            assert_eq!(&octets[..], expected);
            assert_eq!(varint_bytes(value), expected.len());
            assert_eq!(varint(&octets), Ok(Some((value, expected.len()))));
            assert_eq!(Reader(&octets).varint(), Ok(value));
        };
        check(0, &[0]);
        check(127, &[0x7f]);
        check(128, &[0x80, 1]);
        check(16_383, &[0xff, 0x7f]);
        check(16_384, &[0x80, 0x80, 1]);
        check(2_097_151, &[0xff, 0xff, 0x7f]);
        check(2_097_152, &[0x80, 0x80, 0x80, 1]);
        check(VARINT_MAX, &[0xff, 0xff, 0xff, 0x7f]);
    }

    #[test]
    fn a_varint_is_neither_longer_than_needed_nor_than_four() {
        assert_eq!(Reader(&[0x80, 0]).varint(), Err(PacketFault::LongVarint));
        assert_eq!(varint(&[0x80; 4]), Err(PacketFault::LongVarint));
        assert_eq!(varint(&[0x80; 3]), Ok(None));
    }

    #[test]
    fn texts_are_utf8_without_u0000() {
        assert_eq!(Reader(b"\0\x02\xc3\xa9").text(), Ok("é"));
        assert_eq!(Reader(b"\0\x01\xff").text(), Err(PacketFault::NotUtf8));
        // A surrogate.
        let surrogate = Reader(b"\0\x03\xed\xa0\x80").text();
        assert_eq!(surrogate, Err(PacketFault::NotUtf8));
        assert_eq!(Reader(b"\0\x02a\0").text(), Err(PacketFault::Null));
        assert_eq!(Reader(b"\0\x03ab").text(), Err(PacketFault::Short));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_before_a_character() {
        let mut octets = BytesMut::new();
        put_text(&mut octets, &"é".repeat(40_000));
        assert_eq!(octets.len(), 2 + 65_534);
        assert_eq!(Reader(&octets).text().map(str::len), Ok(65_534));
    }
}
