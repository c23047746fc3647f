//! rumqttc: the client of Rust programs.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::PublishProperties},
};
use tokio::time::timeout;

use super::Broker;
use crate::share;

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGES: usize = 10_000;

fn connect(broker: &Broker, name: &str) -> (AsyncClient, EventLoop) {
    let (host, port) = (broker.address.ip().to_string(), broker.address.port());
    let mut options = MqttOptions::new(name, host, port);
    options.set_keep_alive(Duration::from_secs(5));
    AsyncClient::new(options, 64)
}

/// The next packet that `wanted` takes.
async fn until<T>(events: &mut EventLoop, mut wanted: impl FnMut(Incoming) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.expect("connected")
                && let Some(found) = wanted(packet)
            {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_publishes_subscribes_and_asks() {
    let _machine = share().await;
    let broker = Broker::start("").await;
    let (client, mut events) = connect(&broker, "rumqttc");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = format!("rust/{}", qos as u8);
        client.subscribe(&topic, qos).await.expect("queued");
        client
            .publish(&topic, qos, false, "hello")
            .await
            .expect("queued");
        let found = until(&mut events, |packet| {
            let Incoming::Publish(publish) = packet else {
                return None;
            };
            Some((publish.topic, publish.qos, publish.payload))
        });
        let (name, found_qos, payload) = found.await;
        assert_eq!((&name[..], found_qos), (topic.as_bytes(), qos));
        assert_eq!(&payload[..], b"hello");
    }
    client
        .subscribe("rust/replies", QoS::AtLeastOnce)
        .await
        .expect("queued");
    let properties = PublishProperties {
        response_topic: Some("rust/replies".to_owned()),
        correlation_data: Some("7".into()),
        ..PublishProperties::default()
    };
    let asked = client.publish_with_properties(
        "$call/echo/Echo",
        QoS::AtLeastOnce,
        false,
        "{\"a\":1}",
        properties,
    );
    asked.await.expect("queued");
    let reply = until(&mut events, |packet| {
        let Incoming::Publish(publish) = packet else {
            return None;
        };
        (&publish.topic[..] == b"rust/replies").then_some(publish)
    });
    let reply = reply.await;
    let properties = reply.properties.expect("there");
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"7"[..]));
    assert_eq!(&reply.payload[..], b"{\"a\":1}");
}

/// A pipeline as wide as receive maximum, which the client respects.
#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_has_ten_thousand_messages_acknowledged() {
    let _machine = share().await;
    let broker = Broker::start("").await;
    let (client, mut events) = connect(&broker, "rumqttc-many");
    let publishing = async {
        for number in 0..MESSAGES {
            let payload = number.to_string();
            let published = client.publish("rust/many", QoS::AtLeastOnce, false, payload);
            published.await.expect("queued");
        }
    };
    let mut n_acknowledged = 0;
    let acknowledging = until(&mut events, |packet| {
        n_acknowledged += usize::from(matches!(packet, Incoming::PubAck(_)));
        (n_acknowledged == MESSAGES).then_some(())
    });
    tokio::join!(publishing, acknowledging);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_shown_and_disconnected() {
    let _machine = share().await;
    let broker = Broker::start("").await;
    let (client, mut events) = connect(&broker, "ops/one");
    client
        .subscribe("ops/#", QoS::AtLeastOnce)
        .await
        .expect("queued");
    until(&mut events, |packet| {
        matches!(packet, Incoming::SubAck(_)).then_some(())
    })
    .await;
    let list = broker.postern(&["mqtt", "sessions", "list"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.out.contains("ops/one") && list.out.contains("connected"));
    let info = broker.postern(&["mqtt", "sessions", "info", "ops/one"]);
    assert!(info.out.contains("ops/#"), "{info:?}");
    let (status, text) = broker.admin("/mqtt/sessions").await.expect("asked");
    assert!(
        status == 200 && text.contains("\"client\":\"ops/one\""),
        "{text}"
    );
    let none = broker.postern(&["mqtt", "sessions", "info", "nobody"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    let ended = broker.postern(&["mqtt", "sessions", "disconnect", "ops/one"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ending = async { while events.poll().await.is_ok() {} };
    timeout(PATIENCE, ending).await.expect("it is disconnected");
}
