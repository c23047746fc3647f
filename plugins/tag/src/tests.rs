//! Frames and calls with and without the tag.

use postern_guest::{
    Action, Direction, Failure, FrameKind, Kind, Octets, Plugin, Reply,
    fake::{Crossings, Handled, Host, WholeFrame},
};

use super::Tag;

const IN: Direction = Direction::Inbound;
const OUT: Direction = Direction::Outbound;

fn tag() -> Tag {
    Tag::start().expect("a good config")
}

fn tagged(name: &str, value: &str) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), value.as_bytes().to_vec())]
}

#[test]
fn an_inbound_data_frame_gets_the_header_and_keeps_its_payload() {
    let host = Host::new();
    let frame = WholeFrame::new(FrameKind::Data, IN, "payload").header("x-tag", "forged");
    let Ok(Handled::Passed(frame)) = host.on_frame(&mut tag(), frame) else {
        panic!("the frame passes");
    };
    assert_eq!(frame.headers, tagged("x-tag", "postern"));
    assert_eq!(frame.payload, Octets::from("payload"));
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
}

#[test]
fn other_frames_are_not_looked_at() {
    let host = Host::new();
    for (kind, direction) in [
        (FrameKind::Data, OUT),
        (FrameKind::Hello, IN),
        (FrameKind::Ping, IN),
        (FrameKind::Ack, IN),
    ] {
        let frame = WholeFrame::new(kind, direction, "");
        assert_eq!(
            host.on_frame(&mut tag(), frame),
            Ok(Handled::Untouched),
            "{kind:?}"
        );
    }
}

#[test]
fn name_value_and_directions_are_the_manifests() {
    let host = Host::new();
    host.config("name", "x-zone")
        .config("value", "7")
        .config("directions", r#"["outbound"]"#);
    let frame = |direction| WholeFrame::new(FrameKind::Data, direction, "");
    assert_eq!(host.on_frame(&mut tag(), frame(IN)), Ok(Handled::Untouched));
    let Ok(Handled::Passed(frame)) = host.on_frame(&mut tag(), frame(OUT)) else {
        panic!("the frame passes");
    };
    assert_eq!(frame.headers, tagged("x-zone", "7"));
}

#[test]
fn a_call_from_http_gets_the_header_and_one_over_vstp_has_it_already() {
    let host = Host::new();
    host.request("users", "GetUser", r#"{"id":"1"}"#);
    for (transport, expected) in [("http", tagged("x-tag", "postern")), ("tcp", vec![])] {
        host.peer(transport, None);
        assert_eq!(host.on_request(&mut tag()), Ok(Action::Proceed));
        assert_eq!(host.request_headers(), expected, "{transport}");
    }
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
}

#[test]
fn a_reply_to_http_gets_the_header_where_asked_for_and_a_failure_stays_as_it_is() {
    let host = Host::new();
    host.peer("http", None);
    let reply = || Ok(Reply::from(Octets::from("1")));
    assert_eq!(host.on_response(&mut tag(), reply()), reply());
    host.config("directions", r#"["inbound","outbound"]"#);
    let seen = host.on_response(&mut tag(), reply()).expect("a reply");
    assert_eq!(seen.headers, [("x-tag".to_owned(), "postern".to_owned())]);
    let failure = Failure::not_found("no user 7");
    assert_eq!(
        host.on_response(&mut tag(), Err(failure.clone())),
        Err(failure)
    );
}

#[test]
fn an_unknown_direction_keeps_it_from_starting() {
    let host = Host::new();
    host.config("directions", r#"["sideways"]"#);
    let failure = Tag::start().err().expect("refused");
    assert_eq!(failure.kind, Kind::FailedPrecondition);
    assert!(failure.message.contains("sideways"), "{failure}");
}
