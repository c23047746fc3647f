//! Claims about the session machine: greeting, keep-alive, drain and violations.

use std::time::Duration;

use super::*;
use crate::{
    headers::Headers,
    testing::epoch,
    wire::{Flags, FrameError, vectors},
};

mod bounds;

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

fn events(session: &mut Session) -> Vec<Event> {
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
        Event::Closed(reason) => Some(reason),
        Event::Established(_)
        | Event::Message(_)
        | Event::Acknowledged(_)
        | Event::PeerDraining => None,
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
            [Event::Established(Dialect::Full(_))]
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
fn hello_and_welcome_settle_id_features_and_frame_size() {
    let mut server = session(Role::Server, {
        let limits = crate::limits::Limits {
            frame_bytes_max: 4096,
            ..Default::default()
        };
        SessionConfig { limits, ..config() }
    });
    let mut client = session(Role::Client, {
        SessionConfig {
            features: Features::MUX.with(Features::WIDE),
            ..config()
        }
    });
    exchange(&mut client, &mut server);
    let greeting = |agent: &str, frame_bytes_max| Greeting {
        session: ID,
        agent: agent.into(),
        features: Features::MUX,
        frame_bytes_max,
    };
    let agent = config().agent;
    let heard = Dialect::Full(greeting("", 4096));
    assert_eq!(events(&mut client), [Event::Established(heard)]);
    let heard = Dialect::Full(greeting(&agent, 8 * 1024 * 1024));
    assert_eq!(events(&mut server), [Event::Established(heard)]);
    assert_eq!((client.id(), server.id()), (ID, ID));
}

#[test]
fn what_a_session_says_is_written_as_its_vectors() {
    let check = |frame: Frame, part: &str| {
        let mut lines = vectors::groups(vectors::VSP).into_iter().flatten();
        let (octets, _) = lines
            .find(|(_, comment)| comment.starts_with(part))
            .expect("a vector");
        let mut written = bytes::BytesMut::new();
        frame.encode(&mut written).expect("a small frame");
        assert_eq!(written, octets, "{part}");
    };
    let features = Features::MUX.with(Features::WIDE);
    let agent = "peer/1.0".into();
    check(
        greeting::hello(&SessionConfig {
            agent,
            features,
            ..config()
        }),
        "HELLO",
    );
    check(greeting::welcome(&config(), ID, Features::MUX), "WELCOME");
    let mut server = server();
    let magic = FrameError::Magic { found: *b"TS" };
    server.handle_violation(magic.into());
    check(frames(&mut server).remove(0), "ERR");
}

#[test]
fn a_client_holds_data_back_until_it_is_welcome() {
    let mut client = client();
    client.send(epoch(), data("1")).expect("room");
    assert_eq!(kinds(&mut client), [FrameType::Hello]);
    receive(
        &mut client,
        greeting::welcome(&config(), ID, Features::NONE),
    );
    assert_eq!(frames(&mut client), [data("1")]);
}

#[test]
fn a_client_that_hears_nothing_for_a_second_speaks_the_base_dialect() {
    let mut client = client();
    client.send(epoch(), data("1")).expect("room");
    assert_eq!(kinds(&mut client), [FrameType::Hello]);
    assert_eq!(client.poll_timeout(), Some((after(1), "greeting")));
    client.handle_timeout(just_before(after(1)));
    assert_eq!((frames(&mut client), events(&mut client)), (vec![], vec![]));
    client.handle_timeout(after(1));
    assert_eq!(events(&mut client), [Event::Established(Dialect::Base)]);
    assert_eq!(frames(&mut client), [data("1")]);
}

#[test]
fn a_welcome_after_that_second_still_counts() {
    let mut client = client();
    client.handle_timeout(after(1));
    receive(
        &mut client,
        greeting::welcome(&config(), ID, Features::NONE),
    );
    let established = events(&mut client);
    assert!(
        matches!(
            established[..],
            [
                Event::Established(Dialect::Base),
                Event::Established(Dialect::Full(_))
            ]
        ),
        "{established:?}"
    );
}

#[test]
fn a_bare_data_frame_before_any_request_answers_hello_and_is_dropped() {
    let mut client = client();
    receive(
        &mut client,
        data("Invalid data: expected value at line 1 column 1"),
    );
    assert_eq!(events(&mut client), [Event::Established(Dialect::Base)]);
    receive(&mut client, data("reply"));
    assert_eq!(events(&mut client), [Event::Message(data("reply"))]);
}

#[test]
fn a_peer_that_sends_hello_back_knows_no_greeting() {
    let mut client = client();
    let hello = frames(&mut client).remove(0);
    receive(&mut client, hello);
    assert_eq!(events(&mut client), [Event::Established(Dialect::Base)]);
}

#[test]
fn a_client_without_hello_speaks_the_base_dialect_at_once() {
    let mut client = session(
        Role::Client,
        SessionConfig {
            hello: false,
            ..config()
        },
    );
    client.send(epoch(), data("1")).expect("room");
    assert_eq!(frames(&mut client), [data("1")]);
    assert_eq!(events(&mut client), [Event::Established(Dialect::Base)]);
}

#[test]
fn a_server_serves_a_peer_without_hello() {
    let mut server = server();
    receive(&mut server, data("1"));
    let base = Event::Established(Dialect::Base);
    assert_eq!(events(&mut server), [base, Event::Message(data("1"))]);
}

#[test]
fn an_empty_hello_is_welcome_in_the_base_dialect() {
    let mut server = server();
    receive(&mut server, Frame::new(FrameType::Hello));
    assert_eq!(events(&mut server), [Event::Established(Dialect::Base)]);
    assert_eq!(kinds(&mut server), [FrameType::Welcome]);
}

#[test]
fn a_hello_that_comes_again_is_welcome_again() {
    let (_, mut server) = pair();
    receive(&mut server, greeting::hello(&config()));
    assert_eq!(
        (kinds(&mut server), events(&mut server)),
        (vec![FrameType::Welcome], vec![])
    );
}

#[test]
fn hello_is_said_four_times_on_a_datagram_link() {
    let mut client = on_datagrams(Role::Client);
    let mut said = kinds(&mut client);
    while let Some((at, _)) = client.poll_timeout()
        && client.dialect().is_none()
    {
        client.handle_timeout(at);
        said.append(&mut kinds(&mut client));
    }
    assert_eq!(said, [FrameType::Hello; 4]);
    assert_eq!(client.dialect(), Some(&Dialect::Base));
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
        [Event::Closed(CloseReason::Idle { after })]
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
fn a_welcome_must_name_the_session() {
    for id in [
        "",
        "00",
        &"0".repeat(31),
        &"0".repeat(33),
        &"g".repeat(32),
        &"+".repeat(32),
    ] {
        let mut client = client();
        let welcome = frame(FrameType::Welcome, &[("session-id", id)]);
        let kind = FrameType::Welcome;
        let found = id.to_owned();
        let error = SessionError::Header {
            kind,
            key: "session-id",
            found,
        };
        assert_eq!(client.handle_frame(epoch(), welcome), Err(error), "{id}");
    }
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
        [Event::Closed(CloseReason::PeerError { code, reason })]
    );
    assert_eq!(frames(&mut client), []);
    assert_eq!(client.send(epoch(), data("1")), Err(SendError::Closed));
}
