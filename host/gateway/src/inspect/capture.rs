//! Capture files as tcpdump and Wireshark write them: pcap (classic, both byte orders, micro- and
//! nanoseconds) and pcapng (section, interface, enhanced and simple packet blocks).

use bytes::{Buf, Bytes};

/// The packets of a capture, in its order, each with its link type.
#[derive(Debug)]
pub struct Packets {
    left: Bytes,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Classic {
        swapped: bool,
        link_type: u32,
    },
    /// Link types of the section's interfaces so far.
    Next {
        swapped: bool,
        link_types: Vec<u32>,
    },
}

/// Why a capture cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    #[error("the capture ends within a packet")]
    Cut,
    #[error("a block of {length} octets is not one of 12 or more")]
    Block { length: u32 },
    #[error("a packet names interface {index}, and there are {known}")]
    Interface { index: u32, known: usize },
}

/// Whether octets begin as a capture does.
#[must_use]
pub fn is_capture(octets: &[u8]) -> bool {
    octets.first_chunk::<4>().is_some_and(|magic| {
        CLASSIC.contains(&u32::from_be_bytes(*magic))
            || CLASSIC.contains(&u32::from_le_bytes(*magic))
            || *magic == SECTION.to_be_bytes()
    })
}

impl Packets {
    /// Reads the head of a capture.
    ///
    /// # Errors
    /// `Cut` when there is no whole head.
    pub fn new(mut octets: Bytes) -> Result<Self, CaptureError> {
        let magic = octets
            .first_chunk::<4>()
            .copied()
            .ok_or(CaptureError::Cut)?;
        if magic == SECTION.to_be_bytes() {
            let format = Format::Next {
                swapped: false,
                link_types: Vec::new(),
            };
            return Ok(Self {
                left: octets,
                format,
            });
        }
        let swapped = !CLASSIC.contains(&u32::from_be_bytes(magic));
        if octets.len() < 24 {
            return Err(CaptureError::Cut);
        }
        octets.advance(20);
        // The upper bits say how long a checksum at the end of each packet is.
        let link_type = read_u32(&mut octets, swapped)? & 0x0fff_ffff;
        Ok(Self {
            left: octets,
            format: Format::Classic { swapped, link_type },
        })
    }

    fn next_classic(
        &mut self,
        swapped: bool,
        link_type: u32,
    ) -> Result<(u32, Bytes), CaptureError> {
        if self.left.len() < 16 {
            return Err(CaptureError::Cut);
        }
        self.left.advance(8);
        let length = read_u32(&mut self.left, swapped)? as usize;
        self.left.advance(4);
        if self.left.len() < length {
            return Err(CaptureError::Cut);
        }
        Ok((link_type, self.left.split_to(length)))
    }

    /// The next block; a packet if it is one of those that hold one.
    fn next_block(&mut self) -> Result<Option<(u32, Bytes)>, CaptureError> {
        let Format::Next {
            swapped,
            link_types,
        } = &mut self.format
        else {
            return Ok(None);
        };
        let mut head = self.left.clone();
        let kind = head.try_get_u32().map_err(|_| CaptureError::Cut)?;
        if kind == SECTION {
            // The byte order of a section is told behind its length.
            let order = head.get(4..8).ok_or(CaptureError::Cut)?;
            *swapped = order != 0x1a2b_3c4d_u32.to_be_bytes();
            link_types.clear();
        }
        let (swapped, kind) = (*swapped, if *swapped { kind.swap_bytes() } else { kind });
        let length = read_u32(&mut head, swapped)?;
        if length < 12 || !length.is_multiple_of(4) {
            return Err(CaptureError::Block { length });
        }
        let length = length as usize;
        if self.left.len() < length {
            return Err(CaptureError::Cut);
        }
        let block = self.left.split_to(length);
        let mut body = block.slice(8..length - 4);
        match kind {
            1 => {
                let word = read_u32(&mut body, swapped)?;
                // Link type in the first two octets, reserved ones behind it.
                link_types.push(if swapped { word & 0xffff } else { word >> 16 });
                Ok(None)
            }
            3 => {
                let original = read_u32(&mut body, swapped)? as usize;
                let link_type = link_types.first().copied();
                body.truncate(original);
                Ok(link_type.map(|link_type| (link_type, body)))
            }
            6 => {
                let index = read_u32(&mut body, swapped)?;
                if body.len() < 16 {
                    return Err(CaptureError::Cut);
                }
                body.advance(8);
                let captured = read_u32(&mut body, swapped)? as usize;
                body.advance(4);
                body.truncate(captured);
                let known = link_types.len();
                let link_type = link_types.get(index as usize).copied();
                let link_type = link_type.ok_or(CaptureError::Interface { index, known })?;
                Ok(Some((link_type, body)))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for Packets {
    type Item = Result<(u32, Bytes), CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.left.is_empty() {
            let next = match self.format {
                Format::Classic { swapped, link_type } => {
                    self.next_classic(swapped, link_type).map(Some)
                }
                Format::Next { .. } => self.next_block(),
            };
            match next {
                Ok(None) => {}
                Ok(Some(packet)) => return Some(Ok(packet)),
                Err(error) => {
                    // What follows has no known beginning.
                    self.left.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn read_u32(octets: &mut Bytes, swapped: bool) -> Result<u32, CaptureError> {
    let number = octets.try_get_u32().map_err(|_| CaptureError::Cut)?;
    Ok(if swapped { number.swap_bytes() } else { number })
}

/// Microseconds and nanoseconds.
const CLASSIC: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];
const SECTION: u32 = 0x0a0d_0d0a;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A classic capture without link layer, in the byte order asked for.
    pub(in super::super) fn pcap(packets: &[Vec<u8>], little: bool) -> Vec<u8> {
        let word = |number: u32| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let mut file = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65535, 101]
            .map(word)
            .concat();
        for packet in packets {
            let length = small(packet.len());
            file.extend([1, 2, length, length].map(word).concat());
            file.extend(packet);
        }
        file
    }

    fn small(length: usize) -> u32 {
        u32::try_from(length).expect("tests use small packets")
    }

    fn pcapng(packets: &[Vec<u8>], little: bool) -> Vec<u8> {
        let word = |number: u32| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let block = |kind: u32, body: Vec<u8>| {
            let padded = body.len().next_multiple_of(4);
            let length = word(small(12 + padded));
            let mut block = [word(kind), length].concat();
            block.extend(&body);
            block.resize(8 + padded, 0);
            block.extend(length);
            block
        };
        let link = 101u16;
        let link = if little {
            link.to_le_bytes()
        } else {
            link.to_be_bytes()
        };
        let mut file = block(
            SECTION,
            [0x1a2b_3c4d, 0x0001_0000, !0, !0].map(word).concat(),
        );
        file.extend(block(1, [&link[..], &[0; 6]].concat()));
        file.extend(block(0x0bad, vec![1, 2, 3, 4]));
        for packet in packets {
            let length = small(packet.len());
            let mut body = [0, 0, 0, length, length].map(word).concat();
            body.extend(packet);
            file.extend(block(6, body));
        }
        file
    }

    #[test]
    fn reads_both_formats_in_both_byte_orders() {
        let packets = [b"one".to_vec(), b"four".to_vec()];
        for little in [true, false] {
            for file in [pcap(&packets, little), pcapng(&packets, little)] {
                assert!(is_capture(&file));
                let read = Packets::new(file.into()).expect("a head");
                let read: Vec<_> = read.map(|packet| packet.expect("whole")).collect();
                assert_eq!(
                    read,
                    packets.clone().map(|packet| (101, Bytes::from(packet)))
                );
            }
        }
    }

    #[test]
    fn a_capture_cut_anywhere_ends_with_an_error_or_fewer_packets() {
        let packets = [b"one".to_vec(), b"four".to_vec()];
        for file in [pcap(&packets, true), pcapng(&packets, false)] {
            for length in 0..file.len() {
                let Ok(read) = Packets::new(Bytes::copy_from_slice(&file[..length])) else {
                    continue;
                };
                assert!(read.filter(Result::is_ok).count() < 2 || length + 8 > file.len());
            }
        }
    }

    #[test]
    fn refuses_blocks_without_room_for_themselves() {
        let mut file = pcapng(&[], true);
        file.extend([6u32, 8].map(u32::to_le_bytes).concat());
        let errors: Vec<_> = Packets::new(file.into()).expect("a head").collect();
        assert_eq!(errors, [Err(CaptureError::Block { length: 8 })]);
    }

    #[test]
    fn a_stream_of_frames_is_no_capture() {
        assert!(!is_capture(b"VT\x01\x03"));
        assert!(!is_capture(b"\x0a"));
    }
}
