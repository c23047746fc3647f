//! A listener with a handler that answers by the name of the method, and its client.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture as Waiting, stream};
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Context, Error, Handler, Headers, HttpStatus, Kind,
    Reply, Retry, Text,
    bounded::BoundedHandler,
    headers::HeadersBuilder,
    service::{CallKind, MethodInfo},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    ByteBudget, Counters, Shutdown,
    http::{
        Catalog, Coding, HttpConfig, HttpServer,
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

/// Answers by the method's name.
#[derive(Default)]
pub(super) struct Double {
    calls: Mutex<Vec<Seen>>,
    n_hanging: Arc<AtomicUsize>,
}

/// A call as the double saw it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) headers: Headers,
    pub(super) body: &'static str,
    pub(super) context: Context,
}

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

impl Double {
    pub(super) fn last_call(&self) -> Seen {
        self.calls.lock().last().expect("a call").clone()
    }

    /// Waits until `n_hanging` calls go on.
    pub(super) async fn wait_for(&self, n_hanging: usize) {
        wait_until(|| self.n_hanging.load(Ordering::SeqCst) == n_hanging).await;
    }

    /// Waits until `n_calls` have come.
    pub(super) async fn wait_for_calls(&self, n_calls: usize) {
        wait_until(|| self.calls.lock().len() >= n_calls).await;
    }

    fn hang(&self) -> Leaves {
        self.n_hanging.fetch_add(1, Ordering::SeqCst);
        Leaves(Arc::clone(&self.n_hanging))
    }
}

async fn wait_until(is_there: impl Fn() -> bool) {
    let there = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("calls come and go");
}

impl Handler for Double {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.calls.lock().push(Seen {
            headers: call.headers.clone(),
            body: call.body.kind().name(),
            context: call.context.clone(),
        });
        if &*call.service == "fail" {
            let kind = Kind::from_name(&call.method).expect("a kind");
            return Box::pin(async move { Err(failure(kind)) });
        }
        let hanging = call.method.starts_with("Hang").then(|| self.hang());
        Box::pin(answer(call, hanging))
    }
}

fn failure(kind: Kind) -> Error {
    let mut headers = Headers::new();
    headers.push("x-colour", "green").expect("short");
    Error::new(kind, Blame::Guest, "on purpose: 50% é")
        .with_details("{\"n\":1}")
        .with_retry(Retry::After(Duration::from_millis(1500)))
        .with_headers(headers)
}

async fn answer(call: Call, hanging: Option<Leaves>) -> Result<Reply, Error> {
    let echoed = call.headers.without(|name| !name.starts_with(b"x-"));
    let stream = |stream| Ok(Reply::new(echoed.clone(), Body::Messages(stream)));
    match &*call.method {
        "Up" => {
            let mut messages = call.body.into_messages(0);
            let mut joined = Vec::new();
            while let Some(message) = messages.next().await {
                joined.extend_from_slice(&message?);
            }
            Ok(Reply::one(joined))
        }
        "Down" => {
            let n_messages = call.body.into_one(10).await?;
            let n_messages = String::from_utf8_lossy(&n_messages).parse().unwrap_or(0);
            let message = |number: u32| Ok(Bytes::from(number.to_string()));
            stream(BodyStream::new(stream::iter((0..n_messages).map(message))))
        }
        "Chat" => stream(BodyStream::from_source(Counting {
            messages: call.body.into_messages(0),
            n_messages: 0,
        })),
        "Breaks" => {
            let broken = Error::new(Kind::DataLoss, Blame::Guest, "broken");
            stream(BodyStream::new(stream::iter([
                Ok("first".into()),
                Err(broken),
            ])))
        }
        "Octets" => {
            let mut trailers = HeadersBuilder::fields(1, 10);
            trailers.push("x-sum", "1").expect("short");
            let octets = BodyStream::once("one message".into(), Some(trailers.build()));
            Ok(Reply::new(Headers::new(), Body::Octets(octets)))
        }
        "Nothing" => Ok(Reply::new(Headers::new(), Body::Empty)),
        "Status" => {
            let mut reply = Reply::one("{\"error\":\"no such user\"}");
            reply.status = HttpStatus::new(404).ok();
            Ok(reply)
        }
        "Packed" => {
            let mut reply = Reply::new(Headers::new(), call.body);
            let coding = call.headers.get("x-packed".as_bytes());
            reply
                .headers
                .push("grpc-encoding", coding.unwrap_or_default())
                .expect("short");
            Ok(reply)
        }
        "Hang" => {
            let _hanging = hanging;
            std::future::pending().await
        }
        "HangLater" => {
            let first = stream::iter([Ok("first".into())]);
            let rest = stream::once(async move {
                let _hanging = hanging;
                std::future::pending().await
            });
            stream(BodyStream::new(first.chain(rest)))
        }
        "Early" => Ok(Reply::one("early")),
        "Huge" => Ok(Reply::one(vec![7; 5000])),
        _ => Ok(Reply::new(echoed, call.body)),
    }
}

/// Messages as they are, and how many they were.
struct Counting {
    messages: BodyStream,
    n_messages: u32,
}

impl futures_core::Stream for Counting {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.messages.poll_next_unpin(cx));
        self.n_messages += u32::from(next.is_some());
        std::task::Poll::Ready(next)
    }
}

impl postern_core::BodySource for Counting {
    fn trailers(self: std::pin::Pin<&mut Self>) -> Option<Headers> {
        let mut trailers = HeadersBuilder::fields(2, 20);
        let number = self.n_messages.to_string();
        trailers.push("x-n-messages", number).expect("short");
        trailers.push("x-sum-bin", [0, 1]).expect("short");
        Some(trailers.build())
    }

    fn keep(self: std::pin::Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Knows the kinds of the methods of `test.Echo`, and of `open` that there is such a service.
struct Methods;

impl Catalog for Methods {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("{}".into()) })
    }

    fn has_service(&self, service: &str) -> bool {
        ["test.Echo", "open", "fail"].contains(&service)
    }

    fn method_info(&self, service: &str, method: &str) -> Option<MethodInfo> {
        let kind = match (service, method) {
            ("test.Echo", "Unary" | "Octets" | "Nothing" | "Packed") => CallKind::Unary,
            ("test.Echo", "Up") => CallKind::ClientStream,
            ("test.Echo", "Down") => CallKind::ServerStream,
            ("test.Echo", "Chat") => CallKind::Bidirectional,
            _ => {
                return self
                    .has_service(service)
                    .then(|| MethodInfo::new(method.to_owned(), false));
            }
        };
        Some(MethodInfo {
            kind: Some(kind),
            ..MethodInfo::new(method.to_owned(), false)
        })
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
