//! Claims about the session machine: answers, keep-alive, idle and violations.

use std::time::Duration;

use super::*;
use crate::{headers::Headers, testing::epoch, wire::Flags};

mod bounds;
mod greeted;

const ID: SessionId = SessionId(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
const OTHER: SessionId = SessionId(1);

fn config() -> SessionConfig {
    SessionConfig {
        features: Features::MUX,
        ..SessionConfig::default()
    }
}

fn session(role: Role, config: SessionConfig) -> Session {
    let id = if role == Role::Server { ID } else { OTHER };
    Session::new(Arc::new(config), role, id, epoch())
}

fn client() -> Session {
    session(Role::Client, config())
}

fn server() -> Session {
    session(Role::Server, config())
}

fn on_datagrams(role: Role) -> Session {
    session(
        role,
        SessionConfig {
            link: Link::Datagram,
            ..config()
        },
    )
}

fn data(payload: &'static str) -> Frame {
    Frame::data(Headers::new(), payload)
}

/// A frame with headers and no payload.
fn frame(kind: FrameType, pairs: &[(&str, &str)]) -> Frame {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short headers");
    }
    Frame {
        headers,
        ..Frame::new(kind)
    }
}

fn events(session: &mut Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn frames(session: &mut Session) -> Vec<Frame> {
    std::iter::from_fn(|| session.poll_frame()).collect()
}

fn kinds(session: &mut Session) -> Vec<FrameType> {
    frames(session)
        .into_iter()
        .map(|frame| frame.kind)
        .collect()
}

fn closed(session: &mut Session) -> Option<CloseReason> {
    events(session).into_iter().find_map(|event| match event {
        SessionEvent::Closed(reason) => Some(reason),
        SessionEvent::Established(_)
        | SessionEvent::Message(_)
        | SessionEvent::Acknowledged(_)
        | SessionEvent::Pong(_)
        | SessionEvent::PeerDraining => None,
    })
}

fn receive(session: &mut Session, frame: Frame) {
    session.handle_frame(epoch(), frame).expect("no violation");
}

/// Carries frames to and fro until neither has more to say.
fn exchange(a: &mut Session, b: &mut Session) {
    loop {
        let (from_a, from_b) = (frames(a), frames(b));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        from_a.into_iter().for_each(|frame| receive(b, frame));
        from_b.into_iter().for_each(|frame| receive(a, frame));
    }
}

/// Two ends that have greeted each other.
fn pair() -> (Session, Session) {
    let (mut client, mut server) = (client(), server());
    exchange(&mut client, &mut server);
    for session in [&mut client, &mut server] {
        assert!(matches!(
            events(session)[..],
            [SessionEvent::Established(Dialect::Full(_))]
        ));
    }
    (client, server)
}

fn after(seconds: u64) -> Instant {
    epoch() + Duration::from_secs(seconds)
}

fn just_before(at: Instant) -> Instant {
    at - Duration::from_nanos(1)
}

#[test]
fn ping_is_answered_by_pong_with_its_payload() {
    let mut server = server();
    receive(
        &mut server,
        Frame {
            payload: "abc".into(),
            ..Frame::new(FrameType::Ping)
        },
    );
    let pong = Frame {
        payload: "abc".into(),
        ..Frame::new(FrameType::Pong)
    };
    assert_eq!(frames(&mut server), [pong]);
}

#[test]
fn a_pong_is_told_when_it_carries_something() {
    let mut client = client();
    exchange(&mut client, &mut server());
    events(&mut client);
    let pong = Frame {
        payload: "abc".into(),
        ..Frame::new(FrameType::Pong)
    };
    receive(&mut client, Frame::new(FrameType::Pong));
    assert_eq!(events(&mut client), []);
    receive(&mut client, pong);
    assert_eq!(events(&mut client), [SessionEvent::Pong("abc".into())]);
}

#[test]
fn a_probe_is_acknowledged_and_dropped() {
    let mut server = server();
    let probe = frame(FrameType::Ping, &[("x-auto-probe", "1"), ("msg-id", "1")]);
    receive(
        &mut server,
        Frame {
            flags: Flags::REQ_ACK,
            ..probe
        },
    );
    assert_eq!(
        frames(&mut server),
        [frame(FrameType::Ack, &[("msg-id", "1")])]
    );
    assert_eq!(events(&mut server), []);
}

#[test]
fn an_ack_goes_before_the_reply_and_repeats_the_number() {
    let check = |msg_id: Option<&str>, expected: Option<&[(&str, &str)]>| {
        let mut server = server();
        let pairs: Vec<_> = msg_id.map(|id| ("msg-id", id)).into_iter().collect();
        receive(
            &mut server,
            Frame {
                flags: Flags::REQ_ACK,
                ..frame(FrameType::Data, &pairs)
            },
        );
        server.send(epoch(), data("reply")).expect("room");
        let ack = expected.map(|pairs| frame(FrameType::Ack, pairs));
        let all: Vec<_> = ack.into_iter().chain([data("reply")]).collect();
        assert_eq!(frames(&mut server), all, "{msg_id:?}");
    };
    check(None, Some(&[]));
    check(Some("7"), Some(&[("msg-id", "7")]));
    check(Some("+007"), Some(&[("msg-id", "7")]));
    check(
        Some("18446744073709551615"),
        Some(&[("msg-id", "18446744073709551615")]),
    );
    check(Some("18446744073709551616"), None);
    check(Some("x"), None);
}

#[test]
fn datagrams_are_acknowledged_below_the_session() {
    let mut server = on_datagrams(Role::Server);
    let request = frame(FrameType::Data, &[("msg-id", "1")]);
    receive(
        &mut server,
        Frame {
            flags: Flags::REQ_ACK,
            ..request
        },
    );
    assert_eq!(frames(&mut server), []);
}

#[test]
fn a_silent_peer_of_the_full_dialect_is_pinged() {
    let (mut client, _) = pair();
    assert_eq!(client.poll_timeout(), Some((after(30), "keep-alive")));
    client.handle_timeout(after(30));
    assert_eq!(kinds(&mut client), [FrameType::Ping]);
    assert_eq!(client.poll_timeout(), Some((after(60), "keep-alive")));
}

#[test]
fn a_silent_peer_of_the_base_dialect_is_not_pinged() {
    let mut server = server();
    receive(&mut server, data("1"));
    server.handle_timeout(after(30));
    assert_eq!(frames(&mut server), []);
}

#[test]
fn a_session_in_which_nothing_comes_for_300_s_ends_with_bye() {
    let mut server = server();
    receive(&mut server, data("1"));
    events(&mut server);
    server.handle_timeout(just_before(after(300)));
    assert!(!server.is_closed());
    server.handle_timeout(after(300));
    let after = Duration::from_secs(300);
    assert_eq!(
        events(&mut server),
        [SessionEvent::Closed(CloseReason::Idle { after })]
    );
    assert_eq!(kinds(&mut server), [FrameType::Bye]);
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn a_call_in_flight_keeps_a_session_from_being_idle() {
    let mut server = server();
    receive(&mut server, data("1"));
    events(&mut server);
    assert!(server.begin());
    server.handle_timeout(after(300));
    assert!(!server.is_closed());
    server.finish();
    server.handle_timeout(after(600));
    assert!(server.is_closed());
}

#[test]
fn a_welcome_to_a_server_is_answered_by_err_on_a_stream() {
    let mut server = server();
    let welcome = greeting::welcome(&config(), ID, Features::NONE);
    let kind = FrameType::Welcome;
    let error = SessionError::Unexpected {
        kind,
        receiver: "server",
    };
    assert_eq!(server.handle_frame(epoch(), welcome), Err(error.clone()));
    assert_eq!(closed(&mut server), Some(CloseReason::Violation(error)));
    let reason = "protocol violation: WELCOME is not for a server";
    let err = frame(
        FrameType::Err,
        &[("code", "unexpected-frame"), ("reason", reason)],
    );
    assert_eq!(frames(&mut server), [err]);
}

#[test]
fn a_violation_in_a_datagram_is_answered_by_silence() {
    let mut server = on_datagrams(Role::Server);
    let welcome = greeting::welcome(&config(), ID, Features::NONE);
    let before = server.poll_timeout();
    assert!(server.handle_frame(after(1), welcome).is_err());
    assert!(
        server
            .handle_frame(after(1), Frame::new(FrameType::Err))
            .is_err()
    );
    assert_eq!((frames(&mut server), events(&mut server)), (vec![], vec![]));
    assert!(!server.is_closed());
    assert_eq!(
        server.poll_timeout(),
        before,
        "a forged frame is no sign of life"
    );
}

#[test]
fn an_err_ends_the_session_with_what_it_says() {
    let mut client = client();
    receive(
        &mut client,
        frame(
            FrameType::Err,
            &[("code", "crc"), ("reason", "crc is wrong")],
        ),
    );
    let (code, reason) = ("crc".into(), "crc is wrong".into());
    assert_eq!(
        events(&mut client),
        [SessionEvent::Closed(CloseReason::PeerError {
            code,
            reason
        })]
    );
    assert_eq!(frames(&mut client), []);
    assert_eq!(client.send(epoch(), data("1")), Err(SendError::Closed));
}
