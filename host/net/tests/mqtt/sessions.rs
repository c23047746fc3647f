//! Sessions that end with their connection, and those that do not.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    client::{
        CLEAN, V3_ACCEPTED, V3_PRESENT, connect_v3, connect_v5, publish_v3, publish_v5,
        subscribe_v3, subscribe_v5,
    },
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn a_clean_session_ends_with_its_connection() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    assert_eq!(fixture.broker.numbers().subscriptions, 1);
    client.send(&[0xe0, 0]).await;
    client.closed().await;
    fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    assert_eq!(fixture.broker.numbers().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_kept_gets_what_came_meanwhile() {
    let fixture = Fixture::new().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    client.send(&[0xe0, 0]).await;
    client.closed().await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(1), b"1"), b"\x40\x02\0\x01")
        .await;
    publisher.send(&publish_v3(0x30, "a", None, b"0")).await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(2), b"2"), b"\x50\x02\0\x02")
        .await;
    assert_eq!(fixture.broker.numbers().queued, 2);
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(&publish_v3(0x32, "a", Some(1), b"1")).await;
    client.expect(&publish_v3(0x32, "a", Some(2), b"2")).await;
    // A clean start throws it away.
    drop(client);
    sleep(Duration::from_millis(1)).await;
    let mut client = fixture
        .connect(&connect_v3("c", CLEAN, 0), V3_ACCEPTED)
        .await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_again_as_a_repetition() {
    let fixture = Fixture::new().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 2), b"\x90\x03\0\x01\x02")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(1), b"1"), b"\x50\x02\0\x01")
        .await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(2), b"2"), b"\x40\x02\0\x02")
        .await;
    client.expect(&publish_v3(0x34, "a", Some(1), b"1")).await;
    client.expect(&publish_v3(0x32, "a", Some(2), b"2")).await;
    client.ask(b"\x50\x02\0\x01", b"\x62\x02\0\x01").await;
    drop(client);
    sleep(Duration::from_millis(1)).await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(b"\x62\x02\0\x01").await;
    client.expect(&publish_v3(0x3a, "a", Some(2), b"2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_publishers_identifier_of_qos_2_outlives_its_connection() {
    let fixture = Fixture::new().await;
    let mut publisher = fixture.connect(&connect_v3("p", 0, 0), V3_ACCEPTED).await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(1), b"1"), b"\x50\x02\0\x01")
        .await;
    drop(publisher);
    sleep(Duration::from_millis(1)).await;
    let mut publisher = fixture.connect(&connect_v3("p", 0, 0), V3_PRESENT).await;
    publisher
        .ask(&publish_v3(0x3c, "a", Some(1), b"1"), b"\x50\x02\0\x01")
        .await;
    publisher.ask(b"\x62\x02\0\x01", b"\x70\x02\0\x01").await;
    assert_eq!(fixture.published().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_its_session_over_from_itself() {
    let fixture = Fixture::new().await;
    let mut first = fixture.v5(&connect_v5("c", 0, b"\x11\0\0\0\x3c")).await;
    first
        .ask(&subscribe_v5(1, "a", 1), b"\x90\x04\0\x01\0\x01")
        .await;
    let mut second = fixture.open();
    second.send(&connect_v5("c", 0, b"\x11\0\0\0\x3c")).await;
    let connack = second.packet().await;
    assert_eq!(&connack[2..4], [1, 0], "its session is there");
    let found = first.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x8e), "{found:02x?}");
    first.closed().await;
    let mut publisher = fixture.v3("p").await;
    publisher.send(&publish_v3(0x30, "a", None, b"!")).await;
    second.expect(&publish_v5(0x30, "a", None, b"", b"!")).await;
    let numbers = fixture.broker.numbers();
    assert_eq!((numbers.clients_connected, numbers.sessions), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_session_expires_when_it_said_that_it_would() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", 0, b"\x11\0\0\0\x3c")).await;
    client
        .ask(&subscribe_v5(1, "a", 1), b"\x90\x04\0\x01\0\x01")
        .await;
    client.send(&[0xe0, 0]).await;
    client.closed().await;
    sleep(Duration::from_secs(59)).await;
    assert_eq!(fixture.broker.numbers().subscriptions, 1);
    sleep(Duration::from_secs(2)).await;
    let numbers = fixture.broker.numbers();
    assert_eq!((numbers.subscriptions, numbers.sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn disconnect_may_change_how_long_a_session_is_kept() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", 0, b"\x11\0\0\0\x3c")).await;
    client.send(b"\xe0\x07\0\x05\x11\0\0\0\0").await;
    client.closed().await;
    assert_eq!(fixture.broker.numbers().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn what_expires_in_a_queue_is_not_sent() {
    let fixture = Fixture::new().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    drop(client);
    sleep(Duration::from_millis(1)).await;
    let mut publisher = fixture.v5(&connect_v5("p", CLEAN, b"")).await;
    publisher
        .ask(
            &publish_v5(0x32, "a", Some(1), b"\x02\0\0\0\x05", b"1"),
            b"\x40\x02\0\x01",
        )
        .await;
    publisher
        .ask(
            &publish_v5(0x32, "a", Some(2), b"", b"2"),
            b"\x40\x02\0\x02",
        )
        .await;
    sleep(Duration::from_secs(6)).await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(&publish_v3(0x32, "a", Some(1), b"2")).await;
    assert_eq!(fixture.broker.numbers().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_connection() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    assert!(fixture.broker.disconnect("c") && !fixture.broker.disconnect("d"));
    let found = client.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x98), "{found:02x?}");
    client.closed().await;
}
