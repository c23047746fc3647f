//! What a client can make the listener hold: bodies that do not end, replies that are not taken. Frames
//! of HTTP/2 are written by hand, as no library opens no window.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const MIB: usize = 1 << 20;

/// A client of HTTP/2 that gives its server windows of `window` octets and never more.
pub(super) struct Frames {
    socket: TcpStream,
}

impl Frames {
    pub(super) async fn open(fixture: &Fixture, window: u32) -> Self {
        let socket = TcpStream::connect(fixture.address).await.expect("connects");
        let mut frames = Self { socket };
        frames.send_octets(PREFACE).await;
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        frames.send(SETTINGS, 0, 0, &setting).await;
        frames
    }

    pub(super) async fn send_octets(&mut self, octets: &[u8]) {
        let writing = self.socket.write_all(octets);
        timeout(PATIENCE, writing)
            .await
            .expect("takes")
            .expect("is open");
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_octets(&frame(kind, flags, stream, payload)).await;
    }

    /// Asks for `target`, with the body still to come where there is one.
    async fn ask(&mut self, stream: u32, target: &str, has_body: bool) {
        self.ask_with(stream, target, has_body, &[]).await;
    }

    /// Asks with `fields` more, as HPACK has them.
    async fn ask_with(&mut self, stream: u32, target: &str, has_body: bool, fields: &[u8]) {
        // `:method: POST` from the static table, and `:authority: x`.
        let mut block = vec![0x83, 1, 1, b'x'];
        block.extend_from_slice(fields);
        self.ask_block(stream, target, has_body, block).await;
    }

    /// Posts nothing, with `hosts` in the place of the authority.
    pub(super) async fn ask_as(&mut self, stream: u32, target: &str, hosts: &[u8]) {
        let block = [&[0x83], hosts].concat();
        self.ask_block(stream, target, false, block).await;
    }

    /// Asks with `block` behind the scheme and the path.
    pub(super) async fn ask_block(
        &mut self,
        stream: u32,
        target: &str,
        has_body: bool,
        block: Vec<u8>,
    ) {
        let request = Self::request(stream, target, has_body, &block);
        self.send_octets(&request).await;
    }

    /// The frame of `ask_block`.
    pub(super) fn request(stream: u32, target: &str, has_body: bool, block: &[u8]) -> Vec<u8> {
        let path = format!("/v1/services/{target}");
        // `:scheme: http` from the static table, and a literal field without indexing (RFC 7541
        // section 6.2.2).
        let mut head = vec![0x86, 4, u8::try_from(path.len()).expect("short")];
        head.extend_from_slice(path.as_bytes());
        head.extend_from_slice(block);
        let end = if has_body { 0 } else { END_STREAM };
        frame(HEADERS, END_HEADERS | end, stream, &head)
    }

    /// Reads until the answer on `stream` is over.
    pub(super) async fn answered(&mut self, stream: u32) {
        loop {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.expect("open");
            let [a, b, c, kind, flags, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.socket.read_exact(&mut payload).await.expect("open");
            let is_end = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            if is_end && u32::from_be_bytes([d, e, f, g]) == stream {
                return;
            }
        }
    }

    /// The first octets of the first body that comes.
    pub(super) async fn body(&mut self) -> String {
        loop {
            let (kind, _, payload) = self.next().await.expect("the listener stays open");
            if kind == DATA && !payload.is_empty() {
                return String::from_utf8_lossy(&payload).into_owned();
            }
        }
    }

    /// The next frame: kind, stream, payload. `None` where the listener has closed.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let reading = async {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, _, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            Some((kind, u32::from_be_bytes([d, e, f, g]), payload))
        };
        timeout(PATIENCE, reading)
            .await
            .expect("the listener moves")
    }

    /// Reads until a frame of that kind comes, or the listener closes; says whether it came.
    async fn wait_for(&mut self, kind: u8) -> bool {
        while let Some((next, ..)) = self.next().await {
            if next == kind {
                return true;
            }
        }
        false
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it comes to be so");
}

#[tokio::test]
async fn replies_that_nobody_takes_are_bounded_and_end_by_the_write_timeout() {
    let fixture = Fixture::open(HttpConfig {
        write_timeout: Duration::from_millis(500),
        held_bytes_max: 4 * MIB,
        ..HttpConfig::default()
    })
    .await;
    for window in [0, 1] {
        let mut frames = Frames::open(&fixture, window).await;
        for stream in 0..32 {
            frames.ask(2 * stream + 1, "large/Get", false).await;
        }
        let (bytes, refused) = (Arc::clone(&fixture.bytes), fixture.bytes.n_refused());
        // Three of 1 MiB and a little fit; the others are told so by a short reply.
        until(|| bytes.n_refused() >= refused + 29).await;
        assert!(fixture.bytes.held() <= 4 * MIB, "{}", fixture.bytes.held());
        assert!(frames.wait_for(RST_STREAM).await || window > 0);
        until(|| bytes.held() == 0).await;
        assert!(fixture.counters.slow_readers.value() >= 1);
    }
}

#[tokio::test]
async fn a_stream_that_stalls_is_reset_and_its_neighbours_are_served() {
    let fixture = Fixture::open(HttpConfig {
        write_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    })
    .await;
    let mut frames = Frames::open(&fixture, 100).await;
    frames.ask(1, "large/Get", false).await;
    let mut was_reset = false;
    while !was_reset {
        let (kind, stream, _) = frames.next().await.expect("the listener stays open");
        was_reset = (kind, stream) == (RST_STREAM, 1);
    }
    frames.ask(3, "echo/Say", true).await;
    frames.send(DATA, END_STREAM, 3, b"hello").await;
    loop {
        let (kind, stream, payload) = frames.next().await.expect("the listener stays open");
        if (kind, stream) == (DATA, 3) && !payload.is_empty() {
            assert_eq!(payload, b"hello");
            break;
        }
    }
}

#[tokio::test]
async fn a_header_section_that_trickles_is_ended_by_the_header_timeout() {
    let fixture = Fixture::open(HttpConfig {
        header_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    })
    .await;
    let mut frames = Frames::open(&fixture, 65_535).await;
    frames.ask(1, "hang/On", false).await;
    fixture.handler.wait_for(1).await;
    // A section that CONTINUATION goes on with for ever, beside a call that would keep the
    // connection.
    frames.send(HEADERS, END_STREAM, 3, &[0x83, 0x86]).await;
    let trickling = async {
        loop {
            let octets = [0, 0, 1, 9, 0, 0, 0, 0, 3, 0x84];
            if frames.socket.write_all(&octets).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trickling)
        .await
        .expect("the listener closes");
    fixture.handler.wait_for(0).await;
}

#[tokio::test]
async fn bodies_that_do_not_end_are_held_up_to_the_bound_and_refused_beyond() {
    let config = HttpConfig {
        held_bytes_max: 64 * MIB,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    fixture.bytes.set_bytes_max(2 * MIB);
    // Less than the window that the listener opens.
    let part = vec![b'x'; 900_000];
    let mut sockets = Vec::new();
    for socket_idx in 0..4 {
        if socket_idx % 2 == 0 {
            let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
            let head = "POST /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000";
            let head = format!("{head}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.expect("writes");
            timeout(PATIENCE, socket.write_all(&part))
                .await
                .expect("the listener reads")
                .expect("is open");
            sockets.push(socket);
        } else {
            let mut frames = Frames::open(&fixture, 65_535).await;
            // The listener's windows hold when its settings are acknowledged.
            assert!(frames.wait_for(SETTINGS).await);
            frames.send(SETTINGS, 1, 0, &[]).await;
            frames.ask(1, "echo/Say", true).await;
            let sending = async {
                for piece in part.chunks(16_384) {
                    frames.send(DATA, 0, 1, piece).await;
                }
            };
            timeout(PATIENCE, sending)
                .await
                .expect("the listener reads");
            sockets.push(frames.socket);
        }
    }
    let bytes = Arc::clone(&fixture.bytes);
    until(|| bytes.n_refused() > 0).await;
    assert!(bytes.held() <= 2 * MIB, "{}", bytes.held());
    drop(sockets);
    until(|| bytes.held() == 0).await;
    let response = fixture.raw(&post("echo/Say", "", "fits")).await;
    assert!(response.ends_with("\r\n\r\nfits"), "{response}");
}

#[tokio::test]
async fn a_full_gateway_says_when_to_come_again() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    fixture.bytes.set_bytes_max(MIB);
    let body = "x".repeat(2 * MIB);
    let response = fixture.raw(&post("echo/Say", "", &body)).await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    for part in [
        "retry-after: 1\r\n",
        "x-postern-error: unavailable\r\n",
        "the gateway holds",
    ] {
        assert!(response.contains(part), "{part} in {response}");
    }
    assert_eq!(fixture.bytes.held(), 0);
}

#[tokio::test]
async fn streams_over_the_limit_are_not_begun() {
    let fixture = Fixture::open(HttpConfig {
        streams_max: 2,
        ..HttpConfig::default()
    })
    .await;
    let mut frames = Frames::open(&fixture, 65_535).await;
    // The limit is in the listener's first frame: SETTINGS_MAX_CONCURRENT_STREAMS is 3.
    let (kind, _, settings) = frames.next().await.expect("settings");
    assert_eq!(kind, SETTINGS);
    assert!(
        settings
            .chunks(6)
            .any(|setting| setting == [0, 3, 0, 0, 0, 2]),
        "{settings:?}"
    );
    for stream in [1, 3, 5] {
        frames.ask(stream, "hang/On", false).await;
    }
    loop {
        let (kind, stream, _) = frames.next().await.expect("the listener stays open");
        if kind == RST_STREAM {
            assert_eq!(stream, 5);
            break;
        }
    }
    fixture.handler.wait_for(2).await;
}

#[tokio::test]
async fn a_body_over_http2_that_does_not_arrive_in_time_is_408() {
    let fixture = Fixture::open(HttpConfig {
        body_timeout: Duration::from_millis(200),
        ..HttpConfig::default()
    })
    .await;
    let mut frames = Frames::open(&fixture, 65_535).await;
    frames.ask(1, "echo/Say", true).await;
    frames.send(DATA, 0, 1, b"begun").await;
    loop {
        let (kind, _, payload) = frames.next().await.expect("the listener stays open");
        if kind == DATA {
            let body = String::from_utf8_lossy(&payload);
            assert!(body.contains("did not arrive within 200 ms"), "{body}");
            break;
        }
    }
}

#[tokio::test]
async fn more_fields_over_http2_than_over_http1_are_431() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut frames = Frames::open(&fixture, 65_535).await;
    for (stream, n_fields, expected) in [
        (1, head::FIELDS_MAX, "tell Me"),
        (3, head::FIELDS_MAX + 1, "more than 300 header fields"),
    ] {
        // Literal fields `a: b` without indexing.
        let fields = [0, 1, b'a', 1, b'b'].repeat(n_fields);
        frames.ask_with(stream, "tell/Me", false, &fields).await;
        let body = frames.body().await;
        assert!(body.contains(expected), "{n_fields}: {body}");
    }
}

#[tokio::test]
async fn the_header_section_of_a_call_is_held_while_the_call_lasts() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for media in ["application/json", "application/x-ndjson"] {
        let mut frames = Frames::open(&fixture, 65_535).await;
        let mut fields = vec![0x0f, 0x10, u8::try_from(media.len()).expect("short")];
        fields.extend_from_slice(media.as_bytes());
        // One field of 4,000 octets that enters the dynamic table, then 14 times its index.
        fields.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
        fields.extend_from_slice(&[b'v'; 4000]);
        fields.extend_from_slice(&[0x80 | 62; 14]);
        frames.ask_with(1, "hang/On", false, &fields).await;
        fixture.handler.wait_for(1).await;
        // The first 16 KiB of a connection are not counted.
        assert!(
            fixture.bytes.held() > 40_000,
            "{media}: {}",
            fixture.bytes.held()
        );
        drop(frames);
        let bytes = Arc::clone(&fixture.bytes);
        until(|| bytes.held() == 0).await;
        fixture.handler.wait_for(0).await;
    }
}
