//! A server of gRPC over `h2`, and calls of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use postern_core::{Body, BodyStream, BoxFuture, Call, Error, Headers, Reply, service::CallKind};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

use super::super::{GrpcAddress, GrpcUpstream, GrpcUpstreamConfig};
use crate::http::ValueDetails;

/// What answers one request.
pub(super) type Answer = Arc<dyn Fn(Request<RecvStream>, Responder) -> BoxFuture<()> + Send + Sync>;

/// The half of a stream that a server answers on.
pub(super) type Responder = server::SendResponse<Bytes>;

pub(super) struct Server {
    pub(super) upstream: GrpcUpstream,
    pub(super) n_connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) async fn new(answer: Answer) -> Self {
        Self::with(GrpcUpstreamConfig::default(), u32::MAX, answer).await
    }

    pub(super) async fn with(config: GrpcUpstreamConfig, streams_max: u32, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let n_connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&n_connections);
        let accepting = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let mut builder = server::Builder::new();
                    builder.max_concurrent_streams(streams_max);
                    let Ok(mut connection) = builder.handshake(stream).await else {
                        return;
                    };
                    let mut answers = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        answers.spawn(answer(request, respond));
                    }
                });
            }
        };
        Self {
            upstream: upstream_at(port, config),
            n_connections,
            _task: AbortOnDropHandle::new(tokio::spawn(accepting)),
        }
    }
}

pub(super) fn upstream_at(port: u16, config: GrpcUpstreamConfig) -> GrpcUpstream {
    let address = GrpcAddress::host(false, "127.0.0.1".into(), port);
    GrpcUpstream::new(address, config, Arc::new(ValueDetails))
}

pub(super) fn answer<F>(
    respond: impl Fn(Request<RecvStream>, Responder) -> F + Send + Sync + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |request, responder| Box::pin(respond(request, responder)))
}

/// Answers with the messages of the request, one by one, and says so in its metadata.
pub(super) async fn echo(request: Request<RecvStream>, mut respond: Responder) {
    let mut head = grpc_head();
    for (name, value) in request.headers() {
        if name.as_str().starts_with("x-") {
            head.headers_mut().append(name, value.clone());
        }
    }
    let mut stream = respond.send_response(head, false).expect("sent");
    let mut body = request.into_body();
    let mut octets = BytesMut::new();
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        body.flow_control()
            .release_capacity(piece.len())
            .expect("released");
        octets.extend_from_slice(&piece);
        while let Some(message) = take_message(&mut octets) {
            send(&mut stream, framed(0, &message)).await;
        }
    }
    let trailers = map(&[
        ("grpc-status", "0"),
        ("x-end", "1"),
        ("x-end-bin", "q6urqw"),
    ]);
    stream.send_trailers(trailers).expect("sent");
}

pub(super) async fn send(stream: &mut SendStream<Bytes>, mut octets: Bytes) {
    while !octets.is_empty() {
        stream.reserve_capacity(octets.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        let part = octets.split_to(room.min(octets.len()));
        stream.send_data(part, false).expect("sent");
    }
}

/// The first whole message.
pub(super) fn take_message(octets: &mut BytesMut) -> Option<Bytes> {
    let length: [u8; 4] = octets.get(1..5)?.try_into().expect("four");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("small");
    (octets.len() >= 5 + length).then(|| octets.split_to(5 + length).freeze().slice(5..))
}

/// A message behind its flags and length.
pub(super) fn framed(flags: u8, message: &[u8]) -> Bytes {
    let mut octets = BytesMut::new();
    octets.put_u8(flags);
    octets.put_u32(message.len().try_into().expect("short"));
    octets.put_slice(message);
    octets.freeze()
}

pub(super) fn grpc_head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).expect("a head")
}

/// Answers with `trailers` alone.
pub(super) fn trailers_only(respond: &mut Responder, trailers: &[(&'static str, &'static str)]) {
    let mut head = grpc_head();
    head.headers_mut().extend(map(trailers));
    respond.send_response(head, true).expect("sent");
}

/// Answers with one message.
pub(super) fn reply_with(respond: &mut Responder, message: &[u8]) {
    let mut stream = respond.send_response(grpc_head(), false).expect("sent");
    stream.send_data(framed(0, message), false).expect("sent");
    let trailers = map(&[("grpc-status", "0")]);
    stream.send_trailers(trailers).expect("sent");
}

pub(super) fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    map
}

/// A call of `t/METHOD` with one message of protobuf.
pub(super) fn call(method: &'static str, message: impl Into<Bytes>) -> Call {
    let mut call = Call::unary("t", method, message);
    let mut headers = Headers::new();
    let pushed = headers.push("content-type", "application/protobuf");
    pushed.expect("short");
    call.headers = headers;
    call
}

pub(super) async fn unary(upstream: &GrpcUpstream, message: &str) -> Result<Bytes, Error> {
    let call = call("Echo", message.to_owned());
    let reply = upstream.call_of_kind(call, Some(CallKind::Unary)).await?;
    reply.body.into_one(1 << 20).await
}

/// A body of `messages`.
pub(super) fn messages(messages: &[&'static str]) -> Body {
    let all: Vec<_> = messages.iter().map(|text| Ok(Bytes::from(*text))).collect();
    Body::Messages(BodyStream::new(futures_util::stream::iter(all)))
}

/// What is left of a reply: its messages, and what follows them.
pub(super) async fn read(reply: Reply) -> Result<(Vec<Bytes>, Option<Headers>), Error> {
    let mut stream = reply.body.into_messages(1 << 20);
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        messages.push(message?);
    }
    Ok((messages, stream.trailers()))
}

/// Waits until `holds`, for what another task does.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not after five seconds");
}
