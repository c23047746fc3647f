//! Malformed packets of each type: a client of MQTT 5 is told the reason, one of 3.1.1 is closed.

use crate::{
    client::{CLEAN, connect_v5, packet},
    fixture::Fixture,
};

/// After CONNECT; the reason of 5.
const FAULTS: [(&[u8], u8); 26] = [
    (b"\x00\0", 0x81),
    (b"\x10\0", 0x82),
    (b"\x20\x02\0\0", 0x82),
    (b"\x36\x05\0\x01a\0\x01", 0x81),
    (b"\x38\x03\0\x01a", 0x81),
    (b"\x32\x05\0\x01a\0\0", 0x81),
    (b"\x30\x03\0\x01+", 0x90),
    (b"\x30\x02\0\0", 0x82),
    (b"\x30\x03\0\x09a", 0x81),
    (b"\x30\x04\0\x02a\0", 0x81),
    (b"\x30\x04\0\x02\xc3\x28", 0x81),
    (b"\x40\x01\0", 0x81),
    (b"\x41\x02\0\x01", 0x81),
    (b"\x50\x02\0\0", 0x81),
    (b"\x60\x02\0\x01", 0x81),
    (b"\x62\x02\0\0", 0x81),
    (b"\x70\0", 0x81),
    (b"\x80\x05\0\x01\0\x01a", 0x81),
    (b"\x82\x02\0\x01", 0x82),
    (b"\x90\x03\0\x01\0", 0x82),
    (b"\xa2\x02\0\x01", 0x82),
    (b"\xb0\x02\0\x01", 0x82),
    (b"\xc0\x01\0", 0x81),
    (b"\xd0\0", 0x82),
    (b"\xe1\0", 0x81),
    (b"\x30\xff\xff\xff\xff\x01", 0x81),
];

/// Puts the empty properties of 5 into packets of 3.1.1 that have room for them.
fn of_v5(octets: &[u8]) -> Vec<u8> {
    let (first, body) = (octets[0], &octets[2..]);
    match (first, body.len()) {
        (0x36 | 0x38 | 0x32 | 0x30, 3..) if octets[1] != 0xff => {
            packet(first, &[body, &[0]].concat())
        }
        (0x30, 2) => packet(first, &[body, &[0]].concat()),
        (0x82 | 0xa2, 2) => packet(first, &[body, &[0]].concat()),
        _ => octets.to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn clients_of_5_are_told_the_reason() {
    let fixture = Fixture::new().await;
    for (octets, reason) in FAULTS {
        let octets = of_v5(octets);
        let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
        client.send(&octets).await;
        let found = client.packet().await;
        assert_eq!(
            (found[0], found[2]),
            (0xe0, reason),
            "{octets:02x?}: {found:02x?}"
        );
        client.closed().await;
    }
    assert_eq!(
        fixture.counters.protocol_errors.value(),
        FAULTS.len() as u64
    );
}

#[tokio::test(start_paused = true)]
async fn clients_of_3_1_1_are_closed() {
    let fixture = Fixture::new().await;
    for (octets, _) in FAULTS {
        let mut client = fixture.v3("c").await;
        client.send(octets).await;
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_5_has_is_refused_in_5() {
    let fixture = Fixture::new().await;
    let faults: [(&[u8], u8); 9] = [
        // AUTH without a method, an alias over the maximum, one that stands for nothing.
        (b"\xf0\0", 0x82),
        (b"\x30\x07\0\x01a\x03\x23\0\x21", 0x94),
        (b"\x30\x06\0\0\x03\x23\0\x01", 0x82),
        // A subscription identifier in PUBLISH, and one of zero.
        (b"\x30\x06\0\x01a\x02\x0b\x01", 0x82),
        (b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", 0x82),
        // A share that wants nothing of its own, reserved options, a session that was not asked for.
        (b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04", 0x82),
        (b"\x82\x07\0\x01\0\0\x01a\xc0", 0x81),
        (b"\xe0\x07\0\x05\x11\0\0\0\x05", 0x82),
        // A length that is longer than it needs to be.
        (b"\xc0\x80\0", 0x81),
    ];
    for (octets, reason) in faults {
        let mut client = fixture.v5(&connect_v5("c", CLEAN, b"")).await;
        client.send(octets).await;
        let found = client.packet().await;
        assert_eq!(
            (found[0], found[2]),
            (0xe0, reason),
            "{octets:02x?}: {found:02x?}"
        );
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_malformed_is_told_so_where_it_is_of_5() {
    let fixture = Fixture::new().await;
    let mut client = fixture.open();
    client
        .send(&packet(0x10, b"\0\x04MQTT\x05\x03\0\0\0\0\x01c"))
        .await;
    let found = client.packet().await;
    assert_eq!((found[0], found[3]), (0x20, 0x81), "{found:02x?}");
    client.closed().await;
    for octets in [
        packet(0x10, b"\0\x04MQTT\x04\x03\0\0\0\x01c"),
        packet(0x10, b"\0\x04MQTX\x04\x02\0\0\0\x01c"),
        packet(0x30, b"\0\x01a"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut client = fixture.open();
        client.send(&octets).await;
        client.closed().await;
    }
}
