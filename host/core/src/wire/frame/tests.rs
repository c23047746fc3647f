//! Claims about one frame. The octets themselves are in tests/vectors.

use proptest::prelude::*;

use super::*;

/// Any frame whose headers fit.
pub(in crate::wire) fn any_frame() -> impl Strategy<Value = Frame> {
    let kind = (1..=8u8).prop_map(|code| FrameType::from_code(code).expect("1 to 8"));
    let flags = any::<u8>().prop_map(|bits| Flags::from_bits(bits & 0x33).expect("defined bits"));
    let octets = |max| proptest::collection::vec(any::<u8>(), 0..max);
    let headers = proptest::collection::vec((octets(256), octets(600)), 0..6);
    (kind, flags, headers, octets(3000)).prop_map(|(kind, flags, pairs, payload)| {
        let mut headers = Headers::new();
        for (key, value) in pairs {
            headers.push(key, value).expect("six short headers fit");
        }
        Frame {
            kind,
            flags,
            headers,
            payload: payload.into(),
        }
    })
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out).expect("a small frame");
    out
}

#[test]
fn a_frame_is_appended_to_what_is_there() {
    let frame = Frame::data(Headers::new(), "Hello");
    let mut out = BytesMut::from(&b"before"[..]);
    frame.encode(&mut out).expect("a small frame");
    assert_eq!(out.split_to(6), b"before"[..]);
    assert_eq!(out, encoded(&frame));
}

#[test]
fn a_frame_at_the_limit_is_taken_and_one_past_it_is_not() {
    let octets = encoded(&Frame::data(Headers::new(), "Hello")).freeze();
    assert_eq!(octets.len(), 20);
    assert!(Frame::decode_datagram(octets.clone(), 20).is_ok());
    let error = FrameError::TooLong {
        declared: 20,
        limit: 19,
    };
    assert_eq!(Frame::decode_datagram(octets, 19), Err(error));
}

#[test]
fn headers_of_65535_octets_make_a_frame() {
    let mut headers = Headers::new();
    headers
        .push("k", vec![b'v'; 65_021])
        .expect("65,532 octets");
    headers.push("", "v").expect("65,535 octets");
    let frame = Frame::data(headers, "");
    assert_eq!(frame.headers.section().len(), 65_535);
    assert_eq!(
        Frame::decode_datagram(encoded(&frame).freeze(), 1 << 20),
        Ok(frame)
    );
}

#[test]
fn a_datagram_that_is_cut_is_refused_at_every_cut() {
    let octets = encoded(&Frame::data(Headers::new(), "Hello")).freeze();
    for cut in 0..octets.len() {
        let needed = if cut < HEAD_BYTES { 15 } else { 20 };
        let error = FrameError::Truncated { needed, found: cut };
        assert_eq!(Frame::decode_datagram(octets.slice(..cut), 20), Err(error));
    }
}

#[test]
fn octets_after_the_frame_of_a_datagram_are_ignored() {
    let frame = Frame::data(Headers::new(), "Hello");
    let mut octets = encoded(&frame);
    octets.extend_from_slice(b"more");
    assert_eq!(Frame::decode_datagram(octets.freeze(), 20), Ok(frame));
}

#[test]
fn flags_are_shown_by_name() {
    assert_eq!(Flags::empty().to_string(), "-");
    assert_eq!(
        Flags::REQ_ACK.union(Flags::COMP).to_string(),
        "REQ_ACK|COMP"
    );
    assert_eq!(
        Flags::from_bits(0x33).map(|all| all.difference(Flags::FRAG).bits()),
        Some(0x23)
    );
}

#[test]
fn only_defined_flags_and_types_are_known() {
    for bits in 0..=u8::MAX {
        assert_eq!(
            Flags::from_bits(bits).is_some(),
            bits & 0xcc == 0,
            "{bits:#x}"
        );
        let kind = FrameType::from_code(bits);
        assert_eq!(
            kind.map(|kind| kind as u8),
            (1..=8).contains(&bits).then_some(bits)
        );
    }
}

proptest! {
    #[test]
    fn encoding_and_decoding_gives_the_frame_back(frame in any_frame()) {
        let octets = encoded(&frame);
        prop_assert_eq!(octets.len(), frame.encoded_len());
        prop_assert_eq!(Frame::decode_datagram(octets.freeze(), 1 << 20), Ok(frame));
    }

    #[test]
    fn encoding_around_the_payload_gives_the_same_octets(frame in any_frame()) {
        let mut octets = BytesMut::new();
        let crc = frame.encode_around_payload(&mut octets).expect("a small frame");
        octets.extend_from_slice(&frame.payload);
        octets.extend_from_slice(&crc);
        prop_assert_eq!(octets, encoded(&frame));
    }

    #[test]
    fn one_changed_octet_is_always_noticed(frame in any_frame(), at: usize, change in 1..=255u8) {
        let mut octets = encoded(&frame);
        let at = at % octets.len();
        octets[at] ^= change;
        prop_assert!(Frame::decode_datagram(octets.freeze(), 1 << 20).is_err());
    }

    #[test]
    fn headers_come_back_whole_and_in_order(
        pairs in proptest::collection::vec(
            (
                proptest::collection::vec(any::<u8>(), 1..256),
                proptest::collection::vec(any::<u8>(), 0..1200),
            ),
            0..8,
        )
    ) {
        let mut headers = Headers::new();
        for (key, value) in &pairs {
            headers.push(key, value).expect("eight headers fit");
        }
        let read = Headers::from_section(headers.section().clone()).expect("well formed");
        let found: Vec<_> =
            read.iter().map(|(key, value)| (key.to_vec(), value.into_owned())).collect();
        prop_assert_eq!(found, pairs);
    }
}
