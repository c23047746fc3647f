//! CONNECT and what is answered.

use postern_core::mqtt::MqttVersion;
use postern_system::clock;

use crate::{
    client::{CLEAN, V3_ACCEPTED, connect_v3, connect_v5, packet, text},
    fixture::Fixture,
};

#[tokio::test(start_paused = true)]
async fn a_client_of_3_1_1_is_accepted_with_four_octets() {
    let fixture = Fixture::new().await;
    let mut client = fixture
        .connect(&connect_v3("c", CLEAN, 0), V3_ACCEPTED)
        .await;
    client.ask(&[0xc0, 0], &[0xd0, 0]).await;
    client.send(&[0xe0, 0]).await;
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_5_is_told_the_bounds() {
    let fixture = Fixture::new().await;
    // Receive maximum 256, packets of 1 MiB, 32 aliases.
    let expected = b"\x20\x0e\0\0\x0b\x21\x01\0\x27\0\x10\0\0\x22\0\x20";
    fixture
        .connect(&connect_v5("c", CLEAN, b""), expected)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_name_is_given_one() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client.send(&connect_v5("", CLEAN, b"")).await;
    let connack = client.packet().await;
    let given = connack.windows(5).position(|part| part == b"auto-");
    assert!(given.is_some(), "{connack:02x?}");
    let mut other = fixture.open();
    other.ask(&connect_v3("", CLEAN, 0), V3_ACCEPTED).await;
    let mut refused = fixture.open();
    refused.ask(&connect_v3("", 0, 0), b"\x20\x02\0\x02").await;
    refused.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_is_told_where_its_responses_go() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client.send(&connect_v5("c", CLEAN, b"\x19\x01")).await;
    let connack = client.packet().await;
    assert!(connack.ends_with(b"\x1a\0\x02r/"), "{connack:02x?}");
}

#[tokio::test(start_paused = true)]
async fn credentials_reach_the_backend_and_refusals_the_client() {
    let fixture = Fixture::new().await;
    let head = b"\0\x04MQTT\x04\xc2\0\0";
    let connect = |user: &str| {
        packet(
            0x10,
            &[head.to_vec(), text("c"), text(user), text("secret")].concat(),
        )
    };
    let mut refused = fixture.open();
    refused.ask(&connect("nobody"), b"\x20\x02\0\x04").await;
    refused.closed().await;
    fixture.connect(&connect("me"), V3_ACCEPTED).await;
    let attempts = fixture.attempts();
    let last = &attempts[1];
    assert_eq!(
        (last.client_id.as_str(), last.version),
        ("c", MqttVersion::V3)
    );
    assert_eq!(last.user_name.as_deref(), Some("me"));
    assert_eq!(last.password.as_deref(), Some(&b"secret"[..]));
    let head = b"\0\x04MQTT\x05\xc2\0\0\0";
    let connect = packet(
        0x10,
        &[head.to_vec(), text("c"), text("nobody"), text("x")].concat(),
    );
    let mut refused = fixture.open();
    refused
        .ask(&connect, b"\x20\x08\0\x86\x05\x1f\0\x02no")
        .await;
    refused.closed().await;
}

#[tokio::test(start_paused = true)]
async fn enhanced_authentication_has_no_methods() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client
        .send(&connect_v5("c", CLEAN, b"\x15\0\x05OAUTH"))
        .await;
    let connack = client.packet().await;
    assert_eq!((connack[0], connack[3]), (0x20, 0x8c));
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn versions_that_are_not_served_are_told_so() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client
        .ask(
            &packet(0x10, b"\0\x06MQIsdp\x03\x02\0\0\0\x01c"),
            b"\x20\x02\0\x01",
        )
        .await;
    client.closed().await;
    let mut client = fixture.open();
    client
        .send(&packet(0x10, b"\0\x04MQTT\x06\x02\0\0\0\0\x01c"))
        .await;
    let connack = client.packet().await;
    assert_eq!((connack[0], connack[3]), (0x20, 0x84));
    client.closed().await;
    assert_eq!(fixture.counters.protocol_errors.value(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_closed() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client.send(&[0x10]).await;
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_by_its_keep_alive() {
    let fixture = Fixture::new().await;
    let mut client = fixture
        .connect(&connect_v3("c", CLEAN, 10), V3_ACCEPTED)
        .await;
    let begin = clock::now();
    client.closed().await;
    assert_eq!((clock::now() - begin).as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_draining_listener_says_so() {
    let fixture = Fixture::new().await;
    let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
    let mut old = fixture.v3("d").await;
    fixture.shutdown.drain();
    let found = client.packet().await;
    assert_eq!((found[0], found[2]), (0xe0, 0x8b), "{found:02x?}");
    client.closed().await;
    old.closed().await;
}
