//! Events that go out to channels of a Redis and come in from there.

use postern_net::{Client, client::Events};
use postern_tests::{
    Gateway, RedisServer, ask_events, next_event, patiently, publish_event, session,
};
use serde_json::json;

use super::{setup, shown};
use crate::share;

async fn publish(client: &Client, topic: &str, payload: &str) {
    let published = publish_event(client, topic, &[], payload.to_owned()).await;
    published.expect("published");
}

async fn subscribe(client: &Client, topics: &[&str]) -> Events {
    let events = client.events();
    let subscribed = ask_events(client, "subscribe", &json!({ "topics": topics })).await;
    subscribed.expect("subscribed");
    events
}

/// Topic and payload of the next event.
async fn next(events: &mut Events) -> (String, String) {
    let event = next_event(events).await.event;
    let payload = String::from_utf8(event.payload.to_vec()).expect("text");
    (event.topic.to_string(), payload)
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

/// Waits until somebody listens to `channel` at the server.
async fn listened_to(server: &RedisServer, channel: &str) {
    patiently("the gateway has subscribed", async || {
        server.run(&["publish", channel, "probe"]).trim() == "1"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_out_and_come_in_under_their_prefixes() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let keys = "[stores.main.channels]\npublish = [\"orders.>\"]\npublish-prefix = \"out:\"\n\
                subscribe = [\"stock.*\", \"stock.>\"]\nsubscribe-prefix = \"in:\"\n";
    let gateway = Gateway::start(setup(&server.url(), keys)).await;
    let client = session(&gateway).await;
    let mut events = subscribe(&client, &["stock.>"]).await;
    listened_to(&server, "in:stock.probe").await;
    assert_eq!(next(&mut events).await, pair("stock.probe", "probe"));
    server.run(&["publish", "in:stock.a.b", "deep"]);
    server.run(&["publish", "in:stock.a", "flat"]);
    server.run(&["publish", "stock.a", "without its prefix"]);
    server.run(&["publish", "in:stock.a b", "no topic"]);
    server.run(&["publish", "in:stock.last", "{}"]);
    assert_eq!(next(&mut events).await, pair("stock.a.b", "deep"));
    assert_eq!(next(&mut events).await, pair("stock.a", "flat"));
    assert_eq!(next(&mut events).await, pair("stock.last", "{}"));
    // Out: a client of its own listens.
    let url = server.url();
    let mut listening = std::process::Command::new(postern_tests::system_tool("redis-cli"))
        .args(["-u", &url, "--csv", "psubscribe", "out:*"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("redis-cli runs");
    listened_to(&server, "out:probe").await;
    publish(&client, "orders.new", "1").await;
    publish(&client, "other", "not forwarded").await;
    publish(&client, "orders.last", "2").await;
    patiently("both are sent", async || {
        shown(&gateway).await["channels"]["sent"] == 2
    })
    .await;
    listening.kill().expect("it runs");
    let said = listening.wait_with_output().expect("it ends").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        said.contains("\"out:orders.new\",\"1\"") && said.contains("\"out:orders.last\",\"2\""),
        "{said}"
    );
    assert!(!said.contains("not forwarded"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_share_channels_tell_each_event_once() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let keys = "[stores.main.channels]\npublish = [\"orders.>\"]\nsubscribe = [\"orders.>\"]\n";
    let one = Gateway::start(setup(&server.url(), keys)).await;
    let other = Gateway::start(setup(&server.url(), keys)).await;
    let (at_one, at_other) = (session(&one).await, session(&other).await);
    let mut events_of_one = subscribe(&at_one, &["orders.>"]).await;
    let mut events_of_other = subscribe(&at_other, &["orders.>"]).await;
    patiently("both have subscribed", async || {
        server.run(&["pubsub", "numpat"]).trim() == "1"
            && server
                .run(&["client", "list", "type", "pubsub"])
                .lines()
                .count()
                == 2
    })
    .await;
    for n in 0..50 {
        publish(&at_one, "orders.new", &n.to_string()).await;
    }
    publish(&at_other, "orders.last", "end").await;
    // Its own events are told at once and do not come back; what would come twice would come before the end.
    for events in [&mut events_of_one, &mut events_of_other] {
        let mut seen = Vec::new();
        loop {
            let event = next(events).await;
            if event.0 == "orders.last" {
                break;
            }
            seen.push(event.1);
        }
        let mut expected: Vec<_> = (0..50).map(|n: u32| n.to_string()).collect();
        expected.retain(|one| seen.contains(one));
        assert_eq!(seen, expected, "in order, none twice");
    }
    patiently("all have gone out and in", async || {
        let (one, other) = (shown(&one).await, shown(&other).await);
        one["channels"]["sent"] == 50
            && other["channels"]["received"] == 50
            && other["channels"]["sent"] == 1
            && one["channels"]["received"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_come_back_with_their_server() {
    let _machine = share().await;
    let mut server = RedisServer::start(&[]).await;
    let keys = "[stores.main.channels]\npublish = [\"out\"]\nsubscribe = [\"in\"]\n";
    let gateway = Gateway::start(setup(&server.url(), keys)).await;
    let client = session(&gateway).await;
    let mut events = subscribe(&client, &["in"]).await;
    listened_to(&server, "in").await;
    assert_eq!(next(&mut events).await, pair("in", "probe"));
    server.kill();
    patiently("an event finds nobody", async || {
        publish(&client, "out", "lost").await;
        shown(&gateway).await["channels"]["unsent"].as_u64() > Some(0)
    })
    .await;
    server.start_again().await;
    listened_to(&server, "in").await;
    assert_eq!(next(&mut events).await, pair("in", "probe"));
}
