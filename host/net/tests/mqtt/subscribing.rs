//! SUBSCRIBE, UNSUBSCRIBE, retained messages, and the options of MQTT 5.

use std::{sync::Arc, time::Duration};

use postern_core::mqtt::ClientLimits;

use crate::{
    client::{CLEAN, connect_v5, packet, publish_v3, publish_v5, subscribe_v3, subscribe_v5, text},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn each_filter_is_answered_by_itself() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v3("c").await;
    let filters = [("a", 0), ("a/#/b", 1), ("forbidden/x", 2), ("b", 2)];
    let filters = filters.map(|(filter, qos)| [text(filter), vec![qos]].concat());
    let subscribe = packet(0x82, &[vec![0, 9], filters.concat()].concat());
    client
        .ask(&subscribe, b"\x90\x06\0\x09\0\x80\x80\x02")
        .await;
    let mut client = fixture.v5(&connect_v5("d", CLEAN, b"")).await;
    let subscribe = packet(0x82, &[vec![0, 9, 0], filters.concat()].concat());
    client
        .ask(&subscribe, b"\x90\x07\0\x09\0\0\x8f\x87\x02")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribed_filter_wants_nothing() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    client
        .ask(&subscribe_v5(1, "a", 0), b"\x90\x04\0\x01\0\0")
        .await;
    let both = [vec![0, 2, 0], text("a"), text("b")].concat();
    client
        .ask(&packet(0xa2, &both), b"\xb0\x05\0\x02\0\0\x11")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x32, "a", Some(1), b""), b"\x40\x02\0\x01")
        .await;
    client.silent().await;
    let mut old = fixture.v3("d").await;
    old.ask(
        &packet(0xa2, &[vec![0, 3], text("a")].concat()),
        b"\xb0\x02\0\x03",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_comes_with_the_flag_and_what_is_new_without() {
    let fixture = Fixture::new().await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x33, "a/b", Some(1), b"old"), b"\x40\x02\0\x01")
        .await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "a/#", 1), b"\x90\x03\0\x01\x01")
        .await;
    client.expect(b"\x33\x0a\0\x03a/b\0\x01old").await;
    client.send(b"\x40\x02\0\x01").await;
    publisher
        .ask(&publish_v3(0x33, "a/b", Some(2), b"new"), b"\x40\x02\0\x02")
        .await;
    client.expect(b"\x32\x0a\0\x03a/b\0\x02new").await;
    // An empty payload clears it, and is delivered as any other.
    publisher
        .ask(&publish_v3(0x33, "a/b", Some(3), b""), b"\x40\x02\0\x03")
        .await;
    client.expect(b"\x32\x07\0\x03a/b\0\x03").await;
    let mut late = fixture.v3("d").await;
    late.ask(&subscribe_v3(1, "a/#", 1), b"\x90\x03\0\x01\x01")
        .await;
    late.silent().await;
    assert_eq!(fixture.broker.numbers().retained, 0);
}

#[tokio::test(start_paused = true)]
async fn retain_handling_says_when_and_retain_as_published_with_what() {
    let fixture = Fixture::new().await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x33, "a", Some(1), b"x"), b"\x40\x02\0\x01")
        .await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    let retained = publish_v5(0x31, "a", None, b"", b"x");
    // Never.
    client
        .ask(&subscribe_v5(1, "a", 0x20), b"\x90\x04\0\x01\0\0")
        .await;
    // Where it is new, which it is not.
    client
        .ask(&subscribe_v5(2, "a", 0x10), b"\x90\x04\0\x02\0\0")
        .await;
    client.silent().await;
    // Always, as published.
    client
        .ask(&subscribe_v5(3, "a", 0x08), b"\x90\x04\0\x03\0\0")
        .await;
    client.expect(&retained).await;
    publisher
        .ask(&publish_v3(0x33, "a", Some(2), b"x"), b"\x40\x02\0\x02")
        .await;
    client.expect(&retained).await;
    client
        .ask(&subscribe_v5(4, "+", 0x10), b"\x90\x04\0\x04\0\0")
        .await;
    client.expect(&retained).await;
}

#[tokio::test(start_paused = true)]
async fn overlapping_subscriptions_give_one_copy_with_all_identifiers() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    let subscribe = |id: u8, filter: &str, number: u8, qos: u8| {
        let head = vec![0, id, 2, 0x0b, number];
        packet(0x82, &[head, text(filter), vec![qos]].concat())
    };
    client
        .ask(&subscribe(1, "a/#", 5, 0), b"\x90\x04\0\x01\0\0")
        .await;
    client
        .ask(&subscribe(2, "a/b", 6, 1), b"\x90\x04\0\x02\0\x01")
        .await;
    let mut publisher = fixture.v3("p").await;
    publisher
        .ask(&publish_v3(0x34, "a/b", Some(1), b"!"), b"\x50\x02\0\x01")
        .await;
    let found = client.packet().await;
    let either = [b"\x0b\x05\x0b\x06", b"\x0b\x06\x0b\x05"];
    let expected = either.map(|ids| publish_v5(0x32, "a/b", Some(1), ids, b"!"));
    assert!(expected.contains(&found), "{found:02x?}");
    client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn no_local_spares_a_client_its_own() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    client
        .ask(&subscribe_v5(1, "a", 4), b"\x90\x04\0\x01\0\0")
        .await;
    client.send(&publish_v5(0x30, "a", None, b"", b"own")).await;
    client.silent().await;
    let mut other = fixture.v3("p").await;
    other.send(&publish_v3(0x30, "a", None, b"!")).await;
    client.expect(&publish_v5(0x30, "a", None, b"", b"!")).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_listener_does_not_have_is_refused_by_its_reason() {
    let limits = ClientLimits {
        wildcards: false,
        shared_subscriptions: false,
        subscriptions_max: 1,
        ..ClientLimits::default()
    };
    let fixture = Fixture::with(limits, Arc::default()).await;
    let mut client = fixture.open();
    client.send(&connect_v5("c", CLEAN, b"")).await;
    let connack = client.packet().await;
    assert!(connack.ends_with(b"\x28\0\x2a\0"), "{connack:02x?}");
    client
        .ask(&subscribe_v5(1, "a/+", 0), b"\x90\x04\0\x01\0\xa2")
        .await;
    client
        .ask(&subscribe_v5(2, "$share/g/a", 0), b"\x90\x04\0\x02\0\x9e")
        .await;
    client
        .ask(&subscribe_v5(3, "a", 0), b"\x90\x04\0\x03\0\0")
        .await;
    client
        .ask(&subscribe_v5(4, "b", 0), b"\x90\x04\0\x04\0\x97")
        .await;
    client
        .ask(&subscribe_v5(5, "a", 1), b"\x90\x04\0\x05\0\x01")
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_brokers_numbers_are_retained_below_sys() {
    let interval = Some(Duration::from_secs(10));
    let fixture = Fixture::telling(ClientLimits::default(), Arc::default(), interval).await;
    let mut client = fixture.v3("c").await;
    client
        .ask(
            &subscribe_v3(1, "$SYS/broker/clients/connected", 0),
            b"\x90\x03\0\x01\0",
        )
        .await;
    let expected = publish_v3(0x31, "$SYS/broker/clients/connected", None, b"1");
    client.expect(&expected).await;
    client
        .ask(&subscribe_v3(2, "#", 0), b"\x90\x03\0\x02\0")
        .await;
    client.silent().await;
    // They are published again and again.
    let expected = publish_v3(0x30, "$SYS/broker/clients/connected", None, b"1");
    client.expect(&expected).await;
}

#[tokio::test(start_paused = true)]
async fn where_they_are_off_nothing_is_told() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v3("c").await;
    client
        .ask(&subscribe_v3(1, "$SYS/#", 0), b"\x90\x03\0\x01\0")
        .await;
    client.silent().await;
}
