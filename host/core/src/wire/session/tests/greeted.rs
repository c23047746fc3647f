//! Claims about HELLO, WELCOME and peers that know neither.

use super::*;
use crate::wire::{FrameError, vectors};

#[test]
fn hello_and_welcome_settle_id_features_and_frame_size() {
    let mut server = session(Role::Server, {
        let limits = Limits {
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
    assert_eq!(events(&mut client), [SessionEvent::Established(heard)]);
    let heard = Dialect::Full(greeting(&agent, 8 * 1024 * 1024));
    assert_eq!(events(&mut server), [SessionEvent::Established(heard)]);
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
    assert_eq!(
        events(&mut client),
        [SessionEvent::Established(Dialect::Base)]
    );
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
                SessionEvent::Established(Dialect::Base),
                SessionEvent::Established(Dialect::Full(_))
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
    assert_eq!(
        events(&mut client),
        [SessionEvent::Established(Dialect::Base)]
    );
    receive(&mut client, data("reply"));
    assert_eq!(events(&mut client), [SessionEvent::Message(data("reply"))]);
}

#[test]
fn a_peer_that_sends_hello_back_knows_no_greeting() {
    let mut client = client();
    let hello = frames(&mut client).remove(0);
    receive(&mut client, hello);
    assert_eq!(
        events(&mut client),
        [SessionEvent::Established(Dialect::Base)]
    );
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
    assert_eq!(
        events(&mut client),
        [SessionEvent::Established(Dialect::Base)]
    );
}

#[test]
fn a_server_serves_a_peer_without_hello() {
    let mut server = server();
    receive(&mut server, data("1"));
    let base = SessionEvent::Established(Dialect::Base);
    assert_eq!(
        events(&mut server),
        [base, SessionEvent::Message(data("1"))]
    );
}

#[test]
fn an_empty_hello_is_welcome_in_the_base_dialect() {
    let mut server = server();
    receive(&mut server, Frame::new(FrameType::Hello));
    assert_eq!(
        events(&mut server),
        [SessionEvent::Established(Dialect::Base)]
    );
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
fn a_second_hello_is_answered_with_the_features_that_the_session_has() {
    let mut server = server();
    let hello = |features| frame(FrameType::Hello, &[("features", features), ("agent", "a")]);
    for (first, second, expected) in [("none", "mux", ""), ("mux", "none", "mux")] {
        let mut server = session(Role::Server, config());
        receive(&mut server, hello(first));
        receive(&mut server, hello(second));
        receive(&mut server, Frame::new(FrameType::Hello));
        let welcomes = frames(&mut server);
        assert_eq!(welcomes.len(), 3);
        for welcome in welcomes {
            let features = welcome.headers.get_str("features");
            assert_eq!(
                features.as_deref(),
                Some(expected),
                "{first}, then {second}"
            );
        }
    }
    receive(&mut server, Frame::new(FrameType::Hello));
    let welcome = frames(&mut server).remove(0);
    assert_eq!(welcome.headers.get_str("features").as_deref(), Some(""));
}
