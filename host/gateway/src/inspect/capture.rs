//! Capture files as tcpdump and Wireshark write them: pcap (classic, both byte orders, micro- and
//! nanoseconds) and pcapng (section, interface, enhanced and simple packet blocks).

use bytes::{Buf, Bytes};
use pcap_parser::{
    Block, parse_block_be, parse_block_le, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_header, traits::PcapNGPacketBlock,
};

/// The packets of a capture, in its order, each with its link type.
#[derive(Debug)]
pub(crate) struct Packets {
    left: Bytes,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Classic {
        is_big_endian: bool,
        link_type: u32,
    },
    /// Link types of the section's interfaces so far.
    Next {
        is_big_endian: bool,
        link_types: Vec<u32>,
    },
}

/// Why a capture cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("the capture ends within a packet")]
    Cut,
    #[error("a block at {left} octets before the end contradicts itself")]
    Block { left: usize },
    #[error("a packet names interface {index}, and there are {known}")]
    Interface { index: u32, known: usize },
}

/// Whether octets begin as a capture does.
#[must_use]
pub(crate) fn is_capture(octets: &[u8]) -> bool {
    octets.first_chunk::<4>().is_some_and(|magic| {
        CLASSIC.contains(&u32::from_be_bytes(*magic))
            || CLASSIC.contains(&u32::from_le_bytes(*magic))
            || *magic == SECTION
    })
}

impl Packets {
    /// Reads the head of a capture.
    ///
    /// # Errors
    /// `Cut` when there is no whole head.
    pub(crate) fn new(mut octets: Bytes) -> Result<Self, CaptureError> {
        if octets.starts_with(&SECTION) {
            let format = Format::Next {
                is_big_endian: false,
                link_types: Vec::new(),
            };
            return Ok(Self {
                left: octets,
                format,
            });
        }
        let (rest, head) = parse_pcap_header(&octets).map_err(|_| CaptureError::Cut)?;
        // The upper bits say how long a checksum at the end of each packet is.
        let link_type = head.network.0.cast_unsigned() & 0x0fff_ffff;
        let is_big_endian = head.is_bigendian();
        let head_len = octets.len() - rest.len();
        octets.advance(head_len);
        Ok(Self {
            left: octets,
            format: Format::Classic {
                is_big_endian,
                link_type,
            },
        })
    }

    fn next_classic(
        &mut self,
        is_big_endian: bool,
        link_type: u32,
    ) -> Result<(u32, Bytes), CaptureError> {
        let parse = match is_big_endian {
            true => parse_pcap_frame_be,
            false => parse_pcap_frame,
        };
        let (rest, frame) = parse(&self.left).map_err(|_| CaptureError::Cut)?;
        let (packet, n_left) = (self.left.slice_ref(frame.data), rest.len());
        self.left.advance(self.left.len() - n_left);
        Ok((link_type, packet))
    }

    /// The next block; a packet if it is one of those that hold one.
    fn next_block(&mut self) -> Result<Option<(u32, Bytes)>, CaptureError> {
        let Format::Next {
            is_big_endian,
            link_types,
        } = &mut self.format
        else {
            return Ok(None);
        };
        let parse = match is_big_endian {
            true => parse_block_be,
            false => parse_block_le,
        };
        let left = self.left.len();
        let (rest, block) = parse(&self.left).map_err(|error| match error.is_incomplete() {
            true => CaptureError::Cut,
            false => CaptureError::Block { left },
        })?;
        let mut packet = None;
        match &block {
            Block::SectionHeader(section) => {
                *is_big_endian = section.big_endian();
                link_types.clear();
            }
            Block::InterfaceDescription(interface) => {
                link_types.push(interface.linktype.0.cast_unsigned());
            }
            Block::SimplePacket(simple) => {
                let octets = self.left.slice_ref(simple.packet_data());
                packet = link_types.first().map(|link_type| (*link_type, octets));
            }
            Block::EnhancedPacket(enhanced) => {
                let octets = self.left.slice_ref(enhanced.packet_data());
                let link_type = link_types.get(enhanced.if_id as usize);
                let link_type = *link_type.ok_or(CaptureError::Interface {
                    index: enhanced.if_id,
                    known: link_types.len(),
                })?;
                packet = Some((link_type, octets));
            }
            Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::DecryptionSecrets(_)
            | Block::ProcessInformation(_)
            | Block::Custom(_)
            | Block::Unknown(_) => {}
        }
        let n_left = rest.len();
        self.left.advance(left - n_left);
        Ok(packet)
    }
}

impl Iterator for Packets {
    type Item = Result<(u32, Bytes), CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.left.is_empty() {
            let next = match self.format {
                Format::Classic {
                    is_big_endian,
                    link_type,
                } => self.next_classic(is_big_endian, link_type).map(Some),
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

/// Microseconds and nanoseconds.
const CLASSIC: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];
/// The block that begins a section reads the same in both byte orders.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

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
            u32::from_be_bytes(SECTION),
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
    fn lengths_that_lie_end_the_capture_with_an_error() {
        let check = |tail: &[u32], expected: CaptureError| {
            let mut file = pcapng(&[b"one".to_vec()], true);
            file.extend(tail.iter().flat_map(|word| word.to_le_bytes()));
            let read: Vec<_> = Packets::new(file.into()).expect("a head").collect();
            assert_eq!(read.len(), 2, "{tail:x?}");
            assert_eq!(read.last(), Some(&Err(expected)), "{tail:x?}");
        };
        // A block without room for itself, one that is longer than the file, one of all octets that
        // can be named.
        let nothing = [0; 6];
        check(
            &[&[6, 8][..], &nothing].concat(),
            CaptureError::Block { left: 32 },
        );
        check(
            &[&[0x0bad, 4][..], &nothing].concat(),
            CaptureError::Block { left: 32 },
        );
        check(&[&[6, 64][..], &nothing].concat(), CaptureError::Cut);
        check(&[&[6, u32::MAX][..], &nothing].concat(), CaptureError::Cut);
        // Packets that are longer than their blocks.
        let packet = |captured: u32| [6, 32, 0, 0, 0, captured, captured, 32];
        check(&packet(1), CaptureError::Cut);
        check(&packet(u32::MAX - 8), CaptureError::Cut);
        check(&packet(u32::MAX), CaptureError::Block { left: 32 });
        // A packet of an interface that nobody described.
        let unknown = [6, 32, 7, 0, 0, 0, 0, 32];
        check(&unknown, CaptureError::Interface { index: 7, known: 1 });
    }

    #[test]
    fn a_classic_packet_longer_than_the_file_is_cut() {
        for length in [4, 65_536, u32::MAX] {
            for little in [true, false] {
                let mut file = pcap(&[], little);
                let word = |n: u32| {
                    if little {
                        n.to_le_bytes()
                    } else {
                        n.to_be_bytes()
                    }
                };
                file.extend([1, 2, length, length].map(word).concat());
                file.extend(b"one");
                let read: Vec<_> = Packets::new(file.into()).expect("a head").collect();
                assert_eq!(read, [Err(CaptureError::Cut)], "{length}");
            }
        }
    }

    #[test]
    fn nanoseconds_and_checksum_bits_change_nothing_of_the_packets() {
        let mut file = pcap(&[b"one".to_vec()], true);
        file[..4].copy_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        // A checksum of four octets behind each packet, in the upper bits of the link type.
        file[23] = 0x44;
        assert!(is_capture(&file));
        let read: Vec<_> = Packets::new(file.into()).expect("a head").collect();
        assert_eq!(
            read,
            [Ok((0x0400_0065 & 0x0fff_ffff, Bytes::from_static(b"one")))]
        );
    }

    #[test]
    fn a_simple_packet_is_of_the_first_interface_and_as_long_as_it_was() {
        let mut file = pcapng(&[], false);
        file.extend([3, 20, 3].map(u32::to_be_bytes).concat());
        file.extend(b"one\0");
        file.extend(20u32.to_be_bytes());
        let read: Vec<_> = Packets::new(file.into()).expect("a head").collect();
        assert_eq!(read, [Ok((101, Bytes::from_static(b"one")))]);
    }

    #[test]
    fn a_stream_of_frames_is_no_capture() {
        assert!(!is_capture(b"VT\x01\x03"));
        assert!(!is_capture(b"\x0a"));
    }
}
