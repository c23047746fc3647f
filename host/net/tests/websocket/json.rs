//! Calls as JSON text messages.

use std::{sync::atomic::Ordering, time::Duration};

use postern_net::{WebSocketConfig, http::HttpConfig};

use crate::{
    listener::{Listener, until},
    raw::{PING, RawSocket},
};

#[tokio::test]
async fn a_call_is_a_message_and_so_is_its_reply() {
    let listener = Listener::start().await;
    let mut socket = listener.calls().await;
    let json = r#""headers":{"content-type":"application/json"}"#;
    socket
        .check(
            r#"{"id":"a","payload":{"n":1.50}}"#,
            &format!(r#"{{"type":"response","id":"a",{json},"payload":{{"n":1.50}}}}"#),
        )
        .await;
    socket
        .check(
            r#"{"type":"request","payload":null}"#,
            &format!(r#"{{"type":"response",{json},"payload":null}}"#),
        )
        .await;
    socket
        .check(r#"{"id":"b"}"#, r#"{"type":"response","id":"b"}"#)
        .await;
    let text = r#"{"id":"c","headers":{"content-type":"text/plain"},"payload":"a\nb"}"#;
    let answer =
        r#"{"type":"response","id":"c","headers":{"content-type":"text/plain"},"payload":"a\nb"}"#;
    socket.check(text, answer).await;
    let octets = r#"{"id":"d","payload-base64":"/wA="}"#;
    let answer = r#"{"type":"response","id":"d","headers":{"content-type":"application/octet-stream"},"payload-base64":"/wA="}"#;
    socket.check(octets, answer).await;
    // Another method than that of the path.
    socket
        .check(r#"{"id":"e","method":"fail"}"#, r#"{"type":"error","id":"e","status":"already-exists","error":"asked \"for\" it","code":409,"details":{"by":"test"}}"#)
        .await;
    socket
        .check(
            r#"{"id":"f","service":"nobody"}"#,
            r#"{"type":"error","id":"f","status":"not-found","error":"no nobody/echo","code":404}"#,
        )
        .await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_call_has_the_headers_of_the_request_and_those_of_its_message() {
    let listener = Listener::start().await;
    let fields = [
        ("authorization", "Bearer t"),
        ("x-one", "of the request"),
        ("timeout-ms", "1"),
    ];
    let mut socket = RawSocket::open(listener.address, "/ws/test/context", &fields).await;
    let told = |x_one: &str, priority: u8, deadline: bool| {
        format!(
            r#"{{"type":"response","id":"1","payload":{{"transport":"ws","session":32,"correlation":"1","authorization":"Bearer t","x-one":"{x_one}","key":"","priority":{priority},"deadline":{deadline}}}}}"#
        )
    };
    socket
        .check(r#"{"id":"1"}"#, &told("of the request", 50, false))
        .await;
    let headers =
        r#"{"id":"1","headers":{"X-One":"of the message","priority":"7","timeout-ms":"60000"}}"#;
    socket
        .check(headers, &told("of the message", 7, true))
        .await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_message_that_is_none_is_answered_and_the_connection_stays() {
    let listener = Listener::start().await;
    let mut socket = listener.calls().await;
    for (message, id, told) in [
        ("[]", "", "the message is no JSON object"),
        ("", "", "the message is no JSON object"),
        (r#"{"id":1}"#, "", r#"member \"id\" is no string"#),
        (
            r#"{"id":"1","payloads":1}"#,
            "1",
            r#"member \"payloads\" is not known"#,
        ),
        (
            r#"{"id":"1","type":"ask"}"#,
            "1",
            r#"type \"ask\" is not known; request, open, item, end and reset are"#,
        ),
        (
            r#"{"type":"item"}"#,
            "",
            r#"a message of type \"item\" needs a member \"id\""#,
        ),
        (
            r#"{"id":"1","headers":[]}"#,
            "1",
            r#"member \"headers\" is no object"#,
        ),
        (
            r#"{"id":"1","headers":{"a b":"1"}}"#,
            "1",
            r#"header \"a b\" is no field of HTTP with a string"#,
        ),
        (
            r#"{"id":"1","headers":{"timeout-ms":"soon"}}"#,
            "1",
            r#"timeout-ms \"soon\" is not a number of milliseconds"#,
        ),
        (
            r#"{"id":"1","payload":1,"payload-base64":""}"#,
            "1",
            r#"one of the members \"payload\" and \"payload-base64\" is enough"#,
        ),
        (
            r#"{"id":"1","type":"open","payload":1}"#,
            "1",
            r#"a payload follows \"open\" in messages of type \"item\""#,
        ),
    ] {
        let id = match id {
            "" => String::new(),
            id => format!(r#""id":"{id}","#),
        };
        let answer = format!(
            r#"{{"type":"error",{id}"status":"invalid-argument","error":"{told}","code":400}}"#
        );
        socket.check(message, &answer).await;
    }
    socket.text(r#"{"id":"1"#).await;
    let broken = socket.message().await;
    assert!(
        broken.contains("the message is no JSON object: EOF"),
        "{broken}"
    );
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(256));
    socket.text(&long).await;
    let told = socket.message().await;
    assert!(
        told.contains("id of 256 octets exceeds the limit of 255"),
        "{told}"
    );
    assert_eq!(listener.service.n_calls.load(Ordering::SeqCst), 0);
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_payload_over_the_limit_of_calls_is_refused_by_itself() {
    let listener = Listener::start_with(HttpConfig {
        message_bytes_max: 10,
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket.text(r#"{"id":"1","payload":"12345678"}"#).await;
    assert!(socket.message().await.contains(r#""payload":"12345678""#));
    socket
        .check(
            r#"{"id":"2","payload":"123456789"}"#,
            r#"{"type":"error","id":"2","status":"invalid-argument","error":"payload of 11 octets exceeds the limit of 10","code":413}"#,
        )
        .await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn messages_of_a_call_follow_each_other_in_both_directions() {
    let listener = Listener::start().await;
    let mut socket = listener.calls().await;
    // Two calls at once, one of which answers item by item.
    socket.text(r#"{"id":"e","type":"open"}"#).await;
    let open = r#"{"type":"open","id":"e","headers":{"content-type":"application/json"}}"#;
    assert_eq!(socket.message().await, open);
    socket
        .text(r#"{"id":"s","type":"open","method":"sum"}"#)
        .await;
    for n in 1..=3 {
        let item = format!(r#"{{"id":"e","type":"item","payload":{n}}}"#);
        socket
            .check(
                &item,
                &format!(r#"{{"type":"item","id":"e","payload":{n}}}"#),
            )
            .await;
        socket
            .text(&format!(r#"{{"id":"s","type":"item","payload":{n}}}"#))
            .await;
    }
    socket
        .check(
            r#"{"id":"s","type":"end"}"#,
            r#"{"type":"response","id":"s","payload":6}"#,
        )
        .await;
    socket
        .check(r#"{"id":"e","type":"end"}"#, r#"{"type":"end","id":"e"}"#)
        .await;
    // What comes too late is for nobody.
    socket.text(r#"{"id":"e","type":"item","payload":4}"#).await;
    socket
        .check(
            r#"{"id":"x","type":"request","method":"sum"}"#,
            r#"{"type":"error","id":"x","status":"invalid-argument","error":"no stream","code":400}"#,
        )
        .await;
    // A request that is answered by a stream.
    socket.text(r#"{"id":"y","method":"endless"}"#).await;
    assert_eq!(socket.message().await, r#"{"type":"open","id":"y"}"#);
    assert!(
        socket
            .message()
            .await
            .starts_with(r#"{"type":"item","id":"y","payload":"yyy"#)
    );
    socket.text(r#"{"id":"y","type":"reset"}"#).await;
    socket.text(r#"{"id":"z"}"#).await;
    // Items that were on their way, and then no more of them.
    while socket.message().await != r#"{"type":"response","id":"z"}"# {}
    socket
        .check(r#"{"id":"z"}"#, r#"{"type":"response","id":"z"}"#)
        .await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_reset_and_a_client_that_goes_cancel_their_calls() {
    let listener = Listener::start().await;
    let mut socket = listener.calls().await;
    for id in ["1", "2", "3"] {
        socket
            .text(&format!(r#"{{"id":"{id}","method":"never"}}"#))
            .await;
    }
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 3).await;
    socket.text(r#"{"id":"2","type":"reset"}"#).await;
    until(|| listener.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    // Its id is free again, and that of another is not.
    socket
        .check(r#"{"id":"2"}"#, r#"{"type":"response","id":"2"}"#)
        .await;
    socket.text(r#"{"id":"1"}"#).await;
    let told = socket.closed(1008).await;
    assert_eq!(
        told,
        "a rule of this endpoint: id \"1\" is that of a call in flight"
    );
    until(|| listener.service.n_cancelled.load(Ordering::SeqCst) == 3).await;
    let mut socket = listener.calls().await;
    socket.text(r#"{"id":"1","method":"never"}"#).await;
    socket
        .text(r#"{"id":"2","method":"sum","type":"open"}"#)
        .await;
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 6).await;
    drop(socket);
    until(|| listener.service.n_cancelled.load(Ordering::SeqCst) == 5).await;
    listener.stop().await;
}

#[tokio::test]
async fn calls_over_streams_max_are_not_read_until_there_is_room() {
    let listener = Listener::start_with(HttpConfig {
        streams_max: 2,
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    for id in ["1", "2", "3"] {
        socket
            .text(&format!(r#"{{"id":"{id}","method":"never"}}"#))
            .await;
    }
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 2).await;
    // The room is made by another's end, as nothing is read that would reset one.
    listener.reconfigure.apply(HttpConfig {
        streams_max: 3,
        ..HttpConfig::default()
    });
    let mut other = listener.calls().await;
    other
        .check(r#"{"id":"1"}"#, r#"{"type":"response","id":"1"}"#)
        .await;
    assert_eq!(listener.service.n_calls.load(Ordering::SeqCst), 3);
    drop((socket, other));
    listener.stop().await;
}

#[tokio::test]
async fn items_beyond_queue_max_wait_for_their_handler() {
    let listener = Listener::start_websocket(WebSocketConfig {
        queue_max: 2,
        ..WebSocketConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket
        .text(r#"{"id":"n","type":"open","method":"never"}"#)
        .await;
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    for n in 1..=2 {
        socket
            .text(&format!(r#"{{"id":"n","type":"item","payload":{n}}}"#))
            .await;
    }
    // Behind a full inbox nothing is read.
    socket.text(r#"{"id":"late"}"#).await;
    let mut other = listener.calls().await;
    other
        .check(r#"{"id":"1"}"#, r#"{"type":"response","id":"1"}"#)
        .await;
    assert_eq!(listener.service.n_calls.load(Ordering::SeqCst), 2);
    // A handler that takes them lets the client go on, however many there are.
    let mut summing = listener.calls().await;
    summing
        .text(r#"{"id":"s","type":"open","method":"sum"}"#)
        .await;
    for _ in 0..100 {
        summing
            .text(r#"{"id":"s","type":"item","payload":1}"#)
            .await;
    }
    let sum = r#"{"type":"response","id":"s","payload":100}"#;
    summing.check(r#"{"id":"s","type":"end"}"#, sum).await;
    drop((socket, other, summing));
    // Whoever is not read is not seen to go.
    listener.shutdown.end();
    listener.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_not_read_is_found_out_by_a_ping() {
    let listener = Listener::start_websocket(WebSocketConfig {
        queue_max: 1,
        ping_interval: Some(Duration::from_millis(20)),
        ..WebSocketConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket
        .text(r#"{"id":"n","type":"open","method":"never"}"#)
        .await;
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    for n in 1..=3 {
        socket
            .text(&format!(r#"{{"id":"n","type":"item","payload":{n}}}"#))
            .await;
    }
    // It is asked, and not given up while it is not read.
    for _ in 0..3 {
        assert_eq!(socket.recv().await, Some((PING, vec![])));
    }
    drop(socket);
    until(|| listener.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    listener.stop().await;
}
