//! A listener in front of `Double`, its client, and octets as they are sent.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture as Waiting, stream};
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_core::{Blame, bounded::BoundedHandler};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::double::{Double, Methods};
use crate::{
    ByteBudget, Counters, Shutdown,
    http::{
        Coding, HttpConfig, HttpServer,
        grpc::{
            coding::{Packing, UnpackLimits, Unpacking},
            frame::{FrameLimits, FrameReader, frame},
        },
    },
};

/// A listener on a free port, in front of `Double`.
pub(super) struct Fixture {
    pub(super) address: SocketAddr,
    pub(super) double: Arc<Double>,
    /// Dropped, it ends the listener.
    _shutdown: Shutdown,
    client: http2::SendRequest<RequestBody>,
    pub(super) connection: JoinHandle<hyper::Result<()>>,
}

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

/// A response that has not come, or not whole.
pub(super) struct Coming(Waiting<'static, hyper::Result<Response<Incoming>>>);

/// A response whose head is there.
pub(super) struct Reading {
    response: Response<Incoming>,
    read: FrameReader,
}

impl Fixture {
    pub(super) async fn open(config: HttpConfig) -> Self {
        let double = Arc::new(Double::default());
        let handler = BoundedHandler::<_, crate::Alarm>::new(Arc::clone(&double), Blame::Guest);
        let server = HttpServer::bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            config,
            Arc::new(handler),
            Arc::new(Methods),
            Arc::new(Counters::default()),
            Arc::new(ByteBudget::new(256 << 20)),
        );
        let server = server.await.expect("a free port");
        let address = server.local_addr().socket_addr().expect("bound");
        let shutdown = Shutdown::new();
        tokio::spawn(server.serve(shutdown.clone()));
        let socket = TcpStream::connect(address).await.expect("connects");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (client, connection) = handshake.await.expect("speaks HTTP/2");
        Self {
            address,
            double,
            _shutdown: shutdown,
            client,
            connection: tokio::spawn(connection),
        }
    }

    /// Calls `path` with a whole body; of fields that are given twice the first is that of the head.
    pub(super) async fn call(&self, path: &str, fields: &[(&str, &str)], body: Bytes) -> Answer {
        let coming = self.send(path, fields, Full::new(body).boxed_unsync());
        timeout(PATIENCE, coming.answer()).await.expect("in time")
    }

    /// Begins a call, whose body is what is sent.
    pub(super) fn begin(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (mpsc::Sender<Bytes>, Coming) {
        let (sender, receiver) = mpsc::channel(1);
        let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
            let piece = receiver.recv().await?;
            Some((Ok(Frame::data(piece)), receiver))
        });
        let body = StreamBody::new(pieces).boxed_unsync();
        (sender, self.send(path, fields, body))
    }

    fn send(&self, path: &str, fields: &[(&str, &str)], body: RequestBody) -> Coming {
        let uri = format!("http://localhost/{path}");
        let mut request = Request::post(uri);
        if !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(header::CONTENT_TYPE, "application/grpc");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let response = self.client.clone().send_request(request);
        // Polled by a task of its own, as the request is sent by that.
        let response = tokio::spawn(response);
        let response = AbortOnDrop(response);
        Coming(Box::pin(async move { response.join().await }))
    }

    /// Sends octets over a connection of their own, and reads until the listener closes or has said
    /// `until`.
    pub(super) async fn raw(&self, octets: &[u8], until: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).await.expect("connects");
        socket.write_all(octets).await.expect("writes");
        let mut read = Vec::new();
        let reading = async {
            while !read.windows(until.len()).any(|place| place == until) {
                if !matches!(socket.read_buf(&mut read).await, Ok(1..)) {
                    break;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("in time");
        read
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> T {
        (&mut self.0).await.expect("the task ends by itself")
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Coming {
    pub(super) async fn answer(self) -> Answer {
        self.await_head().await.rest().await
    }

    pub(super) async fn await_head(self) -> Reading {
        let response = timeout(PATIENCE, self.0).await.expect("in time");
        Reading {
            response: response.expect("a response"),
            read: FrameReader::new(FrameLimits {
                message_bytes_max: usize::MAX,
                flags: 0xff,
            }),
        }
    }
}

impl Reading {
    /// The next frame, as it came.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(read) = self.read.next_frame().expect("frames") {
                let whole = frame(read.flags, &read.message, usize::MAX);
                return Some(whole.expect("short"));
            }
            let next = timeout(PATIENCE, self.response.frame()).await;
            let piece = next.expect("in time")?.expect("whole");
            self.read.push(piece.into_data().ok()?);
        }
    }

    /// What is left.
    pub(super) async fn rest(self) -> Answer {
        let (head, body) = self.response.into_parts();
        let collected = timeout(PATIENCE, body.collect()).await.expect("in time");
        let collected = collected.expect("whole");
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: collected.to_bytes(),
            trailers,
        }
    }
}

impl Answer {
    pub(super) fn code(&self) -> &str {
        self.field("grpc-status")
    }

    pub(super) fn told(&self) -> &str {
        self.field("grpc-message")
    }

    /// Of the trailers, which may be the head.
    fn field(&self, name: &str) -> &str {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name));
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// A message in its frame.
pub(super) fn message(text: &str) -> Bytes {
    frame(0, text.as_bytes(), usize::MAX).expect("short")
}

/// HEADERS of a call, by literals without indexing (RFC 7541 section 6.2.2). The stream stays open.
pub(super) fn raw_head(path: &str, stream: u8) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &*format!("/{path}")),
        (":authority", "x"),
        ("content-type", "application/grpc"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    let length = u8::try_from(block.len()).expect("short");
    [&[0, 0, length, 1, 4, 0, 0, 0, stream][..], &block].concat()
}

/// Flags and messages of a body.
pub(super) fn frames(body: &Bytes) -> Vec<(u8, Bytes)> {
    let mut reader = FrameReader::new(FrameLimits {
        message_bytes_max: usize::MAX,
        flags: 0xff,
    });
    reader.push(body.clone());
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("frames") {
        frames.push((frame.flags, frame.message));
    }
    reader.finish().expect("whole");
    frames
}

/// A packed message in its frame.
pub(super) async fn packed(text: &str, coding: Coding) -> Bytes {
    let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
    let message = Bytes::copy_from_slice(text.as_bytes());
    let mut packing = Packing::new(message, coding, &bytes).expect("room");
    let packed = std::future::poll_fn(|cx| packing.poll(cx)).await;
    frame(1, &packed.expect("packed"), usize::MAX).expect("short")
}

pub(super) async fn unpacked(message: Bytes, coding: Coding) -> Bytes {
    let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
    let limits = UnpackLimits {
        message_bytes_max: usize::MAX,
        ratio_max: 1000,
        key: "",
        blame: Blame::Client,
    };
    let mut unpacking = Unpacking::new(message, coding, limits, &bytes).expect("room");
    let unpacked = std::future::poll_fn(|cx| unpacking.poll(cx)).await;
    unpacked.expect("unpacked")
}

/// What a client of HTTP/2 sends first, and empty SETTINGS.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
