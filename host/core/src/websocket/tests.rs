//! The rules of RFC 6455, octet by octet.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{testing::epoch, wire::Role};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1000;

fn times() -> WebSocketTimes {
    WebSocketTimes {
        ping_interval: Some(Duration::from_secs(20)),
        ping_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(300),
    }
}

fn socket(role: Role) -> WebSocket {
    let decoder = WebSocketDecoder::new(role, false, LIMIT);
    WebSocket::new(role, || KEY, decoder, times(), epoch())
}

/// A frame of a client, as its octets.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let length = payload.len() as u64;
    let opcode = Opcode::Text;
    let head = WebSocketHead {
        is_final: true,
        is_compressed: false,
        opcode,
        length,
        mask: Some(KEY),
    };
    head.write(&mut octets);
    octets[0] = first;
    let mut payload = payload.to_vec();
    apply_mask(&mut payload, KEY, 0);
    octets.extend_from_slice(&payload);
    octets
}

fn decode_all(octets: &[u8], piece: usize) -> (Vec<WebSocketPiece>, Option<WebSocketFault>) {
    let mut decoder = WebSocketDecoder::new(Role::Server, true, LIMIT);
    let (mut input, mut pieces) = (BytesMut::new(), Vec::new());
    for piece in octets.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => break,
                Err(fault) => return (pieces, Some(fault)),
            }
        }
    }
    (pieces, None)
}

/// Messages and control frames of `pieces`, whatever parts they came in.
fn joined(pieces: Vec<WebSocketPiece>) -> Vec<(String, Vec<u8>)> {
    let mut joined: Vec<(String, Vec<u8>)> = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    for piece in pieces {
        match piece {
            WebSocketPiece::Data(piece) => {
                open.extend_from_slice(&piece.octets);
                if piece.is_last {
                    joined.push((piece.kind.to_string(), std::mem::take(&mut open)));
                }
            }
            WebSocketPiece::Ping(payload) => joined.push(("ping".into(), payload.to_vec())),
            WebSocketPiece::Pong(payload) => joined.push(("pong".into(), payload.to_vec())),
            WebSocketPiece::Close(close) => {
                let close = close.map_or_else(String::new, |close| close.to_string());
                joined.push(("close".into(), close.into_bytes()));
            }
        }
    }
    joined
}

#[track_caller]
fn check_fault(octets: &[u8], expected: WebSocketFault, code: u16) {
    for piece in 1..=octets.len() {
        let (_, fault) = decode_all(octets, piece);
        assert_eq!(fault.as_ref(), Some(&expected), "{octets:x?} by {piece}");
    }
    assert_eq!(expected.code().value(), code);
}

#[track_caller]
fn check_messages(octets: &[u8], expected: &[(&str, &[u8])]) {
    for piece in 1..=octets.len() {
        let (pieces, fault) = decode_all(octets, piece);
        assert_eq!(fault, None);
        let found = joined(pieces);
        let found: Vec<_> = found
            .iter()
            .map(|(k, p)| (k.as_str(), p.as_slice()))
            .collect();
        assert_eq!(found, expected, "by {piece}");
    }
}

#[test]
fn reads_the_examples_of_the_rfc() {
    // Section 5.7: a masked Hello, and one in two frames with a Ping within.
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    check_messages(&hello, &[("text", b"Hello")]);
    let parts = [
        masked(0x01, b"Hel"),
        masked(0x89, b"Hello"),
        masked(0x80, b"lo"),
    ];
    check_messages(&parts.concat(), &[("ping", b"Hello"), ("text", b"Hello")]);
}

#[test]
fn writes_the_examples_of_the_rfc() {
    let mut server = socket(Role::Server);
    server.send(MessageKind::Text, false, "Hello".into());
    let frame = server.poll_transmit().expect("a frame");
    assert_eq!([&frame.head[..], &frame.payload].concat(), b"\x81\x05Hello");
    let mut client = socket(Role::Client);
    client.send(MessageKind::Text, false, "Hello".into());
    let frame = client.poll_transmit().expect("a frame");
    assert_eq!(
        [&frame.head[..], &frame.payload].concat(),
        masked(0x81, b"Hello")
    );
    assert_eq!(client.poll_transmit(), None);
}

#[test]
fn lengths_have_one_form_each() {
    for (length, n_head) in [(0, 2), (125, 2), (126, 4), (0xFFFF, 4), (0x1_0000, 10)] {
        let head = WebSocketHead {
            is_final: false,
            is_compressed: true,
            opcode: Opcode::Binary,
            length,
            mask: None,
        };
        let mut octets = Vec::new();
        head.write(&mut octets);
        assert_eq!(octets.len(), n_head);
        assert_eq!(WebSocketHead::read(&octets), Ok(Some((head, n_head))));
        for end in 0..n_head {
            assert_eq!(WebSocketHead::read(&octets[..end]), Ok(None));
        }
    }
    check_fault(&[0x82, 0xFE, 0, 125], WebSocketFault::Length(125), 1002);
    let wide = [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
    check_fault(&wide, WebSocketFault::Length(0xFFFF), 1002);
    let signed = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0];
    check_fault(&signed, WebSocketFault::Length(0x8000_0000_0001_0000), 1002);
}

#[test]
fn refuses_what_has_no_meaning() {
    check_fault(
        &masked(0xA1, b""),
        WebSocketFault::ReservedBits(0b010),
        1002,
    );
    check_fault(
        &masked(0x91, b""),
        WebSocketFault::ReservedBits(0b001),
        1002,
    );
    check_fault(
        &masked(0xC9, b""),
        WebSocketFault::ReservedBits(0b100),
        1002,
    );
    for opcode in [3, 7, 0xB, 0xF] {
        let expected = WebSocketFault::ReservedOpcode(opcode);
        check_fault(&masked(0x80 | opcode, b""), expected, 1002);
    }
    check_fault(&[0x81, 0x00], WebSocketFault::Unmasked, 1002);
    check_fault(&masked(0x80, b""), WebSocketFault::NothingToContinue, 1002);
    let within = [masked(0x01, b"a"), masked(0x81, b"b")].concat();
    check_fault(&within, WebSocketFault::MessageWithin, 1002);
    let compressed_later = [masked(0x01, b"a"), masked(0xC0, b"b")].concat();
    check_fault(&compressed_later, WebSocketFault::ReservedBits(0b100), 1002);
}

#[test]
fn a_control_frame_is_short_and_whole() {
    check_messages(&masked(0x89, &[7; 125]), &[("ping", &[7; 125])]);
    check_fault(
        &masked(0x89, &[7; 126]),
        WebSocketFault::LongControl(126),
        1002,
    );
    check_fault(&masked(0x0A, b""), WebSocketFault::FragmentedControl, 1002);
}

#[test]
fn a_message_of_the_limit_passes_and_one_more_octet_does_not() {
    let (most, one) = ([1; LIMIT], [2; 1]);
    check_messages(&masked(0x82, &most), &[("binary", &most)]);
    let over = [masked(0x02, &most), masked(0x80, &one)].concat();
    check_fault(&over, WebSocketFault::TooLong { limit: LIMIT }, 1009);
    // Nothing of it need have come.
    let declared = [0x82, 0xFF, 0, 0, 0x7F, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    check_fault(&declared, WebSocketFault::TooLong { limit: LIMIT }, 1009);
}

#[test]
fn close_says_nothing_or_a_code_that_may_be_sent() {
    check_messages(&masked(0x88, b""), &[("close", b"")]);
    check_messages(&masked(0x88, b"\x03\xe8bye"), &[("close", b"1000 bye")]);
    check_fault(&masked(0x88, b"\x03"), WebSocketFault::ClosePayload, 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        let octets = masked(0x88, &code.to_be_bytes());
        check_fault(&octets, WebSocketFault::CloseCode(code), 1002);
    }
    for code in [1001_u16, 1003, 1007, 1014, 3000, 4999] {
        let close = code.to_string();
        check_messages(
            &masked(0x88, &code.to_be_bytes()),
            &[("close", close.as_bytes())],
        );
    }
    check_fault(
        &masked(0x88, b"\x03\xe8\xff"),
        WebSocketFault::NotUtf8,
        1007,
    );
}

#[test]
fn a_close_is_answered_with_its_code_and_ends_both_directions() {
    let mut server = socket(Role::Server);
    server.send(MessageKind::Text, false, "before".into());
    let mut input = BytesMut::from(&masked(0x88, b"\x03\xe9going")[..]);
    input.extend_from_slice(&masked(0x81, b"after"));
    assert_eq!(server.handle_bytes(epoch(), &mut input), None);
    assert!(server.is_closed() && input.is_empty());
    let Some(ClosedBy::Peer(Some(close))) = server.closed_by() else {
        panic!("{:?}", server.closed_by());
    };
    assert_eq!(
        (close.code, close.reason.as_str()),
        (CloseCode::GOING_AWAY, "going")
    );
    server.send(MessageKind::Text, false, "late".into());
    assert_eq!(
        server.poll_transmit().expect("queued before").payload,
        "before"
    );
    assert_eq!(
        server.poll_transmit().expect("the answer").payload,
        &b"\x03\xe9"[..]
    );
    assert_eq!(server.poll_transmit(), None);
}

#[test]
fn a_fault_is_told_in_the_place_of_what_is_queued() {
    let mut server = socket(Role::Server);
    server.send(MessageKind::Text, false, "queued".into());
    let mut input = BytesMut::from(&[0x81, 0x00][..]);
    assert_eq!(server.handle_bytes(epoch(), &mut input), None);
    assert_eq!(
        server.closed_by(),
        Some(&ClosedBy::Fault(WebSocketFault::Unmasked))
    );
    let frame = server.poll_transmit().expect("a Close");
    assert_eq!(&frame.payload[..2], 1002_u16.to_be_bytes());
    assert_eq!(&frame.payload[2..], b"a frame of a client is not masked");
    assert_eq!(server.poll_transmit(), None);
}

#[test]
fn a_reason_is_cut_at_a_character() {
    let reason = "é".repeat(100);
    let payload = CloseFrame::new(CloseCode::NORMAL, reason).write();
    assert_eq!(payload.len(), 2 + 122);
    assert!(std::str::from_utf8(&payload[2..]).is_ok());
}

#[test]
fn many_pings_have_one_pong_and_it_goes_first() {
    let mut server = socket(Role::Server);
    server.send(MessageKind::Binary, false, "queued".into());
    let mut input = BytesMut::from(&[masked(0x89, b"1"), masked(0x89, b"2")].concat()[..]);
    assert_eq!(server.handle_bytes(epoch(), &mut input), None);
    let pong = server.poll_transmit().expect("a Pong");
    assert_eq!(
        (&pong.head[..], &pong.payload[..]),
        (&b"\x8a\x01"[..], &b"2"[..])
    );
    assert_eq!(server.poll_transmit().expect("queued").payload, "queued");
    assert_eq!(server.poll_transmit(), None);
}

fn seconds(n: u64) -> Instant {
    epoch() + Duration::from_secs(n)
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut server = socket(Role::Server);
    assert_eq!(server.poll_timeout(), Some((seconds(20), "ping")));
    server.handle_timeout(seconds(19));
    assert_eq!(server.poll_transmit(), None);
    server.handle_timeout(seconds(20));
    assert_eq!(
        &server.poll_transmit().expect("a Ping").head[..],
        b"\x89\x00"
    );
    assert_eq!(server.poll_timeout(), Some((seconds(30), "pong")));
    let mut input = BytesMut::from(&masked(0x8A, b"")[..]);
    assert_eq!(server.handle_bytes(seconds(25), &mut input), None);
    assert_eq!(server.poll_timeout(), Some((seconds(45), "ping")));
    server.handle_timeout(seconds(45));
    server.handle_timeout(seconds(55));
    let fault = WebSocketFault::PingTimeout(Duration::from_secs(10));
    assert_eq!(server.closed_by(), Some(&ClosedBy::Fault(fault)));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn without_pings_silence_has_the_idle_timeout() {
    let decoder = WebSocketDecoder::new(Role::Server, false, LIMIT);
    let times = WebSocketTimes {
        ping_interval: None,
        ..times()
    };
    let mut server = WebSocket::new(Role::Server, || KEY, decoder, times, epoch());
    server.on_heard(seconds(10));
    assert_eq!(server.poll_timeout(), Some((seconds(310), "idle")));
    server.handle_timeout(seconds(310));
    let fault = WebSocketFault::Idle(Duration::from_secs(300));
    assert_eq!(server.closed_by(), Some(&ClosedBy::Fault(fault)));
}

#[test]
fn text_is_checked_over_the_parts_of_a_character() {
    let text = "aé€😀z";
    for at in 0..=text.len() {
        let (one, other) = text.as_bytes().split_at(at);
        let mut check = Utf8Check::default();
        assert!(
            check.push(one) && check.push(other) && check.finish(),
            "{at}"
        );
    }
    let mut byte_by_byte = Utf8Check::default();
    assert!(text.bytes().all(|octet| byte_by_byte.push(&[octet])));
    for broken in [
        &b"\xff"[..],
        b"\xc3(",
        b"\xed\xa0\x80",
        b"\xf4\x90",
        b"\xc0\x80",
    ] {
        let mut check = Utf8Check::default();
        assert!(
            !broken.iter().all(|octet| check.push(&[*octet])),
            "{broken:x?}"
        );
        assert!(!Utf8Check::default().push(broken), "{broken:x?}");
    }
    let mut unfinished = Utf8Check::default();
    assert!(unfinished.push(b"\xe2\x82") && !unfinished.finish());
    assert!(unfinished.finish(), "the next text begins anew");
}

#[test]
fn a_mask_goes_on_where_it_stopped() {
    let plain: Vec<u8> = (0..50).collect();
    let mut whole = plain.clone();
    apply_mask(&mut whole, KEY, 0);
    for at in 0..plain.len() {
        let mut parts = plain.clone();
        apply_mask(&mut parts[..at], KEY, 0);
        apply_mask(&mut parts[at..], KEY, at);
        assert_eq!(parts, whole, "{at}");
    }
    assert!(
        whole
            .iter()
            .zip(&plain)
            .enumerate()
            .all(|(n, (a, b))| a ^ b == KEY[n % 4])
    );
}

proptest! {
    #[test]
    fn a_cut_changes_nothing_of_what_is_read(
        frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
        piece in 1_usize..40,
    ) {
        let octets: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
        let (whole, fault) = decode_all(&octets, octets.len().max(1));
        let (parts, fault_in_parts) = decode_all(&octets, piece);
        prop_assert_eq!(joined(whole), joined(parts));
        prop_assert_eq!(fault, fault_in_parts);
    }

    #[test]
    fn what_a_client_sends_is_what_a_server_reads(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (mut client, mut server) = (socket(Role::Client), socket(Role::Server));
        client.send(MessageKind::Binary, false, Bytes::from(payload.clone()));
        let frame = client.poll_transmit().expect("a frame");
        let mut input = BytesMut::from(&[&frame.head[..], &frame.payload].concat()[..]);
        let piece = server.handle_bytes(epoch(), &mut input).expect("a message");
        prop_assert!(piece.is_last && piece.kind == MessageKind::Binary);
        prop_assert_eq!(&piece.octets[..], &payload[..]);
    }
}
