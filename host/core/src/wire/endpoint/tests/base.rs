//! The base dialect: what the published client sends and what it gets, octet by octet, and what the
//! published server gets from us.

use super::*;
use crate::wire::fragment::{Fragment, Numbering};

const REQUEST: &str = "56540103010b000000000506036d73672d696431323348656c6c6f8a57a96b";
const ACK_123: &str = "56540107000b000000000006036d73672d6964313233a07357bc";
const FRAGMENTS: [&str; 3] = [
    "56540103112e000000000606016d73672d6964370702667261672d696434320a01667261672d696e646578300a01667261672d746f74616c3348454c4c4f20e88282ad",
    "56540103112e000000000b06016d73672d6964370702667261672d696434320a01667261672d696e646578310a01667261672d746f74616c33465241474d454e54454420d758eb22",
    "56540103112e000000000506016d73672d6964370702667261672d696434320a01667261672d696e646578320a01667261672d746f74616c33574f524c44f7ba5b62",
];
const ACK_7: &str = "565401070009000000000006016d73672d6964370f5f068d";
/// The published client.
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 9], 50_000);

fn published() -> SocketAddr {
    CLIENT.into()
}

/// What the published client sends when it wants an acknowledgement.
fn request(msg_id: &str, payload: &'static str) -> Frame {
    let headers = with(&[("msg-id", msg_id)]);
    Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(headers, payload)
    }
}

#[test]
fn a_request_is_acknowledged_before_it_is_answered() {
    let mut server = Side::server();
    server.give(published(), hex(REQUEST));
    assert_eq!(server.messages(), ["Hello"]);
    server.send(published(), "reply", DeliveryMode::Reply);
    let mut reply = BytesMut::new();
    Frame::data(Headers::new(), "reply")
        .encode(&mut reply)
        .expect("short");
    assert_eq!(server.datagrams(), [hex(ACK_123), reply.freeze()]);
}

#[test]
fn a_repeated_request_is_acknowledged_again_and_delivered_once() {
    let mut server = Side::server();
    for at_ms in [0, 2_100, 2_250, 2_450] {
        server.give(published(), hex(REQUEST));
        assert_eq!(server.datagrams(), [hex(ACK_123)], "{at_ms}");
        server.wait(Duration::from_millis(at_ms));
    }
    assert_eq!(server.messages(), ["Hello"]);
    assert_eq!(server.endpoint.stats().duplicates, 3);
}

#[test]
fn a_client_restarted_on_its_port_counts_from_1_and_is_heard() {
    let mut server = Side::server();
    server.give_frame(published(), &request("1", "before"));
    server.give_frame(published(), &request("1", "after"));
    server.give_frame(published(), &request("1", "after"));
    assert_eq!(server.messages(), ["before", "after"]);
    server.wait(Duration::from_millis(10_001));
    server.give_frame(published(), &request("1", "after"));
    assert_eq!(server.messages(), ["after"]);
}

#[test]
fn acknowledges_what_the_published_server_acknowledges() {
    let check = |msg_id: &str, expected: Option<&str>| {
        let mut server = Side::server();
        server.give_frame(published(), &request(msg_id, "x"));
        let frames = server.frames();
        let acked: Vec<_> = frames
            .iter()
            .map(|frame| frame.headers.get_str("msg-id"))
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|id| Some(id.into())).collect();
        assert_eq!(acked, expected, "{msg_id:?}");
        assert_eq!(server.messages(), ["x"], "{msg_id:?}");
    };
    check("007", Some("7"));
    check("+5", Some("5"));
    check("0", Some("0"));
    check("18446744073709551615", Some("18446744073709551615"));
    check("18446744073709551616", None);
    check("-1", None);
    check("", None);
    check("1.0", None);
}

#[test]
fn acknowledges_every_type_and_nothing_without_the_flag() {
    for kind in FrameType::ALL {
        let mut server = Side::server();
        server.give_frame(published(), &Frame::data(Headers::new(), ""));
        server.events();
        server.give_frame(
            published(),
            &Frame {
                kind,
                ..request("7", "")
            },
        );
        server.events();
        let n_acks = server
            .frames()
            .iter()
            .filter(|frame| is(frame, FrameType::Ack))
            .count();
        assert_eq!(n_acks, 1, "{kind}");
        let frame = Frame {
            kind,
            flags: Flags::empty(),
            ..request("8", "")
        };
        server.give_frame(published(), &frame);
        assert!(
            !server
                .frames()
                .iter()
                .any(|frame| is(frame, FrameType::Ack)),
            "{kind}"
        );
    }
}

#[test]
fn fragments_in_any_order_get_one_acknowledgement() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut server = Side::server();
        let given = order.map(|at| {
            server.give(published(), hex(FRAGMENTS[at]));
            server.datagrams()
        });
        assert_eq!(given, [vec![], vec![], vec![hex(ACK_7)]]);
        assert_eq!(server.messages(), ["HELLO FRAGMENTED WORLD"]);
    }
}

#[test]
fn sets_of_copies_of_any_length_arrive_once() {
    for length in [1_300, 2_000, 10_000, 60_000] {
        let mut server = Side::server();
        let payload = vec![7; length];
        let mut n_acks = 0;
        for attempt in 0..2 {
            let total = (15 + 9 + length).div_ceil(1200);
            for index in 0..total {
                let (index, total) = (index.to_string(), total.to_string());
                let headers = with(&[
                    ("msg-id", "1"),
                    ("frag-id", "2"),
                    ("frag-index", &index),
                    ("frag-total", &total),
                ]);
                let flags = Flags::REQ_ACK.union(Flags::FRAG);
                let frame = Frame {
                    flags,
                    ..Frame::data(headers, payload.clone())
                };
                server.give_frame(published(), &frame);
            }
            n_acks += server.frames().len();
            let expected = if attempt == 0 {
                vec![payload.clone()]
            } else {
                vec![]
            };
            assert_eq!(
                server.messages(),
                expected,
                "{length} octets, attempt {attempt}"
            );
        }
        assert!(n_acks >= 2, "{length}: each attempt must be acknowledged");
    }
}

#[test]
fn the_probe_is_acknowledged_and_dropped() {
    let mut server = Side::server();
    let probe = "56540104011800000000000c01782d6175746f2d70726f62653106016d73672d69643196bfe811";
    server.give(published(), hex(probe));
    let ack = "565401070009000000000006016d73672d696431e63ca3b8";
    assert_eq!(server.datagrams(), [hex(ack)]);
    assert_eq!(server.events(), []);
}

#[test]
fn what_does_not_decode_is_counted_and_not_answered() {
    let mut server = Side::server();
    for wrong in [
        "5654020300000000000000eb0aafdc",
        "5654010300ffffffffffff",
        "56",
        "",
        "565401090000000000000000000000",
    ] {
        server.give(published(), hex(wrong));
    }
    for wrong in [
        "565401010000000000000090a29465",
        "56540101000000000000006494a290",
    ] {
        server.give(published(), hex(wrong));
    }
    assert_eq!((server.datagrams(), server.events()), (vec![], vec![]));
    let stats = server.endpoint.stats();
    assert_eq!((stats.malformed, stats.crc_errors, stats.peers), (4, 3, 0));
}

#[test]
fn replies_to_base_peers_are_cut_and_never_asked_for() {
    let mut server = Side::server();
    server.give_frame(published(), &request("1", ["x"; 2_000].concat().leak()));
    server.events();
    server.datagrams();
    server.send(published(), vec![7; 5_000], DeliveryMode::Reply);
    let frames = server.frames();
    assert_eq!(frames.len(), 5);
    assert!(
        frames
            .iter()
            .all(|frame| frame.flags == Flags::FRAG && frame.encoded_len() <= 1200)
    );
    server.wait(Duration::from_secs(20));
    assert_eq!(server.frames(), [], "nothing is repeated");
}

/// A client that knows its server for a base peer.
fn base_client() -> (Side, SocketAddr) {
    let session = SessionConfig {
        hello: false,
        ..SessionConfig::default()
    };
    let mut client = Side::new(Role::Client, 1, EndpointConfig::new(session));
    let server = SocketAddr::from(([10, 0, 0, 2], 9090));
    client.endpoint.connect(client.now, server).expect("room");
    assert_eq!(client.events(), [PeerEvent::Established(Dialect::Base)]);
    assert_eq!(client.datagrams(), Vec::<Bytes>::new());
    (client, server)
}

#[test]
fn an_unanswered_message_is_sent_at_the_published_times() {
    let (mut client, server) = base_client();
    let begin = client.now;
    let id = client.send(server, "x", DeliveryMode::Acknowledged);
    let mut sent = vec![(Duration::ZERO, client.frames())];
    while let Some((at, _)) = client
        .endpoint
        .poll_timeout()
        .filter(|(at, _)| *at < begin + Duration::from_secs(20))
    {
        client.now = at;
        client.endpoint.handle_timeout(at);
        let frames = client.frames();
        if !frames.is_empty() {
            sent.push((at - begin, frames));
        }
        let failed = client.events();
        if !failed.is_empty() {
            let reason = Undelivered::NotAcknowledged { attempts: 4 };
            assert_eq!(failed, [PeerEvent::Undelivered(id, reason)]);
            assert_eq!(at - begin, Duration::from_millis(8_700));
        }
    }
    let times: Vec<_> = sent.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 2_100, 4_300, 6_700]);
    assert!(
        sent.iter().all(|(_, frames)| *frames == sent[0].1),
        "octet-identical"
    );
    let [frame] = &sent[0].1[..] else {
        panic!("one datagram")
    };
    assert_eq!(frame.flags, Flags::REQ_ACK);
    let stats = client.endpoint.stats();
    assert_eq!((stats.retransmits, stats.undelivered), (3, 1));
}

#[test]
fn a_repeated_message_of_many_fragments_has_a_fresh_number() {
    let (mut client, server) = base_client();
    client.send(server, vec![7; 3_000], DeliveryMode::Acknowledged);
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let frames = client.frames();
        let part =
            |frame: &Frame| Fragment::parse(&frame.headers, Numbering::Base).expect("a part");
        let parts: Vec<_> = frames.iter().map(part).collect();
        assert_eq!(
            parts.iter().map(|part| part.index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        numbers.push(parts[0].id);
        client.wait(Duration::from_millis(2_400));
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
}

#[test]
fn an_acknowledgement_ends_the_repetitions() {
    let (mut client, server) = base_client();
    let id = client.send(server, "x", DeliveryMode::Acknowledged);
    let [frame] = &client.frames()[..] else {
        panic!("one datagram")
    };
    let msg_id = frame
        .headers
        .get_str("msg-id")
        .expect("numbered")
        .into_owned();
    // Flags, other headers and payload of an ACK do not matter, and zeros before the number do not.
    let headers = with(&[("k", "v"), ("msg-id", &format!("00{msg_id}"))]);
    let ack = Frame {
        kind: FrameType::Ack,
        ..Frame::data(headers, "text")
    };
    client.give_frame(published(), &ack);
    assert_eq!(client.events(), [], "from elsewhere");
    client.give_frame(server, &ack);
    assert_eq!(client.events(), [PeerEvent::Delivered(id)]);
    client.wait(Duration::from_secs(20));
    assert_eq!(client.frames(), []);
}

#[test]
fn numbers_count_upwards() {
    let (mut client, server) = base_client();
    for _ in 0..3 {
        client.send(server, "x", DeliveryMode::Acknowledged);
    }
    let number = |frame: &Frame| -> u64 {
        frame
            .headers
            .get_str("msg-id")
            .expect("numbered")
            .parse()
            .expect("a number")
    };
    let numbers: Vec<_> = client.frames().iter().map(number).collect();
    assert_eq!(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 2]);
}

#[test]
fn a_base_peer_is_not_told_goodbye() {
    let (mut client, server) = base_client();
    client
        .endpoint
        .close(client.now, server, CloseReason::Requested);
    assert_eq!(client.frames(), []);
    assert_eq!(client.events(), [PeerEvent::Closed(CloseReason::Requested)]);
}

#[test]
fn thirty_two_messages_are_on_their_way_to_a_base_peer_and_no_more() {
    let (mut client, server) = base_client();
    for _ in 0..33 {
        client.send(server, "x", DeliveryMode::Acknowledged);
    }
    let frames = client.frames();
    assert_eq!(frames.len(), 32);
    let headers = with(&[(
        "msg-id",
        &frames[0].headers.get_str("msg-id").expect("numbered"),
    )]);
    client.give_frame(
        server,
        &Frame {
            headers,
            ..Frame::new(FrameType::Ack)
        },
    );
    assert_eq!(client.frames().len(), 1);
}
