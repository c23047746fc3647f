//! Shared subscriptions.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    client::{V3_ACCEPTED, connect_v3, publish_v3, subscribe_v3},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn members_take_turns() {
    let fixture = Fixture::new().await;
    let mut members = [fixture.v3("a").await, fixture.v3("b").await];
    for member in &mut members {
        member
            .ask(&subscribe_v3(1, "$share/g/t/+", 0), b"\x90\x03\0\x01\0")
            .await;
    }
    let mut own = fixture.v3("o").await;
    own.ask(&subscribe_v3(1, "t/1", 0), b"\x90\x03\0\x01\0")
        .await;
    let mut publisher = fixture.v3("p").await;
    for payload in [b"1", b"2", b"3", b"4"] {
        publisher
            .send(&publish_v3(0x30, "t/1", None, payload))
            .await;
        own.expect(&publish_v3(0x30, "t/1", None, payload)).await;
    }
    let [one, other] = &mut members;
    let mut found = Vec::new();
    for member in [one, other] {
        for _ in 0..2 {
            let packet = member.packet().await;
            found.push(packet[packet.len() - 1]);
        }
        member.silent().await;
    }
    found.sort_unstable();
    assert_eq!(found, *b"1234");
    assert_eq!(fixture.broker.numbers().subscriptions, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_member_did_not_acknowledge_goes_to_another() {
    let fixture = Fixture::new().await;
    let mut first = fixture.v3("a").await;
    first
        .ask(&subscribe_v3(1, "$share/g/t", 1), b"\x90\x03\0\x01\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "t", Some(1), b"!"), b"\x40\x02\0\x01")
        .await;
    first.expect(&publish_v3(0x32, "t", Some(1), b"!")).await;
    let mut second = fixture.v3("b").await;
    second
        .ask(&subscribe_v3(1, "$share/g/t", 1), b"\x90\x03\0\x01\x01")
        .await;
    drop(first);
    let found = second.packet().await;
    assert_eq!(found, publish_v3(0x3a, "t", Some(1), b"!"));
    let numbers = fixture.broker.numbers();
    assert_eq!(numbers.subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_without_a_connection_waits_where_there_is_no_other() {
    let fixture = Fixture::new().await;
    let mut kept = fixture.connect(&connect_v3("a", 0, 0), V3_ACCEPTED).await;
    kept.ask(&subscribe_v3(1, "$share/g/t", 1), b"\x90\x03\0\x01\x01")
        .await;
    drop(kept);
    sleep(Duration::from_millis(1)).await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "t", Some(1), b"1"), b"\x40\x02\0\x01")
        .await;
    assert_eq!(fixture.broker.numbers().queued, 1);
    let mut other = fixture.v3("b").await;
    other
        .ask(&subscribe_v3(1, "$share/g/t", 1), b"\x90\x03\0\x01\x01")
        .await;
    for id in [1, 2] {
        publisher
            .ask(&publish_v3(0x32, "t", Some(2), b"2"), b"\x40\x02\0\x02")
            .await;
        other.expect(&publish_v3(0x32, "t", Some(id), b"2")).await;
    }
}
