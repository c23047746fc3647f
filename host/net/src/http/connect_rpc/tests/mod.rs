//! The protocol over real sockets: hyper over HTTP/1.1 and HTTP/2, and the examples of its documentation.

mod get;
mod routes;
mod streaming;
mod unary;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, HttpStatus, Kind, Reply,
    Retry, Text,
    headers::HeadersBuilder,
    service::{CallKind, MethodInfo},
};
use postern_system::clock;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use crate::{
    ByteBudget, Counters, Shutdown,
    http::{Catalog, HttpConfig, HttpRoutes, HttpServer, ROUTES_SERVICE},
};

/// A listener in front of `Greeter`.
struct Fixture {
    address: SocketAddr,
    greeter: Arc<Greeter>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// Answers by the names of services.
#[derive(Default)]
struct Greeter {
    /// Told of a call that is never answered, when it begins and when it is dropped.
    begun: Arc<Notify>,
    gone: Arc<Notify>,
}

/// Tells of its end.
struct Leaves(Arc<Notify>);

/// Knows what `Greeter` answers.
struct Known;

impl Fixture {
    async fn open(config: HttpConfig) -> Self {
        Self::with_routes(config, HttpRoutes::default()).await
    }

    async fn with_routes(config: HttpConfig, routes: HttpRoutes) -> Self {
        let greeter = Arc::<Greeter>::default();
        let joint = Arc::clone(&greeter);
        let server = HttpServer::bind(
            ([127, 0, 0, 1], 0).into(),
            config,
            joint,
            Arc::new(Known),
            Arc::<Counters>::default(),
            Arc::new(ByteBudget::unlimited()),
        );
        let server = server.await.expect("a free port");
        let server = server.with_routes(routes, "http");
        let address = server.local_addr().socket_addr().expect("a port");
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            greeter,
            shutdown,
            serving,
        }
    }

    fn request(&self, method: &str, target: &str) -> request::Builder {
        let uri = format!("http://{}{target}", self.address);
        Request::builder().method(method).uri(uri)
    }

    /// A call by `POST`.
    fn post(&self, target: &str, content_type: &str) -> request::Builder {
        let request = self.request("POST", target);
        request.header("content-type", content_type)
    }

    async fn close(self) {
        self.shutdown.drain();
        self.serving.await.expect("ends");
    }
}

/// Sends a request and reads all of its response.
async fn ask(is_http2: bool, request: request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(is_http2)
        .build_http();
    let request: Request<Full<Bytes>> = request.body(Full::new(body.into())).expect("a request");
    let asking = async {
        let response = client.request(request).await.expect("answered");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        Response::from_parts(head, body)
    };
    timeout(PATIENCE, asking).await.expect("in time")
}

#[track_caller]
fn field<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

/// Checks status, content type and body of a unary response.
#[track_caller]
fn check(response: &Response<Bytes>, status: u16, content_type: &str, body: &[u8]) {
    let told = response.body().escape_ascii().to_string();
    assert_eq!(response.status(), status, "{told}");
    assert_eq!(field(response, "content-type"), content_type, "{told}");
    assert_eq!(told, body.escape_ascii().to_string());
}

/// Checks status and code of a failed unary call, and gives its error.
#[track_caller]
fn check_failed(response: &Response<Bytes>, status: u16, code: &str) -> Value {
    let told = response.body().escape_ascii().to_string();
    assert_eq!(response.status(), status, "{told}");
    assert_eq!(
        field(response, "content-type"),
        "application/json",
        "{told}"
    );
    let error: Value = serde_json::from_slice(response.body()).expect("json");
    assert_eq!(error["code"], code, "{told}");
    error
}

fn envelope(flags: u8, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[flags][..], &length, message].concat()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(octets).expect("memory");
    encoder.finish().expect("memory")
}

fn gunzip(octets: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(octets);
    decoder.read_to_end(&mut plain).expect("gzip");
    plain
}

fn fields(pairs: &[(&str, &[u8])]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 64);
    for (name, value) in pairs {
        builder.push(name, value).expect("short");
    }
    builder.build()
}

impl Handler for Greeter {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let (begun, gone) = (Arc::clone(&self.begun), Arc::clone(&self.gone));
        Box::pin(async move {
            match (&*call.service, &*call.method) {
                (GREET, "Greet" | "GreetAgain") => {
                    let form = call.headers.get_str("content-type").expect("a form");
                    let form = form.into_owned();
                    assert!(matches!(call.body, Body::One(_)), "{:?}", call.body);
                    let name = call.body.into_one(1 << 20).await?;
                    Ok(Reply::one(greeting(&form, &name)))
                }
                (GREET, "GreetGroup") => greet_group(call.body).await,
                (GREET, "GreetIndividuals") => {
                    assert!(matches!(call.body, Body::One(_)), "{:?}", call.body);
                    let names = call.body.into_one(1 << 20).await?;
                    Ok(greet_individuals(&names))
                }
                (GREET, "GreetEach") => {
                    let names = call.body.into_messages(1 << 20);
                    let greetings = names.map(|name| Ok(greeting(JSON, &name?)));
                    let body = Body::Messages(BodyStream::new(greetings));
                    Ok(Reply::new(Headers::new(), body))
                }
                ("echo", _) => Ok(Reply::new(Headers::new(), call.body)),
                ("tell", _) => Ok(Reply::one(tell(&call))),
                ("says", _) => {
                    let trailers = fields(&[("acme-operation-cost", b"237"), ("t-bin", &[0, 1])]);
                    let headers = fields(&[
                        ("acme-region", b"eu"),
                        ("l-bin", &[0xff]),
                        ("content-type", b"text/css"),
                        ("connect-future", b"1"),
                    ]);
                    let stream = BodyStream::once("{}".into(), Some(trailers));
                    Ok(Reply::new(headers, Body::Messages(stream)))
                }
                ("fail", kind) => Err(failure(Kind::from_name(kind).expect("a kind"))),
                ("status", number) => Ok(Reply {
                    status: HttpStatus::new(number.parse().expect("a number")).ok(),
                    ..Reply::one("{\"error\":\"no such user\",\"code\":404}")
                }),
                ("hang", _) => {
                    let _leaves = Leaves(gone);
                    begun.notify_one();
                    std::future::pending().await
                }
                (UPSTREAM | ROUTES_SERVICE, _) => Ok(Reply::one("routed")),
                (SOON, _) => Err(loading()),
                (service, method) => {
                    let told = format!("{service}/{method} is not implemented");
                    Err(Error::not_found(told))
                }
            }
        })
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// `Hello, NAME!` to `{"name":NAME}`, or to a message whose field 1 is the name.
fn greeting(form: &str, message: &[u8]) -> Bytes {
    match form {
        JSON => {
            let message: Value = serde_json::from_slice(message).expect("json");
            let name = message["name"].as_str().unwrap_or_default();
            format!("{{\"greeting\": \"Hello, {name}!\"}}").into()
        }
        other => {
            assert_eq!(other, "application/protobuf");
            let greeting = [b"Hello, ", message.get(2..).unwrap_or_default(), b"!"].concat();
            let length = u8::try_from(greeting.len()).expect("short");
            [&[0x0a, length][..], &greeting].concat().into()
        }
    }
}

async fn greet_group(body: Body) -> Result<Reply, Error> {
    let mut messages = body.into_messages(1 << 20);
    let mut names = Vec::new();
    while let Some(message) = messages.next().await {
        let message: Value = serde_json::from_slice(&message?).expect("json");
        names.push(message["name"].as_str().unwrap_or_default().to_owned());
    }
    let names = names.join(" and ");
    Ok(Reply::one(format!("{{\"greeting\": \"Hello, {names}!\"}}")))
}

/// Two greetings; and the failure of the documentation to protobuf.
fn greet_individuals(message: &[u8]) -> Reply {
    let overloaded = || Error::unavailable(Blame::Guest, "overloaded");
    let replies = match message {
        b"{}" => vec![Ok("{\"n\":1}".into()), Ok("{\"n\":2}".into())],
        b"{\"fails\":true}" => vec![Ok("{\"n\":1}".into()), Err(overloaded())],
        _ => vec![Err(overloaded())],
    };
    let replies = BodyStream::new(stream::iter(replies));
    Reply::new(fields(&[("acme-region", b"eu")]), Body::Messages(replies))
}

fn loading() -> Error {
    let error = Error::unavailable(Blame::Gateway, "service soon is loading, try again");
    error.with_retry(Retry::After(Duration::from_secs(1)))
}

fn failure(kind: Kind) -> Error {
    let headers = fields(&[("acme-reason", b"on purpose"), ("r-bin", &[0, 1])]);
    Error::new(kind, Blame::Guest, "on \"purpose\"")
        .with_details("{\"n\":1}")
        .with_headers(headers)
        .with_retry(Retry::After(Duration::from_millis(1500)))
}

/// What a handler sees of a call.
fn tell(call: &Call) -> Bytes {
    let headers: Vec<_> = call
        .headers
        .iter()
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    let left = call.context.remaining(clock::now());
    let told = json!({
        "headers": headers,
        "method": &*call.method,
        "left-ms": left.map(|left| u64::try_from(left.as_millis()).expect("short")),
        "is-deadline-of-head": call.context.is_deadline_of_head,
        "kind": call.body.kind().name(),
        "http": call.http.as_ref().map(|http| http.method.to_string()),
    });
    serde_json::to_vec(&told).expect("memory").into()
}

impl Catalog for Known {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("{\"services\":[]}".into()) })
    }

    fn has_service(&self, service: &str) -> bool {
        [GREET, "echo", "tell", "says", "fail", "status", "hang"].contains(&service)
    }

    fn method_info(&self, service: &str, method: &str) -> Option<MethodInfo> {
        let kind = match (service, method) {
            (GREET, "Greet" | "GreetAgain") => Some(CallKind::Unary),
            (GREET, "GreetGroup") => Some(CallKind::ClientStream),
            (GREET, "GreetIndividuals") => Some(CallKind::ServerStream),
            (GREET, "GreetEach") => Some(CallKind::Bidirectional),
            (GREET, _) => return None,
            (SOON, method) => return Some(MethodInfo::new(method, false)),
            _ if self.has_service(service) => None,
            _ => return None,
        };
        // What may be repeated is not for that what changes nothing.
        Some(MethodInfo {
            kind,
            safe: method != "GreetAgain",
            ..MethodInfo::new(method, true)
        })
    }

    fn why_unavailable(&self, service: &str) -> Option<Error> {
        (service == SOON).then(loading)
    }
}

/// The service of the documentation's examples.
const GREET: &str = "connectrpc.greet.v1.GreetService";
/// A service that is being deployed.
const SOON: &str = "soon";
/// Where a route to an upstream leads.
const UPSTREAM: &str = "upstream";
const JSON: &str = "application/json";
const PROTO: &str = "application/proto";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
