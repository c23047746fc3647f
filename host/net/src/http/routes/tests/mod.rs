//! Routes over real sockets: raw octets over HTTP/1.1, and hyper over HTTP/2.

mod files;
mod hostile;
mod methods;
mod own;
mod schemas;
mod transcoded;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, HttpStatus, Kind, Reply,
    Text,
    headers::HeadersBuilder,
    route::{
        BodyForm, FixedEnd, HttpRoute, LocationTemplate, MethodEnd, ParamType, PathTemplate,
        RedirectEnd, RouteEnd, RouteRule, RouteTable,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::{HttpRoutes, RouteEnds, RouteSchemas, SERVICE};
use crate::{
    ByteBudget, Counters, Shutdown,
    http::{Catalog, HttpConfig, HttpServer},
};

/// A listener with routes.
struct Fixture {
    address: SocketAddr,
    routes: HttpRoutes,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// An answer over HTTP/1.1.
struct Answer {
    /// In lower case.
    head: String,
    raw_head: String,
    body: Vec<u8>,
}

/// Answers by the names of services.
struct Double(RouteEnds);

struct NoServices;

impl Fixture {
    async fn open(routes: Vec<HttpRoute>) -> Self {
        let table = HttpRoutes::default();
        table.set(RouteTable::new(routes), RouteSchemas::new());
        let server = HttpServer::bind(
            ([127, 0, 0, 1], 0).into(),
            HttpConfig::default(),
            Arc::new(Double(RouteEnds::new(table.clone()))),
            Arc::new(NoServices),
            Arc::<Counters>::default(),
            Arc::new(ByteBudget::unlimited()),
        );
        let server = server.await.expect("a free port");
        let server = server.with_routes(table.clone(), "http");
        let (address, shutdown) = (
            server.local_addr().socket_addr().expect("a port"),
            Shutdown::new(),
        );
        let serving = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            routes: table,
            shutdown,
            serving,
        }
    }

    /// Sends octets as they are, and reads what comes until the listener closes.
    async fn octets(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).await.expect("connects");
        socket.write_all(request.as_ref()).await.expect("writes");
        let mut octets = Vec::new();
        let reading = timeout(PATIENCE, socket.read_to_end(&mut octets)).await;
        reading.expect("the listener answers").expect("whole");
        octets
    }

    async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let octets = self.octets(request).await;
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", octets.escape_ascii()));
        let raw_head = String::from_utf8_lossy(&octets[..end + 2]).into_owned();
        Answer {
            head: raw_head.to_lowercase(),
            raw_head,
            body: octets[end + 4..].to_vec(),
        }
    }

    /// `METHOD /PATH`, with lines of a head and a body.
    async fn ask(&self, line: &str, head: &str, body: &str) -> Answer {
        let length = match body {
            "" => String::new(),
            body => format!("content-length: {}\r\n", body.len()),
        };
        let head = format!("{line} HTTP/1.1\r\nhost: edge.example\r\nconnection: close\r\n{head}");
        self.raw(format!("{head}{length}\r\n{body}")).await
    }

    /// The same over HTTP/2.
    async fn ask_h2(&self, request: http::request::Builder, body: &str) -> Response<Bytes> {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let request: Request<Full<Bytes>> = request
            .body(Full::from(body.to_owned()))
            .expect("a request");
        let response = timeout(PATIENCE, client.request(request)).await;
        let (head, body) = response.expect("in time").expect("answered").into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        Response::from_parts(head, body)
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn close(self) {
        self.shutdown.drain();
        self.serving.await.expect("ends");
    }
}

impl Answer {
    #[track_caller]
    fn check(&self, status: u16, body: &str) -> &Self {
        let begin = format!("http/1.1 {status} ");
        let text = self.text();
        assert!(
            self.head.starts_with(&begin),
            "{status}: {}\n{text}",
            self.head
        );
        assert_eq!(text, body);
        self
    }

    #[track_caller]
    fn check_status(&self, status: u16) -> &Self {
        let begin = format!("http/1.1 {status} ");
        assert!(
            self.head.starts_with(&begin),
            "{status}: {}\n{}",
            self.head,
            self.text()
        );
        self
    }

    #[track_caller]
    fn has(&self, line: &str) -> &Self {
        let line = line.to_lowercase();
        assert!(
            self.head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {}",
            self.head
        );
        self
    }

    #[track_caller]
    fn lacks(&self, text: &str) -> &Self {
        assert!(!self.head.contains(text), "{text} in {}", self.head);
        self
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Handler for Double {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if call.service == SERVICE {
            return self.0.call(call);
        }
        Box::pin(async move {
            match &*call.service {
                // What the method is called with.
                "echo" => {
                    let body = call.body.into_one(1 << 20).await?;
                    let mut reply = Reply::one(body);
                    if &*call.method == "Head" {
                        let facts = call.http.expect("it came by HTTP");
                        let version = call.version.unwrap_or_default();
                        reply =
                            Reply::one(format!("{} {} {version}", facts.method, facts.target()));
                        reply.headers = fields(&[("content-type", "text/plain")]);
                    }
                    Ok(reply)
                }
                "created" => Ok(Reply {
                    headers: fields(&[("location", "/users/7"), ("x-own", "handler")]),
                    status: HttpStatus::new(201).ok(),
                    ..Reply::one("{\"id\":7}")
                }),
                "tagged" => Ok(Reply {
                    headers: fields(&[("etag", "\"v1\""), ("cache-control", "max-age=5")]),
                    ..Reply::one("{\"v\":1}")
                }),
                "count" => Ok(Reply::new(
                    Headers::new(),
                    Body::Messages(count(&call.method)),
                )),
                "sized" => {
                    let pieces = ["ab", "cd"].map(|piece| Ok(Bytes::from(piece)));
                    let body = Body::Octets(BodyStream::new(stream::iter(pieces)));
                    let length = call.method.to_string();
                    Ok(Reply::new(fields(&[("content-length", &length)]), body))
                }
                "fail" => {
                    let kind = Kind::from_name(&call.method).expect("a kind");
                    Err(Error::new(kind, Blame::Guest, "on purpose").with_details("{\"n\":1}"))
                }
                other => Err(Error::not_found(format!("no service {other}"))),
            }
        })
    }
}

impl Catalog for NoServices {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("{\"services\":[]}".into()) })
    }

    fn openapi(&self, listener: Text, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        let document = format!("{{\"openapi\":\"3.1.0\",\"x-listener\":\"{listener}\"}}");
        Box::pin(async move { Ok(document.into()) })
    }
}

/// Two messages, and with the method `Broken` an error.
fn count(method: &str) -> BodyStream {
    let mut items = vec![Ok(Bytes::from("{\"n\":1}")), Ok(Bytes::from("{\n\"n\":2}"))];
    if method == "Broken" {
        items.push(Err(Error::new(
            Kind::DataLoss,
            Blame::Guest,
            "the rest is lost",
        )));
    }
    BodyStream::new(stream::iter(items))
}

fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 64);
    for (name, value) in pairs {
        builder.push(name, value).expect("short");
    }
    builder.build()
}

fn rule(path: &str, methods: &[&str]) -> RouteRule {
    RouteRule {
        methods: methods.iter().map(|one| Text::from(*one)).collect(),
        ..RouteRule::new(PathTemplate::parse(path).expect("a template"))
    }
}

fn route(name: &str, rule: RouteRule, end: RouteEnd) -> HttpRoute {
    HttpRoute {
        name: name.into(),
        rule,
        end,
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    }
}

/// A route named as its target, `SERVICE/METHOD`.
fn method(http: &str, path: &str, target: &str) -> HttpRoute {
    let (service, called) = target.split_once('/').expect("a target");
    let end = MethodEnd {
        service: service.into(),
        method: called.into(),
        version: None,
        body: BodyForm::Json,
        types: [
            ("size".into(), ParamType::Int),
            ("deep".into(), ParamType::Bool),
        ]
        .into(),
        produces: Vec::new(),
        is_checked: false,
        transcoder: None,
    };
    route(target, rule(path, &[http]), RouteEnd::Method(end))
}

fn with_end(mut route: HttpRoute, change: impl FnOnce(&mut MethodEnd)) -> HttpRoute {
    let RouteEnd::Method(end) = &mut route.end else {
        panic!("it leads to no method");
    };
    change(end);
    route
}

fn redirect(path: &str, to: &str, status: u16) -> HttpRoute {
    let rule = rule(path, &[]);
    let end = RedirectEnd {
        to: LocationTemplate::parse(to, &rule.path).expect("a location"),
        status: HttpStatus::new(status).expect("a status"),
        keeps_query: true,
    };
    route(path, rule, RouteEnd::Redirect(end))
}

fn fixed(path: &str, methods: &[&str], status: u16, body: &'static str) -> HttpRoute {
    let end = FixedEnd {
        status: HttpStatus::new(status).expect("a status"),
        headers: fields(&[("content-type", "text/plain; charset=utf-8")]),
        body: Bytes::from_static(body.as_bytes()),
    };
    route(path, rule(path, methods), RouteEnd::Fixed(end))
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
