//! Claims about frames in a stream.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    headers::Headers,
    wire::{
        frame::tests::any_frame,
        vectors::{EASY, groups},
    },
};

/// Feeds `stream` in the pieces that `cuts` make and gives every frame.
fn decode(stream: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new(1 << 20);
    let (mut buffer, mut frames, mut start) = (BytesMut::new(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([stream.len()]) {
        buffer.extend_from_slice(&stream[start..end]);
        start = end;
        while let Some(frame) = decoder.decode(&mut buffer)? {
            frames.push(frame);
        }
    }
    assert!(buffer.is_empty(), "{} octets are left", buffer.len());
    Ok(frames)
}

fn stream_of(frames: &[Frame]) -> Bytes {
    let mut stream = BytesMut::new();
    frames
        .iter()
        .for_each(|frame| frame.encode(&mut stream).expect("a small frame"));
    stream.freeze()
}

#[test]
fn every_cut_of_the_vectors_gives_the_same_frames() {
    let stream: Vec<u8> = groups(EASY)
        .into_iter()
        .flatten()
        .flat_map(|(octets, _)| octets)
        .collect();
    let whole = decode(&stream, &[]).expect("vectors");
    assert_eq!(whole.len(), groups(EASY).iter().map(Vec::len).sum());
    for cut in 0..=stream.len() {
        assert_eq!(decode(&stream, &[cut]).as_ref(), Ok(&whole), "cut at {cut}");
    }
    let every_octet: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(decode(&stream, &every_octet), Ok(whole));
}

#[test]
fn a_frame_that_is_too_long_is_refused_with_its_eleventh_octet() {
    let mut decoder = Decoder::new(1 << 20);
    let head = b"VT\x01\x03\0\0\0\0\x10\0\0";
    let mut buffer = BytesMut::from(&head[..10]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    buffer.extend_from_slice(&head[10..]);
    let declared = (1 << 20) + 15;
    let error = FrameError::TooLong {
        declared,
        limit: 1 << 20,
    };
    assert_eq!(decoder.decode(&mut buffer), Err(error));
}

#[test]
fn tells_how_much_of_a_frame_is_missing() {
    let stream = stream_of(&[Frame::data(Headers::new(), "Hello")]);
    let mut decoder = Decoder::new(1 << 20);
    let mut buffer = BytesMut::from(&stream[..12]);
    assert_eq!(decoder.missing(&buffer), None);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert_eq!(decoder.missing(&buffer), Some(8));
}

#[test]
fn headers_and_payload_share_the_buffer() {
    let mut headers = Headers::new();
    headers.push("k", "v").expect("short");
    let mut buffer = BytesMut::from(&stream_of(&[Frame::data(headers, "Hello")])[..]);
    let octets = buffer.as_ptr_range();
    let frame = Decoder::new(100)
        .decode(&mut buffer)
        .expect("well formed")
        .expect("whole");
    assert!(octets.contains(&frame.headers.section().as_ptr()));
    assert!(octets.contains(&frame.payload.as_ptr()));
}

#[test]
fn the_frames_before_a_fault_are_given() {
    let good = Frame::data(Headers::new(), "Hello");
    let mut buffer = BytesMut::from(&stream_of(std::slice::from_ref(&good))[..]);
    buffer.extend_from_slice(b"HTTP/1.1 200 OK");
    let mut decoder = Decoder::new(100);
    assert_eq!(decoder.decode(&mut buffer), Ok(Some(good)));
    let error = FrameError::Magic { found: *b"HT" };
    assert_eq!(decoder.decode(&mut buffer), Err(error));
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_frames(
        frames in proptest::collection::vec(any_frame(), 1..4),
        mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = stream_of(&frames);
        let mut cuts: Vec<usize> =
            cuts.drain(..).map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&stream, &cuts), Ok(frames));
    }
}
