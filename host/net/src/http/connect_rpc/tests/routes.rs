//! Which requests are calls where a listener has routes, and where it has none.

use postern_core::route::{
    FixedEnd, HttpRoute, PathRewrite, PathTemplate, RouteEnd, RouteRule, RouteTable, UpstreamEnd,
};

use super::*;
use crate::http::RouteSchemas;

const GREETING: &[u8] = b"{\"greeting\": \"Hello, Buf!\"}";
const BUF: &str = "{\"name\":\"Buf\"}";

/// A listener with one route, which takes every path of two segments.
async fn with_route(end: RouteEnd) -> Fixture {
    let path = PathTemplate::parse("/{a}/{b}").expect("a template");
    let route = HttpRoute {
        name: "all".into(),
        rule: RouteRule::new(path),
        end,
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    };
    let routes = HttpRoutes::default();
    routes.set(RouteTable::new(vec![route]), RouteSchemas::new());
    Fixture::with_routes(HttpConfig::default(), routes).await
}

fn upstream() -> RouteEnd {
    RouteEnd::Upstream(UpstreamEnd {
        service: UPSTREAM.into(),
        path: PathRewrite::Keep,
        host: None,
    })
}

fn fixed() -> RouteEnd {
    RouteEnd::Fixed(FixedEnd {
        status: HttpStatus::new(200).expect("a status"),
        headers: Headers::new(),
        body: Bytes::new(),
    })
}

/// Which of a call, a route and nothing a request comes to.
async fn destination(request: request::Builder, body: &'static str) -> &'static str {
    let response = ask(false, request, body).await;
    match &**response.body() {
        GREETING => "call",
        b"routed" => "route",
        body => {
            let told: Value = serde_json::from_slice(body).expect("json");
            match (&told["code"], told["error"].is_string()) {
                (Value::String(code), _) if code == "unimplemented" => "call of nobody",
                (Value::Number(_), true) => "nothing",
                _ => panic!("{told}"),
            }
        }
    }
}

/// Requests of four kinds: what says itself that it is a call of the greeter or of nobody, and what does not,
/// by `POST` and by `GET`.
async fn destinations(fixture: Fixture) -> [&'static str; 4] {
    let greet = format!("/{GREET}/Greet");
    let version = "connect-protocol-version";
    let query = "encoding=json&message=%7B%22name%22%3A%22Buf%22%7D";
    let destinations = [
        destination(fixture.post(&greet, JSON).header(version, "1"), BUF).await,
        destination(fixture.post("/nobody/Greet", PROTO), "").await,
        destination(fixture.post(&greet, JSON), BUF).await,
        destination(fixture.request("GET", &format!("{greet}?{query}")), "").await,
    ];
    fixture.close().await;
    destinations
}

#[tokio::test]
async fn a_route_takes_what_does_not_say_that_it_is_a_call() {
    let expected = ["call", "call of nobody", "route", "route"];
    assert_eq!(destinations(with_route(fixed()).await).await, expected);
}

#[tokio::test]
async fn an_upstream_is_sent_calls_of_services_that_nobody_here_has() {
    let expected = ["call", "route", "route", "route"];
    assert_eq!(destinations(with_route(upstream()).await).await, expected);
}

#[tokio::test]
async fn without_a_route_a_method_that_is_described_is_called_and_no_other() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let plain = fixture.post("/echo/Say", JSON);
    assert_eq!(destination(plain, "{}").await, "nothing");
    let own = fixture.post(&format!("/v1/services/{GREET}/Greet"), JSON);
    assert_eq!(destination(own, BUF).await, "call");
    let expected = ["call", "call of nobody", "call", "call"];
    assert_eq!(destinations(fixture).await, expected);
}
