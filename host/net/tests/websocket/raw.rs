//! A client that writes frames octet by octet, right or wrong.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::listener::within;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
pub(crate) const CLOSE: u8 = 0x88;

pub(crate) struct RawSocket {
    pub(crate) stream: TcpStream,
    /// Of the answer to the handshake, in lower case.
    pub(crate) head: String,
}

/// What an HTTP server answers, head only.
pub(crate) async fn ask(stream: &mut TcpStream, path: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    read_head(stream).await
}

pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    within(async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
    })
    .await;
    String::from_utf8(head).expect("text").to_lowercase()
}

pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A frame as a client sends it: its first octet, the payload masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | u8::try_from(n).expect("short")),
        n => match u16::try_from(n) {
            Ok(n) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&n.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(n as u64).to_be_bytes());
            }
        },
    }
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(octet, key)| octet ^ key),
    );
    frame
}

impl RawSocket {
    pub(crate) async fn open(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("up");
        let fields = [&UPGRADE, fields].concat();
        let head = ask(&mut stream, path, &fields).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        Self { stream, head }
    }

    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload)).await;
    }

    pub(crate) async fn text(&mut self, message: &str) {
        self.send(TEXT, message.as_bytes()).await;
    }

    pub(crate) async fn write(&mut self, octets: &[u8]) {
        within(self.stream.write_all(octets))
            .await
            .expect("written");
    }

    /// The next frame: its first octet and its payload. `None` where the server has closed.
    pub(crate) async fn recv(&mut self) -> Option<(u8, Vec<u8>)> {
        within(async {
            let first = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_u8().await.expect("a length");
            assert_eq!(length & 0x80, 0, "a server masks nothing");
            let length = match length {
                126 => u64::from(self.stream.read_u16().await.expect("a length")),
                127 => self.stream.read_u64().await.expect("a length"),
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).expect("short")];
            self.stream.read_exact(&mut payload).await.expect("whole");
            Some((first, payload))
        })
        .await
    }

    /// The next frame, which is a text message in one piece.
    pub(crate) async fn message(&mut self) -> String {
        let (first, payload) = self.recv().await.expect("a message");
        assert_eq!(first, TEXT, "{}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).expect("text")
    }

    /// The next frame is Close of `code`; answers it, and sees the connection end. Gives the reason.
    pub(crate) async fn closed(mut self, code: u16) -> String {
        let (first, payload) = self.recv().await.expect("a Close");
        assert_eq!(first, CLOSE, "{}", String::from_utf8_lossy(&payload));
        let (said, reason) = payload.split_first_chunk::<2>().expect("a code");
        let reason = String::from_utf8(reason.to_vec()).expect("text");
        assert_eq!(u16::from_be_bytes(*said), code, "{reason}");
        // It may have gone already.
        let _ = self.stream.write_all(&frame(CLOSE, &payload[..2])).await;
        assert_eq!(self.recv().await, None);
        reason
    }

    /// Asks `message` and expects `answer`.
    pub(crate) async fn check(&mut self, message: &str, answer: &str) {
        self.text(message).await;
        assert_eq!(self.message().await, answer, "{message}");
    }
}
