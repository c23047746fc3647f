//! A client that writes packets octet by octet, right or wrong.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
}

/// A packet of fewer than 16,384 octets.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short packet");
    let [low, high] = [length & 0x7f, length >> 7].map(|part| u8::try_from(part).expect("7 bits"));
    match high {
        0 => [&[first, low], body].concat(),
        _ => [&[first, low | 0x80, high], body].concat(),
    }
}

/// A text behind its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// CONNECT of 3.1.1.
pub(crate) fn connect_v3(id: &str, flags: u8, keep_alive: u8) -> Vec<u8> {
    let head = [b"\0\x04MQTT\x04".as_slice(), &[flags, 0, keep_alive]].concat();
    packet(0x10, &[head, text(id)].concat())
}

/// CONNECT of 5 with properties.
pub(crate) fn connect_v5(id: &str, flags: u8, properties: &[u8]) -> Vec<u8> {
    packet(
        0x10,
        &[connect_head_v5(flags, properties), text(id)].concat(),
    )
}

pub(crate) fn connect_head_v5(flags: u8, properties: &[u8]) -> Vec<u8> {
    let length = u8::try_from(properties.len()).expect("short properties");
    let head = [b"\0\x04MQTT\x05".as_slice(), &[flags, 0, 0, length]].concat();
    [&head, properties].concat()
}

pub(crate) const CLEAN: u8 = 2;
pub(crate) const V3_ACCEPTED: &[u8] = b"\x20\x02\0\0";
pub(crate) const V3_PRESENT: &[u8] = b"\x20\x02\x01\0";

/// SUBSCRIBE of 3.1.1.
pub(crate) fn subscribe_v3(id: u8, filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[vec![0, id], text(filter), vec![qos]].concat())
}

/// SUBSCRIBE of 5, without properties.
pub(crate) fn subscribe_v5(id: u8, filter: &str, options: u8) -> Vec<u8> {
    packet(
        0x82,
        &[vec![0, id, 0], text(filter), vec![options]].concat(),
    )
}

/// PUBLISH of 3.1.1; `first` has its flags.
pub(crate) fn publish_v3(first: u8, topic: &str, id: Option<u8>, payload: &[u8]) -> Vec<u8> {
    let id = id.map_or_else(Vec::new, |id| vec![0, id]);
    packet(first, &[text(topic), id, payload.to_vec()].concat())
}

/// PUBLISH of 5 with properties.
pub(crate) fn publish_v5(
    first: u8,
    topic: &str,
    id: Option<u8>,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let id = id.map_or_else(Vec::new, |id| vec![0, id]);
    let length = vec![u8::try_from(properties.len()).expect("short properties")];
    let parts = [
        text(topic),
        id,
        length,
        properties.to_vec(),
        payload.to_vec(),
    ];
    packet(first, &parts.concat())
}

impl Client {
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("a reader");
    }

    /// The next packet.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        self.try_packet().await.expect("a packet")
    }

    /// The next packet; none at the end.
    pub(crate) async fn try_packet(&mut self) -> Option<Vec<u8>> {
        let reading = timeout(PATIENCE, self.read_packet());
        reading.await.expect("a packet or the end in time")
    }

    async fn read_packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.stream.read_u8().await.ok()?];
        let (mut length, mut shift) = (0, 0);
        loop {
            let octet = self.stream.read_u8().await.expect("a length");
            packet.push(octet);
            length |= usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.expect("a body");
        packet.extend_from_slice(&body);
        Some(packet)
    }

    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let found = self.packet().await;
        assert_eq!(
            found, expected,
            "found {found:02x?}, expected {expected:02x?}"
        );
    }

    /// Sends `octets` and expects an answer.
    pub(crate) async fn ask(&mut self, octets: &[u8], expected: &[u8]) {
        self.send(octets).await;
        self.expect(expected).await;
    }

    /// The broker has closed the connection, without another packet.
    pub(crate) async fn closed(&mut self) {
        let found = self.try_packet().await;
        assert_eq!(found, None);
    }

    /// Nothing comes, however long one waits.
    pub(crate) async fn silent(&mut self) {
        let found = timeout(SILENCE, self.stream.read_u8()).await;
        assert!(found.is_err(), "{found:02x?} came");
    }
}

/// More than anything takes in virtual time that does not wait for something else.
const PATIENCE: Duration = Duration::from_secs(7200);
const SILENCE: Duration = Duration::from_millis(500);
