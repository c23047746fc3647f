//! Claims about the end of a session and the bounds of its queue.

use super::*;

/// A server that serves a base peer and has one call in flight.
fn busy_base_server() -> Session {
    let mut server = server();
    receive(&mut server, data("request"));
    events(&mut server);
    assert!(server.begin());
    server
}

fn bounded(limits: Limits) -> Session {
    let mut server = session(Role::Server, SessionConfig { limits, ..config() });
    receive(&mut server, data("1"));
    events(&mut server);
    server
}

#[test]
fn bye_ends_both_ends_when_nothing_is_in_flight() {
    let (mut client, mut server) = pair();
    client.close(epoch(), CloseReason::Requested);
    exchange(&mut client, &mut server);
    assert_eq!(
        events(&mut server),
        [
            SessionEvent::PeerDraining,
            SessionEvent::Closed(CloseReason::PeerBye)
        ]
    );
    exchange(&mut client, &mut server);
    assert_eq!(closed(&mut client), Some(CloseReason::Requested));
}

#[test]
fn what_is_in_flight_goes_on_after_bye() {
    let (mut client, mut server) = pair();
    assert!(client.begin());
    client.send(epoch(), data("request")).expect("room");
    client.close(epoch(), CloseReason::Requested);
    exchange(&mut client, &mut server);
    assert_eq!(server.poll_event(), Some(SessionEvent::PeerDraining));
    assert_eq!(
        server.poll_event(),
        Some(SessionEvent::Message(data("request")))
    );
    assert!(server.begin());
    assert_eq!(server.poll_event(), None);

    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    exchange(&mut client, &mut server);
    assert_eq!(
        events(&mut client),
        [
            SessionEvent::Message(data("reply")),
            SessionEvent::PeerDraining
        ]
    );
    client.finish();
    assert_eq!(closed(&mut client), Some(CloseReason::Requested));
    assert_eq!(closed(&mut server), Some(CloseReason::PeerBye));
}

#[test]
fn a_request_that_crosses_bye_is_still_answered() {
    let (mut client, mut server) = pair();
    server.close(epoch(), CloseReason::Shutdown);
    assert!(client.begin());
    client.send(epoch(), data("request")).expect("room");
    exchange(&mut client, &mut server);
    assert_eq!(
        events(&mut server),
        [SessionEvent::Message(data("request"))]
    );
    assert!(!server.begin(), "a server that said BYE begins nothing");
    server
        .send(epoch(), data("unavailable"))
        .expect("a refusal is said");
    exchange(&mut client, &mut server);
    assert_eq!(
        events(&mut client),
        [
            SessionEvent::PeerDraining,
            SessionEvent::Message(data("unavailable"))
        ]
    );
    assert!(
        !client.begin(),
        "a client begins nothing with a peer that said BYE"
    );
    client.finish();
    assert_eq!(closed(&mut client), Some(CloseReason::PeerBye));
    exchange(&mut client, &mut server);
    assert_eq!(
        events(&mut server),
        [
            SessionEvent::PeerDraining,
            SessionEvent::Closed(CloseReason::Shutdown)
        ]
    );
}

#[test]
fn a_base_peer_hears_bye_after_everything_else() {
    let mut server = busy_base_server();
    server.close(epoch(), CloseReason::Shutdown);
    assert_eq!(frames(&mut server), []);
    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    assert_eq!(
        frames(&mut server),
        [data("reply"), Frame::new(FrameType::Bye)]
    );
    assert_eq!(closed(&mut server), Some(CloseReason::Shutdown));
}

#[test]
fn a_base_peer_that_says_bye_hears_none() {
    let mut server = busy_base_server();
    receive(&mut server, Frame::new(FrameType::Bye));
    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    assert_eq!(frames(&mut server), [data("reply")]);
    let events = events(&mut server);
    assert_eq!(
        events,
        [
            SessionEvent::PeerDraining,
            SessionEvent::Closed(CloseReason::PeerBye)
        ]
    );
}

#[test]
fn a_request_right_before_bye_is_served() {
    let mut server = server();
    receive(&mut server, data("request"));
    receive(&mut server, Frame::new(FrameType::Bye));
    server.handle_link_end(epoch());
    let base = SessionEvent::Established(Dialect::Base);
    assert_eq!(server.poll_event(), Some(base));
    assert_eq!(
        server.poll_event(),
        Some(SessionEvent::Message(data("request")))
    );
    assert!(server.begin());
    assert_eq!(events(&mut server), [SessionEvent::PeerDraining]);
    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    assert_eq!(frames(&mut server), [data("reply")]);
    assert!(server.is_closed());
}

#[test]
fn the_drain_has_a_bound() {
    let mut server = busy_base_server();
    server.close(epoch(), CloseReason::Shutdown);
    assert_eq!(server.poll_timeout(), Some((after(30), "keep-alive")));
    server.handle_timeout(just_before(after(30)));
    assert!(!server.is_closed());
    server.handle_timeout(after(30));
    let reason = CloseReason::DrainTimeout {
        in_flight: 1,
        after: Duration::from_secs(30),
    };
    assert_eq!(closed(&mut server), Some(reason));
    assert_eq!(kinds(&mut server), [FrameType::Bye]);
}

#[test]
fn a_server_answers_after_the_end_of_the_link_and_a_client_ends() {
    let mut server = busy_base_server();
    server.handle_link_end(epoch());
    assert_eq!(events(&mut server), [SessionEvent::PeerDraining]);
    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    assert_eq!(frames(&mut server), [data("reply")]);
    assert_eq!(closed(&mut server), Some(CloseReason::LinkEnded));

    let (mut client, _) = pair();
    assert!(client.begin());
    client.handle_link_end(epoch());
    assert_eq!(
        events(&mut client),
        [SessionEvent::Closed(CloseReason::LinkEnded)]
    );
}

#[test]
fn the_queue_takes_its_limit_of_messages_and_not_one_more() {
    let limits = Limits {
        queue_messages_max: 3,
        ..Limits::default()
    };
    let mut server = bounded(limits);
    for _ in 0..3 {
        assert_eq!(server.send(epoch(), data("reply")), Ok(()));
    }
    let (messages, bytes) = (3, 60);
    let full = SendError::QueueFull { messages, bytes };
    assert_eq!(server.send(epoch(), data("reply")), Err(full));
    assert_eq!(
        closed(&mut server),
        Some(CloseReason::SlowReader { messages, bytes })
    );
    let said = frames(&mut server);
    assert_eq!(said.len(), 1, "what was queued is gone");
    assert_eq!(
        said[0].headers.get_str("code").as_deref(),
        Some("slow-reader")
    );
}

#[test]
fn a_queue_below_its_limit_of_octets_takes_a_frame_of_any_size_and_then_none() {
    let limits = Limits {
        queue_bytes_max: 40,
        ..Limits::default()
    };
    let mut server = bounded(limits.clone());
    assert_eq!(server.send(epoch(), data("reply")), Ok(()));
    assert_eq!(server.send(epoch(), data("reply")), Ok(()));
    assert_eq!(server.queued(), (2, 40));
    let mut server = bounded(limits);
    assert_eq!(server.send(epoch(), data("reply")), Ok(()));
    assert_eq!(server.send(epoch(), data("a longer reply")), Ok(()));
    let full = SendError::QueueFull {
        messages: 2,
        bytes: 49,
    };
    assert_eq!(server.send(epoch(), data("reply")), Err(full));
}

#[test]
fn a_session_is_congested_at_half_of_either_limit() {
    let limits = Limits {
        queue_messages_max: 4,
        queue_bytes_max: 1000,
        ..Limits::default()
    };
    let mut server = bounded(limits.clone());
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(server.is_congested());
        server.send(epoch(), data("reply")).expect("room");
    }
    assert_eq!(seen, [false, false, true]);
    let mut server = bounded(limits);
    let reply = Frame::data(Headers::new(), vec![0; 485]);
    assert_eq!(reply.encoded_len(), 500);
    server.send(epoch(), reply).expect("room");
    assert!(server.is_congested());
    assert_eq!(frames(&mut server).len(), 1);
    assert!(!server.is_congested());
}

#[test]
fn a_session_whose_reply_waits_is_not_idle() {
    let mut server = bounded(Limits::default());
    server.send(epoch(), data("reply")).expect("room");
    server.handle_timeout(after(300));
    assert!(!server.is_closed(), "it waits in the queue");
    assert_eq!(frames(&mut server).len(), 1);
    server.on_unwritten(after(599));
    server.handle_timeout(after(600));
    assert!(!server.is_closed(), "the link has not taken it");
    server.handle_timeout(after(899));
    assert_eq!(
        closed(&mut server).map(|reason| reason.name()),
        Some("idle")
    );
}

#[test]
fn a_ping_that_is_due_at_the_same_moment_does_not_put_off_the_idle_timeout() {
    let (_, mut server) = pair();
    server.handle_timeout(after(300));
    assert_eq!(
        closed(&mut server).map(|reason| reason.name()),
        Some("idle")
    );
}

#[test]
fn a_full_peer_that_ends_its_side_is_asked_whether_it_is_there() {
    let (_, mut server) = pair();
    receive(&mut server, data("request"));
    events(&mut server);
    assert!(server.begin());
    server.handle_link_end(epoch());
    let half = Duration::from_millis(500);
    for n in 1..=3 {
        assert_eq!(
            server.poll_timeout(),
            Some((epoch() + half * n, "keep-alive"))
        );
        server.handle_timeout(epoch() + half * n);
        assert_eq!(kinds(&mut server), [FrameType::Ping]);
    }
    server.send(epoch(), data("reply")).expect("room");
    server.finish();
    assert_eq!(events(&mut server), [SessionEvent::PeerDraining]);
    assert_eq!(kinds(&mut server), [FrameType::Data, FrameType::Bye]);
    assert_eq!(closed(&mut server), Some(CloseReason::LinkEnded));
}

#[test]
fn a_peer_that_pings_and_does_not_read_is_a_slow_reader() {
    let limits = Limits {
        queue_messages_max: 3,
        ..Limits::default()
    };
    let mut server = bounded(limits);
    for _ in 0..4 {
        receive(&mut server, Frame::new(FrameType::Ping));
    }
    assert_eq!(
        closed(&mut server).map(|reason| reason.name()),
        Some("slow-reader")
    );
}

#[test]
fn a_frame_whose_ack_finds_the_queue_full_is_not_taken() {
    let limits = Limits {
        queue_messages_max: 1,
        ..Limits::default()
    };
    let mut server = bounded(limits);
    server.send(epoch(), data("reply")).expect("room");
    let bye = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::new(FrameType::Bye)
    };
    receive(&mut server, bye);
    let reason = CloseReason::SlowReader {
        messages: 1,
        bytes: 20,
    };
    assert_eq!(events(&mut server), [SessionEvent::Closed(reason)]);
}

#[test]
fn a_frame_as_long_as_the_peer_takes_is_sent_and_one_past_it_is_not() {
    let mut server = server();
    receive(
        &mut server,
        frame(FrameType::Hello, &[("agent", "a"), ("max-frame", "1024")]),
    );
    let data = |length: usize| Frame::data(Headers::new(), vec![7; length - 15]);
    assert_eq!(server.send(epoch(), data(1024)), Ok(()));
    let too_long = SendError::TooLong {
        length: 1025,
        limit: 1024,
    };
    assert_eq!(server.send(epoch(), data(1025)), Err(too_long));
    assert!(!server.is_closed());
}

#[test]
fn a_frame_size_that_no_error_fits_into_is_refused_and_the_client_told() {
    for value in ["0", "100", "1023", "-1", "all"] {
        let hello = frame(FrameType::Hello, &[("agent", "a"), ("max-frame", value)]);
        for mut server in [server(), on_datagrams(Role::Server)] {
            assert!(server.handle_frame(epoch(), hello.clone()).is_err());
            let told = frames(&mut server);
            let [err] = &told[..] else { panic!("{told:?}") };
            let code = err.headers.get_str("code");
            assert_eq!(
                (err.kind, code.as_deref()),
                (FrameType::Err, Some("invalid-header")),
                "{value}"
            );
        }
    }
}

#[test]
fn urgent_frames_overtake_and_equals_do_not() {
    let mut server = bounded(Limits::default());
    let urgent = frame(FrameType::Data, &[("priority", "200")]);
    for frame in [data("1"), data("2"), urgent.clone()] {
        server.send(epoch(), frame).expect("room");
    }
    assert_eq!(frames(&mut server), [urgent, data("1"), data("2")]);
}
