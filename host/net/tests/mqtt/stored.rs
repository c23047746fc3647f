//! Sessions whose queues are stored: nothing that was acknowledged is lost when the gateway is killed.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    client::{V3_ACCEPTED, V3_PRESENT, connect_v3, publish_v3, subscribe_v3},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn a_session_and_what_waits_for_it_outlive_a_crash() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a/#", 1), b"\x90\x03\0\x01\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a/b", Some(1), b"1"), b"\x40\x02\0\x01")
        .await;
    client.expect(&publish_v3(0x32, "a/b", Some(1), b"1")).await;
    client.send(b"\x40\x02\0\x01").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fixture.store.n_waiting("c"), 0);
    publisher
        .ask(&publish_v3(0x32, "a/b", Some(2), b"2"), b"\x40\x02\0\x02")
        .await;
    let fixture = fixture.crash().await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a/b", Some(3), b"3"), b"\x40\x02\0\x03")
        .await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(&publish_v3(0x32, "a/b", Some(2), b"2")).await;
    client.expect(&publish_v3(0x32, "a/b", Some(3), b"3")).await;
}

#[tokio::test(start_paused = true)]
async fn qos_0_is_not_stored_and_comes_beside_the_queue() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher.send(&publish_v3(0x30, "a", None, b"!")).await;
    client.expect(&publish_v3(0x30, "a", None, b"!")).await;
    assert_eq!(fixture.store.n_waiting("c"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_not_acknowledged_has_its_identifier_after_a_crash() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 2), b"\x90\x03\0\x01\x02")
        .await;
    let mut publisher = fixture.v3("p").await;
    for (id, payload) in [(1, b"1"), (2, b"2"), (3, b"3")] {
        publisher
            .ask(&publish_v3(0x34, "a", Some(id), payload), &[0x50, 2, 0, id])
            .await;
        client
            .expect(&publish_v3(0x34, "a", Some(id), payload))
            .await;
    }
    // The second is with the client for good, the third is complete.
    client.ask(b"\x50\x02\0\x02", b"\x62\x02\0\x02").await;
    client.ask(b"\x50\x02\0\x03", b"\x62\x02\0\x03").await;
    client.send(b"\x70\x02\0\x03").await;
    let fixture = fixture.crash().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(b"\x62\x02\0\x02").await;
    // That of the third was not kept as complete: it is released once more, which harms nobody.
    client.expect(b"\x62\x02\0\x03").await;
    client.expect(&publish_v3(0x34, "a", Some(1), b"1")).await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_publishers_identifier_of_qos_2_outlives_a_crash() {
    let fixture = Fixture::durable().await;
    let mut publisher = fixture.connect(&connect_v3("p", 0, 0), V3_ACCEPTED).await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(7), b"1"), b"\x50\x02\0\x07")
        .await;
    publisher
        .ask(&publish_v3(0x34, "a", Some(8), b"1"), b"\x50\x02\0\x08")
        .await;
    publisher.ask(b"\x62\x02\0\x08", b"\x70\x02\0\x08").await;
    assert_eq!(fixture.store.session("p").expect("kept").received, [7]);
    let fixture = fixture.crash().await;
    let mut publisher = fixture.connect(&connect_v3("p", 0, 0), V3_PRESENT).await;
    publisher
        .ask(&publish_v3(0x3c, "a", Some(7), b"1"), b"\x50\x02\0\x07")
        .await;
    publisher.ask(b"\x62\x02\0\x07", b"\x70\x02\0\x07").await;
    assert_eq!(fixture.published(), [], "it was published before");
    publisher
        .ask(&publish_v3(0x34, "a", Some(8), b"2"), b"\x50\x02\0\x08")
        .await;
    assert_eq!(fixture.published().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_subscription_does_not_repeat_what_is_with_the_client() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(1), b"1"), b"\x40\x02\0\x01")
        .await;
    client.expect(&publish_v3(0x32, "a", Some(1), b"1")).await;
    client
        .ask(&subscribe_v3(2, "b", 1), b"\x90\x03\0\x02\x01")
        .await;
    publisher
        .ask(&publish_v3(0x32, "b", Some(2), b"2"), b"\x40\x02\0\x02")
        .await;
    client.expect(&publish_v3(0x32, "b", Some(2), b"2")).await;
    client.send(b"\x40\x02\0\x01\x40\x02\0\x02").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fixture.store.n_waiting("c"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_comes_again_to_the_next_connection() {
    let fixture = Fixture::durable().await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "a", 1), b"\x90\x03\0\x01\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(1), b"1"), b"\x40\x02\0\x01")
        .await;
    client.expect(&publish_v3(0x32, "a", Some(1), b"1")).await;
    drop(client);
    sleep(Duration::from_millis(1)).await;
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_PRESENT).await;
    client.expect(&publish_v3(0x3a, "a", Some(1), b"1")).await;
    client.send(b"\x40\x02\0\x01\xe0\0").await;
    client.closed().await;
    assert_eq!(fixture.store.n_waiting("c"), 0);
    assert!(
        fixture
            .store
            .session("c")
            .expect("kept")
            .ended_at_ms
            .is_some()
    );
    // A clean start forgets it.
    fixture.v3("c").await;
    assert_eq!(fixture.store.session("c"), None);
}

#[tokio::test(start_paused = true)]
async fn events_of_others_are_kept_where_a_session_wants_them() {
    let fixture = Fixture::durable().await;
    assert!(!fixture.broker.keeps("orders.created"));
    let mut client = fixture.connect(&connect_v3("c", 0, 0), V3_ACCEPTED).await;
    client
        .ask(&subscribe_v3(1, "orders/+", 1), b"\x90\x03\0\x01\x01")
        .await;
    assert!(fixture.broker.keeps("orders.created") && !fixture.broker.keeps("orders"));
    client
        .ask(&subscribe_v3(2, "orders/+", 0), b"\x90\x03\0\x02\0")
        .await;
    assert!(!fixture.broker.keeps("orders.created"));
}
