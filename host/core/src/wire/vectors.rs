//! Claims about the files of tests/vectors, and their reader.

use bytes::{Bytes, BytesMut};

use super::{Decoder, Frame, FrameError};

const FRAMES: &str = include_str!("../../../../tests/vectors/frames.hex");
const FRAGMENTS: &str = include_str!("../../../../tests/vectors/fragments.hex");
pub(crate) const VSP: &str = include_str!("../../../../tests/vectors/vsp.hex");
const REFUSED: &str = include_str!("../../../../tests/vectors/refused.hex");
pub(crate) const EASY: &str = include_str!("../../../../tests/vectors/easy.hex");

const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One line: the octets and the comment.
pub(crate) type VectorLine = (Bytes, &'static str);

/// The lines of a file, in groups parted by empty lines; lines of comment alone are left out.
pub(crate) fn groups(file: &'static str) -> Vec<Vec<VectorLine>> {
    let paragraphs = file.split("\n\n").map(|paragraph| {
        let lines = paragraph
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let parted = lines.map(|line| line.split_once("  # ").expect("octets, then a comment"));
        parted
            .map(|(hex, comment)| (octets(hex), comment))
            .collect::<Vec<_>>()
    });
    paragraphs.filter(|group| !group.is_empty()).collect()
}

#[test]
fn every_frame_is_decoded_and_encoded_octet_by_octet() {
    let files = [(FRAMES, 20), (FRAGMENTS, 6), (EASY, 10), (VSP, 10)];
    for (file, n_lines_min) in files {
        let lines: Vec<VectorLine> = groups(file).into_iter().flatten().collect();
        assert!(
            lines.len() >= n_lines_min,
            "{} lines were read",
            lines.len()
        );
        for (octets, comment) in lines {
            let frame = decode(&octets).expect(comment).expect(comment);
            assert_eq!(frame.to_string().trim_end(), comment);
            let mut encoded = BytesMut::new();
            frame.encode(&mut encoded).expect(comment);
            assert_eq!(encoded, octets, "{comment}");
            assert_eq!(frame.encoded_len(), octets.len(), "{comment}");
            assert_eq!(
                Frame::decode_datagram(octets, FRAME_BYTES_MAX).as_ref(),
                Ok(&frame)
            );
        }
    }
}

#[test]
fn every_refused_line_is_refused_by_its_name() {
    let lines: Vec<VectorLine> = groups(REFUSED).into_iter().flatten().collect();
    assert!(lines.len() >= 20, "{} lines were read", lines.len());
    for (octets, comment) in lines {
        let refused = decode(&octets).expect_err(comment);
        assert_eq!(refused.to_string(), comment);
        assert_eq!(
            Frame::decode_datagram(octets, FRAME_BYTES_MAX),
            Err(refused)
        );
    }
}

fn decode(octets: &Bytes) -> Result<Option<Frame>, FrameError> {
    Decoder::new(FRAME_BYTES_MAX).decode(&mut BytesMut::from(&octets[..]))
}

fn octets(hex: &str) -> Bytes {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits"))
        .collect()
}
