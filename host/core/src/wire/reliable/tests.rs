//! The waits of the published client, and how messages are numbered and acknowledged.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::wire::endpoint::SendId;

fn with(headers: &[(&str, &str)]) -> Headers {
    let mut built = Headers::new();
    for (key, value) in headers {
        built.push(key, value).expect("short");
    }
    built
}

#[test]
fn pauses_double_up_to_the_longest() {
    let retry = RetryConfig::default();
    let pauses: Vec<u128> = (0..8)
        .map(|retry_idx| retry.pause(retry_idx).as_millis())
        .collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    assert_eq!(retry.pause(u32::MAX), Duration::from_secs(5));
}

#[test]
fn gives_up_after_all_waits_and_pauses() {
    let check = |max_retries, expected_ms| {
        let retry = RetryConfig {
            max_retries,
            ..RetryConfig::default()
        };
        assert_eq!(
            retry.give_up_after(),
            Duration::from_millis(expected_ms),
            "{max_retries}"
        );
    };
    check(0, 2_000);
    check(1, 4_100);
    check(3, 8_700);
    // 9 waits, 100 to 3200 ms of pauses, and twice the longest.
    check(8, 18_000 + 6_300 + 10_000);
    let endless = RetryConfig {
        max_retries: u32::MAX,
        ..RetryConfig::default()
    };
    assert!(endless.give_up_after() > Duration::from_secs(1 << 32));
}

/// The number of the first message of a sender with that seed.
fn first_number(seed: u64) -> u64 {
    let mut outgoing = Outgoing::new(RetryConfig::default(), 1200, seed);
    outgoing.admit(SendId(1), Frame::data(Headers::new(), "x"));
    let mut octets = BytesMut::new();
    assert!(outgoing.poll_transmit(crate::testing::epoch(), &mut octets));
    let frame = Frame::decode_datagram(octets.freeze(), 1200).expect("a frame");
    msg_id(&frame.headers).expect("numbered")
}

#[test]
fn first_numbers_have_55_random_bits_and_17_digits_at_most() {
    let lowest = first_number(0);
    let distinct: std::collections::BTreeSet<u64> = (0..64)
        .map(|bit| first_number(1 << bit))
        .filter(|number| *number != lowest)
        .collect();
    assert_eq!((lowest, distinct.len()), (1, 55));
    assert!(first_number(u64::MAX).to_string().len() <= 17);
}

#[test]
fn a_receiver_takes_numbers_that_begin_anywhere() {
    let mut incoming = Incoming::new(Duration::from_secs(10));
    incoming.set_full();
    let now = crate::testing::epoch();
    let first = first_number(u64::MAX);
    // The second arrives before the first, and the upper half changes long after.
    for number in [first + 1, first, first + (1 << 31), first + (1 << 32)] {
        let payload = Bytes::from(number.to_string());
        let frame = Frame::data(Headers::new(), payload);
        assert_eq!(incoming.on_message(now, number, &frame), Arrival::New);
        assert_eq!(incoming.on_message(now, number, &frame), Arrival::Repeated);
    }
}

#[test]
fn the_number_follows_the_application_headers() {
    let frame = Frame::data(
        with(&[("n", "0"), ("msg-id", "forwarded"), ("k", "v")]),
        "Hello",
    );
    let frame = numbered(frame, 123).expect("short");
    assert_eq!(
        frame.headers,
        with(&[("n", "0"), ("k", "v"), ("msg-id", "123")])
    );
    assert_eq!(frame.flags, Flags::REQ_ACK);
}

#[test]
fn the_published_request_and_its_acknowledgement() {
    let frame = numbered(Frame::data(Headers::new(), "Hello"), 123).expect("short");
    assert_eq!(requested_ack(&frame), Some(123));
    let encode = |frame: &Frame| -> Bytes {
        let mut out = BytesMut::new();
        frame.encode(&mut out).expect("short");
        out.freeze()
    };
    assert_eq!(
        encode(&frame)[..],
        *b"\x56\x54\x01\x03\x01\x0b\0\0\0\0\x05\x06\x03msg-id123Hello\x8a\x57\xa9\x6b"
    );
    assert_eq!(
        encode(&ack(123))[..],
        *b"\x56\x54\x01\x07\0\x0b\0\0\0\0\0\x06\x03msg-id123\xa0\x73\x57\xbc"
    );
}

#[test]
fn the_first_number_counts() {
    let request = |headers: &[(&str, &str)]| {
        let frame = Frame::data(with(headers), "");
        requested_ack(&Frame {
            flags: Flags::REQ_ACK,
            ..frame
        })
    };
    assert_eq!(request(&[("msg-id", "1"), ("msg-id", "2")]), Some(1));
    assert_eq!(request(&[("msg-id", "x"), ("msg-id", "2")]), None);
    assert_eq!(request(&[("k", "1")]), None);
}
