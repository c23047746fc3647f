//! Plans and headers of fragments at the edges.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::frame::FrameType;

fn data(length: usize) -> Frame {
    let payload: Vec<u8> = (0..=250).cycle().take(length).collect();
    Frame::data(Headers::new(), payload)
}

fn datagrams(split: &Split) -> Vec<Bytes> {
    let encode = |index| {
        let mut out = BytesMut::new();
        split.encode(index, &mut out).expect("planned");
        out.freeze()
    };
    (0..split.total()).map(encode).collect()
}

fn with(headers: &[(&str, &str)]) -> Headers {
    let mut built = Headers::new();
    for (key, value) in headers {
        built.push(key, value).expect("short");
    }
    built
}

#[test]
fn a_frame_of_1200_octets_is_left_alone_and_one_more_is_cut() {
    let whole = Split::new(data(1185), 7, Numbering::Base, 1200).expect("fits");
    assert_eq!(whole.total(), 1);
    let [datagram] = &datagrams(&whole)[..] else {
        panic!("one datagram")
    };
    assert_eq!(datagram.len(), 1200);
    let frame = Frame::decode_datagram(datagram.clone(), 1200).expect("whole");
    assert_eq!(frame, data(1185));
    let cut = Split::new(data(1186), 7, Numbering::Base, 1200).expect("fits");
    assert_eq!(cut.total(), 2);
}

#[test]
fn every_fragment_repeats_the_headers_and_the_flags() {
    let mut frame = data(3000);
    frame.headers = with(&[("n", "0"), ("msg-id", "9")]);
    frame.flags = Flags::REQ_ACK;
    let split = Split::new(frame, 300, Numbering::Base, 1200).expect("fits");
    for (index, datagram) in datagrams(&split).into_iter().enumerate() {
        assert!(datagram.len() <= 1200, "{}", datagram.len());
        let part = Frame::decode_datagram(datagram, 1200).expect("a frame");
        assert_eq!(part.flags, Flags::REQ_ACK.union(Flags::FRAG));
        let index = index.to_string();
        let expected = [
            ("n", "0"),
            ("msg-id", "9"),
            ("frag-id", "44"), // 300 mod 256
            ("frag-index", &index),
            ("frag-total", "3"),
        ];
        assert_eq!(part.headers, with(&expected));
    }
}

#[test]
fn base_messages_have_255_fragments_and_no_more() {
    // 1200 - 15 - (33 + 3 + 3 + 3) octets of payload each.
    let chunk = 1143;
    let longest = Split::new(data(255 * chunk), 0, Numbering::Base, 1200).expect("at the limit");
    assert_eq!(longest.total(), 255);
    let payload = 255 * chunk + 1;
    let error = Split::new(data(payload), 0, Numbering::Base, 1200).map(drop);
    let expected = SplitError::TooManyFragments {
        payload,
        needed: 256,
        chunk,
        limit: 255,
    };
    assert_eq!(error, Err(expected));
    let wide = Split::new(data(payload), 0, Numbering::Wide, 1200).expect("wide");
    assert_eq!(wide.total(), 257, "its longer numbers leave 1136 octets");
}

#[test]
fn the_longest_numbers_fit() {
    for total_digits_at in [9, 10, 99, 100, 255] {
        let split =
            Split::new(data(total_digits_at * 1143), 255, Numbering::Base, 1200).expect("fits");
        assert!(
            datagrams(&split)
                .iter()
                .all(|datagram| datagram.len() <= 1200)
        );
    }
    let split = Split::new(data(2_000_000), u32::MAX, Numbering::Wide, 1200).expect("fits");
    assert!(
        datagrams(&split)
            .iter()
            .all(|datagram| datagram.len() <= 1200)
    );
}

#[test]
fn headers_may_leave_one_octet_of_payload_and_no_less() {
    let check = |value: usize| {
        let mut frame = data(99);
        frame
            .headers
            .push("h", vec![b'x'; value])
            .expect("fits a section");
        (
            frame.headers.section().len(),
            Split::new(frame, 0, Numbering::Base, 1200),
        )
    };
    // 1200 - 15 - (33 + 3 + 2 + 2) - 1 octets of headers.
    let (length, split) = check(1133);
    assert_eq!((length, split.expect("one octet each").total()), (1144, 99));
    let (length, split) = check(1134);
    assert_eq!(length, 1145);
    let error = SplitError::HeadersTooLong {
        length,
        limit: 1200,
    };
    assert_eq!(split.map(drop), Err(error));
}

#[test]
fn a_message_begun_afresh_differs_in_its_number_only() {
    let mut split = Split::new(data(3000), 1, Numbering::Base, 1200).expect("fits");
    split.set_id(0x1ff, Numbering::Base);
    let part = Frame::decode_datagram(datagrams(&split)[2].clone(), 1200).expect("a frame");
    let expected = Fragment {
        id: 255,
        index: 2,
        total: 3,
    };
    assert_eq!(
        Fragment::parse(&part.headers, Numbering::Base),
        Some(expected)
    );
}

#[test]
fn numbers_are_read_as_the_published_receiver_reads_them() {
    let parse = |id: &str, index: &str, total: &str, numbering| {
        let headers = with(&[
            ("frag-id", id),
            ("frag-index", index),
            ("frag-total", total),
        ]);
        Fragment::parse(&headers, numbering).map(|part| (part.id, part.index, part.total))
    };
    let base = |id, index, total| parse(id, index, total, Numbering::Base);
    assert_eq!(base("255", "0", "255"), Some((255, 0, 255)));
    assert_eq!(base("+7", "007", "9"), Some((7, 7, 9)));
    assert_eq!(
        base("0", "0", "0"),
        Some((0, 0, 0)),
        "refused later, by name"
    );
    for wrong in ["256", "-1", "", " 1", "1 ", "0x1", "one"] {
        assert_eq!(base(wrong, "0", "1"), None, "{wrong:?}");
        assert_eq!(base("0", wrong, "1"), None, "{wrong:?}");
        assert_eq!(base("0", "0", wrong), None, "{wrong:?}");
    }
    assert_eq!(
        parse("256", "300", "4294967295", Numbering::Wide),
        Some((256, 300, u32::MAX))
    );
    assert_eq!(parse("4294967296", "0", "1", Numbering::Wide), None);
    let two = with(&[("frag-id", "1"), ("frag-index", "0")]);
    assert_eq!(Fragment::parse(&two, Numbering::Wide), None);
}

proptest! {
    #[test]
    fn any_split_has_datagrams_within_the_limit_that_hold_the_payload_in_order(
        length in 0_usize..60_000,
        value in 0_usize..900,
        id: u32,
        wide: bool,
        limit in 1_100_usize..2_400,
    ) {
        let mut frame = data(length);
        frame.kind = FrameType::Ping;
        frame.headers.push("h", vec![b'x'; value]).expect("fits");
        let numbering = if wide { Numbering::Wide } else { Numbering::Base };
        let Ok(split) = Split::new(frame.clone(), id, numbering, limit) else {
            prop_assert!(!wide && length > 250 * (limit - 1_075), "refused without need");
            return Ok(());
        };
        let mut joined = Vec::new();
        for datagram in datagrams(&split) {
            prop_assert!(datagram.len() <= limit);
            let part = Frame::decode_datagram(datagram, limit).expect("a frame");
            prop_assert!(application_entries(&part.headers).eq(frame.headers.entries()));
            joined.extend_from_slice(&part.payload);
        }
        prop_assert_eq!(joined, frame.payload);
    }
}
