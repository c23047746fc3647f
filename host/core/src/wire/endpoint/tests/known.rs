//! Who is known, who is forgotten first, and what an unknown address may do.

use super::*;

fn stranger(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 50_000))
}

fn server_of(peers_max: usize) -> Side {
    Side::new(
        Role::Server,
        2,
        EndpointConfig {
            peers_max,
            ..EndpointConfig::default()
        },
    )
}

fn hello() -> Frame {
    Frame {
        headers: with(&[
            ("agent", "test"),
            ("features", "echo"),
            ("nonce", "1234567"),
        ]),
        ..Frame::new(FrameType::Hello)
    }
}

/// A session with a client that is there.
fn greet(server: &mut Side, from: SocketAddr) {
    server.give_frame(from, &hello());
    server.datagrams();
    let Some(id) = server.endpoint.session_id(from) else {
        return;
    };
    let echo = Frame {
        headers: with(&[("session-id", &id.to_string())]),
        ..Frame::new(FrameType::Ping)
    };
    server.give_frame(from, &echo);
}

#[test]
fn a_client_hears_only_whom_it_has_connected_to() {
    let mut client = Side::client();
    client.give_frame(stranger(1), &Frame::data(Headers::new(), "x"));
    assert_eq!((client.events(), client.datagrams()), (vec![], vec![]));
    assert_eq!(client.endpoint.stats().peers, 0);
    let frame = Frame::data(Headers::new(), "x");
    let sent = client
        .endpoint
        .send(client.now, stranger(1), frame, DeliveryMode::Plain);
    assert_eq!(sent, Err(SendRefusal::UnknownPeer));
}

#[test]
fn an_acknowledgement_makes_nobody_known() {
    let mut server = Side::server();
    server.give_frame(stranger(1), &Frame::new(FrameType::Ack));
    assert_eq!(server.endpoint.stats().peers, 0);
}

#[test]
fn the_longest_silent_base_peer_makes_room() {
    let mut server = server_of(3);
    for last in [1, 2, 3, 1] {
        server.give_frame(stranger(last), &Frame::data(Headers::new(), "x"));
        server.wait(Duration::from_millis(1));
    }
    server.events();
    assert_eq!(server.endpoint.stats().peers, 3);
    server.give_frame(stranger(4), &Frame::data(Headers::new(), "x"));
    let closed: Vec<_> = std::iter::from_fn(|| server.endpoint.poll_event())
        .filter(|(_, event)| matches!(event, PeerEvent::Closed(_)))
        .map(|(address, _)| address)
        .collect();
    assert_eq!(closed, [stranger(2)]);
    let stats = server.endpoint.stats();
    assert_eq!(
        (stats.peers, stats.peers_evicted, stats.peers_refused),
        (3, 1, 0)
    );
}

#[test]
fn a_full_peer_makes_room_after_five_seconds_of_silence() {
    let mut server = server_of(2);
    for last in [1, 2] {
        greet(&mut server, stranger(last));
        server.events();
    }
    server.wait(Duration::from_millis(4_999));
    greet(&mut server, stranger(3));
    assert_eq!(server.endpoint.stats().peers_refused, 1);
    server.wait(Duration::from_millis(1));
    greet(&mut server, stranger(3));
    let stats = server.endpoint.stats();
    assert_eq!(
        (stats.peers, stats.peers_evicted, stats.peers_refused),
        (2, 1, 1)
    );
    assert_eq!(stats.peers_unvalidated, 0);
}

#[test]
fn a_peer_with_a_call_in_flight_is_not_forgotten() {
    let mut server = server_of(1);
    server.give_frame(stranger(1), &Frame::data(Headers::new(), "x"));
    assert_eq!(server.messages(), ["x"]);
    assert!(server.endpoint.begin(stranger(1)));
    server.give_frame(stranger(2), &Frame::data(Headers::new(), "x"));
    assert_eq!(server.endpoint.stats().peers_refused, 1);
    server.endpoint.finish(stranger(1));
    server.give_frame(stranger(2), &Frame::data(Headers::new(), "x"));
    assert_eq!(server.endpoint.stats().peers_evicted, 1);
}

#[test]
fn a_flood_of_strangers_does_not_disturb_a_full_peer() {
    let mut server = server_of(50);
    let friend = stranger(1);
    greet(&mut server, friend);
    server.events();
    for port in 0..5_000_u16 {
        let from = SocketAddr::from(([10, 9, 9, 9], port));
        server.give_frame(from, &Frame::data(Headers::new(), "x"));
        server.events();
        server.datagrams();
        let stats = server.endpoint.stats();
        assert!(
            stats.peers_unvalidated <= 50 && stats.peers <= 51,
            "{stats:?}"
        );
    }
    assert!(matches!(
        server.endpoint.dialect(friend),
        Some(Dialect::Full(_))
    ));
}

#[test]
fn a_peer_without_a_message_takes_two_kilobytes() {
    let bytes = size_of::<Peer>();
    println!("{bytes} bytes a peer");
    assert!(bytes <= 2048, "{bytes}");
}

#[test]
fn a_flood_of_hellos_does_not_push_out_who_has_work_under_way() {
    let mut server = server_of(100);
    let (base, full) = (stranger(1), stranger(2));
    let call = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(with(&[("msg-id", "1")]), "call")
    };
    for peer in [base, full] {
        if peer == full {
            greet(&mut server, full);
        }
        server.give_frame(peer, &call);
        assert_eq!(server.messages(), ["call"]);
    }
    for port in 0..10_050_u16 {
        let from = SocketAddr::from(([10, 9, 9, 9], port));
        server.give_frame(from, &hello());
        assert_eq!(server.events(), [], "nobody is told of who only greets");
        server.datagrams();
    }
    server.wait(Duration::from_millis(6_800));
    for peer in [base, full] {
        server.give_frame(peer, &call);
        assert_eq!(server.messages().len(), 0, "handled once");
        assert_eq!(server.frames().len(), 1, "acknowledged again");
    }
    let stats = server.endpoint.stats();
    assert!(stats.peers_unvalidated <= 100, "{stats:?}");
}

#[test]
fn sixteen_busy_peers_do_not_hide_the_idle_ones_from_newcomers() {
    let mut server = server_of(100);
    let call = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(with(&[("msg-id", "1")]), "call")
    };
    for port in 0..100_u16 {
        let from = SocketAddr::from(([10, 9, 9, 9], port));
        if port < 16 {
            // Without feature `echo` a call is handed on at once.
            let headers = with(&[("features", "wide"), ("nonce", "1")]);
            let greeting = Frame {
                headers,
                ..Frame::new(FrameType::Hello)
            };
            server.give_frame(from, &greeting);
            server.events();
            server.give_frame(from, &call);
            assert_eq!(server.messages(), ["call"]);
        } else {
            server.give_frame(from, &hello());
        }
        server.datagrams();
    }
    let newcomer = stranger(1);
    for _ in 0..2 {
        server.give_frame(newcomer, &hello());
    }
    assert!(server.endpoint.session_id(newcomer).is_some());
}

#[test]
fn a_silent_peer_is_closed_and_then_forgotten() {
    let session = SessionConfig {
        idle_timeout: Some(Duration::from_secs(60)),
        ..SessionConfig::default()
    };
    let mut server = Side::new(Role::Server, 2, EndpointConfig::new(session));
    server.give_frame(stranger(1), &Frame::data(Headers::new(), "x"));
    server.events();
    server.wait(Duration::from_millis(59_999));
    assert_eq!((server.events(), server.endpoint.n_open()), (vec![], 1));
    server.wait(Duration::from_millis(1));
    let after = Duration::from_secs(60);
    assert_eq!(
        server.events(),
        [PeerEvent::Closed(CloseReason::Idle { after })]
    );
    assert_eq!(
        (server.endpoint.n_open(), server.endpoint.stats().peers),
        (0, 1)
    );
    server.wait(Duration::from_secs(10));
    assert_eq!(server.endpoint.stats().peers, 0);
    assert_eq!(server.endpoint.poll_timeout(), None);
}

#[test]
fn what_is_held_before_the_greeting_is_bounded() {
    let limits = crate::limits::Limits {
        queue_messages_max: 2,
        queue_bytes_max: 200,
        ..Default::default()
    };
    let session = SessionConfig {
        limits,
        ..SessionConfig::default()
    };
    let mut client = Side::new(Role::Client, 1, EndpointConfig::new(session));
    let to = stranger(1);
    client.endpoint.connect(client.now, to).expect("room");
    let mut send = |length: usize| {
        let frame = Frame::data(Headers::new(), vec![7; length - 15]);
        client
            .endpoint
            .send(client.now, to, frame, DeliveryMode::Plain)
            .is_ok()
    };
    assert!(!send(201), "one past the octets");
    assert!(send(100) && send(100));
    assert!(!send(15), "one past the messages");
}

#[test]
fn connecting_twice_is_one_session() {
    let mut client = Side::client();
    let to = stranger(1);
    for _ in 0..2 {
        client.endpoint.connect(client.now, to).expect("room");
    }
    assert_eq!(client.frames().len(), 1);
}
