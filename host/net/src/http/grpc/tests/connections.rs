//! What ends a connection of HTTP/2, and how its client is told.

use std::time::Duration;

use super::fixture::{Fixture, PATIENCE, PREFACE, message, raw_head};
use crate::http::{Http2Config, HttpConfig};

const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn config(pings_max: u32, resets_max: u32) -> HttpConfig {
    HttpConfig {
        http2: Http2Config {
            pings_max,
            resets_max,
            ..Http2Config::default()
        },
        ..HttpConfig::default()
    }
}

fn has(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|place| place == part)
}

/// Code and debug data of the GOAWAY that a flood is told.
const CALM: &[u8] = b"\0\0\0\x0btoo_many_";

#[tokio::test]
async fn a_flood_of_pings_is_told_to_be_calm() {
    let fixture = Fixture::open(config(20, 1000)).await;
    // The preface has SETTINGS, which count.
    let octets = [PREFACE, &PING.repeat(20)].concat();
    let read = fixture.raw(&octets, CALM).await;
    assert!(
        has(&read, b"\0\0\0\x0btoo_many_pings"),
        "{}",
        read.escape_ascii()
    );
    let octets = [PREFACE, &PING.repeat(19)].concat();
    let acknowledged = b"\0\0\x08\x06\x01";
    let read = fixture.raw(&octets, acknowledged).await;
    assert!(!has(&read, CALM));
}

/// A call, and the reset of its stream with CANCEL.
fn call_and_reset(stream: u8) -> Vec<u8> {
    let reset = [0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 8];
    [&raw_head("test.Echo/Hang", stream)[..], &reset].concat()
}

#[tokio::test]
async fn a_flood_of_resets_is_told_to_be_calm() {
    let fixture = Fixture::open(config(100, 10)).await;
    let resets: Vec<u8> = (0..11)
        .flat_map(|number| call_and_reset(2 * number + 1))
        .collect();
    let read = fixture.raw(&[PREFACE, &resets].concat(), CALM).await;
    assert!(
        has(&read, b"\0\0\0\x0btoo_many_resets"),
        "{}",
        read.escape_ascii()
    );
}

#[tokio::test]
async fn calls_that_are_answered_forgive_resets_and_pings() {
    let fixture = Fixture::open(config(3, 3)).await;
    for _ in 0..20 {
        let answer = fixture.call("test.Echo/Unary", &[], message("x")).await;
        assert_eq!(answer.code(), "0");
        let (sender, reply) = fixture.begin("test.Echo/Hang", &[]);
        sender.send(message("")).await.expect("sent");
        fixture.double.wait_for(1).await;
        drop(reply);
        fixture.double.wait_for(0).await;
    }
    assert!(!fixture.connection.is_finished());
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_ends_those_that_it_has() {
    let config = HttpConfig {
        connection_age_max: Some(Duration::from_millis(300)),
        connection_age_grace: PATIENCE,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let (sender, reply) = fixture.begin("test.Echo/Chat", &[]);
    sender.send(message("a")).await.expect("sent");
    let mut reply = reply.await_head().await;
    assert_eq!(reply.next().await, Some(message("a")));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!fixture.connection.is_finished());
    sender.send(message("b")).await.expect("sent");
    assert_eq!(reply.next().await, Some(message("b")));
    drop(sender);
    assert_eq!(reply.rest().await.code(), "0");
    let ended = tokio::time::timeout(PATIENCE, fixture.connection).await;
    ended
        .expect("in time")
        .expect("no panic")
        .expect("by GOAWAY");
}

#[tokio::test]
async fn an_old_connection_is_cut_off_behind_its_grace() {
    let config = HttpConfig {
        connection_age_max: Some(Duration::from_millis(100)),
        connection_age_grace: Duration::from_millis(100),
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let (sender, _reply) = fixture.begin("test.Echo/Hang", &[]);
    sender.send(message("")).await.expect("sent");
    fixture.double.wait_for(1).await;
    fixture.double.wait_for(0).await;
    let ended = tokio::time::timeout(PATIENCE, fixture.connection).await;
    assert!(ended.expect("in time").is_ok());
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let config = HttpConfig {
        http2: Http2Config {
            ping_interval: Some(Duration::from_millis(100)),
            ping_timeout: Duration::from_millis(100),
            ..Http2Config::default()
        },
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let octets = [PREFACE, &raw_head("test.Echo/Hang", 1)].concat();
    let reading = fixture.raw(&octets, b"nothing of the kind");
    let (read, ()) = tokio::join!(reading, async {
        fixture.double.wait_for(1).await;
        fixture.double.wait_for(0).await;
    });
    assert!(has(&read, b"\0\0\x08\x06\0"), "{}", read.escape_ascii());
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_that_is_of_no_use() {
    let config = HttpConfig {
        idle_timeout: Duration::from_millis(500),
        http2: Http2Config {
            ping_interval: Some(Duration::from_millis(50)),
            ..Http2Config::default()
        },
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    fixture.call("test.Echo/Unary", &[], message("x")).await;
    let ended = tokio::time::timeout(PATIENCE, fixture.connection).await;
    assert!(ended.expect("in time").is_ok());
}
