//! A server of gRPC over hyper: `user.UserService`, its health and its reflection, with every message
//! written by hand.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinHandle};

type Body = BoxBody<Bytes, Infallible>;

/// What the server saw and how it is told to behave.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Paths of the calls, but those of health and reflection.
    pub(super) calls: Mutex<Vec<String>>,
    /// Metadata of the last of them.
    pub(super) metadata: Mutex<HeaderMap>,
    /// Calls that fail with UNAVAILABLE before one goes well.
    pub(super) n_failures: AtomicUsize,
    /// Milliseconds, as `grpc-retry-pushback-ms` of those failures says.
    pub(super) pushback: Mutex<Option<&'static str>>,
    pub(super) is_ill: AtomicBool,
    pub(super) n_reflections: AtomicUsize,
}

/// It ends with the test.
pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let shared = Arc::clone(&served);
                let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                let connection = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer);
                connections.spawn(connection);
            }
        });
        Self {
            shared,
            address,
            task,
        }
    }

    /// Its table of the configuration, as an instance called `name`.
    pub(super) fn instance(&self, name: &str) -> String {
        let address = self.address;
        format!(
            "[instances.{name}]\nservice = \"user.UserService\"\naddresses = [\"grpc://{address}\"]\n"
        )
    }

    pub(super) fn n_calls(&self) -> usize {
        self.shared.calls.lock().expect("whole").len()
    }

    /// How many of them are of `target`: `SERVICE/METHOD`.
    pub(super) fn n_calls_of(&self, target: &str) -> usize {
        let calls = self.shared.calls.lock().expect("whole");
        calls.iter().filter(|path| path[1..] == *target).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path.starts_with("/grpc.reflection.v1.") {
        // Answered while the client may ask on.
        drop(body.frame().await);
        shared.n_reflections.fetch_add(1, SeqCst);
        // FileDescriptorResponse of one file.
        let answer = field(4, &field(1, &descriptor()));
        return Ok(reply(vec![answer.into()], "0", &[]));
    }
    let body = body.collect().await;
    let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    let asked = messages(&body);
    if path == "/grpc.health.v1.Health/Check" {
        let status = if shared.is_ill.load(SeqCst) { 2 } else { 1 };
        return Ok(reply(vec![Bytes::from(vec![8, status])], "0", &[]));
    }
    shared.calls.lock().expect("whole").push(path.clone());
    *shared.metadata.lock().expect("whole") = head.headers;
    let failing = shared
        .n_failures
        .fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
    if failing.is_ok() {
        let pushback = *shared.pushback.lock().expect("whole");
        let pushback = pushback.map(|millis| ("grpc-retry-pushback-ms", millis));
        let trailers: Vec<_> = pushback.into_iter().collect();
        return Ok(reply(Vec::new(), "14", &trailers));
    }
    let method = path.rsplit('/').next().unwrap_or_default();
    let first = asked.first().cloned().unwrap_or_default();
    Ok(match method {
        // The id comes back with a name.
        "GetUser" => reply(vec![user(&first)], "0", &[("x-served", "yes")]),
        "ListUsersStream" => reply(vec![user(&first); 3], "0", &[("x-served", "yes")]),
        "CreateUsers" => reply(vec![asked.concat().into()], "0", &[]),
        "Echo" => reply(asked, "0", &[("x-served", "yes")]),
        "DeleteUser" => reply(
            Vec::new(),
            "5",
            &[("grpc-message", "no such user"), ("x-why", "gone")],
        ),
        "Slow" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            reply(vec![first], "0", &[])
        }
        // `Status14`.
        method => reply(Vec::new(), status_named(method).unwrap_or("12"), &[]),
    })
}

fn status_named(method: &str) -> Option<&'static str> {
    let number = method.strip_prefix("Status")?;
    STATUSES.into_iter().find(|status| *status == number)
}

/// Those of failures, and one that nobody knows.
pub(super) const STATUSES: [&str; 17] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
];

/// `User { id = ...; name = "Ada" }`, where `request` has the id.
fn user(request: &[u8]) -> Bytes {
    [request, &field(2, b"Ada")].concat().into()
}

fn reply(
    messages: Vec<Bytes>,
    status: &'static str,
    trailers: &[(&'static str, &'static str)],
) -> Response<Body> {
    let mut last = HeaderMap::new();
    last.insert("grpc-status", HeaderValue::from_static(status));
    for (name, value) in trailers {
        last.append(*name, HeaderValue::from_static(value));
    }
    let mut head = Response::builder().header("content-type", "application/grpc");
    if messages.is_empty() {
        // Trailers only.
        head.headers_mut().expect("a head").extend(last);
        return head.body(BodyExt::boxed(Empty::new())).expect("a head");
    }
    let frames = messages
        .into_iter()
        .map(|message| Frame::data(framed(&message)));
    let frames = frames.chain(std::iter::once(Frame::trailers(last)));
    let frames: Vec<_> = frames.map(Ok).collect();
    let body = StreamBody::new(stream::iter(frames));
    head.body(BodyExt::boxed(body)).expect("a head")
}

fn messages(body: &Bytes) -> Vec<Bytes> {
    let mut rest = body.clone();
    let mut messages = Vec::new();
    while rest.len() >= 5 {
        let head = rest.split_to(5);
        let length: [u8; 4] = head[1..5].try_into().expect("four");
        let length = usize::try_from(u32::from_be_bytes(length)).expect("small");
        messages.push(rest.split_to(length));
    }
    messages
}

pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut octets = BytesMut::new();
    octets.put_u8(0);
    octets.put_u32(message.len().try_into().expect("short"));
    octets.put_slice(message);
    octets.freeze()
}

/// A field of octets, shorter than 16 KiB.
pub(super) fn field(number: u8, octets: &[u8]) -> Vec<u8> {
    let length = octets.len();
    let mut field = vec![number << 3 | 2];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => field.push(length),
        _ => {
            let low = u8::try_from(length & 0x7f).expect("seven bits");
            field.extend([low | 0x80, u8::try_from(length >> 7).expect("short")]);
        }
    }
    field.extend(octets);
    field
}

/// `google.protobuf.FileDescriptorProto` of what `PROTO` says.
fn descriptor() -> Vec<u8> {
    let text = |number: u8, name: &str| {
        // FieldDescriptorProto: optional, a string.
        let of_field = [field(1, name.as_bytes()), vec![24, number, 32, 1, 40, 9]].concat();
        field(2, &of_field)
    };
    let message = |name: &str, fields: Vec<Vec<u8>>| {
        field(4, &[field(1, name.as_bytes()), fields.concat()].concat())
    };
    let method = |name: &str, streams: &[u8]| {
        let of_method = [
            field(1, name.as_bytes()),
            field(2, b".user.GetUserRequest"),
            field(3, b".user.User"),
            streams.to_vec(),
        ];
        field(2, &of_method.concat())
    };
    let service = [
        field(1, b"UserService"),
        method("GetUser", &[]),
        method("DeleteUser", &[]),
        method("Slow", &[]),
        method("ListUsersStream", &[48, 1]),
        method("CreateUsers", &[40, 1]),
    ];
    [
        field(1, b"user.proto"),
        field(2, b"user"),
        message("GetUserRequest", vec![text(1, "id")]),
        message("User", vec![text(1, "id"), text(2, "name")]),
        field(6, &service.concat()),
        field(12, b"proto3"),
    ]
    .concat()
}

/// The same as a file.
pub(super) const PROTO: &str = "syntax = \"proto3\";\npackage user;\n\
    message GetUserRequest { string id = 1; }\nmessage User { string id = 1; string name = 2; }\n\
    service UserService {\n  rpc GetUser(GetUserRequest) returns (User);\n\
    rpc DeleteUser(GetUserRequest) returns (User);\n  rpc Slow(GetUserRequest) returns (User);\n\
    rpc ListUsersStream(GetUserRequest) returns (stream User);\n\
    rpc CreateUsers(stream GetUserRequest) returns (User);\n}\n";
