//! Vectors, sets of the published sender, repeated and reused numbers. Bounds: tests/bounds.rs.

mod bounds;
mod copies;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{
    headers::Headers,
    testing::{Rng, epoch},
    wire::{
        fragment::Split,
        frame::{Flags, FrameType},
        simulation,
    },
};

const WIDE: Numbering = Numbering::Wide;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 9090))
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("digits"), 16);
    digits
        .chunks(2)
        .map(|pair| octet(pair).expect("two digits"))
        .collect()
}

/// Fragments of one message as frames, without a detour over octets.
fn parts(payload: &[u8], id: u32, chunk: usize) -> Vec<(Fragment, Frame)> {
    let total = u32::try_from(payload.len().div_ceil(chunk)).expect("few");
    let part = |(index, chunk): (usize, &[u8])| {
        let index = u32::try_from(index).expect("few");
        (
            Fragment { id, index, total },
            fragment(id, index, total, chunk),
        )
    };
    payload.chunks(chunk).enumerate().map(part).collect()
}

fn fragment(id: u32, index: u32, total: u32, chunk: &[u8]) -> Frame {
    let mut headers = Headers::new();
    let numbers = [
        ("n", 0),
        ("frag-id", id),
        ("frag-index", index),
        ("frag-total", total),
    ];
    for (key, number) in numbers {
        headers.push(key, number.to_string()).expect("short");
    }
    let payload = Bytes::copy_from_slice(chunk);
    Frame {
        kind: FrameType::Data,
        flags: Flags::FRAG,
        headers,
        payload,
    }
}

/// A reassembly with a clock and one peer in focus.
struct Bench {
    reassembly: Reassembly,
    now: Instant,
    peer: SocketAddr,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self {
            reassembly: Reassembly::new(limits),
            now: epoch(),
            peer: address(1),
        }
    }

    fn give(&mut self, (part, frame): &(Fragment, Frame)) -> FragmentOutcome {
        self.give_as(Numbering::Base, part, frame)
    }

    fn give_as(&mut self, numbering: Numbering, part: &Fragment, frame: &Frame) -> FragmentOutcome {
        self.reassembly
            .handle_fragment(self.now, self.peer, *part, numbering, frame)
    }

    fn give_datagram(&mut self, octets: Bytes) -> FragmentOutcome {
        let frame = Frame::decode_datagram(octets, 65_535).expect("a frame");
        let part = Fragment::parse(&frame.headers, Numbering::Base).expect("a fragment");
        self.give(&(part, frame))
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.reassembly.handle_timeout(self.now);
    }

    fn stats(&self) -> ReassemblyStats {
        self.reassembly.stats()
    }
}

fn bench() -> Bench {
    Bench::new(Limits::default())
}

fn payload(outcome: FragmentOutcome) -> Bytes {
    let FragmentOutcome::Complete(frame) = outcome else {
        panic!("{outcome:?}")
    };
    frame.payload
}

/// The three datagrams of the published example, and the frame they make.
const HELLO_FRAGMENTED_WORLD: [&str; 3] = [
    "56540103112e000000000606016d73672d6964370702667261672d696434320a01667261672d696e646578300a01667261672d746f74616c3348454c4c4f20e88282ad",
    "56540103112e000000000b06016d73672d6964370702667261672d696434320a01667261672d696e646578310a01667261672d746f74616c33465241474d454e54454420d758eb22",
    "56540103112e000000000506016d73672d6964370702667261672d696434320a01667261672d696e646578320a01667261672d746f74616c33574f524c44f7ba5b62",
];

#[test]
fn the_published_fragments_join_in_any_order() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut bench = bench();
        let [first, second, third] =
            order.map(|at| bench.give_datagram(hex(HELLO_FRAGMENTED_WORLD[at])));
        assert_eq!(
            (first, second),
            (FragmentOutcome::Pending, FragmentOutcome::Pending)
        );
        let mut headers = Headers::new();
        headers.push("msg-id", "7").expect("short");
        let payload = Bytes::from_static(b"HELLO FRAGMENTED WORLD");
        let flags = Flags::REQ_ACK;
        let expected = Frame {
            kind: FrameType::Data,
            flags,
            headers,
            payload,
        };
        assert_eq!(third, FragmentOutcome::Complete(expected));
    }
}

/// What the published client sends for header `n`=0 and a payload: whole copies.
fn copies(payload: &[u8], id: u32, flags: Flags) -> Vec<(Fragment, Frame)> {
    let length = 15 + 4 + payload.len();
    let total = u32::try_from(length.div_ceil(1200)).expect("few");
    let copy = |index| {
        let mut frame = fragment(id, index, total, payload);
        frame.flags = Flags::FRAG.union(flags);
        (Fragment { id, index, total }, frame)
    };
    (0..total).map(copy).collect()
}

#[test]
fn a_set_of_the_published_client_is_the_message_once() {
    let octets: Vec<u8> = (0..1200_u32).map(|at| (at % 251) as u8).collect();
    let heads = ["30", "31"].map(|index| {
        hex(&format!(
            "565401031028000000 04b0 01016e30 0701667261672d696431 0a01667261672d696e646578{index} 0a01667261672d746f74616c32"
        ))
    });
    let crcs = [hex("459a5804"), hex("73232641")];
    let mut bench = bench();
    let mut outcomes = Vec::new();
    for (head, crc) in heads.into_iter().zip(crcs) {
        // `00 00` of pay_len stand before 04b0.
        let mut datagram = BytesMut::from(&head[..7]);
        datagram.extend_from_slice(&head[7..]);
        datagram.extend_from_slice(&octets);
        datagram.extend_from_slice(&crc);
        assert_eq!(datagram.len(), 1255);
        outcomes.push(bench.give_datagram(datagram.freeze()));
    }
    assert_eq!(outcomes[0], FragmentOutcome::Pending);
    let FragmentOutcome::Complete(frame) = outcomes.remove(1) else {
        panic!("the set is whole")
    };
    assert_eq!(frame.payload, octets);
    assert_eq!(frame.headers.get_str("n").as_deref(), Some("0"));
    assert_eq!(
        (frame.flags, frame.headers.entries().count()),
        (Flags::empty(), 1)
    );
}

#[test]
fn one_datagram_of_three_or_more_copies_is_enough() {
    for length in [2_500, 10_000, 60_000] {
        let octets: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        for first in [0, 1] {
            let mut bench = bench();
            let mut set = copies(&octets, 1, Flags::empty());
            set.rotate_left(first);
            assert_eq!(payload(bench.give(&set[0])), octets);
            assert!(
                set[1..]
                    .iter()
                    .all(|part| bench.give(part) == FragmentOutcome::Copy)
            );
            assert_eq!(bench.stats().open, 0);
        }
    }
}

#[test]
fn two_parts_of_a_sender_of_longer_datagrams_are_joined() {
    let octets: Vec<u8> = (0..2_000).map(|at| (at % 251) as u8).collect();
    let mut cut = parts(&octets, 9, 1_400);
    for (_, frame) in &mut cut {
        frame.flags = Flags::FRAG.union(Flags::REQ_ACK);
        frame.headers.push("msg-id", "8").expect("short");
    }
    assert_eq!(
        cut[0].1.payload.len(),
        1_400,
        "alone it looks like one of two copies"
    );
    for order in [[0, 1], [1, 0]] {
        let mut bench = bench();
        let [first, second] = order.map(|at| bench.give(&cut[at]));
        assert_eq!(first, FragmentOutcome::Pending);
        assert_eq!(payload(second), octets);
    }
}

#[test]
fn equal_chunks_of_a_cutting_sender_are_not_copies() {
    let mut bench = bench();
    let cut = parts(&[0; 2_200], 9, 1_100);
    assert_eq!(bench.give(&cut[0]), FragmentOutcome::Pending);
    assert_eq!(payload(bench.give(&cut[1])), vec![0; 2_200]);
}

#[test]
fn the_published_client_uses_one_number_for_everything() {
    let mut bench = bench();
    let texts = [
        vec![1; 3_000],
        vec![2; 3_000],
        vec![2; 1_300],
        vec![3; 1_300],
        vec![1; 3_000],
    ];
    for text in &texts {
        let set = copies(text, 1, Flags::empty());
        let outcomes: Vec<_> = set.iter().map(|part| bench.give(part)).collect();
        let messages = outcomes
            .into_iter()
            .filter(|outcome| matches!(outcome, FragmentOutcome::Complete(_)));
        assert_eq!(
            messages.map(payload).collect::<Vec<_>>(),
            std::slice::from_ref(text)
        );
    }
    assert_eq!(bench.stats().open, 0);
}

#[test]
fn the_same_text_sent_twice_without_acknowledgement_arrives_twice() {
    let mut bench = bench();
    let set = copies(&[1; 3_000], 1, Flags::empty());
    for _ in 0..2 {
        assert_eq!(payload(bench.give(&set[0])), vec![1; 3_000]);
        assert_eq!(
            bench.give(&set[0]),
            FragmentOutcome::AfterComplete,
            "repeated by the network"
        );
        assert_eq!(bench.give(&set[1]), FragmentOutcome::Copy);
        assert_eq!(bench.give(&set[2]), FragmentOutcome::Copy);
    }
}

#[test]
fn a_set_that_waits_for_its_acknowledgement_asks_for_it_with_each_repetition() {
    let mut bench = bench();
    let set = copies(&[1; 3_000], 2, Flags::REQ_ACK);
    assert_eq!(payload(bench.give(&set[0])), vec![1; 3_000]);
    assert_eq!(bench.give(&set[2]), FragmentOutcome::Copy);
    bench.wait(Duration::from_millis(2_100));
    assert_eq!(bench.give(&set[0]), FragmentOutcome::AfterComplete);
    assert_eq!(bench.give(&set[1]), FragmentOutcome::Copy);
    assert_eq!(bench.give(&set[2]), FragmentOutcome::Copy);
}

#[test]
fn a_late_repetition_of_a_fragment_opens_nothing() {
    let mut bench = bench();
    let cut = parts(&[7; 300], 5, 100);
    let outcomes: Vec<_> = cut.iter().map(|part| bench.give(part)).collect();
    assert!(matches!(outcomes[2], FragmentOutcome::Complete(_)));
    assert!(
        cut.iter()
            .all(|part| bench.give(part) == FragmentOutcome::AfterComplete)
    );
    bench.wait(Duration::from_millis(1_001));
    assert_eq!(
        bench.give(&cut[0]),
        FragmentOutcome::Pending,
        "the network does not repeat for that long"
    );
}

#[test]
fn duplicates_are_counted_and_change_nothing() {
    let mut bench = bench();
    let cut = parts(b"abcdef", 5, 2);
    assert_eq!(bench.give(&cut[0]), FragmentOutcome::Pending);
    assert_eq!(bench.give(&cut[0]), FragmentOutcome::Duplicate);
    assert_eq!(bench.give(&cut[1]), FragmentOutcome::Pending);
    assert_eq!(bench.give(&cut[1]), FragmentOutcome::Duplicate);
    assert_eq!(payload(bench.give(&cut[2])), "abcdef");
    assert_eq!(bench.stats().duplicates, 2);
}

#[test]
fn an_index_outside_the_total_is_counted_and_ignored() {
    let mut bench = bench();
    for (index, total) in [(0, 0), (3, 3), (255, 1)] {
        let given = (
            Fragment {
                id: 5,
                index,
                total,
            },
            fragment(5, index, total, b"x"),
        );
        let expected = FragmentOutcome::Refused(FragmentRefusal::Index { index, total });
        assert_eq!(bench.give(&given), expected);
    }
    assert_eq!((bench.stats().refused, bench.stats().open), (3, 0));
    let last = (
        Fragment {
            id: 5,
            index: 2,
            total: 3,
        },
        fragment(5, 2, 3, b"x"),
    );
    assert_eq!(bench.give(&last), FragmentOutcome::Pending);
}

#[test]
fn a_number_in_use_again_begins_a_new_message() {
    let another_total = parts(b"ghijkl", 5, 3);
    let mut another_header = parts(b"ghijkl", 5, 2);
    for (_, frame) in &mut another_header {
        frame.headers.push("k", "v").expect("short");
    }
    let mut another_kind = parts(b"ghijkl", 5, 2);
    another_kind
        .iter_mut()
        .for_each(|(_, frame)| frame.kind = FrameType::Ping);
    let another_text = parts(b"ghijkl", 5, 2);
    for second in [another_total, another_header, another_kind, another_text] {
        let mut bench = bench();
        assert_eq!(
            bench.give(&parts(b"abcdef", 5, 2)[0]),
            FragmentOutcome::Pending
        );
        let outcomes: Vec<_> = second.iter().map(|part| bench.give(part)).collect();
        let last = outcomes.into_iter().last().expect("some");
        assert_eq!(payload(last), "ghijkl");
        let stats = bench.stats();
        assert_eq!(stats.replaced + stats.open as u64, 1, "{stats:?}");
    }
}

#[test]
fn peers_do_not_share_numbers() {
    let mut bench = bench();
    let (ours, theirs) = (parts(b"abcd", 5, 2), parts(b"efgh", 5, 2));
    assert_eq!(bench.give(&ours[0]), FragmentOutcome::Pending);
    bench.peer = address(2);
    assert_eq!(bench.give(&theirs[1]), FragmentOutcome::Pending);
    assert_eq!(payload(bench.give(&theirs[0])), "efgh");
    bench.peer = address(1);
    assert_eq!(payload(bench.give(&ours[1])), "abcd");
}

#[test]
fn progress_names_what_is_missing() {
    let mut bench = bench();
    let cut = parts(&[7; 40], 5, 2);
    for at in [0, 1, 4, 7, 8, 12] {
        bench.give_as(WIDE, &cut[at].0, &cut[at].1);
    }
    let peer = bench.peer;
    let progress = |ranges_max| {
        let progress = bench
            .reassembly
            .progress(peer, 5, ranges_max)
            .expect("begun");
        (progress.next, progress.missing)
    };
    assert_eq!(progress(9), (13, vec![(2, 3), (5, 6), (9, 11)]));
    assert_eq!(
        progress(2),
        (9, vec![(2, 3), (5, 6)]),
        "cut off where the third begins"
    );
    assert_eq!(bench.reassembly.progress(peer, 6, 9), None);
}

proptest! {
    #[test]
    fn any_order_with_duplicates_gives_the_frame_once(
        length in 1_200_usize..20_000, seed: u64, wide: bool,
    ) {
        let mut rng = Rng::new(seed);
        let mut frame = Frame::data(Headers::new(), simulation::payload(seed, length));
        frame.headers.push("n", "1").expect("short");
        let numbering = if wide { WIDE } else { Numbering::Base };
        let split = Split::new(frame.clone(), 3, numbering, 1200).expect("fits");
        let mut order: Vec<u32> = (0..split.total()).chain(0..split.total()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, usize::try_from(rng.below(at as u64 + 1)).expect("small"));
        }
        let mut bench = bench();
        let mut messages = Vec::new();
        for index in order {
            let mut octets = BytesMut::new();
            split.encode(index, &mut octets).expect("planned");
            let part = Frame::decode_datagram(octets.freeze(), 1200).expect("a frame");
            let place = Fragment::parse(&part.headers, numbering).expect("a fragment");
            if let FragmentOutcome::Complete(message) = bench.give_as(numbering, &place, &part) {
                messages.push(message);
            }
        }
        prop_assert_eq!(messages, [frame]);
        prop_assert_eq!((bench.stats().open, bench.stats().bytes), (0, 0));
    }
}
