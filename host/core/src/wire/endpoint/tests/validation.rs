//! What an address gets before it has shown that it is no forgery, and what shows it.

use super::*;
use crate::wire::session::Features;

/// Where nobody has asked for anything.
fn victim() -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], 50_000))
}

fn hello(features: &str, nonce: &str) -> Frame {
    let headers = [
        ("agent", "test/1.0"),
        ("features", features),
        ("max-frame", "8388608"),
        ("nonce", nonce),
    ];
    Frame {
        headers: with(&headers),
        ..Frame::new(FrameType::Hello)
    }
}

fn call(msg_id: Option<&str>, payload: &str) -> Frame {
    let mut headers = with(&[("service", "echo"), ("correlation-id", "7")]);
    let mut flags = Flags::empty();
    if let Some(id) = msg_id {
        headers.push("msg-id", id).expect("short");
        flags = Flags::REQ_ACK;
    }
    Frame {
        flags,
        ..Frame::data(headers, payload.to_owned())
    }
}

fn echo(server: &Side, of: SocketAddr) -> Frame {
    let id = server.endpoint.session_id(of).expect("a session");
    let headers = with(&[("session-id", &id.to_string()), ("msg-id", "1")]);
    Frame {
        headers,
        flags: Flags::REQ_ACK,
        ..Frame::new(FrameType::Ping)
    }
}

/// Octets that the forged `frames` send, and octets that their address is sent for them within a
/// minute by a server that answers each with replies of all sizes, as events come.
fn amplification(frames: &[Frame]) -> (usize, usize) {
    let mut server = Side::server();
    let (mut n_in, mut n_out) = (0, 0);
    for frame in frames {
        n_in += frame.encoded_len();
        server.give_frame(victim(), frame);
        for size in [10_000, 39_000, 900, 300, 100, 20, 10, 0] {
            server.events();
            let reply = Frame::data(Headers::new(), vec![7; size]);
            for delivery in [
                DeliveryMode::Reply,
                DeliveryMode::Acknowledged,
                DeliveryMode::Plain,
            ] {
                let _ = server
                    .endpoint
                    .send(server.now, victim(), reply.clone(), delivery);
            }
            n_out += server.datagrams().iter().map(Bytes::len).sum::<usize>();
        }
    }
    for _ in 0..600 {
        server.wait(Duration::from_millis(100));
        server.events();
        n_out += server.datagrams().iter().map(Bytes::len).sum::<usize>();
    }
    (n_in, n_out)
}

#[test]
fn an_address_that_has_not_answered_gets_at_most_three_times_what_it_sent() {
    let ping = Frame {
        payload: Bytes::from_static(&[7; 40]),
        ..Frame::new(FrameType::Ping)
    };
    let cases = [
        ("empty hello", vec![Frame::new(FrameType::Hello)]),
        ("hello", vec![hello("wide,echo", "1")]),
        ("hello of an older client", vec![hello("wide", "1")]),
        ("two hellos", vec![hello("wide", "1"), hello("wide", "2")]),
        ("call", vec![call(None, "{}")]),
        ("acknowledged call", vec![call(Some("1"), "{}")]),
        ("ping", vec![ping]),
        (
            "hello and calls",
            vec![
                hello("wide", "1"),
                call(Some("1"), "{}"),
                call(Some("2"), "{}"),
            ],
        ),
        (
            "hello, calls and wrong acknowledgements",
            vec![
                hello("wide", "1"),
                call(Some("1"), "{}"),
                reliable_ack(1),
                reliable_ack(2),
            ],
        ),
    ];
    for (name, frames) in cases {
        let (n_in, n_out) = amplification(&frames);
        println!("{name}: {n_in} octets in, {n_out} out");
        assert!(n_out <= 3 * n_in, "{name}: {n_in} octets in, {n_out} out");
    }
}

fn reliable_ack(id: u64) -> Frame {
    crate::wire::reliable::ack(id)
}

#[test]
fn a_greeted_client_is_served_when_it_has_sent_the_number_back() {
    let mut server = Side::server();
    server.give_frame(victim(), &hello("wide,echo", "1"));
    assert_eq!(server.frames().len(), 1, "WELCOME");
    server.give_frame(victim(), &call(Some("1"), "early"));
    assert_eq!(server.events(), [], "not handed on");
    let answers = server.frames();
    assert!(
        matches!(&answers[..], [welcome] if is(welcome, FrameType::Welcome)),
        "{answers:?}"
    );
    let echo = echo(&server, victim());
    server.give_frame(victim(), &echo);
    let answers = server.frames();
    assert!(
        matches!(&answers[..], [ack] if is(ack, FrameType::Ack)),
        "{answers:?}"
    );
    server.give_frame(victim(), &call(Some("1"), "again"));
    assert_eq!(server.messages(), ["again"]);
    server.send(victim(), vec![7; 30_000], DeliveryMode::Reply);
    assert!(server.datagrams().len() > 20);
    assert_eq!(server.endpoint.stats().peers_unvalidated, 0);
}

#[test]
fn a_base_client_may_send_the_number_of_welcome_back_with_its_call() {
    let mut server = Side::server();
    server.give_frame(victim(), &call(None, "{}"));
    server.events();
    let reply = Frame::data(Headers::new(), vec![7; 2_000]);
    let refused = server
        .endpoint
        .send(server.now, victim(), reply.clone(), DeliveryMode::Reply);
    assert!(
        matches!(refused, Err(SendRefusal::Unvalidated { .. })),
        "{refused:?}"
    );
    let mut proven = call(None, "{}");
    let id = server.endpoint.session_id(victim()).expect("a session");
    proven
        .headers
        .push("session-id", id.to_string())
        .expect("short");
    server.give_frame(victim(), &proven);
    assert_eq!(server.messages(), ["{}"]);
    server.send(victim(), vec![7; 2_000], DeliveryMode::Reply);
    assert_eq!(server.datagrams().len(), 2);
}

/// A greeted client without feature `echo`, and the message it was sent.
fn older_client() -> (Side, u64) {
    let mut server = Side::server();
    server.give_frame(victim(), &hello("wide", "1"));
    server.give_frame(victim(), &call(Some("1"), &"x".repeat(500)));
    server.events();
    server.send(victim(), "reply", DeliveryMode::Reply);
    let frames = server.frames();
    let reply = frames.last().expect("sent");
    let id = reply.headers.get_str("msg-id").expect("numbered");
    (server, id.parse().expect("a number"))
}

fn is_validated(server: &Side) -> bool {
    server.endpoint.stats().peers_unvalidated == 0
}

#[test]
fn the_acknowledgement_of_a_message_shows_that_it_was_received() {
    let (mut server, id) = older_client();
    assert!(!is_validated(&server));
    server.give_frame(victim(), &reliable_ack(id));
    assert!(is_validated(&server));
}

#[test]
fn who_guesses_numbers_of_messages_is_not_believed() {
    let (mut server, id) = older_client();
    for guess in 0..8 {
        server.give_frame(victim(), &reliable_ack(guess));
    }
    server.give_frame(victim(), &reliable_ack(id));
    assert!(!is_validated(&server));
}

#[test]
fn another_hello_buys_no_further_guesses() {
    let mut server = Side::server();
    server.give_frame(victim(), &hello("wide", "1"));
    for guess in 0..8 {
        server.give_frame(victim(), &reliable_ack(guess));
    }
    server.give_frame(victim(), &hello("wide", "2"));
    server.give_frame(victim(), &call(Some("1"), &"x".repeat(500)));
    server.events();
    server.send(victim(), "reply", DeliveryMode::Reply);
    let frames = server.frames();
    let id = frames
        .last()
        .and_then(|reply| reply.headers.get_str("msg-id"));
    let id = id.expect("numbered").parse().expect("a number");
    server.give_frame(victim(), &reliable_ack(id));
    assert!(!is_validated(&server));
}

/// Whoever is pushed out and begins again may guess eight times once more. Numbers that differ in
/// their upper 24 bits only would be hit after 2^20 such lives.
#[test]
fn numbers_of_two_lives_of_a_peer_differ_in_their_lower_halves() {
    let numbers: Vec<u64> = [1_u128, 7]
        .into_iter()
        .map(|life| {
            let mut server = Side::new(Role::Server, 2, EndpointConfig::default());
            server.endpoint.draw = Box::new(move || SessionId(life << 32 | 5));
            server.give_frame(victim(), &hello("wide", "1"));
            server.give_frame(victim(), &call(Some("1"), &"x".repeat(500)));
            server.events();
            server.send(victim(), "reply", DeliveryMode::Reply);
            let frames = server.frames();
            let id = frames
                .last()
                .and_then(|reply| reply.headers.get_str("msg-id"));
            id.expect("numbered").parse().expect("a number")
        })
        .collect();
    assert_eq!(numbers, [5 << 32 | 2, 5 << 32 | 8]);
}

#[test]
fn nothing_is_repeated_to_an_address_that_has_not_answered() {
    let (mut server, _) = older_client();
    server.wait(Duration::from_secs(60));
    let said = server.frames();
    assert!(
        said.iter().all(|frame| is(frame, FrameType::Ping)),
        "{said:?}"
    );
    let events = server.events();
    assert!(
        matches!(events[..], [PeerEvent::Undelivered(..)]),
        "{events:?}"
    );
}

#[test]
fn a_forged_hello_does_not_end_a_session_and_that_of_a_new_client_does() {
    let mut server = Side::server();
    server.give_frame(victim(), &hello("wide,echo", "1"));
    let first = echo(&server, victim());
    server.give_frame(victim(), &first);
    server.events();
    let session = server.endpoint.session_id(victim());
    server.frames();
    server.give_frame(victim(), &hello("wide,echo", "2"));
    server.give_frame(victim(), &hello("wide,echo", "2"));
    server.give_frame(victim(), &hello("wide", "3"));
    let welcomes = server.frames();
    assert_eq!(welcomes.len(), 2, "{welcomes:?}");
    assert_eq!(
        (server.events(), server.endpoint.session_id(victim())),
        (vec![], session)
    );
    server.give_frame(victim(), &hello("wide,echo", "2"));
    let welcome = server.frames().remove(0);
    let id = welcome.headers.get_str("session-id").expect("named");
    let headers = with(&[("session-id", &id)]);
    let echo = Frame {
        headers,
        ..Frame::new(FrameType::Ping)
    };
    server.give_frame(victim(), &echo);
    let events = server.events();
    assert!(
        matches!(
            events[..],
            [
                PeerEvent::Closed(_),
                PeerEvent::Established(Dialect::Full(_))
            ]
        ),
        "{events:?}"
    );
    assert_ne!(server.endpoint.session_id(victim()), session);
}

#[test]
fn a_new_client_takes_the_room_of_the_session_before() {
    let config = EndpointConfig {
        peers_max: 1,
        ..EndpointConfig::default()
    };
    let mut server = Side::new(Role::Server, 2, config);
    server.give_frame(victim(), &hello("wide,echo", "1"));
    let first = echo(&server, victim());
    server.give_frame(victim(), &first);
    server.events();
    server.frames();
    server.give_frame(victim(), &hello("wide,echo", "2"));
    let welcome = server.frames().remove(0);
    // Somebody who is at work fills the table of addresses that have proven nothing.
    let busy = SocketAddr::from(([10, 9, 9, 9], 1));
    server.give_frame(busy, &call(Some("1"), "{}"));
    assert_eq!(server.messages(), ["{}"]);
    let id = welcome.headers.get_str("session-id").expect("named");
    let echo = Frame {
        headers: with(&[("session-id", &id)]),
        ..Frame::new(FrameType::Ping)
    };
    server.give_frame(victim(), &echo);
    let now = server.endpoint.session_id(victim()).expect("a session");
    assert_eq!(now.to_string(), id);
}

#[test]
fn an_answer_leaves_from_the_address_that_was_called() {
    let mut server = Side::server();
    for last in [2, 3] {
        let local = IpAddr::from([127, 0, 0, last]);
        let mut octets = BytesMut::new();
        call(Some(&last.to_string()), "{}")
            .encode(&mut octets)
            .expect("short");
        let octets = octets.freeze();
        server
            .endpoint
            .handle_datagram(server.now, victim(), Some(local), octets);
        let ack = server.endpoint.poll_transmit().expect("an ACK");
        assert_eq!((ack.to, ack.local), (victim(), Some(local)));
    }
}

/// Lets both sides talk for a while; gives what the server got.
fn converse(client: &mut Side, server: &mut Side, for_ms: u64) -> Vec<Bytes> {
    let mut messages = Vec::new();
    for _ in 0..for_ms / 10 {
        client.events();
        messages.extend(server.messages());
        exchange(client, server, |_| false);
        for side in [&mut *client, &mut *server] {
            side.wait(Duration::from_millis(10));
        }
    }
    messages
}

fn features(side: &Side, of: SocketAddr) -> Option<Features> {
    match side.endpoint.dialect(of)? {
        Dialect::Full(greeting) => Some(greeting.features),
        Dialect::Base => None,
    }
}

#[test]
fn a_client_greets_a_restarted_server_again_and_its_message_arrives_once() {
    for length in [30_000, 400_000] {
        let (mut client, mut server) = (Side::client(), Side::server());
        let to = server.address;
        client.endpoint.connect(client.now, to).expect("room");
        client.send(to, "before", DeliveryMode::Acknowledged);
        assert_eq!(converse(&mut client, &mut server, 500), ["before"]);
        let restarted = Side::new(Role::Server, 3, EndpointConfig::default());
        server.endpoint = restarted.endpoint;
        let payload = vec![7; length];
        client.send(to, payload.clone(), DeliveryMode::Acknowledged);
        let arrived = converse(&mut client, &mut server, 3_000);
        assert_eq!(arrived, [payload]);
        assert!(features(&server, client.address).is_some());
    }
}

#[test]
fn a_client_whose_greeting_was_lost_is_greeted_with_its_next_call() {
    for lost in [FrameType::Welcome, FrameType::Hello] {
        let (mut client, mut server) = (Side::client(), Side::server());
        let to = server.address;
        client.endpoint.connect(client.now, to).expect("room");
        for _ in 0..6 {
            exchange(&mut client, &mut server, |frame| is(frame, lost));
            client.wait(Duration::from_millis(250));
            server.now = client.now;
            client.events();
        }
        assert_eq!(client.endpoint.dialect(to), Some(&Dialect::Base));
        client
            .endpoint
            .send(
                client.now,
                to,
                call(None, "call"),
                DeliveryMode::Acknowledged,
            )
            .expect("sent");
        let mut arrived = converse(&mut client, &mut server, 3_000);
        if lost == FrameType::Hello {
            server
                .endpoint
                .send(
                    server.now,
                    client.address,
                    Frame::data(with(&[("correlation-id", "7")]), "reply"),
                    DeliveryMode::Reply,
                )
                .expect("short");
        }
        arrived.extend(converse(&mut client, &mut server, 1_000));
        assert_eq!(arrived, ["call"], "{lost} lost");
        assert!(features(&client, to).is_some(), "{lost} lost");
        assert!(is_validated(&server), "{lost} lost");
    }
}
