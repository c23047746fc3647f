//! Bounds: windows, queues, sizes, and clients that do not read.

use std::{sync::Arc, time::Duration};

use postern_core::mqtt::ClientLimits;
use tokio::time::sleep;

use crate::{
    client::{CLEAN, connect_v5, publish_v3, publish_v5, subscribe_v3, subscribe_v5},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn a_client_has_no_more_than_its_receive_maximum() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"\x21\0\x02")).await;
    client
        .ask(&subscribe_v5(1, "a", 1), b"\x90\x04\0\x01\0\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    for id in 1..=4 {
        publisher
            .ask(&publish_v3(0x32, "a", Some(id), &[id]), &[0x40, 2, 0, id])
            .await;
    }
    client
        .expect(&publish_v5(0x32, "a", Some(1), b"", &[1]))
        .await;
    client
        .expect(&publish_v5(0x32, "a", Some(2), b"", &[2]))
        .await;
    client.silent().await;
    client.send(b"\x40\x02\0\x02").await;
    client
        .expect(&publish_v5(0x32, "a", Some(3), b"", &[3]))
        .await;
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_a_client_takes_is_not_sent() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"\x27\0\0\0\x10")).await;
    client
        .ask(&subscribe_v5(1, "a", 1), b"\x90\x04\0\x01\0\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher.send(&publish_v3(0x30, "a", None, &[7; 10])).await;
    client
        .expect(&publish_v5(0x30, "a", None, b"", &[7; 10]))
        .await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(1), &[7; 12]), b"\x40\x02\0\x01")
        .await;
    publisher.send(&publish_v3(0x30, "a", None, b"x")).await;
    client.expect(&publish_v5(0x30, "a", None, b"", b"x")).await;
    assert_eq!(fixture.broker.numbers().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_packet_over_the_limit_ends_the_connection() {
    let limits = ClientLimits {
        packet_bytes_max: 100,
        ..ClientLimits::default()
    };
    let fixture = Fixture::with(limits, Arc::default()).await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    client.send(&[0x30, 0xff, 0x7f]).await;
    let found = client.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x95), "{found:02x?}");
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn large_payloads_arrive_whole_and_in_order() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "a", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    let payload: Vec<u8> = (0..16_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for _ in 0..20 {
        publisher.send(&publish_v3(0x30, "a", None, &payload)).await;
        publisher.send(&publish_v3(0x30, "a", None, b"short")).await;
    }
    for _ in 0..20 {
        client.expect(&publish_v3(0x30, "a", None, &payload)).await;
        client.expect(&publish_v3(0x30, "a", None, b"short")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn packets_that_come_in_pieces_are_read_all_the_same() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "a", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    for octet in [
        publish_v3(0x30, "a", None, b"1"),
        publish_v3(0x30, "a", None, b"2"),
    ]
    .concat()
    {
        publisher.send(&[octet]).await;
        sleep(Duration::from_millis(1)).await;
    }
    client.expect(&publish_v3(0x30, "a", None, b"1")).await;
    client.expect(&publish_v3(0x30, "a", None, b"2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_loses_the_oldest_and_is_closed() {
    let limits = ClientLimits {
        queue_messages_max: 4,
        ..ClientLimits::default()
    };
    let fixture = Fixture::with(limits, Arc::default()).await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "a", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    let payload = vec![7; 16_000];
    for id in 1..=40 {
        publisher
            .ask(
                &publish_v3(0x32, "a", Some(id), &payload),
                &[0x40, 2, 0, id],
            )
            .await;
    }
    assert!(fixture.broker.numbers().dropped > 0);
    sleep(Duration::from_secs(31)).await;
    assert_eq!(fixture.counters.slow_readers.value(), 1);
    assert_eq!(fixture.broker.numbers().clients_connected, 1);
}

#[tokio::test(start_paused = true)]
async fn the_receive_maximum_of_the_broker_holds() {
    let limits = ClientLimits {
        receive_max: 2,
        ..ClientLimits::default()
    };
    let fixture = Fixture::with(limits, Arc::default()).await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    for id in 1..=2 {
        let reason = &[0x50, 3, 0, id, 0x10];
        client
            .ask(&publish_v5(0x34, "a", Some(id), b"", b""), reason)
            .await;
    }
    client.send(&publish_v5(0x34, "a", Some(3), b"", b"")).await;
    let found = client.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x93), "{found:02x?}");
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn many_retained_messages_wait_for_their_reader() {
    let fixture = Fixture::new().await;
    let mut publisher = fixture.v3("p").await;
    for n in 0..=255 {
        publisher
            .send(&publish_v3(0x31, &format!("a/{n}"), None, &[n; 1000]))
            .await;
    }
    publisher.ask(&[0xc0, 0], &[0xd0, 0]).await;
    let mut client = fixture.v3("c").await;
    client.send(&subscribe_v3(1, "a/+", 0)).await;
    client.expect(b"\x90\x03\0\x01\0").await;
    for _ in 0..=255 {
        assert_eq!(client.packet().await[0], 0x31);
    }
    client.ask(&[0xc0, 0], &[0xd0, 0]).await;
}
