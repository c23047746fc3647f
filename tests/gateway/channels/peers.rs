//! Another gateway over VSTP and over WebSocket, and a server of plain JSON values.

use postern_core::{Call, Handler};
use postern_tests::{Gateway, Setup, next_event, patiently, session};
use serde_json::{Value, json};

use super::{Observer, carries, pause, publish};
use crate::share;

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_over_websocket_and_vstp_publishes_subscribes_and_calls() {
    let _machine = share().await;
    let other = Gateway::start(Setup::default().plugin("echo")).await;
    let sessions = format!("vstp://{}", other.vstp);
    let text = format!("ws://{}", other.http);
    for (via, broker) in [
        (
            format!("via = [{{ url = \"{sessions}\" }}, {{ url = \"{text}\" }}]"),
            &sessions,
        ),
        (
            format!("protocols = [\"websocket\"]\nurl = \"{text}\""),
            &text,
        ),
    ] {
        let config =
            format!("[channels.shared]\n{via}\ntopics = [\"shared.>\"]\nservices = [\"echo\"]\n");
        let setup = Setup {
            config,
            ..Setup::default()
        };
        let gateway = Gateway::start(setup).await;
        carries(&gateway, "shared", broker).await;
        // Whoever subscribes is subscribed at all brokers a moment later.
        pause(500).await;
        check_exchange(&gateway, &other).await;
    }
}

async fn check_exchange(gateway: &Gateway, other: &Gateway) {
    let (here, there) = (session(gateway).await, session(other).await);
    let (mut heard_here, mut heard_there) = (here.events(), there.events());
    for client in [&here, &there] {
        let subscribe = Call::unary("events", "subscribe", r#"{"topics":["shared.>"]}"#);
        client.call(subscribe).await.expect("subscribed");
    }
    publish(&here, "shared.out", None, r#"{"n":1}"#.to_owned())
        .await
        .expect("published");
    let event = next_event(&mut heard_there).await.event;
    assert_eq!(
        (event.topic.as_str(), &event.payload[..]),
        ("shared.out", &b"{\"n\":1}"[..])
    );
    assert!(
        event.headers.get_str("event-id").is_some(),
        "the channel gives it an id"
    );
    // The publisher's own gateway tells it once, whatever comes back.
    let event = next_event(&mut heard_here).await.event;
    assert_eq!(event.topic, "shared.out");
    for (id, payload) in [("a", "1"), ("b", "2")] {
        publish(&there, "shared.in", Some(id), payload.to_owned())
            .await
            .expect("published");
        let delivery = next_event(&mut heard_here).await;
        assert_eq!(
            (&delivery.event.payload[..], delivery.missed),
            (payload.as_bytes(), 0)
        );
        let channel = delivery.event.headers.get_str("event-channel");
        assert_eq!(channel.as_deref(), Some("shared"));
    }
    let reply = here
        .call(Call::unary("echo", "Echo", r#"{"x":1}"#))
        .await
        .expect("answered there");
    assert_eq!(reply.body.into_one(1024).await.expect("one"), r#"{"x":1}"#);
    let (here, there) = (here.clone(), there.clone());
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_values_of_a_websocket_are_events_of_one_topic() {
    let _machine = share().await;
    let mut server = Observer::start(&["websocket"]);
    let port = server.first("port").await;
    let config = format!(
        "[channels.updates]\nvia = [{{ url = \"ws://127.0.0.1:{port}\", topic = \"updates.status\" }}]\n\
         topics = [\"updates.>\"]\ntoken = \"t0p\"\n"
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    carries(&gateway, "updates", &format!("ws://127.0.0.1:{port}")).await;
    assert_eq!(server.first("authorization").await, "Bearer t0p");
    // The channel takes what comes a moment after it is connected.
    pause(500).await;
    let client = session(&gateway).await;
    let mut events = client.events();
    let subscribe = Call::unary("events", "subscribe", r#"{"topics":["updates.>"]}"#);
    client.call(subscribe).await.expect("subscribed");
    let payload = r#"{"event":"status","value":"°"}"#;
    publish(&client, "updates.status", None, payload.to_owned())
        .await
        .expect("published");
    let expected = r#"{"event": "status", "value": "\u00b0"}"#;
    assert_eq!(server.first("message").await, expected);
    assert_eq!(next_event(&mut events).await.event.payload, payload);
    server.say(&json!({ "event": "status", "value": "online" }));
    let event = next_event(&mut events).await.event;
    assert_eq!(event.topic, "updates.status");
    let payload: Value = serde_json::from_slice(&event.payload).expect("JSON");
    assert_eq!(payload, json!({ "event": "status", "value": "online" }));
    // What came in is not sent back, and a new connection is made when one is lost.
    assert_eq!(server.count("message"), 1);
    shown(&gateway, port.as_u64().expect("a port"));
    drop(server);
    patiently("it is away", async || {
        let channels = gateway.admin_json("/channels").await;
        channels["channels"][0]["members"][0]["state"] == "away"
    })
    .await;
}

/// `postern channels list`, the metrics and the log say which broker carries.
fn shown(gateway: &Gateway, port: u64) {
    let admin = gateway.admin.to_string();
    let text = gateway.postern(&["channels", "list", "--admin", &admin]);
    assert_eq!(text.code, Some(0), "{text:?}");
    let broker = format!("ws://127.0.0.1:{port}");
    let line = text.out.lines().nth(1).unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    let expected = ["updates", &broker, "websocket", "yes", "well"];
    assert_eq!(words.get(..5), Some(&expected[..]), "{}", text.out);
    let json = gateway.postern(&["--output", "json", "channels", "list", "--admin", &admin]);
    let listed: Value = serde_json::from_str(&json.out).expect("JSON");
    let channel = &listed["channels"][0];
    assert_eq!(
        (&channel["acknowledged"], &channel["received"]),
        (&json!(1), &json!(1)),
        "{channel}"
    );
    assert!(
        gateway
            .log()
            .contains("the channel goes over another broker")
    );
}
