//! Claims about streaming calls. Two ends with frames under way are in tests/pair.rs.

use super::*;
use crate::{Call, Reply, testing::epoch, vsp::request_frame, wire::Flags};

mod pair;

const WINDOW: u32 = CREDIT_INITIAL;

fn mux(role: Role) -> Mux {
    Mux::new(
        MuxConfig {
            calls_max: 2,
            window_bytes: WINDOW,
        },
        role,
    )
}

fn request(id: &str) -> Frame {
    let call = Call::unary("chat", "join", "");
    request_frame(&call, Bytes::new(), id, epoch()).expect("fits")
}

fn frame(pairs: &[(&str, &str)], payload: impl Into<Bytes>) -> Frame {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short headers");
    }
    Frame::data(headers, payload)
}

fn frames(mux: &mut Mux) -> Vec<Frame> {
    std::iter::from_fn(|| mux.poll_frame()).collect()
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event()).collect()
}

fn opening(id: &str) -> Frame {
    let mut client = mux(Role::Client);
    client.open(request(id)).expect("room");
    frames(&mut client).remove(0)
}

/// A server in which call `1` is open.
fn serving() -> Mux {
    let mut server = mux(Role::Server);
    server.handle_frame(opening("1"));
    assert!(matches!(&events(&mut server)[..], [MuxEvent::Opened { id, .. }] if *id == "1"));
    server
}

/// A client in which call `1` is open.
fn calling() -> Mux {
    let mut client = mux(Role::Client);
    client.open(request("1")).expect("room");
    frames(&mut client);
    client
}

/// The call is reset on the wire and told of, for this reason.
fn reset(mux: &mut Mux, reason: &str) {
    let sent = frames(mux);
    let [frame] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(frame.headers.get_str("stream").as_deref(), Some("reset"));
    let error = read_error(frame);
    assert!(error.contains(reason), "{error}");
    let told = events(mux);
    let closed = told.iter().any(|event| {
        matches!(event, MuxEvent::Closed { outcome: Err(error), .. } if error.message.contains(reason))
    });
    assert!(closed, "{told:?}");
    assert_eq!(mux.n_calls(), 0);
}

fn read_error(frame: &Frame) -> String {
    let outcome = crate::vsp::read_response(frame.clone()).outcome;
    outcome.expect_err("an error").to_string()
}

#[test]
fn only_frames_of_streams_are_taken() {
    assert!(Mux::takes(&frame(&[("stream", "item")], "")));
    assert!(Mux::takes(&frame(&[("credit", "1")], "")));
    assert!(!Mux::takes(&request("1")));
}

#[test]
fn a_call_is_opened_by_its_request_and_answered_in_frames_of_its_id() {
    let mut server = serving();
    let handlers = frame(&[("content-type", "text/plain"), ("stream", "forged")], "").headers;
    let handlers = ReplyHead::read(handlers);
    server.accept("1", &handlers);
    server.accept("1", &handlers);
    server.item("1", "hello".into()).expect("credit");
    server.finish("1", Ok(None));
    let id = ("correlation-id", "1");
    let expected = [
        frame(
            &[
                ("type", "response"),
                ("stream", "open"),
                id,
                ("content-type", "text/plain"),
            ],
            "",
        ),
        frame(&[("stream", "item"), id], "hello"),
        frame(
            &[
                ("type", "response"),
                ("status", "success"),
                id,
                ("stream", "end"),
            ],
            "",
        ),
    ];
    assert_eq!(frames(&mut server), expected);

    let mut client = calling();
    expected
        .into_iter()
        .for_each(|frame| client.handle_frame(frame));
    let told = events(&mut client);
    let [
        MuxEvent::Accepted { headers, .. },
        MuxEvent::Item { payload, .. },
        MuxEvent::Closed { outcome: Ok(_), .. },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        headers.get_str("content-type").as_deref(),
        Some("text/plain")
    );
    assert_eq!(payload, "hello");
    assert_eq!((client.n_calls(), server.n_calls()), (0, 0));
}

#[test]
fn an_error_ends_the_call_by_its_kind() {
    let mut server = serving();
    server.finish("1", Err(Error::not_found("no room 7")));
    let mut client = calling();
    frames(&mut server)
        .into_iter()
        .for_each(|frame| client.handle_frame(frame));
    let told = events(&mut client);
    let [
        MuxEvent::Closed {
            outcome: Err(error),
            ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((error.kind, &*error.message), (Kind::NotFound, "no room 7"));
}

#[test]
fn a_reset_cancels_the_call_on_the_other_end() {
    let mut client = calling();
    let error = Error::new(Kind::Cancelled, Blame::Client, "the caller went away");
    client.reset("1", &error);
    let mut server = serving();
    frames(&mut client)
        .into_iter()
        .for_each(|frame| server.handle_frame(frame));
    let told = events(&mut server);
    let [
        MuxEvent::Closed {
            outcome: Err(error),
            ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(error.kind, Kind::Cancelled);
    assert_eq!((server.n_calls(), frames(&mut server)), (0, vec![]));
    server.handle_frame(frame(&[("stream", "reset"), ("correlation-id", "1")], ""));
    assert_eq!(
        events(&mut server).len(),
        0,
        "a call that is over is not known"
    );
}

#[test]
fn a_client_that_ended_sends_no_more_and_still_listens() {
    let mut client = calling();
    client.end("1", None);
    client.end("1", None);
    assert_eq!(frames(&mut client).len(), 1);
    assert_eq!(client.item("1", "x".into()), Err(Refused::Closed));
    client.handle_frame(frame(&[("stream", "item"), ("correlation-id", "1")], "x"));
    assert!(matches!(events(&mut client)[..], [MuxEvent::Item { .. }]));
    assert_eq!(
        client.item("2", "x".into()),
        Err(Refused::Closed),
        "a call that is not open"
    );
}

#[test]
fn the_limit_of_calls_is_taken_and_one_more_is_refused_on_both_ends() {
    let mut client = mux(Role::Client);
    let mut server = mux(Role::Server);
    for id in ["1", "2"] {
        client.open(request(id)).expect("room");
        server.handle_frame(opening(id));
    }
    assert_eq!(events(&mut server).len(), 2);
    let error = client.open(request("3")).expect_err("full");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    server.handle_frame(opening("3"));
    assert_eq!((events(&mut server).len(), server.n_calls()), (0, 2));
    let sent = frames(&mut server);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].headers.get_str("correlation-id").as_deref(),
        Some("3")
    );
    assert!(read_error(&sent[0]).contains("2 streaming calls are open"));
}

#[test]
fn an_opening_without_an_id_is_told_so() {
    let mut server = mux(Role::Server);
    server.handle_frame(frame(&[("stream", "open"), ("service", "chat")], ""));
    assert_eq!(events(&mut server).len(), 0);
    let sent = frames(&mut server);
    assert_eq!(sent.len(), 1);
    assert!(read_error(&sent[0]).contains("correlation-id"));
    let stream = sent[0].headers.get_str("stream");
    assert_eq!(stream.as_deref(), Some("reset"));
    server.handle_frame(frame(&[("stream", "item")], "x"));
    assert_eq!(frames(&mut server), [], "nothing begins by it");
}

#[test]
fn a_call_needs_an_id_of_its_own() {
    let mut client = calling();
    let error = client.open(request("1")).expect_err("in use");
    assert!(error.message.contains("is in use"), "{error}");
    assert!(client.open(frame(&[("service", "chat")], "")).is_err());
    let mut server = serving();
    server.handle_frame(opening("1"));
    reset(&mut server, "is opened twice");
}

#[test]
fn a_window_larger_than_the_initial_credit_is_granted_at_once() {
    let config = MuxConfig {
        calls_max: 1,
        window_bytes: CREDIT_INITIAL + 1000,
    };
    let mut client = Mux::new(config.clone(), Role::Client);
    client.open(request("1")).expect("room");
    let opening = frames(&mut client).remove(0);
    assert_eq!(opening.headers.get_str("credit").as_deref(), Some("1000"));
    let mut server = Mux::new(config, Role::Server);
    server.handle_frame(opening);
    let grant = frame(&[("credit", "1000"), ("correlation-id", "1")], "");
    assert_eq!(frames(&mut server), [grant]);
    let most = CREDIT_INITIAL as usize + 1000 - ITEM_COST;
    server.item("1", vec![0; most].into()).expect("all of it");
    assert!(matches!(
        server.item("1", Bytes::new()),
        Err(Refused::Blocked(_))
    ));
}

#[test]
fn a_blocked_sender_goes_on_when_it_is_granted_credit() {
    let mut client = calling();
    let most = CREDIT_INITIAL as usize - ITEM_COST;
    client.item("1", vec![0; most].into()).expect("credit");
    assert_eq!(
        client.item("1", "x".into()),
        Err(Refused::Blocked("x".into()))
    );

    let mut server = serving();
    frames(&mut client)
        .into_iter()
        .for_each(|frame| server.handle_frame(frame));
    assert!(matches!(events(&mut server)[..], [MuxEvent::Item { .. }]));
    server.consume("1", most);
    frames(&mut server)
        .into_iter()
        .for_each(|frame| client.handle_frame(frame));
    assert!(matches!(
        events(&mut client)[..],
        [MuxEvent::Writable { .. }]
    ));
    assert_eq!(client.item("1", "x".into()), Ok(()));
}

#[test]
fn violations_reset_the_call_and_leave_the_others() {
    let check = |pairs: &[(&str, &str)], reason: &str| {
        let mut server = serving();
        let mut all = vec![("correlation-id", "1")];
        all.extend_from_slice(pairs);
        server.handle_frame(frame(&all, ""));
        reset(&mut server, reason);
    };
    check(
        &[("stream", "begin")],
        "header stream is begin, not open, item, end or reset",
    );
    check(
        &[("stream", "item"), ("credit", "-1")],
        "header credit is -1",
    );
    check(&[("credit", "4294967296")], "header credit is 4294967296");
    check(
        &[("credit", "2147483647")],
        "more than 2^31 - 1 octets of credit",
    );

    let mut server = serving();
    let id = ("correlation-id", "1");
    server.handle_frame(frame(&[("stream", "end"), id], ""));
    assert!(matches!(events(&mut server)[..], [MuxEvent::Ended { .. }]));
    let mut again = serving();
    again.handle_frame(frame(&[("stream", "end"), id], ""));
    events(&mut again);
    again.handle_frame(frame(&[("stream", "end"), id], ""));
    reset(&mut again, "the end comes twice");
    server.handle_frame(frame(&[("stream", "item"), id], "x"));
    reset(&mut server, "an item after the end");
}

#[test]
fn an_item_without_credit_resets_the_call() {
    let mut server = serving();
    let id = ("correlation-id", "1");
    let most = CREDIT_INITIAL as usize - ITEM_COST;
    server.handle_frame(frame(&[("stream", "item"), id], vec![0; most]));
    assert!(matches!(events(&mut server)[..], [MuxEvent::Item { .. }]));
    server.handle_frame(frame(&[("stream", "item"), id], ""));
    reset(&mut server, "an item without credit");
}

#[test]
fn a_reply_that_begins_twice_resets_the_call() {
    let mut client = calling();
    let again = frame(&[("stream", "open"), ("correlation-id", "1")], "");
    client.handle_frame(again.clone());
    client.handle_frame(again);
    reset(&mut client, "the reply begins twice");
}

#[test]
fn a_compressed_item_is_refused_by_name() {
    let mut server = serving();
    let item = frame(&[("stream", "item"), ("correlation-id", "1")], "x");
    server.handle_frame(Frame {
        flags: Flags::COMP,
        ..item
    });
    reset(&mut server, "flag COMP is set");
}

#[test]
fn a_reply_whose_headers_do_not_fit_is_an_error() {
    let mut server = serving();
    let full = frame(&[("x", &"y".repeat(65_000))], "").headers;
    server.accept("1", &ReplyHead::read(full));
    let sent = frames(&mut server);
    assert_eq!(sent.len(), 1);
    assert!(read_error(&sent[0]).contains("do not fit"));
}

#[test]
fn an_opening_frame_is_read_as_the_request_it_is() {
    let reader = crate::vsp::Reader::new(crate::Context::default().peer, None);
    let crate::vsp::Inbound::Request { call, .. } = reader.read(epoch(), opening("1")) else {
        panic!("not a request")
    };
    assert_eq!((&*call.service, &*call.method), ("chat", "join"));
    let reply = Reply::one("x");
    assert!(matches!(reply.body, crate::Body::One(_)));
}
