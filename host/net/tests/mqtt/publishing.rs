//! PUBLISH in and out with each QoS.

use postern_core::{
    event::{Event, Publisher},
    headers::Headers,
};

use crate::{
    client::{CLEAN, connect_v5, publish_v3, publish_v5, subscribe_v3, subscribe_v5},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn qos_0_goes_as_it_came() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "a/+", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher.send(&publish_v3(0x30, "a/b", None, b"hi")).await;
    subscriber.expect(b"\x30\x07\0\x03a/bhi").await;
    assert_eq!(fixture.published(), [("a/b".into(), "hi".into())]);
}

#[tokio::test(start_paused = true)]
async fn qos_1_is_acknowledged_on_both_sides() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "a", 2), b"\x90\x03\0\x01\x02")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(7), b"hi"), b"\x40\x02\0\x07")
        .await;
    subscriber.expect(b"\x32\x07\0\x01a\0\x01hi").await;
    subscriber.send(b"\x40\x02\0\x01").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(8), b"hi"), b"\x40\x02\0\x08")
        .await;
    subscriber.expect(b"\x32\x07\0\x01a\0\x02hi").await;
}

#[tokio::test(start_paused = true)]
async fn qos_2_takes_four_packets_on_both_sides() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "a", 2), b"\x90\x03\0\x01\x02")
        .await;
    let mut publisher = fixture.v3("p").await;
    let publish = publish_v3(0x34, "a", Some(7), b"hi");
    publisher.ask(&publish, b"\x50\x02\0\x07").await;
    // A repetition is answered and not delivered.
    publisher
        .ask(&publish_v3(0x3c, "a", Some(7), b"hi"), b"\x50\x02\0\x07")
        .await;
    publisher.ask(b"\x62\x02\0\x07", b"\x70\x02\0\x07").await;
    subscriber.expect(b"\x34\x07\0\x01a\0\x01hi").await;
    subscriber.ask(b"\x50\x02\0\x01", b"\x62\x02\0\x01").await;
    subscriber.send(b"\x70\x02\0\x01").await;
    subscriber.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_lowers_the_qos() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "a", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(7), b"!"), b"\x50\x02\0\x07")
        .await;
    subscriber.expect(b"\x30\x04\0\x01a!").await;
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_come_in_the_order_of_their_publications() {
    let fixture = Fixture::new().await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .send(&publish_v3(0x32, "late", Some(1), b""))
        .await;
    publisher.send(&publish_v3(0x32, "a", Some(2), b"")).await;
    publisher
        .send(&publish_v3(0x32, "late", Some(3), b""))
        .await;
    for id in 1..=3 {
        publisher.expect(&[0x40, 2, 0, id]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_first_is_delivered_once_it_is() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "late", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .send(&publish_v3(0x32, "late", Some(1), b"!"))
        .await;
    subscriber.silent().await;
    subscriber.expect(b"\x30\x07\0\x04late!").await;
    // The publisher is gone before its publication is stored: it is delivered all the same.
    publisher
        .send(&publish_v3(0x32, "late", Some(2), b"?"))
        .await;
    drop(publisher);
    subscriber.expect(b"\x30\x07\0\x04late?").await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_5_are_told_what_they_may_not_and_those_of_3_1_1_are_not() {
    let fixture = Fixture::new().await;
    let mut v5 = fixture.v5(&connect_v5("p", CLEAN, b"")).await;
    v5.ask(
        &publish_v5(0x32, "forbidden", Some(1), b"", b""),
        b"\x40\x03\0\x01\x87",
    )
    .await;
    v5.ask(
        &publish_v5(0x34, "forbidden", Some(2), b"", b""),
        b"\x50\x03\0\x02\x87",
    )
    .await;
    v5.ask(
        &publish_v5(0x32, "$SYS/x", Some(3), b"", b""),
        b"\x40\x03\0\x03\x87",
    )
    .await;
    v5.ask(
        &publish_v5(0x32, "nobody", Some(4), b"", b""),
        b"\x40\x03\0\x04\x10",
    )
    .await;
    v5.ask(
        &publish_v5(0x32, "full", Some(5), b"", b""),
        b"\x40\x0b\0\x05\x97\x07\x1f\0\x04full",
    )
    .await;
    let mut v3 = fixture.v3("q").await;
    v3.ask(
        &publish_v3(0x32, "forbidden", Some(1), b""),
        b"\x40\x02\0\x01",
    )
    .await;
    // What could not be stored is not acknowledged.
    v3.send(&publish_v3(0x32, "full", Some(2), b"")).await;
    v3.closed().await;
    let topics: Vec<_> = fixture
        .published()
        .into_iter()
        .map(|(topic, _)| topic)
        .collect();
    assert_eq!(topics, ["nobody"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_event_can_have_is_refused() {
    let fixture = Fixture::new().await;
    let mut v5 = fixture.v5(&connect_v5("p", CLEAN, b"")).await;
    let deep = ["a"; 33].join("/");
    v5.send(&publish_v5(0x32, &deep, Some(1), b"", b"")).await;
    let puback = v5.packet().await;
    assert_eq!((puback[0], puback[4]), (0x40, 0x90), "{puback:02x?}");
}

#[tokio::test(start_paused = true)]
async fn properties_go_along_and_the_alias_does_not() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v5(&connect_v5("s", CLEAN, b"")).await;
    subscriber
        .ask(&subscribe_v5(1, "a", 0), b"\x90\x04\0\x01\0\0")
        .await;
    let mut publisher = fixture.v5(&connect_v5("p", CLEAN, b"")).await;
    let properties = b"\x23\0\x01\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v";
    publisher
        .send(&publish_v5(0x30, "a", None, properties, b"!"))
        .await;
    let expected = publish_v5(0x30, "a", None, &properties[3..], b"!");
    subscriber.expect(&expected).await;
    publisher
        .send(&publish_v5(0x30, "", None, b"\x23\0\x01", b"?"))
        .await;
    subscriber
        .expect(&publish_v5(0x30, "a", None, b"", b"?"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_the_expiry_goes_along() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v5(&connect_v5("s", CLEAN, b"")).await;
    subscriber
        .ask(&subscribe_v5(1, "late", 0), b"\x90\x04\0\x01\0\0")
        .await;
    let mut publisher = fixture.v5(&connect_v5("p", CLEAN, b"")).await;
    publisher
        .send(&publish_v5(0x30, "late", None, b"\x02\0\0\0\x0a", b"!"))
        .await;
    subscriber
        .expect(&publish_v5(0x30, "late", None, b"\x02\0\0\0\x09", b"!"))
        .await;
    publisher
        .send(&publish_v5(0x30, "late", None, b"\x02\0\0\0\x01", b"!"))
        .await;
    subscriber.silent().await;
    subscriber.silent().await;
    subscriber.silent().await;
}

#[tokio::test(start_paused = true)]
async fn topics_get_aliases_where_the_client_takes_them() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v5(&connect_v5("s", CLEAN, b"\x22\0\x01")).await;
    subscriber
        .ask(&subscribe_v5(1, "#", 0), b"\x90\x04\0\x01\0\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    for topic in ["long/topic", "long/topic", "other/one"] {
        publisher.send(&publish_v3(0x30, topic, None, b"!")).await;
    }
    subscriber
        .expect(&publish_v5(0x30, "long/topic", None, b"\x23\0\x01", b"!"))
        .await;
    subscriber
        .expect(&publish_v5(0x30, "", None, b"\x23\0\x01", b"!"))
        .await;
    subscriber
        .expect(&publish_v5(0x30, "other/one", None, b"", b"!"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn events_of_others_come_as_publications() {
    let fixture = Fixture::new().await;
    let mut subscriber = fixture.v5(&connect_v5("s", CLEAN, b"")).await;
    subscriber
        .ask(&subscribe_v5(1, "orders/+", 1), b"\x90\x04\0\x01\0\x01")
        .await;
    let mut headers = Headers::new();
    headers
        .push("content-type", "application/json")
        .expect("short");
    headers.push("event-id", "7").expect("short");
    headers.push("authorization", "secret").expect("short");
    let event = Event {
        topic: "orders.created".into(),
        headers,
        payload: "{}".into(),
        publisher: Publisher::default(),
    };
    assert_eq!(fixture.broker.deliver_event(&event), 1);
    let properties = b"\x03\0\x10application/json\x26\0\x08event-id\0\x017";
    subscriber
        .expect(&publish_v5(
            0x32,
            "orders/created",
            Some(1),
            properties,
            b"{}",
        ))
        .await;
    let other = Event {
        topic: "orders".into(),
        ..event
    };
    assert_eq!(fixture.broker.deliver_event(&other), 0);
}
