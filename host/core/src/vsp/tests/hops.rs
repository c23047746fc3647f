//! Claims about what a gateway passes on to the next one.

use super::*;

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
fn a_depth_that_is_no_number_counts_as_none() {
    for value in ["256", "-1", "deep", ""] {
        let pairs = [("service", "users"), ("call-depth", value)];
        assert_eq!(request(frame(&pairs, "")).0.context.depth, 0, "{value}");
    }
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
