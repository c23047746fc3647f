//! What crosses by pseudo headers, and what published peers see of it.

use super::*;
use crate::{
    BodyKind, HttpFacts, HttpStatus,
    headers::HeadersBuilder,
    vsp::{Payload, ReplyHead, payload_frame, read_trailers},
};

fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 0);
    for (key, value) in pairs {
        builder.push(key, value).expect("fields are not bounded");
    }
    builder.build()
}

fn facts() -> HttpFacts {
    HttpFacts {
        method: "PUT".into(),
        scheme: "https".into(),
        authority: "example.org:8443".into(),
        path: "/v1/a%20b".into(),
        query: Some("x=1&y=?".into()),
        ..HttpFacts::default()
    }
}

/// Names that the VSP, its sessions and pseudo headers have a meaning of their own for.
const RESERVED: [&str; 27] = [
    "type",
    "service",
    "method",
    "version",
    "correlation-id",
    "status",
    "code",
    "retry",
    "retry-after-ms",
    "timeout-ms",
    "call-depth",
    "priority",
    "stream",
    "credit",
    "msg-id",
    "encoding",
    "frag-id",
    "frag-index",
    "frag-total",
    "x-auto-probe",
    "session-id",
    "nonce",
    ":path",
    ":deadline",
    ":status",
    "::x",
    ":trailer:x",
];

fn received(frame: Frame) -> (Call, ReplyToken) {
    let reader = Reader::new(Context::default().peer, None);
    let inbound = reader.read(epoch(), frame);
    let Inbound::Request { call, token } = inbound else {
        panic!("{inbound:?} instead of a request");
    };
    (call, token)
}

fn sent(call: &Call, payload: Payload) -> Frame {
    let frame = payload_frame(call, payload, "7", epoch()).expect("it fits");
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("within the limit");
    let decoded = crate::wire::Decoder::new(1 << 20).decode(&mut octets);
    decoded.expect("legal").expect("whole")
}

fn collected(body: Body) -> (BodyKind, Bytes, Option<Headers>) {
    let kind = body.kind();
    let mut collecting = std::pin::pin!(body.collect(usize::MAX));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = collecting.as_mut().poll(&mut cx);
    let std::task::Poll::Ready(Ok((octets, trailers))) = polled else {
        panic!("{polled:?} instead of a body at hand");
    };
    (kind, octets, trailers)
}

#[test]
fn a_call_of_http_crosses_as_it_was() {
    let mut pairs: Vec<_> = RESERVED.iter().map(|name| (*name, "mine")).collect();
    pairs.extend([("Set-Cookie", "a"), ("x", ""), ("set-cookie", "b")]);
    let call = Call {
        headers: fields(&pairs),
        http: Some(Box::new(facts())),
        ..Call::unary("users", "Put", "")
    };
    let trailers = fields(&[("checksum", "1"), ("status", "2"), ("checksum", "3")]);
    let payload = Payload {
        kind: BodyKind::Octets,
        trailers: Some(trailers.clone()),
        takes_stream: true,
        ..Payload::one("body".into())
    };
    let (back, token) = received(sent(&call, payload));
    assert_eq!(
        (&back.service, &back.method, &back.version),
        (&call.service, &call.method, &None)
    );
    assert_eq!((back.context.priority, back.context.depth), (50, 0));
    assert_eq!(
        (&back.headers, back.http.as_deref()),
        (&call.headers, Some(&facts()))
    );
    assert_eq!((token.takes_stream(), &**token.correlation()), (true, "7"));
    let expected = (BodyKind::Octets, "body".into(), Some(trailers));
    assert_eq!(collected(back.body), expected);
}

#[test]
fn what_a_deadline_is_of_crosses() {
    for is_of_head in [true, false] {
        let mut call = Call::unary("users", "Watch", "");
        call.context.deadline = Some(epoch() + Duration::from_secs(3));
        call.context.is_deadline_of_head = is_of_head;
        let frame = sent(&call, Payload::one(Bytes::new()));
        let told = frame.headers.get_str(":deadline");
        assert_eq!(told.as_deref(), is_of_head.then_some("head"));
        let (back, _) = received(frame);
        let expected = (call.context.deadline, is_of_head);
        let context = back.context;
        assert_eq!((context.deadline, context.is_deadline_of_head), expected);
    }
}

#[test]
fn a_reply_crosses_with_status_kind_and_trailers() {
    let mut pairs: Vec<_> = RESERVED.iter().map(|name| (*name, "mine")).collect();
    pairs.push(("traceparent", "the application's"));
    let head = ReplyHead {
        headers: fields(&pairs),
        status: Some(HttpStatus::new(404).expect("a status")),
        kind: None,
    };
    let payload = Payload {
        kind: BodyKind::Messages,
        trailers: Some(fields(&[("t", "1")])),
        ..Payload::one("body".into())
    };
    let frame = ReplyToken::vsp("7".into(), 50).answer_with(&head, payload);
    let response = read_response(frame);
    assert_eq!(response.correlation.as_deref(), Some("7"));
    let reply = response.outcome.expect("a success, whatever its status");
    assert_eq!((&reply.headers, reply.status), (&head.headers, head.status));
    let expected = (
        BodyKind::Messages,
        "body".into(),
        Some(fields(&[("t", "1")])),
    );
    assert_eq!(collected(reply.body), expected);
}

#[test]
fn a_published_peer_finds_what_it_looks_for() {
    let headers = fields(&[
        ("status", "mine"),
        ("correlation-id", "mine"),
        ("x-tenant", "acme"),
    ]);
    let call = Call {
        headers,
        http: Some(Box::new(facts())),
        ..Call::unary("users", "Put", "")
    };
    let frame = sent(&call, Payload::one(Bytes::new()));
    let find = |key: &str| frame.headers.get_str(key).map(|value| value.into_owned());
    let keys = [
        "type",
        "service",
        "method",
        "correlation-id",
        "status",
        "x-tenant",
    ];
    let expected = [
        Some("request"),
        Some("users"),
        Some("Put"),
        Some("7"),
        None,
        Some("acme"),
    ];
    assert_eq!(
        keys.map(find),
        expected.map(|value| value.map(str::to_owned))
    );
}

#[test]
fn a_call_of_vstp_says_nothing_of_http() {
    let frame = sent(&users_call(), Payload::one(Bytes::new()));
    let has_colon = |(key, _): (&[u8], &[u8])| key.first() == Some(&b':');
    assert!(!frame.headers.entries().any(has_colon));
    let (back, token) = received(frame);
    assert!(back.http.is_none() && !token.takes_stream() && !back.headers.are_fields());
}

#[test]
fn headers_that_no_section_holds_are_refused_where_they_leave() {
    let cases = [
        ("n".repeat(256), String::new()),
        ("n".into(), "v".repeat(66_000)),
    ];
    for (name, value) in cases {
        let call = Call {
            headers: fields(&[(&name, &value)]),
            ..Call::unary("users", "Put", "")
        };
        let error = request_frame(&call, Bytes::new(), "7", epoch()).expect_err("too long");
        let reason = error.source.as_ref().expect("a reason").to_string();
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(reason.contains("exceed"), "{reason}");
    }
}

#[test]
fn a_status_that_is_none_counts_as_absent() {
    for status in ["abc", "99", "600", ""] {
        let head = ReplyHead::read(headers(&[(":status", status), ("x", "1")]));
        assert_eq!(head.status, None, "{status}");
        assert_eq!(head.headers.get_str("x").as_deref(), Some("1"));
    }
}

#[test]
fn trailers_are_told_from_headers() {
    let section = headers(&[("status", "success"), (":trailer:a", "1"), ("a", "2")]);
    assert_eq!(read_trailers(&section), Some(fields(&[("a", "1")])));
    assert_eq!(read_trailers(&headers(&[("a", "2")])), None);
}
