//! The full dialect: greeting, selective acknowledgement, close.

use super::{report::REPORTS_MAX, *};
use crate::wire::reassembly::ReassemblyProgress;
use crate::wire::reliable::Sack;

/// A client and a server that have greeted each other.
fn greeted() -> (Side, Side) {
    let (mut client, mut server) = (Side::client(), Side::server());
    client
        .endpoint
        .connect(client.now, server.address)
        .expect("room");
    for _ in 0..2 {
        exchange(&mut client, &mut server, |_| false);
        let events = client.events();
        assert!(
            matches!(events[..], [] | [PeerEvent::Established(Dialect::Full(_))]),
            "{events:?}"
        );
    }
    let events = server.events();
    assert!(
        matches!(events[..], [PeerEvent::Established(Dialect::Full(_))]),
        "{events:?}"
    );
    (client, server)
}

#[test]
fn hello_is_repeated_and_then_the_peer_counts_as_a_base_one() {
    let mut client = Side::client();
    let server = Side::server().address;
    client.endpoint.connect(client.now, server).expect("room");
    let id = client.send(server, vec![7; 500_000], DeliveryMode::Acknowledged);
    let small = client.send(server, "small", DeliveryMode::Plain);
    let mut n_hellos = 0;
    while client.events().is_empty() && client.now < epoch() + Duration::from_secs(9) {
        n_hellos += client.frames().len();
        client.wait(Duration::from_millis(10));
        if let Some(dialect) = client.endpoint.dialect(server) {
            assert_eq!(dialect, &Dialect::Base);
            break;
        }
    }
    assert_eq!(n_hellos, 4);
    let events = client.events();
    let [
        PeerEvent::Established(Dialect::Base),
        PeerEvent::Undelivered(failed, Undelivered::Split(error)),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(*failed, id);
    let text = error.to_string();
    assert!(
        text.contains("500000 octets") && text.contains("limit is 255"),
        "{text}"
    );
    assert_eq!(client.frames().len(), 1, "{small:?} waited for the dialect");
}

#[test]
fn a_repeated_hello_changes_nothing_and_another_one_begins_anew() {
    let mut server = Side::server();
    let client = Side::client().address;
    let hello = |nonce: &str| {
        let padding = "x".repeat(200);
        let headers = with(&[("features", "wide"), ("nonce", nonce), ("agent", &padding)]);
        Frame {
            headers,
            ..Frame::new(FrameType::Hello)
        }
    };
    server.give_frame(client, &hello("aa"));
    let first = server.endpoint.session_id(client);
    server.give_frame(client, &hello("aa"));
    assert_eq!(server.frames().len(), 2, "each HELLO gets its WELCOME");
    assert_eq!(server.endpoint.session_id(client), first);
    assert!(matches!(server.events()[..], [PeerEvent::Established(_)]));
    let id = server.send(client, "to the first", DeliveryMode::Acknowledged);
    server.give_frame(client, &hello("bb"));
    assert_ne!(server.endpoint.session_id(client), first);
    let reason = CloseReason::LinkEnded;
    let events = server.events();
    assert_eq!(
        events[..2],
        [
            PeerEvent::Undelivered(id, Undelivered::Closed(reason.clone())),
            PeerEvent::Closed(reason),
        ]
    );
    assert!(matches!(
        events[2..],
        [PeerEvent::Established(Dialect::Full(_))]
    ));
}

#[test]
fn fifty_kilobytes_arrive_whole_and_are_acknowledged() {
    let (mut client, mut server) = greeted();
    let payload = vec![7; 50_000];
    let id = client.send(server.address, payload.clone(), DeliveryMode::Acknowledged);
    exchange(&mut client, &mut server, |_| false);
    assert_eq!(server.messages(), [payload]);
    assert_eq!(client.events(), [PeerEvent::Delivered(id)]);
    assert_eq!(client.endpoint.stats().retransmits, 0);
}

#[test]
fn only_what_is_missing_is_sent_again() {
    let (mut client, mut server) = greeted();
    let payload = vec![7; 50_000];
    client.send(server.address, payload.clone(), DeliveryMode::Acknowledged);
    let mut lost = vec!["3", "4", "20"];
    exchange(&mut client, &mut server, |frame| {
        let index = frame.headers.get_str("frag-index");
        let found = lost.iter().position(|lost| index.as_deref() == Some(lost));
        found.map(|found| lost.remove(found)).is_some()
    });
    assert_eq!(server.messages(), [payload]);
    assert_eq!(client.endpoint.stats().retransmits, 3);
    assert_eq!(server.endpoint.stats().duplicates, 0);
}

#[test]
fn a_lost_tail_is_sent_again_after_a_short_silence() {
    let (mut client, mut server) = greeted();
    let payload = vec![7; 10_000];
    let id = client.send(server.address, payload.clone(), DeliveryMode::Acknowledged);
    let mut n_lost = 0;
    exchange(&mut client, &mut server, |frame| {
        let is_tail = frame
            .headers
            .get_str("frag-index")
            .is_some_and(|index| *index >= *"7");
        n_lost += usize::from(is_tail);
        is_tail
    });
    assert_eq!((n_lost, server.messages().len()), (2, 0));
    for side in [&mut client, &mut server] {
        side.wait(Duration::from_millis(350));
    }
    exchange(&mut client, &mut server, |_| false);
    assert_eq!(server.messages(), [payload]);
    assert_eq!(client.events(), [PeerEvent::Delivered(id)]);
}

#[test]
fn a_lost_acknowledgement_is_asked_for_and_the_message_not_delivered_again() {
    for length in [10, 10_000] {
        let (mut client, mut server) = greeted();
        let id = client.send(server.address, vec![7; length], DeliveryMode::Acknowledged);
        exchange(&mut client, &mut server, |frame| is(frame, FrameType::Ack));
        assert_eq!(server.messages().len(), 1);
        assert_eq!(client.events(), []);
        for side in [&mut client, &mut server] {
            side.wait(Duration::from_secs(1));
        }
        exchange(&mut client, &mut server, |_| false);
        assert_eq!(client.events(), [PeerEvent::Delivered(id)]);
        assert_eq!(server.messages().len(), 0);
    }
}

#[test]
fn a_receiver_that_forgot_what_it_had_gets_it_all() {
    let (mut client, mut server) = greeted();
    let payload = vec![7; 10_000];
    client.send(server.address, payload.clone(), DeliveryMode::Acknowledged);
    exchange(&mut client, &mut server, |frame| {
        frame.headers.get_str("frag-index").as_deref() == Some("8")
    });
    server.endpoint.reassembly.forget(client.address);
    for _ in 0..20 {
        for side in [&mut client, &mut server] {
            side.wait(Duration::from_millis(100));
        }
        exchange(&mut client, &mut server, |_| false);
    }
    assert_eq!(server.messages(), [payload]);
}

#[test]
fn a_report_that_lies_does_not_stop_the_sender_for_ever() {
    let (mut client, server) = greeted();
    let id = client.send(server.address, vec![7; 10_000], DeliveryMode::Acknowledged);
    let frames = client.frames();
    let msg_id = frames[0]
        .headers
        .get_str("msg-id")
        .expect("numbered")
        .parse()
        .expect("a number");
    let progress = ReassemblyProgress {
        epoch: 1,
        next: 9,
        missing: Vec::new(),
    };
    let lie = Sack {
        id: msg_id,
        progress,
    }
    .to_frame()
    .expect("short");
    client.give_frame(server.address, &lie);
    assert_eq!(
        client.frames().len(),
        1,
        "one more datagram asks for the end"
    );
    for _ in 0..300 {
        client.wait(Duration::from_millis(100));
        client.frames();
    }
    let reason = client.events();
    assert!(
        matches!(reason[..], [PeerEvent::Undelivered(failed, _)] if failed == id),
        "{reason:?}"
    );
}

#[test]
fn replies_to_full_peers_are_repeated_until_acknowledged() {
    let (mut client, mut server) = greeted();
    let id = server.send(client.address, "reply", DeliveryMode::Reply);
    assert_eq!(server.frames().len(), 1, "and lost");
    server.wait(Duration::from_millis(400));
    client.now = server.now;
    exchange(&mut client, &mut server, |_| false);
    assert_eq!(client.messages(), ["reply"]);
    assert_eq!(server.events(), [PeerEvent::Delivered(id)]);
}

#[test]
fn a_closing_client_says_goodbye_when_all_is_delivered() {
    let (mut client, mut server) = greeted();
    let id = client.send(server.address, "last words", DeliveryMode::Acknowledged);
    client
        .endpoint
        .close(client.now, server.address, CloseReason::Requested);
    let first = client.frames();
    assert_eq!(first.len(), 1, "no BYE yet");
    server.give_frame(client.address, &first[0]);
    exchange(&mut client, &mut server, |_| false);
    let closed = PeerEvent::Closed(CloseReason::Requested);
    assert_eq!(client.events(), [PeerEvent::Delivered(id), closed]);
    let events = server.events();
    let [PeerEvent::Message(message), ending @ ..] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(message.payload, "last words");
    assert_eq!(
        ending,
        [
            PeerEvent::PeerDraining,
            PeerEvent::Closed(CloseReason::PeerBye)
        ]
    );
    let to = server.address;
    let sent = client.endpoint.send(
        client.now,
        to,
        Frame::new(FrameType::Data),
        DeliveryMode::Plain,
    );
    assert!(sent.is_err());
}

#[test]
fn a_message_repeated_after_goodbye_is_acknowledged_and_not_delivered() {
    let (mut client, mut server) = greeted();
    client.send(server.address, "once", DeliveryMode::Acknowledged);
    let request = client.frames();
    server.give_frame(client.address, &request[0]);
    server.give_frame(client.address, &Frame::new(FrameType::Bye));
    assert_eq!(server.messages(), ["once"]);
    server.frames();
    server.give_frame(client.address, &request[0]);
    let acks = server.frames();
    assert!(
        matches!(&acks[..], [ack] if is(ack, FrameType::Ack)),
        "{acks:?}"
    );
    assert_eq!(server.events(), []);
}

#[test]
fn a_server_that_drains_delivers_its_replies_first() {
    let (mut client, mut server) = greeted();
    assert!(client.endpoint.begin(server.address) && server.endpoint.begin(client.address));
    server.endpoint.drain(server.now, &CloseReason::Shutdown);
    exchange(&mut client, &mut server, |_| false);
    assert_eq!(
        client.events(),
        [PeerEvent::PeerDraining],
        "the client is told at once"
    );
    let id = server.send(client.address, "reply", DeliveryMode::Reply);
    server.endpoint.finish(client.address);
    assert_eq!(server.events(), []);
    exchange(&mut client, &mut server, |_| false);
    assert_eq!(client.messages(), ["reply"]);
    let closed = PeerEvent::Closed(CloseReason::Shutdown);
    assert_eq!(server.events(), [PeerEvent::Delivered(id), closed]);
}

#[test]
fn a_thousand_messages_at_once_arrive_once_each() {
    let (mut client, mut server) = greeted();
    for at in 0..1_000_u32 {
        client.send(server.address, at.to_string(), DeliveryMode::Acknowledged);
    }
    let mut n = 0;
    let mut messages = Vec::new();
    for _ in 0..200 {
        exchange(&mut client, &mut server, |_| {
            n += 1;
            n % 10 == 0
        });
        messages.extend(server.messages());
        client.wait(Duration::from_millis(50));
        server.wait(Duration::from_millis(50));
    }
    messages.sort();
    let mut expected: Vec<Bytes> = (0..1_000_u32).map(|at| at.to_string().into()).collect();
    expected.sort();
    assert_eq!(messages, expected);
    assert_eq!(client.events().len(), 1_000);
}

#[test]
fn connecting_again_tells_the_end_of_what_was_on_its_way() {
    let (mut client, server) = greeted();
    let id = client.send(server.address, "lost", DeliveryMode::Acknowledged);
    client.frames();
    client.give_frame(server.address, &Frame::new(FrameType::Bye));
    assert_eq!(
        client.events(),
        [PeerEvent::PeerDraining],
        "its message may still arrive"
    );
    client
        .endpoint
        .connect(client.now, server.address)
        .expect("room");
    let events = client.events();
    let reason = CloseReason::PeerBye;
    let undelivered = PeerEvent::Undelivered(id, Undelivered::Closed(reason.clone()));
    assert_eq!(events, [undelivered, PeerEvent::Closed(reason)]);
    assert!(
        client
            .frames()
            .iter()
            .any(|frame| is(frame, FrameType::Hello))
    );
}

#[test]
fn messages_begun_for_ever_leave_a_bounded_number_of_reports() {
    let (client, mut server) = greeted();
    for id in 0..1_000_u32 {
        for index in ["0", "2", "4"] {
            let id = id.to_string();
            let headers = with(&[
                ("msg-id", &id),
                ("frag-id", &id),
                ("frag-index", index),
                ("frag-total", "9"),
            ]);
            let frame = Frame {
                flags: Flags::REQ_ACK,
                ..Frame::data(headers, "x")
            };
            server.give_frame(client.address, &frame);
        }
        let peer = server.endpoint.peers.peek(client.address).expect("known");
        assert!(peer.reports.len() <= REPORTS_MAX);
        server.frames();
    }
    let reports = server
        .endpoint
        .peers
        .peek(client.address)
        .expect("known")
        .reports
        .len();
    assert_eq!(reports, REPORTS_MAX);
}
