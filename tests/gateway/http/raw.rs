//! Clients of HTTP/1.1 and HTTP/2 that write their octets themselves: no library sends half a head,
//! opens no window, or keeps the half of a body.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The window that every stream has unless something else is said.
pub(crate) const WINDOW: u32 = 65_535;
/// Far above what a busy machine takes, and less than any default that a test has made shorter.
pub(crate) const SOON: Duration = Duration::from_secs(8);

/// A connection whose kernel takes little that is not read.
pub(super) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a size");
    socket.connect(address).await.expect("the gateway takes it")
}

/// `POST /v1/services/TARGET` with these lines of its head, and a body.
pub(super) fn post(target: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/services/{target} HTTP/1.1\r\nhost: x.localhost\r\n{lines}content-length: {length}\r\n\r\n{body}"
    )
}

/// Sends `request` over a connection of its own and reads until the gateway closes or has answered.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("open");
    stream.write_all(request.as_ref()).await.expect("written");
    answer(&mut stream).await
}

/// What the gateway says within a while: one response, or nothing where it closes.
pub(super) async fn answer(stream: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    let reading = async {
        while !is_whole(&String::from_utf8_lossy(&octets)) {
            if !matches!(stream.read_buf(&mut octets).await, Ok(1..)) {
                break;
            }
        }
    };
    let outcome = timeout(SOON, reading).await;
    let text = String::from_utf8_lossy(&octets).into_owned();
    assert!(outcome.is_ok(), "no answer in time after {text:?}");
    text
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

/// A client of HTTP/2 that gives its server windows of so many octets and never more.
pub(crate) struct Frames {
    pub(crate) socket: TcpStream,
}

impl Frames {
    pub(crate) async fn open(address: SocketAddr, window: u32) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("open");
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        let octets = [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat();
        socket.write_all(&octets).await.expect("written");
        Self { socket }
    }

    pub(crate) async fn send(&mut self, frames: &[u8]) {
        let writing = self.socket.write_all(frames);
        let outcome = timeout(SOON, writing).await;
        outcome.expect("the gateway reads").expect("it is open");
    }

    /// The next frame: kind, stream, payload. `None` where the gateway has closed. Settings are
    /// acknowledged on the way.
    pub(crate) async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        self.next_within(SOON).await
    }

    /// The next frame, where it takes longer until one comes.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Option<(u8, u32, Vec<u8>)> {
        let reading = async {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            if kind == SETTINGS && flags & ACK == 0 {
                let ack = frame(SETTINGS, ACK, 0, &[]);
                self.socket.write_all(&ack).await.ok()?;
            }
            Some((kind, u32::from_be_bytes([d, e, f, g]), payload))
        };
        timeout(limit, reading).await.expect("the gateway moves")
    }

    /// Reads until a frame of that kind and stream comes: its payload.
    pub(crate) async fn wait_for(&mut self, kind: u8, stream: u32) -> Vec<u8> {
        loop {
            let (next, of, payload) = self.next().await.expect("it stays open");
            if (next, of) == (kind, stream) {
                return payload;
            }
            assert_ne!((next, of), (RST_STREAM, stream), "{payload:?}");
        }
    }

    /// Reads until the text of the body of `stream` comes.
    pub(super) async fn text(&mut self, stream: u32) -> String {
        String::from_utf8_lossy(&self.wait_for(DATA, stream).await).into_owned()
    }

    /// Reads until the gateway closes.
    pub(crate) async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The head of a call of `target`, whose body is to come.
pub(super) fn head(stream: u32, target: &str) -> Vec<u8> {
    head_to("x.localhost", stream, target)
}

/// As `head`, to a gateway that is called `authority`.
pub(super) fn head_to(authority: &str, stream: u32, target: &str) -> Vec<u8> {
    let path = format!("/v1/services/{target}");
    // Literal fields without indexing (RFC 7541 section 6.2.2), `:method: POST` and `:scheme: http`
    // from the static table.
    let mut block = vec![0x83, 0x86];
    for (name_idx, value) in [(4, path.as_str()), (1, authority)] {
        block.push(name_idx);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A whole call.
pub(super) fn call(stream: u32, target: &str, body: &str) -> Vec<u8> {
    let data = frame(DATA, END_STREAM, stream, body.as_bytes());
    [head(stream, target), data].concat()
}
