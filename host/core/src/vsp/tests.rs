//! Claims about calls and outcomes as frames. The easy layer's octets are in tests/vectors/easy.hex
//! and are claimed in wire/stream/tests.rs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::{
    Blame, Body, BodyStream, Call, Context, Error, Headers, Kind, Reply, Retry, Text, TraceContext,
    testing::epoch,
    wire::{Flags, Frame, vectors},
};

mod hops;
mod properties;
mod pseudo;
mod sharing;

fn reader(default_service: Option<&'static str>) -> Reader {
    Reader::new(
        Context::default().peer,
        default_service.map(Text::from_static),
    )
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short headers");
    }
    headers
}

fn frame(pairs: &[(&str, &str)], payload: &'static str) -> Frame {
    Frame::data(headers(pairs), payload)
}

fn request(frame: Frame) -> (Call, ReplyToken) {
    match reader(Some("echo")).read(epoch(), frame) {
        Inbound::Request { call, token } => (call, token),
        other @ (Inbound::Refused { .. }
        | Inbound::Response(_)
        | Inbound::Event(_)
        | Inbound::Unfit { .. }
        | Inbound::Probe) => panic!("{other:?}"),
    }
}

fn refused(reader: &Reader, frame: Frame) -> (Frame, Error) {
    match reader.read(epoch(), frame) {
        Inbound::Refused { frame, error } => (frame, error),
        other @ (Inbound::Request { .. }
        | Inbound::Response(_)
        | Inbound::Event(_)
        | Inbound::Unfit { .. }
        | Inbound::Probe) => panic!("{other:?}"),
    }
}

fn body(body: Body) -> Bytes {
    match body {
        Body::Empty => Bytes::new(),
        Body::One(payload) => payload,
        Body::Messages(_) | Body::Octets(_) => panic!("many"),
    }
}

fn failed(frame: Frame) -> Error {
    read_response(frame).outcome.expect_err("an error")
}

fn encoded(frame: &Frame) -> Bytes {
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("a small frame");
    octets.freeze()
}

/// The vector whose comment holds `part`.
fn vector(part: &str) -> Bytes {
    let mut lines = vectors::groups(vectors::VSP).into_iter().flatten();
    lines
        .find(|(_, comment)| comment.contains(part))
        .expect("a vector")
        .0
}

fn users_call() -> Call {
    let context = Context {
        deadline: Some(epoch() + Duration::from_millis(1500)),
        trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ..Context::default()
    };
    let version = Some("2".into());
    Call {
        version,
        context,
        ..Call::unary("users", "GetUser", "")
    }
}

#[test]
fn a_request_is_written_as_its_vector() {
    let frame = request_frame(&users_call(), "{\"id\":1}".into(), "7", epoch());
    assert_eq!(encoded(&frame.expect("fits")), vector("method=GetUser"));
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let frame = Frame::decode_datagram(vector("method=GetUser"), 4096).expect("a vector");
    let (call, token) = request(frame);
    assert_eq!((&*call.service, &*call.method), ("users", "GetUser"));
    assert_eq!(call.version, users_call().version);
    assert_eq!(call.context.deadline, users_call().context.deadline);
    assert_eq!(call.context.trace, users_call().context.trace);
    assert_eq!(
        (&*call.context.correlation, call.context.priority),
        ("7", 50)
    );
    assert_eq!(body(call.body), "{\"id\":1}");
    assert_eq!(token, ReplyToken::vsp("7".into(), 50));
}

#[test]
fn outcomes_are_written_as_their_vectors() {
    let (_, token) = request(frame(&[("service", "users"), ("correlation-id", "7")], ""));
    let reply = token.answer(Ok(Reply::one("{\"name\":\"Ada\"}")));
    assert_eq!(encoded(&reply), vector("status=success"));
    let error = token.answer(Err(Error::not_found("no user 1")));
    assert_eq!(encoded(&error), vector("status=not-found"));
}

#[test]
fn a_reply_keeps_the_handlers_headers_and_the_urgency_of_the_call() {
    let asked = [
        ("service", "s"),
        ("correlation-id", "7"),
        ("priority", "200"),
    ];
    let (_, token) = request(frame(&asked, ""));
    let handlers = headers(&[
        ("content-type", "text/plain"),
        ("status", "forged"),
        ("x", "1"),
    ]);
    let reply = token.answer(Ok(Reply::new(handlers, Body::Empty)));
    let expected = [
        ("type", "response"),
        ("status", "success"),
        ("correlation-id", "7"),
        ("priority", "200"),
        ("content-type", "text/plain"),
        ("x", "1"),
    ];
    assert_eq!(reply, frame(&expected, ""));
    // One that its caller knows by its order alone overtakes nothing.
    let (_, token) = request(frame(&[("service", "s"), ("priority", "200")], ""));
    let reply = token.answer(Ok(Reply::one("")));
    assert_eq!(reply.headers.get_str("priority"), None);
}

#[test]
fn a_frame_without_service_goes_to_the_default_service() {
    let check = |pairs: &[(&str, &str)], method: &str, easy: bool| {
        let (call, token) = request(frame(pairs, "{}"));
        assert_eq!((&*call.service, &*call.method), ("echo", method));
        assert_eq!(token.is_easy(), easy, "{pairs:?}");
    };
    check(&[], "call", true);
    check(
        &[("content-type", "application/json"), ("trace", "1")],
        "call",
        true,
    );
    check(&[("method", "Say")], "Say", false);
    check(&[("correlation-id", "1")], "call", false);
    check(&[("type", "request")], "call", false);
}

#[test]
fn without_a_default_service_such_a_frame_is_refused() {
    let (reply, error) = refused(&reader(None), frame(&[], "{}"));
    assert_eq!(error.kind, Kind::NotFound);
    assert_eq!(reply, Frame::data(Headers::new(), error.to_json()));
}

#[test]
fn the_easy_layer_is_told_where_its_json_is_wrong() {
    let check = |payload: &'static str, expected: &str| {
        let (reply, error) = refused(&reader(Some("echo")), frame(&[], payload));
        assert_eq!(reply, Frame::data(Headers::new(), expected.to_owned()));
        assert_eq!(error.kind, Kind::InvalidArgument);
    };
    check(
        "invalid json",
        "Invalid data: expected value at line 1 column 1",
    );
    check(
        "{\"a\":\n 1 2}",
        "Invalid data: expected `,` or `}` at line 2 column 4",
    );
    check(
        "",
        "Invalid data: EOF while parsing a value at line 1 column 0",
    );
}

#[test]
fn the_easy_layer_takes_other_octets_when_they_say_so() {
    let check = |content_type: &str, taken: bool| {
        let frame = frame(&[("content-type", content_type)], "not json");
        let read = reader(Some("echo")).read(epoch(), frame);
        assert_eq!(
            matches!(read, Inbound::Request { .. }),
            taken,
            "{content_type}"
        );
    };
    check("application/octet-stream", true);
    check("text/plain", true);
    check("application/json", false);
    check("Application/JSON; charset=utf-8", false);
    check("application/problem+json", false);
}

#[test]
fn an_easy_client_reads_a_handlers_error() {
    let (_, token) = request(frame(&[], "{}"));
    let reply = token.answer(Err(Error::not_found("no user 1")));
    assert_eq!(reply, frame(&[], "{\"error\":\"no user 1\",\"code\":404}"));
}

#[test]
fn a_compressed_request_is_refused_by_name() {
    let compressed = Frame {
        flags: Flags::COMP,
        ..frame(&[("service", "users")], "\u{1f}")
    };
    let (reply, error) = refused(&reader(None), compressed);
    assert_eq!(error.kind, Kind::Unimplemented);
    assert!(error.message.contains("COMP"), "{error}");
    assert_eq!(reply.headers.get_str("code").as_deref(), Some("501"));
}

#[test]
fn a_timeout_is_a_deadline_or_refused() {
    let deadline = |timeout_ms: &str| {
        let pairs = [("service", "users"), ("timeout-ms", timeout_ms)];
        request(frame(&pairs, "")).0.context.deadline
    };
    assert_eq!(deadline("0"), Some(epoch()));
    assert_eq!(deadline("1"), Some(epoch() + Duration::from_millis(1)));
    // Some clocks can tell that time and some cannot; neither may overflow.
    let _ = deadline(&u64::MAX.to_string());
    for value in ["", "-1", "1.5", "18446744073709551616", "soon"] {
        let pairs = [
            ("service", "users"),
            ("correlation-id", "9"),
            ("timeout-ms", value),
        ];
        let (reply, error) = refused(&reader(None), frame(&pairs, ""));
        assert_eq!(error.kind, Kind::InvalidArgument, "{value}");
        assert_eq!(
            reply.headers.get_str("correlation-id").as_deref(),
            Some("9")
        );
    }
}

#[test]
fn what_is_no_text_or_no_type_is_refused() {
    let mut octets = headers(&[]);
    octets.push("service", [0xff]).expect("short");
    let (_, error) = refused(&reader(None), Frame::data(octets, ""));
    assert_eq!(error.message, "header service is \\xff, not UTF-8");
    let (_, error) = refused(&reader(None), frame(&[("type", "query")], ""));
    assert_eq!(
        error.message,
        "header type is query, not request, response, error or event"
    );
}

#[test]
fn names_are_joined_wherever_they_are_continued() {
    let long = "s".repeat(600);
    let (call, _) = request(frame(&[("service", &long), ("method", "m")], ""));
    assert_eq!((&*call.service, &*call.method), (&*long, "m"));
    let (call, _) = request(frame(&[("service", "ab"), ("", "cd"), ("method", "m")], ""));
    assert_eq!((&*call.service, &*call.method), ("abcd", "m"));
}

#[test]
fn probes_events_and_responses_are_told_apart() {
    let read = |pairs: &[(&str, &str)]| reader(Some("echo")).read(epoch(), frame(pairs, "1"));
    assert!(matches!(read(&[("x-auto-probe", "1")]), Inbound::Probe));
    assert!(matches!(
        read(&[("type", "response")]),
        Inbound::Response(_)
    ));
    let pairs = [("type", "event"), ("event-type", "user.created")];
    let Inbound::Event(call) = read(&pairs) else {
        panic!("not an event")
    };
    assert_eq!((&*call.service, &*call.method), ("events", "publish"));
    assert_eq!(
        (call.headers, body(call.body)),
        (headers(&pairs), "1".into())
    );
}

#[test]
fn an_event_without_a_topic_or_compressed_is_not_handed_on() {
    let read = |frame| {
        let Inbound::Unfit { error } = reader(None).read(epoch(), frame) else {
            panic!("handed on")
        };
        error.kind
    };
    let nameless = frame(&[("type", "event")], "1");
    assert_eq!(read(nameless), Kind::InvalidArgument);
    let compressed = Frame {
        flags: Flags::COMP,
        ..frame(&[("type", "event"), ("event-type", "a")], "1")
    };
    assert_eq!(read(compressed), Kind::Unimplemented);
}

#[test]
fn a_request_names_what_is_left_rounded_up() {
    let timeout = |now: Instant| {
        let frame = request_frame(&users_call(), Bytes::new(), "7", now)?;
        Ok::<_, Error>(
            frame
                .headers
                .get_str("timeout-ms")
                .map(|text| text.into_owned()),
        )
    };
    let late = epoch() + Duration::from_millis(1500);
    let left = |nanos: u64| timeout(late - Duration::from_nanos(nanos)).expect("time is left");
    assert_eq!(left(1_000_000).as_deref(), Some("1"));
    assert_eq!(left(1).as_deref(), Some("1"));
    assert_eq!(left(1_000_001).as_deref(), Some("2"));
    let error = timeout(late).expect_err("nothing is left");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Client)
    );
}

#[test]
fn a_request_leaves_out_the_headers_of_the_hop_before() {
    let before = [
        ("service", "other"),
        ("correlation-id", "99"),
        ("msg-id", "5"),
        ("frag-id", "1"),
        ("tracestate", "a=b"),
        ("authorization", "Bearer x"),
    ];
    let call = Call {
        headers: headers(&before),
        ..Call::unary("users", "call", "")
    };
    let sent = request_frame(&call, Bytes::new(), "1", epoch()).expect("fits");
    let expected = [
        ("type", "request"),
        ("service", "users"),
        ("method", "call"),
        ("correlation-id", "1"),
        ("tracestate", "a=b"),
        ("authorization", "Bearer x"),
    ];
    assert_eq!(sent, frame(&expected, ""));
}

#[test]
fn headers_that_do_not_fit_are_refused_on_both_ways() {
    let full = headers(&[("x", &"y".repeat(65_000))]);
    let long = "m".repeat(600);
    let call = Call {
        headers: full.clone(),
        ..Call::unary("users", &*long, "")
    };
    let error = request_frame(&call, Bytes::new(), "1", epoch()).expect_err("too much");
    assert_eq!(error.kind, Kind::InvalidArgument);
    let token = ReplyToken::vsp(long.into(), 50);
    let error = failed(token.answer(Ok(Reply::new(full, Body::Empty))));
    assert_eq!(error.kind, Kind::Internal);
}

#[test]
fn a_reply_of_many_messages_needs_a_stream() {
    struct Nothing;
    impl futures_core::Stream for Nothing {
        type Item = Result<Bytes, Error>;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Ready(None)
        }
    }
    let body = Body::Messages(BodyStream::new(Nothing));
    let reply = Reply::new(Headers::new(), body);
    let error = failed(ReplyToken::vsp("1".into(), 50).answer(Ok(reply)));
    assert_eq!(error.kind, Kind::Unimplemented);
}

#[test]
fn every_kind_of_error_comes_back_by_name() {
    for kind in Kind::ALL {
        let error = Error::new(kind, Blame::Guest, "no \"users\"\n").with_details("{\"id\":[1]}");
        let response = read_response(ReplyToken::vsp("7".into(), 50).answer(Err(error)));
        assert_eq!(response.correlation, Some("7".into()));
        let error = response.outcome.expect_err("an error");
        assert_eq!((error.kind, &*error.message), (kind, "no \"users\"\n"));
        assert_eq!(error.blame, kind.peer_blame(), "{kind}");
        assert_eq!(error.details.as_deref(), Some(&b"{\"id\":[1]}"[..]));
        assert_eq!(error.retry == Retry::Elsewhere, kind == Kind::Unavailable);
    }
}

#[test]
fn errors_of_strangers_are_read_leniently() {
    let check = |pairs: &[(&str, &str)], payload: &'static str, kind, message: &str| {
        let error = failed(frame(pairs, payload));
        assert_eq!((error.kind, &*error.message), (kind, message));
    };
    check(&[("type", "error")], "broken", Kind::Unknown, "broken");
    check(
        &[("type", "error")],
        "{\"error\":\"x\",\"code\":404}",
        Kind::NotFound,
        "x",
    );
    check(
        &[("type", "error")],
        "{\"error\":\"x\",\"code\":418}",
        Kind::InvalidArgument,
        "x",
    );
    check(
        &[("status", "failed")],
        "{\"error\":1}",
        Kind::Unknown,
        "{\"error\":1}",
    );
    check(&[("status", "unavailable")], "", Kind::Unavailable, "");
    let complaint = "Invalid data: expected value at line 1 column 1";
    let message = "the peer refused the data: expected value at line 1 column 1";
    check(&[], complaint, Kind::InvalidArgument, message);
}

#[test]
fn a_strangers_error_text_is_cut() {
    let payload = "x".repeat(257);
    let error = failed(Frame::data(headers(&[("type", "error")]), payload));
    assert_eq!(error.message.len(), 256);
}

#[test]
fn bare_data_is_the_reply_of_a_base_peer() {
    let response = read_response(frame(&[], "{\"a\":1}"));
    assert_eq!(response.correlation, None);
    assert_eq!(body(response.outcome.expect("a reply").body), "{\"a\":1}");
}

#[test]
fn a_compressed_reply_is_an_error() {
    let error = failed(Frame {
        flags: Flags::COMP,
        ..frame(&[("status", "success")], "1")
    });
    assert_eq!(
        (error.kind, error.blame),
        (Kind::Unimplemented, Blame::Upstream)
    );
}
