//! Claims about what a gateway passes on to the next one.

use super::*;
use crate::headers::HeadersBuilder;

/// The call that the next gateway reads when `depth` plugins and gateways stand before this one.
fn passed_on(depth: u8) -> (Frame, Call) {
    let mut call = Call::unary("users", "list", "{}");
    call.context.depth = depth;
    let frame = request_frame(&call, "{}".into(), "1", epoch()).expect("short");
    (frame.clone(), request(frame).0)
}

#[test]
fn the_depth_of_a_call_is_passed_on() {
    for depth in [1, 8, 255] {
        assert_eq!(passed_on(depth).1.context.depth, depth);
    }
    let (frame, call) = passed_on(0);
    assert_eq!(
        (frame.headers.get(b"call-depth"), call.context.depth),
        (None, 0)
    );
}

#[test]
fn a_depth_that_is_no_number_is_refused() {
    for value in ["256", "-1", "abc", ""] {
        let pairs = [("service", "users"), ("call-depth", value)];
        let read = reader(Some("users")).read(epoch(), frame(&pairs, ""));
        let Inbound::Refused { error, .. } = read else {
            panic!("{value}: {read:?}")
        };
        assert_eq!(error.kind, Kind::InvalidArgument, "{value}");
    }
}

#[test]
fn what_looks_like_an_answer_gets_one_that_no_gateway_answers() {
    for payload in ["[1]", "no JSON"] {
        let bare = || Frame::data(Headers::new(), payload);
        let answer = match reader(Some("users")).on_datagrams().read(epoch(), bare()) {
            Inbound::Request { token, .. } => token.error_frame(&Error::internal("failed")),
            Inbound::Refused { frame, .. } => frame,
            other @ (Inbound::Response(_)
            | Inbound::Event(_)
            | Inbound::Unfit { .. }
            | Inbound::Probe) => panic!("{other:?}"),
        };
        assert!(!answer.payload.is_empty());
        let read = reader(Some("users")).on_datagrams().read(epoch(), answer);
        assert!(matches!(read, Inbound::Response(_)), "{payload}: {read:?}");
    }
}

#[test]
fn a_correlation_id_that_fills_a_datagram_is_refused_by_name() {
    let long = "7".repeat(1_200);
    let pairs = [("service", "users"), ("correlation-id", &long)];
    let read = reader(Some("users"))
        .on_datagrams()
        .read(epoch(), frame(&pairs, ""));
    let Inbound::Refused { frame, error } = read else {
        panic!("{read:?}")
    };
    assert_eq!(error.kind, Kind::InvalidArgument);
    assert!(frame.encoded_len() < 600, "{frame:?}");
    let read = reader(Some("users")).read(epoch(), frame_of(&long));
    assert!(
        matches!(read, Inbound::Request { .. }),
        "a stream carries it"
    );
}

fn frame_of(correlation: &str) -> Frame {
    frame(&[("service", "users"), ("correlation-id", correlation)], "")
}

#[test]
fn a_depth_is_written_once_however_often_it_was_received() {
    let pairs = [("service", "users"), ("call-depth", "3")];
    let (mut call, _) = request(frame(&pairs, ""));
    call.context.depth += 1;
    let frame = request_frame(&call, Bytes::new(), "1", epoch()).expect("short");
    let depths: Vec<_> = frame
        .headers
        .iter()
        .filter(|(key, _)| *key == b"call-depth")
        .map(|(_, value)| value.into_owned())
        .collect();
    assert_eq!(depths, [b"4"]);
}

#[test]
fn only_a_call_that_may_have_begun_says_so_to_the_caller() {
    let check = |retry, kind, expected| {
        let error = Error::new(kind, Blame::Upstream, "lost").with_retry(retry);
        let read = failed(ReplyToken::vsp("1".into(), 50).answer(Err(error)));
        assert_eq!((read.kind, read.retry), (kind, expected));
    };
    check(Retry::IfIdempotent, Kind::Unavailable, Retry::IfIdempotent);
    check(Retry::IfIdempotent, Kind::Internal, Retry::IfIdempotent);
    check(Retry::Elsewhere, Kind::Unavailable, Retry::Elsewhere);
    check(Retry::Never, Kind::Internal, Retry::Never);
}

#[test]
fn an_error_says_when_to_try_again() {
    let exhausted = |retry| {
        let error = Error::new(Kind::ResourceExhausted, Blame::Client, "too many calls");
        ReplyToken::vsp("c-1".into(), 50).error_frame(&error.with_retry(retry))
    };
    let frame = exhausted(Retry::After(Duration::from_micros(1_500_001)));
    assert_eq!(
        frame.headers.get_str("retry-after-ms").as_deref(),
        Some("1501")
    );
    let error = read_response(frame).outcome.expect_err("an error");
    assert_eq!(error.retry, Retry::After(Duration::from_millis(1501)));
}

#[test]
fn what_is_exhausted_says_when_even_where_nobody_knows_whether_the_call_began() {
    for (retry, told) in [
        (Retry::Never, Retry::IfIdempotent),
        (Retry::IfIdempotent, Retry::IfIdempotent),
        (Retry::Elsewhere, Retry::After(Duration::from_secs(1))),
    ] {
        let error = Error::new(Kind::ResourceExhausted, Blame::Guest, "full").with_retry(retry);
        let frame = ReplyToken::vsp("c-1".into(), 50).error_frame(&error);
        let after = frame.headers.get_str("retry-after-ms");
        assert_eq!(after.as_deref(), Some("1000"), "{retry:?}");
        let error = read_response(frame).outcome.expect_err("an error");
        assert_eq!(error.retry, told);
    }
}

#[test]
fn a_message_over_a_limit_is_413_and_stays_so_over_hops() {
    let error = Error::new(Kind::ResourceExhausted, Blame::Client, "9 octets").with_too_large();
    let frame = ReplyToken::vsp("c-1".into(), 50).error_frame(&error);
    assert_eq!(frame.headers.get_str("code").as_deref(), Some("413"));
    assert_eq!(frame.headers.get_str("retry-after-ms"), None);
    let read = read_response(frame).outcome.expect_err("an error");
    assert_eq!((read.kind, read.http()), (Kind::ResourceExhausted, 413));
}

#[test]
fn an_error_keeps_what_stands_beside_it_under_its_own_names() {
    let pairs = [
        ("x-note", "one"),
        ("x-note", "two"),
        ("type", "of mine"),
        ("retry", "mine too"),
        ("retry-after-ms", "7"),
        ("::a", "b"),
    ];
    let mut own = HeadersBuilder::fields(pairs.len(), 0);
    for (name, value) in pairs {
        own.push(name, value).expect("fields are not bounded");
    }
    own.push("x-octets", b"\xff\0")
        .expect("fields are not bounded");
    let error = Error::new(Kind::NotFound, Blame::Guest, "no user 7").with_headers(own.build());
    let read = failed(ReplyToken::vsp("1".into(), 50).answer(Err(error)));
    assert_eq!((read.kind, &*read.message), (Kind::NotFound, "no user 7"));
    assert_eq!(read.retry, Retry::Never);
    let headers = read.headers.expect("headers");
    let read: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_vec(), value.into_owned()))
        .collect();
    let mut expected: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    expected.push((b"x-octets".to_vec(), vec![0xff, 0]));
    assert_eq!(read, expected);
}

#[test]
fn an_error_is_worth_more_than_headers_that_do_not_fit() {
    let mut own = HeadersBuilder::fields(1, 0);
    let long = "v".repeat(65_400);
    own.push("x-long", long).expect("fields are not bounded");
    let error = Error::new(Kind::NotFound, Blame::Guest, "no user 7").with_headers(own.build());
    let read = failed(ReplyToken::vsp("1".into(), 50).answer(Err(error)));
    assert_eq!((read.kind, &*read.message), (Kind::NotFound, "no user 7"));
    assert!(read.headers.is_none());
}
