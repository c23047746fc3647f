//! Durable subscriptions over HTTP by curl, and over WebSocket.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use postern_tests::{Gateway, patiently, system_tool};
use serde_json::{Value, json};

use super::{log, setup};
use crate::{share, websocket::socket::Socket};

fn curl(gateway: &Gateway, method: &str, message: &Value) -> Value {
    let answered = command(gateway, method, message)
        .output()
        .expect("curl runs");
    assert!(answered.status.success(), "{answered:?}");
    serde_json::from_slice(&answered.stdout).expect("JSON")
}

fn command(gateway: &Gateway, method: &str, message: &Value) -> Command {
    let mut curl = Command::new(system_tool("curl"));
    curl.args([
        "-sSN",
        "--max-time",
        "60",
        "-H",
        "content-type: application/json",
        "-d",
    ])
    .arg(message.to_string())
    .arg(format!(
        "http://{}/v1/services/events/{method}",
        gateway.http
    ));
    curl
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_publishes_streams_and_acknowledges() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("order = \"none\"")).await;
    for n in 1..=2 {
        curl(
            &gateway,
            "publish",
            &json!({"topic": "orders.created", "payload": n}),
        );
    }
    let wish = json!({"topics": ["orders.>"], "durable": "web", "start": "first"});
    let mut stream = command(&gateway, "subscribe", &wish);
    let mut stream = stream.stdout(Stdio::piped()).spawn().expect("curl runs");
    let out = stream.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(out).lines();
    let mut line = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    let first = line();
    assert_eq!(
        (&first["payload"], &first["deliveries"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(line()["payload"], 2);
    let answer = curl(
        &gateway,
        "acknowledge",
        &json!({"deliveries": [first["delivery"]]}),
    );
    assert_eq!(answer, json!({"acknowledged": 1}));
    stream.kill().expect("it runs");
    stream.wait().expect("it ends");
    // The second is there for the next stream of that name.
    patiently("the stream has ended", async || {
        log(&gateway, "orders.>").await["consumers"][0]["members"] == 0
    })
    .await;
    let seen = log(&gateway, "orders.>").await;
    let consumer = &seen["consumers"][0];
    assert_eq!(
        (&consumer["acknowledged"], &consumer["pending"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_websocket_has_durable_subscriptions() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("")).await;
    let mut socket = Socket::open(&gateway, "/ws/events/subscribe", "").await;
    let ask = |id: &str, method: &str, payload: Value| json!({"id": id, "service": "events", "method": method, "payload": payload});
    let wish = json!({"topics": ["orders.>"], "durable": "browser"});
    let answer = socket.ask(&ask("1", "subscribe", wish)).await;
    assert_eq!(answer["type"], "response", "{answer}");
    let event = json!({"topic": "orders.created", "payload": {"n": 1}});
    let message = ask("2", "publish", event);
    socket
        .send(
            crate::websocket::socket::TEXT,
            message.to_string().as_bytes(),
        )
        .await;
    let (mut told, mut published) = (None, false);
    while told.is_none() || !published {
        let message = socket.message().await;
        match message["type"].as_str() {
            Some("event") => told = Some(message),
            _ => published = message["id"] == "2" && message["type"] == "response",
        }
    }
    let told = told.expect("an event");
    assert_eq!(
        (&told["payload"], &told["position"]),
        (&json!({"n": 1}), &json!(1))
    );
    let deliveries = json!({"deliveries": [told["delivery"]]});
    let answer = socket.ask(&ask("3", "acknowledge", deliveries)).await;
    assert_eq!(answer["payload"], json!({"acknowledged": 1}), "{answer}");
}
