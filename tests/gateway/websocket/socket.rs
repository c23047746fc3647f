//! A client of text messages that writes its own frames.

use std::{net::SocketAddr, time::Duration};

use postern_tests::Gateway;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const PING: u8 = 0x89;
pub(crate) const CLOSE: u8 = 0x88;
const MASK: [u8; 4] = [7, 1, 3, 9];
/// For what takes no time, on a loaded machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Socket {
    stream: TcpStream,
    /// What the listener answered, in lower case.
    pub(crate) head: String,
}

/// What the HTTP listener answers to the handshake of a WebSocket, and the connection.
pub(crate) async fn ask(at: SocketAddr, path: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(at).await.expect("up");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let octet = timeout(SOON, stream.read_u8()).await.expect("in time");
        head.push(octet.expect("an answer"));
    }
    (
        stream,
        String::from_utf8(head).expect("text").to_lowercase(),
    )
}

impl Socket {
    pub(crate) async fn open(gateway: &Gateway, path: &str, fields: &str) -> Self {
        let (stream, head) = ask(gateway.http, path, fields).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        Self { stream, head }
    }

    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).expect("short");
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..=125 => frame.push(0x80 | u8::try_from(n).expect("short")),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(octet, key)| octet ^ key),
        );
        self.stream.write_all(&frame).await.expect("written");
    }

    /// The next frame: its first octet and its payload. `None` where the listener has closed.
    pub(crate) async fn recv(&mut self) -> Option<(u8, Vec<u8>)> {
        let stream = &mut self.stream;
        let reading = async {
            let first = stream.read_u8().await.ok()?;
            let length = match stream.read_u8().await.expect("a length") {
                126 => u64::from(stream.read_u16().await.expect("a length")),
                127 => stream.read_u64().await.expect("a length"),
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).expect("short")];
            stream.read_exact(&mut payload).await.expect("whole");
            Some((first, payload))
        };
        timeout(SOON, reading).await.expect("in time")
    }

    /// The code of the Close that comes next.
    pub(crate) async fn close_code(&mut self) -> u16 {
        let (first, payload) = self.recv().await.expect("a Close");
        assert_eq!(first, CLOSE, "{}", String::from_utf8_lossy(&payload));
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// The next message, passing over Pings.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let (first, payload) = self.recv().await.expect("a message");
            if first != PING {
                assert_eq!(first, TEXT, "{}", String::from_utf8_lossy(&payload));
                return serde_json::from_slice(&payload).expect("JSON");
            }
        }
    }

    /// Sends `message` and gives the next one.
    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.send(TEXT, message.to_string().as_bytes()).await;
        self.message().await
    }
}
