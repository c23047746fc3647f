//! The forms of messages, and the ends of an inbox.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, task::AtomicWaker};
use http::{HeaderMap, HeaderValue};
use postern_core::{Blame, Error, Kind, Retry};

use super::{
    inbox::inbox,
    message::{self, CallBody, ClientMessage, ServerMessage},
};

fn read(message: &str) -> ClientMessage {
    let message = Bytes::copy_from_slice(message.as_bytes());
    let read = message::read(&message, 100);
    read.unwrap_or_else(|unfit| panic!("{}", unfit.error))
}

#[track_caller]
fn check_payload(members: &str, payload: &[u8], content_type: &str) {
    let message = format!("{{\"id\":\"1\",{members}}}");
    let ClientMessage::Call(head, CallBody::One(Some(found))) = read(&message) else {
        panic!("{message}");
    };
    assert_eq!(found, payload, "{message}");
    assert_eq!(head.headers["content-type"], content_type, "{message}");
}

#[test]
fn a_payload_is_read_by_its_content_type() {
    check_payload(
        r#""payload": {"n" : 1.50} "#,
        br#"{"n" : 1.50}"#,
        "application/json",
    );
    check_payload(r#""payload":"\u0041""#, br#""\u0041""#, "application/json");
    let text = r#""headers":{"Content-Type":"text/plain; charset=utf-8"},"payload":"\u0041""#;
    check_payload(text, b"A", "text/plain; charset=utf-8");
    // Another type than text, whose payload is no string.
    let number = r#""headers":{"content-type":"text/plain"},"payload":7"#;
    check_payload(number, b"7", "text/plain");
    let json = r#""headers":{"content-type":"application/x+json"},"payload":"a""#;
    check_payload(json, br#""a""#, "application/x+json");
    check_payload(
        r#""payload-base64":"AP8=""#,
        &[0, 255],
        "application/octet-stream",
    );
    let image = r#""headers":{"content-type":"image/png"},"payload-base64":"AP8=""#;
    check_payload(image, &[0, 255], "image/png");
}

#[test]
fn the_first_of_members_that_stand_twice_counts() {
    let ClientMessage::Call(head, CallBody::One(payload)) =
        read(r#"{"id":"1","id":"2","payload":1,"payload":2,"method":"a","method":"b"}"#)
    else {
        panic!("no call");
    };
    assert_eq!((head.id.as_str(), payload), ("1", Some("1".into())));
    assert_eq!(head.method.expect("named"), "a");
}

#[test]
fn each_type_of_message_is_read() {
    let ClientMessage::Call(head, CallBody::Stream) =
        read(r#"{"type":"open","id":"1","service":"s"}"#)
    else {
        panic!("no call");
    };
    assert_eq!((head.service.as_deref(), head.method), (Some("s"), None));
    assert!(matches!(read(r#"{"type":"item","id":"1","payload":[]}"#),
        ClientMessage::Item(id, item) if id == "1" && item == "[]"));
    assert!(matches!(read(r#"{"type":"end","id":"1"}"#), ClientMessage::End(id) if id == "1"));
    assert!(matches!(read(r#"{"type":"reset","id":"1"}"#), ClientMessage::Reset(id) if id == "1"));
}

#[test]
fn a_reply_says_what_it_has_and_nothing_else() {
    let message = ServerMessage::new("response", "a\"b", 0);
    assert_eq!(message.finish(), r#"{"type":"response","id":"a\"b"}"#);
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-a", "3")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers.append("x-c", HeaderValue::from_bytes(b"\xff").expect("a value"));
    let mut message = ServerMessage::new("end", "", 0);
    message.headers(&headers);
    assert_eq!(
        message.finish(),
        r#"{"type":"end","headers":{"x-a":"1, 3","x-b":"2"}}"#
    );
    let error = Error::new(Kind::Unavailable, Blame::Gateway, "later")
        .with_retry(Retry::After(std::time::Duration::from_millis(1500)));
    let told = r#"{"type":"error","id":"1","status":"unavailable","retry-after-ms":1500,"error":"later","code":503}"#;
    assert_eq!(ServerMessage::error("1", &error, None), told);
    let own = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-note"),
        HeaderValue::from_static("one"),
    )]);
    let told = told.replacen(
        ",\"error\"",
        ",\"headers\":{\"x-note\":\"one\"},\"error\"",
        1,
    );
    assert_eq!(ServerMessage::error("1", &error, Some(&own)), told);
}

#[test]
fn an_inbox_that_is_dropped_breaks_its_stream_off_and_one_that_ends_does_not() {
    let session = Arc::<AtomicWaker>::default();
    let (whole, mut items) = inbox(&session);
    whole.push("1".into());
    assert_eq!(whole.len(), 1);
    whole.end();
    let mut next = || items.next().now_or_never().expect("at hand");
    assert_eq!(next().expect("an item").expect("whole"), "1");
    assert!(next().is_none());
    let (broken, mut items) = inbox(&session);
    assert!(items.next().now_or_never().is_none());
    broken.push("1".into());
    drop(broken);
    let mut next = || items.next().now_or_never().expect("at hand");
    assert_eq!(next().expect("an item").expect("whole"), "1");
    let error = next().expect("an end").expect_err("broken");
    assert_eq!(error.kind, Kind::Cancelled);
    assert!(next().is_none());
    // What nobody reads any more is not kept.
    let (unread, items) = inbox(&session);
    unread.push("1".into());
    drop(items);
    unread.push("2".into());
    assert_eq!(unread.len(), 0);
}
