//! Claims about messages, frames and sessions. The octets of the published package are in
//! tests/vectors/velithon.hex.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::{
    error::{Blame, Error, Kind},
    testing::epoch,
};

const VECTORS: &str = include_str!("../../../../tests/vectors/velithon.hex");
const LIMIT: usize = 1 << 16;
const TIMEOUT: Duration = Duration::from_secs(30);
const WALL: Duration = Duration::from_micros(1_795_217_059_889_148);

fn check_refused(message: &[u8], expected: &str) {
    let refused = read(&Bytes::copy_from_slice(message)).expect_err("it is dropped");
    let shown = refused.to_string();
    assert!(shown.starts_with(expected), "{shown}");
}

/// Reads a message of `header` and the body 1.
#[track_caller]
fn check_response(header: &str, expected: bool) {
    let message = format!("{{\"header\":{header},\"body\":1}}");
    let message = read(&message.into()).expect("readable");
    assert_eq!(message.is_response, expected, "{header}");
}

#[track_caller]
fn check_kind(text: &str, expected: Kind) {
    let mut body = b"{\"error\":".to_vec();
    crate::json::push_string(&mut body, text);
    body.push(b'}');
    let error = error_of_response(&body, "get_user").expect("an error");
    assert_eq!(error.kind, expected, "{text}");
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(message.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    frame.extend_from_slice(message);
    frame
}

fn session() -> VelithonSession {
    VelithonSession::new(LIMIT, "frame-bytes-max", TIMEOUT)
}

fn events(session: &mut VelithonSession, stream: &[u8]) -> Vec<VelithonEvent> {
    let mut input = BytesMut::from(stream);
    let next = || session.handle_bytes(epoch(), WALL, &mut input);
    std::iter::from_fn(next).collect()
}

/// The one thing that `message` is answered with at once.
fn answer(session: &mut VelithonSession, message: &str) -> String {
    match &events(session, &frame(message.as_bytes()))[..] {
        [VelithonEvent::Answer(answer)] => String::from_utf8_lossy(&answer[4..]).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_of_the_published_package_are_read_and_written_to_the_octet() {
    let mut n_vectors = 0;
    for line in VECTORS.lines().filter(|line| !line.is_empty()) {
        let Some((hex, text)) = line.split_once("  # ") else {
            continue;
        };
        n_vectors += 1;
        let octets: Vec<_> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
            .collect();
        let mut input = BytesMut::from(&octets[..]);
        let decoded = VelithonFrames::new(LIMIT).decode(&mut input);
        let Some(VelithonFrame::Message(message)) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!((&message[..], input.len()), (text.as_bytes(), 0));
        let message = read(&message).expect("readable");
        let written = write(&message.header, message.is_response, &message.body);
        assert_eq!(written, octets, "{text}");
    }
    assert_eq!(n_vectors, 7);
}

#[test]
fn a_request_of_this_end_is_written_as_the_published_client_writes_it() {
    let id = CallId::new(u128::MAX);
    let written = write_request(id, "user-service", "get_user", b"{\"user_id\":\"123\"}");
    let expected = "{\"header\":{\"request_id\":\"ffffffff-ffff-4fff-bfff-ffffffffffff\",\
        \"service\":\"user-service\",\"endpoint\":\"get_user\",\"is_response\":false},\
        \"body\":{\"user_id\":\"123\"}}";
    assert_eq!(written, frame(expected.as_bytes()));
    assert_eq!(CallId::parse(&id.to_string()), Some(id));
    assert_eq!(
        CallId::new(0).to_string(),
        "00000000-0000-4000-8000-000000000000"
    );
    for other in [
        "",
        "ffffffff-ffff-4fff-bfff-fffffffffff",
        "FFFFFFFF-ffff-4fff-bfff-ffffffffffff",
        "ffffffffxffff-4fff-bfff-ffffffffffff",
    ] {
        assert_eq!(CallId::parse(other), None, "{other}");
    }
}

#[test]
fn members_come_in_any_order_with_others_beside_them_and_the_last_counts() {
    let text = " { \"x\" : [1], \"body\":7,\"header\":{\"is_response\":true,\"endpoint\":\"e\",\"y\":{}, \
        \"service\":\"s\",\"request_id\": {\"a\": 1},\"endpoint\":\"f\"} ,\"b\\u006fdy\": 8}";
    let message = read(&text.into()).expect("readable");
    assert!(message.is_response);
    assert_eq!(message.body, "8");
    assert_eq!(message.header.endpoint_name().as_deref(), Some("f"));
    // What the caller chose goes back as it wrote it, whatever it is.
    assert_eq!(message.header.request_id, "{\"a\": 1}");
    assert_eq!(message.header.call_id(), None);
}

#[test]
fn whatever_python_takes_for_true_is_a_response() {
    let header = |value: &str| {
        format!("{{\"request_id\":1,\"service\":2,\"endpoint\":3,\"is_response\":{value}}}")
    };
    check_response("{\"request_id\":1,\"service\":2,\"endpoint\":3}", false);
    for value in [
        "false", "null", "0", "-0", "0.0e9", "\"\"", "[]", "[ ]", "{}",
    ] {
        check_response(&header(value), false);
    }
    for value in ["true", "1", "-0.5", "\"false\"", "[0]", "{\"a\":null}"] {
        check_response(&header(value), true);
    }
}

#[test]
fn what_is_no_message_is_dropped_for_a_reason() {
    check_refused(b"", "the frame is empty");
    check_refused(b"\x82\xa6header", "the message is MessagePack");
    check_refused(b"\xde\x00\x02", "the message is MessagePack");
    check_refused(
        b"\xef\xbb\xbf{}",
        "the message begins with a byte order mark",
    );
    check_refused(b"nonsense", "the message is no JSON");
    check_refused(b"[]", "the message is no object");
    check_refused(b"{}", "the message has no \"header\"");
    check_refused(b"{\"header\":{}}", "the message has no \"body\"");
    check_refused(
        b"{\"header\":7,\"body\":1}",
        "the message has no \"header.request_id\"",
    );
    let header = "{\"request_id\":\"r\",\"service\":\"s\",\"endpoint\":\"e\"}";
    for (body, expected) in [
        ("NaN", "the message is no JSON: expected value"),
        ("Infinity", "the message is no JSON: expected value"),
        ("\"\\ud800\"", "the message is no JSON: unexpected end"),
        (
            "\"\\udc00\"",
            "the message is no JSON: lone leading surrogate",
        ),
        ("{\"a\":1,}", "the message is no JSON: trailing comma"),
    ] {
        let message = format!("{{\"header\":{header},\"body\":{body}}}");
        check_refused(message.as_bytes(), expected);
    }
    for missing in ["request_id", "service", "endpoint"] {
        let header = header.replace(missing, "other");
        let message = format!("{{\"header\":{header},\"body\":1}}");
        let expected = format!("the message has no \"header.{missing}\"");
        check_refused(message.as_bytes(), &expected);
    }
}

#[test]
fn a_frame_is_read_however_it_is_cut() {
    let request =
        "{\"header\":{\"request_id\":\"r\",\"service\":\"s\",\"endpoint\":\"e\"},\"body\":{}}";
    let stream = [
        frame(request.as_bytes()),
        frame(b""),
        frame(request.as_bytes()),
    ]
    .concat();
    let (mut session, mut input, mut found) = (session(), BytesMut::new(), Vec::new());
    for octet in &stream {
        input.extend_from_slice(&[*octet]);
        found.extend(session.handle_bytes(epoch(), WALL, &mut input));
    }
    assert_eq!(found, events(&mut self::session(), &stream));
    assert_eq!(found.len(), 3);
    assert_eq!(found[1], VelithonEvent::Dropped(VelithonFault::Empty));
}

#[test]
fn a_frame_over_the_bound_is_told_of_and_the_connection_goes_on_behind_it() {
    let mut session = session();
    let header =
        "{\"request_id\":\"r\",\"service\":\"s\",\"endpoint\":\"e\",\"is_response\":false}";
    let whole = |n_octets: usize| {
        let message = format!("{{\"header\":{header},\"body\":{{\"a\":\"\"}}}}");
        let filling = "x".repeat(n_octets - message.len());
        message.replace("\"\"", &format!("\"{filling}\""))
    };
    let told = answer(&mut session, &whole(LIMIT + 1));
    let expected = "{\"header\":{\"request_id\":\"r\",\"service\":\"s\",\"endpoint\":\"e\",\"is_response\":true},\
        \"body\":{\"error\":\"resource-exhausted: a message of 65537 octets exceeds the limit of 65536 (frame-bytes-max)\"}}";
    assert_eq!(told, expected);
    let at_the_edge = events(&mut session, &frame(whole(LIMIT).as_bytes()));
    assert!(matches!(at_the_edge[..], [VelithonEvent::Request { .. }]));
    // A response that is too long is known to whoever waits for it.
    let id = CallId::new(7);
    let response = whole(LIMIT + 9)
        .replace("\"r\"", &format!("\"{id}\""))
        .replace("false", "true");
    let length = u32::try_from(response.len()).expect("short");
    let limit = LIMIT;
    let expected = VelithonEvent::Response {
        id: Some(id),
        body: Err(OversizeResponse { length, limit }),
    };
    assert_eq!(
        events(&mut session, &frame(response.as_bytes())),
        [expected]
    );
    // One whose header is not at its begin cannot be told of.
    let headless = frame(&[b' '; LIMIT + 1]);
    let length = u32::try_from(LIMIT + 1).expect("short");
    let fault = VelithonFault::TooLong { length, limit };
    assert_eq!(
        events(&mut session, &headless),
        [VelithonEvent::Dropped(fault)]
    );
    assert!(!answer(&mut session, &whole(LIMIT + 1)).is_empty());
}

#[test]
fn a_length_that_is_a_lie_holds_nothing_and_has_its_time() {
    let mut session = session();
    let mut input = BytesMut::from(&[0xff; 4][..]);
    assert_eq!(session.handle_bytes(epoch(), WALL, &mut input), None);
    assert_eq!(session.poll_timeout(), Some(epoch() + TIMEOUT));
    let later = epoch() + Duration::from_secs(9);
    let mut n_dropped = 0;
    for _ in 0..64 {
        input.extend_from_slice(&[b'x'; 4096]);
        n_dropped += usize::from(session.handle_bytes(later, WALL, &mut input).is_some());
        assert!(input.len() <= 8192, "{}", input.len());
    }
    assert_eq!(n_dropped, 1);
    assert!(session.poll_timeout() <= Some(later + TIMEOUT));
}

#[test]
fn a_frame_that_there_is_no_room_for_is_answered_before_it_is_whole() {
    let mut session = session();
    let request = "{\"header\":{\"request_id\":\"r\",\"service\":\"s\",\"endpoint\":\"e\"},\"body\":{\"a\":1}}";
    let stream = frame(request.as_bytes());
    let mut input = BytesMut::from(&stream[..stream.len() - 3]);
    assert_eq!(session.handle_bytes(epoch(), WALL, &mut input), None);
    let error = Error::new(Kind::Unavailable, Blame::Gateway, "no room");
    let refused = session.refuse(&mut input, &error);
    let Some(VelithonEvent::Answer(told)) = refused else {
        panic!("{refused:?}");
    };
    assert!(told.ends_with(b"\"body\":{\"error\":\"unavailable: no room\"}}"));
    input.extend_from_slice(&stream[stream.len() - 3..]);
    input.extend_from_slice(&stream);
    let next = session.handle_bytes(epoch(), WALL, &mut input);
    assert!(
        matches!(next, Some(VelithonEvent::Request { .. })),
        "{next:?}"
    );
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn health_is_answered_here_also_while_nothing_else_is() {
    let mut session = session();
    let health = "{\"header\":{\"request_id\":\"r1\",\"service\":\"any\",\"endpoint\":\"health\",\"is_response\":false},\"body\":{}}";
    let expected = "{\"header\":{\"request_id\":\"r1\",\"service\":\"any\",\"endpoint\":\"health\",\"is_response\":true},\
        \"body\":{\"status\":\"healthy\",\"timestamp\":1795217059.889148}}";
    assert_eq!(answer(&mut session, health), expected);
    session.drain();
    let told = answer(&mut session, health);
    assert!(
        told.contains("{\"error\":\"unavailable: the gateway is closing\"}"),
        "{told}"
    );
    let request = health.replace("health", "get_user");
    assert!(answer(&mut session, &request).contains("unavailable"));
    assert!(check_health(b"{\"status\":\"healthy\",\"timestamp\":1.5}").is_ok());
    for ill in [&b"{\"error\":\"gone\"}"[..], b"{\"status\":\"unhealthy\"}"] {
        assert!(check_health(ill).is_err());
    }
}

#[test]
fn a_response_is_for_whoever_waits_once_and_whoever_waits_no_more_is_forgotten() {
    let mut pending = PendingCalls::new(2);
    let [first, second, third] = [1, 2, 3].map(CallId::new);
    pending.begin(first, 10, "first").expect("room");
    pending.begin(second, 11, "second").expect("room");
    assert_eq!(
        pending.begin(third, 10, "third"),
        Err(TooManyCalls { limit: 2 })
    );
    assert_eq!(pending.end(second), Some("second"));
    assert_eq!(pending.end(second), None, "once");
    pending.begin(third, 11, "third").expect("room again");
    assert_eq!(pending.end_connection(11), ["third"]);
    assert_eq!((pending.end(third), pending.len()), (None, 1));
}

#[test]
fn an_error_is_a_text_that_has_its_kind_in_front() {
    for kind in Kind::ALL {
        let error = Error::new(kind, Blame::Guest, "no such user: 7");
        let body = failure_body(&error, "get_user");
        let read = error_of_response(&body, "get_user").expect("an error");
        assert_eq!((read.kind, &*read.message), (kind, "no such user: 7"));
    }
    let error = Error::not_found("no such user");
    let body = failure_body(&error, "get_user");
    assert_eq!(body, "{\"error\":\"not-found: no such user\"}");
}

#[test]
fn what_the_published_server_says_has_a_kind() {
    check_kind("Endpoint get_user not found", Kind::Unimplemented);
    check_kind("Endpoint other not found", Kind::Unknown);
    check_kind(
        "get_user() missing 1 required positional argument: 'user_id'",
        Kind::InvalidArgument,
    );
    check_kind(
        "get_user() got an unexpected keyword argument 'x'",
        Kind::InvalidArgument,
    );
    check_kind(
        "mod.get_user() argument after ** must be a mapping, not list",
        Kind::InvalidArgument,
    );
    check_kind(
        "Message serialization failed: Type is not JSON serializable: set",
        Kind::Internal,
    );
    check_kind("Batch processing failed: pool", Kind::Internal);
    check_kind("Message queue full", Kind::ResourceExhausted);
    check_kind("not-found: no such user", Kind::NotFound);
    check_kind("kaputt", Kind::Unknown);
    // An instance's word on its endpoint is passed on as it is.
    let told = error_of_response(b"{\"error\":\"Endpoint e not found\"}", "e").expect("an error");
    assert_eq!(
        failure_body(&told, "e"),
        "{\"error\":\"Endpoint e not found\"}"
    );
    let odd = error_of_response(b"{\"error\":{\"code\":7}}", "e").expect("an error");
    assert_eq!((odd.kind, &*odd.message), (Kind::Unknown, "{\"code\":7}"));
    assert!(error_of_response(b"{\"errors\":1}", "e").is_none());
    assert!(error_of_response(b"[\"error\"]", "e").is_none());
}

#[test]
fn bodies_are_payloads_and_what_is_no_object_is_a_result() {
    let reply = |payload: &'static [u8]| reply_body(&Bytes::from_static(payload));
    assert_eq!(reply(b" {\"a\": 1}\n"), "{\"a\": 1}");
    assert_eq!(reply(b""), "{}");
    for (payload, expected) in [
        (&b"[1, 2]"[..], "{\"result\":[1, 2]}"),
        (b"null", "{\"result\":null}"),
        (b"\"x\"", "{\"result\":\"x\"}"),
        (b" 7 ", "{\"result\":7}"),
        // A caller would take it for a failure.
        (b"{\"error\":\"no\"}", "{\"result\":{\"error\":\"no\"}}"),
        (b"{\"\\u0065rror\":1}", "{\"result\":{\"\\u0065rror\":1}}"),
        (b"plain \"text\"", "{\"result\":\"plain \\\"text\\\"\"}"),
        (
            b"\xff\x00\x01\x02",
            "{\"result\":{\"base64\":\"/wABAg==\"}}",
        ),
        (b"\xff\x00\x01", "{\"result\":{\"base64\":\"/wAB\"}}"),
    ] {
        assert_eq!(reply(payload), expected);
    }
    let messages = [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"x")];
    assert_eq!(list_body(&messages), "{\"result\":[{\"a\":1},\"x\"]}");
    let request = |payload: &'static [u8]| request_body(&Bytes::from_static(payload));
    assert_eq!(request(b" {\"a\":1} ").expect("an object"), "{\"a\":1}");
    assert_eq!(request(b"").expect("no arguments"), "{}");
    for (payload, expected) in [
        (&b"[1]"[..], "and is a list"),
        (b"7", "and is a number"),
        (b"null", "and is null"),
        (b"\"x\"", "and is a text"),
        (b"true", "and is a boolean"),
        (b"x", "the payload is none"),
    ] {
        let error = request(payload).expect_err("no object");
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(error.message.contains(expected), "{error}");
    }
}
