//! Wills: at once, later, or not at all.

use std::time::Duration;

use postern_system::clock;
use tokio::time::sleep;

use crate::{
    client::{Client, V3_ACCEPTED, connect_head_v5, packet, publish_v3, subscribe_v3, text},
    fixture::Fixture,
};

/// A client of 3.1.1 with a will to `topic`, with QoS 1.
fn with_will(topic: &str) -> Vec<u8> {
    let head = b"\0\x04MQTT\x04\x0e\0\0".to_vec();
    packet(0x10, &[head, text("w"), text(topic), text("gone")].concat())
}

/// One of 5, kept for a minute, whose will waits for `delay` seconds.
fn with_delay(delay: u8) -> Vec<u8> {
    let head = connect_head_v5(0x04, b"\x11\0\0\0\x3c");
    let properties = vec![5, 0x18, 0, 0, 0, delay];
    packet(
        0x10,
        &[head, text("w"), properties, text("will"), text("gone")].concat(),
    )
}

async fn subscriber(fixture: &Fixture) -> Client {
    let mut subscriber = fixture.v3("s").await;
    subscriber
        .ask(&subscribe_v3(1, "will", 0), b"\x90\x03\0\x01\0")
        .await;
    subscriber
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_lost_has_its_will_published() {
    let fixture = Fixture::new().await;
    let mut subscriber = subscriber(&fixture).await;
    drop(fixture.connect(&with_will("will"), V3_ACCEPTED).await);
    subscriber
        .expect(&publish_v3(0x30, "will", None, b"gone"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_has_not() {
    let fixture = Fixture::new().await;
    let mut subscriber = subscriber(&fixture).await;
    let mut client = fixture.connect(&with_will("will"), V3_ACCEPTED).await;
    client.send(&[0xe0, 0]).await;
    client.closed().await;
    subscriber.silent().await;
    let mut client = fixture.v5(&with_delay(0)).await;
    client.send(&[0xe0, 1, 4]).await;
    subscriber
        .expect(&publish_v3(0x30, "will", None, b"gone"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_will_goes_by_the_rules_of_its_client() {
    let fixture = Fixture::new().await;
    drop(
        fixture
            .connect(&with_will("forbidden/x"), V3_ACCEPTED)
            .await,
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.published(), []);
}

#[tokio::test(start_paused = true)]
async fn a_will_with_a_delay_waits_for_its_client_to_come_back() {
    let fixture = Fixture::new().await;
    let mut subscriber = subscriber(&fixture).await;
    drop(fixture.v5(&with_delay(10)).await);
    sleep(Duration::from_secs(9)).await;
    let client = fixture.v5(&with_delay(10)).await;
    sleep(Duration::from_secs(20)).await;
    subscriber.silent().await;
    drop(client);
    let begin = clock::now();
    subscriber
        .expect(&publish_v3(0x30, "will", None, b"gone"))
        .await;
    assert_eq!((clock::now() - begin).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_will_waits_no_longer_than_its_session_is_kept() {
    let fixture = Fixture::new().await;
    let mut subscriber = subscriber(&fixture).await;
    drop(fixture.v5(&with_delay(200)).await);
    let begin = clock::now();
    subscriber
        .expect(&publish_v3(0x30, "will", None, b"gone"))
        .await;
    assert_eq!((clock::now() - begin).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_publishes_the_will_that_waited() {
    let fixture = Fixture::new().await;
    let mut subscriber = subscriber(&fixture).await;
    drop(fixture.v5(&with_delay(10)).await);
    sleep(Duration::from_secs(1)).await;
    fixture.v3("w").await;
    subscriber
        .expect(&publish_v3(0x30, "will", None, b"gone"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_publishes_the_wills_that_do_not_wait() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&with_delay(0)).await;
    fixture.shutdown.drain();
    let found = client.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x8b), "{found:02x?}");
    client.closed().await;
    assert_eq!(fixture.published(), [("will".into(), "gone".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_will_with_a_delay_is_owed_by_a_gateway_that_stops() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.v5(&with_delay(10)).await;
    fixture.shutdown.drain();
    client.packet().await;
    client.closed().await;
    assert_eq!(fixture.published(), []);
    let kept = fixture.store.session("w").expect("kept").will;
    assert_eq!(kept.map(|will| will.delay_s), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_will_is_owed_after_a_crash() {
    let fixture = Fixture::durable().await;
    let _client = fixture.v5(&with_delay(10)).await;
    let fixture = fixture.crash().await;
    sleep(Duration::from_secs(9)).await;
    assert_eq!(fixture.store.wills(), []);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.store.wills(), [("w".into(), "will".into())]);
    assert_eq!(fixture.store.session("w").expect("kept").will, None);
}
