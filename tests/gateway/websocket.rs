//! WebSocket on the HTTP port of the real binary: calls, events, sessions, and each key by what it does.

mod rfc6455;
pub(crate) mod socket;

use bytes::Bytes;
use postern_core::{Call, Handler, Transport};
use postern_net::{Client, ClientConfig, dial};
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect, patiently};
use serde_json::json;

use self::socket::{CLOSE, PING, Socket, TEXT, ask};
use crate::{reload::variant, share};

/// A gateway with these keys of its HTTP listener.
async fn gateway(http: &str, plugin: &str) -> Gateway {
    let setup = Setup {
        http: http.to_owned(),
        ..Setup::default()
    };
    Gateway::start(setup.plugin(plugin)).await
}

/// A session over WebSocket.
async fn session(gateway: &Gateway) -> Client {
    let authority = gateway.http.to_string();
    let targets = dial::targets(Transport::WebSocket, &authority);
    let target = targets.await.expect("an address").remove(0);
    let client = Client::connect(target, ClientConfig::default()).await;
    client.expect("the gateway takes sessions")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_websockets_are_kept_while_their_plugin_is_swapped_ten_times() {
    let _machine = share().await;
    let gateway = gateway("", "echo").await;
    let good = component("echo");
    let mut calls = Socket::open(&gateway, "/ws/echo/Echo", "").await;
    let session = session(&gateway).await;
    for n in 1..=10 {
        let before = gateway.admin_json("/plugins/echo").await["generation"].clone();
        gateway.deploy("echo.wasm", &variant(&good, n));
        patiently("the new component takes the calls", async || {
            gateway.admin_json("/plugins/echo").await["generation"] != before
        })
        .await;
        let told = calls
            .ask(&json!({"id": n.to_string(), "payload": {"n": n}}))
            .await;
        assert_eq!(
            (&told["type"], &told["payload"]),
            (&json!("response"), &json!({"n": n}))
        );
        let echoed = call(&session, "echo/Echo", n.to_string()).await;
        assert_eq!(echoed.expect("an echo"), n.to_string());
    }
    let (_, metrics) = gateway.admin("/metrics").await.expect("metrics");
    let calls = metrics.lines().filter(|line| {
        line.starts_with("postern_calls_total") && line.contains("transport=\"ws\"")
    });
    let n_calls: u64 = calls
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(n_calls, 20, "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_the_guard_with_the_credentials_of_the_request_or_their_own() {
    let _machine = share().await;
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let setup = Setup {
        config: format!(
            "[auth]\nauthentication = \"required\"\n[auth.api-keys.keys.west]\nhash = \"sha256:{hash}\"\n"
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let status = |told: &serde_json::Value| told["status"].as_str().map(str::to_owned);
    let refused = Some("unauthenticated".to_owned());
    let mut unknown = Socket::open(&gateway, "/ws/echo/Echo", "").await;
    let told = unknown.ask(&json!({"id": "1", "payload": 1})).await;
    assert_eq!(status(&told), refused, "{told}");
    let own = json!({"id": "2", "payload": 1, "headers": {"x-vsp-api-key": "secret"}});
    assert_eq!(status(&unknown.ask(&own).await), None);
    // They were of that message only.
    assert_eq!(status(&unknown.ask(&json!({"id": "3"})).await), refused);
    let mut known = Socket::open(&gateway, "/ws/echo/Echo", "x-vsp-api-key: secret\r\n").await;
    assert_eq!(
        status(&known.ask(&json!({"id": "1", "payload": 1})).await),
        None
    );
    let wrong = json!({"id": "2", "headers": {"x-vsp-api-key": "guess"}});
    assert_eq!(status(&known.ask(&wrong).await), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_page_publishes_every_subscriber_is_told() {
    let _machine = share().await;
    let gateway = gateway("", "echo").await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        let mut page = Socket::open(&gateway, "/ws/events/subscribe", "").await;
        let told = page
            .ask(&json!({"id": "s", "payload": {"topics": ["status.*"]}}))
            .await;
        assert!(told["payload"]["subscription"].is_string(), "{told}");
        pages.push(page);
    }
    let publish = json!({
        "id": "p", "method": "publish",
        "payload": {"topic": "status.gate", "payload": {"value": "online"}},
    });
    pages[0].send(TEXT, publish.to_string().as_bytes()).await;
    // The publisher is a subscriber, too: its event may come before its answer.
    let told = [pages[0].message().await, pages[0].message().await];
    assert!(
        told.iter()
            .any(|told| told["payload"] == json!({"subscribers": 3})),
        "{told:?}"
    );
    assert!(
        told.iter().any(|told| told["topic"] == "status.gate"),
        "{told:?}"
    );
    for page in &mut pages[1..] {
        let event = page.message().await;
        assert_eq!(event["type"], "event");
        assert_eq!(event["payload"], json!({"value": "online"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_of_websocket_does_what_it_says() {
    let _machine = share().await;
    let keys = "websocket.paths = [\"/ws\"]\nwebsocket.message-bytes-max = \"1KiB\"\n\
                websocket.compression = false\n";
    let gateway = gateway(keys, "echo").await;
    let (_, head) = ask(gateway.http, "/vstp", "").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    let offer = "sec-websocket-extensions: permessage-deflate\r\n";
    let mut talker = Socket::open(&gateway, "/ws/echo/Echo", offer).await;
    assert!(
        !talker.head.contains("sec-websocket-extensions"),
        "{}",
        talker.head
    );
    let mut message = br#"{"payload":1}"#.to_vec();
    message.resize(1024, b' ');
    talker.send(TEXT, &message).await;
    assert_eq!(talker.message().await["payload"], 1);
    message.push(b' ');
    talker.send(TEXT, &message).await;
    assert_eq!(talker.close_code().await, 1009);
    // By default both paths are there, and compression is agreed to.
    let gateway = self::gateway("", "echo").await;
    let socket = Socket::open(&gateway, "/vstp", offer).await;
    assert!(
        socket
            .head
            .contains("sec-websocket-extensions: permessage-deflate"),
        "{}",
        socket.head
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_page_is_pinged_after_ping_interval_and_closed_after_ping_timeout() {
    let _machine = share().await;
    let keys = "websocket.ping-interval = \"100ms\"\nwebsocket.ping-timeout = \"200ms\"\n";
    let gateway = gateway(keys, "echo").await;
    let mut silent = Socket::open(&gateway, "/ws/echo/Echo", "").await;
    assert_eq!(silent.recv().await, Some((PING, vec![])));
    assert_eq!(silent.close_code().await, 1011);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_events_than_queue_max_wait_for_a_page_that_does_not_read() {
    let _machine = share().await;
    let gateway = gateway("websocket.queue-max = 3\n", "echo").await;
    let mut page = Socket::open(&gateway, "/ws/events/subscribe", "").await;
    let told = page
        .ask(&json!({"id": "s", "payload": {"topics": ["news"]}}))
        .await;
    assert_eq!(told["type"], "response", "{told}");
    let publisher = connect(&gateway, CallerTransport::Tcp).await;
    let news = json!({"topic": "news", "payload": "x".repeat(200_000)}).to_string();
    patiently("events are dropped", async || {
        let told = call(&*publisher, "events/publish", news.clone()).await;
        told.expect("published");
        let events = gateway.admin_json("/events").await;
        let queued = events["subscriptions"][0]["queued"]
            .as_u64()
            .expect("a number");
        assert!(queued <= 3, "{events}");
        events["subscriptions"][0]["dropped"]
            .as_u64()
            .expect("a number")
            > 0
    })
    .await;
    let mut missed = 0;
    while missed == 0 {
        missed = page.message().await["missed"].as_u64().unwrap_or(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_says_going_away() {
    let _machine = share().await;
    let mut gateway = gateway("", "echo").await;
    let mut page = Socket::open(&gateway, "/ws/echo/Echo", "").await;
    gateway.signal("TERM");
    assert_eq!(page.close_code().await, 1001);
    page.send(CLOSE, &1001_u16.to_be_bytes()).await;
    assert_eq!(page.recv().await, None);
    assert!(gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_a_peer_and_the_command_line_are_reached_over_websocket() {
    let _machine = share().await;
    let back = gateway("", "echo").await;
    let front = Gateway::start(Setup {
        config: format!(
            "[instances.far]\nservice = \"echo\"\naddresses = [\"ws://{}\"]\n",
            back.http
        ),
        ..Setup::default()
    })
    .await;
    let handler = connect(&front, CallerTransport::Tcp).await;
    let reply = call(&*handler, "echo/Echo", "{\"n\":1}").await;
    assert_eq!(reply.expect("an echo"), "{\"n\":1}");
    let west = Gateway::start(Setup {
        config: format!("[peers.east]\naddress = \"ws://{}\"\n", back.http),
        ..Setup::default()
    })
    .await;
    let handler = connect(&west, CallerTransport::Tcp).await;
    patiently("the peer's service is known", async || {
        handler
            .call(Call::unary("echo", "Echo", Bytes::from_static(b"{}")))
            .await
            .is_ok()
    })
    .await;
    let url = format!("ws://{}", back.http);
    for transport in ["ws", &*url] {
        let arguments = ["call", "echo/Echo", "{\"n\":2}", "--transport", transport];
        let told = back.postern(&arguments);
        assert_eq!(
            (told.code, told.out.trim()),
            (Some(0), "{\"n\":2}"),
            "{transport}: {told:?}"
        );
    }
}

/// Octets that the HTTP listener has read and written.
async fn octets(gateway: &Gateway) -> [u64; 2] {
    let (_, metrics) = gateway.admin("/metrics").await.expect("metrics");
    ["received", "sent"].map(|way| {
        let series = format!("postern_{way}_bytes_total{{listener=\"http\"");
        let lines = metrics.lines().filter(|line| line.starts_with(&series));
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        numbers.sum()
    })
}

/// The same, once both are `n_more` above `before`: what is written is counted behind it.
async fn octets_above(gateway: &Gateway, before: [u64; 2], n_more: u64) -> [u64; 2] {
    let mut now = before;
    patiently("the octets are counted", async || {
        now = octets(gateway).await;
        now.iter()
            .zip(before)
            .all(|(now, before)| now - before >= n_more)
    })
    .await;
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_of_a_websocket_are_counted_once_whatever_it_carries() {
    const OCTETS: u64 = 60_000;
    let _machine = share().await;
    let gateway = gateway("websocket.compression = false\n", "echo").await;
    let payload = "x".repeat(usize::try_from(OCTETS).expect("short"));
    let before = octets(&gateway).await;
    let mut calls = Socket::open(&gateway, "/ws/echo/Echo", "").await;
    let told = calls.ask(&json!({"id": "1", "payload": payload})).await;
    assert_eq!(told["payload"], payload);
    let between = octets_above(&gateway, before, OCTETS).await;
    let session = session(&gateway).await;
    let echoed = call(&session, "echo/Echo", payload).await;
    assert_eq!(echoed.expect("an echo").len() as u64, OCTETS);
    let after = octets_above(&gateway, between, OCTETS).await;
    for (from, to) in [(before, between), (between, after)] {
        for (from, to) in from.iter().zip(to) {
            let n_octets = to - from;
            assert!((OCTETS..OCTETS * 3 / 2).contains(&n_octets), "{n_octets}");
        }
    }
}
