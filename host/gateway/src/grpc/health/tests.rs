//! States of services as routes, instances and readiness make them.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_util::Stream as _;

use super::*;
use crate::{config::Config, readiness::ReasonKind, telemetry::calls::CallBook};

struct Silent;

impl Handler for Silent {
    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async { Ok(Reply::one("")) })
    }
}

fn route(service: &'static str, target: RouteTarget) -> Route {
    Route {
        service: Text::from_static(service),
        version: None,
        plugin: Text::from_static(service),
        generation: 1,
        methods: None,
        target,
        metrics: CallBook::default().service(&Text::from_static(service)),
    }
}

fn live(service: &'static str) -> Route {
    route(service, RouteTarget::Live(Arc::new(Silent)))
}

fn down(service: &'static str) -> Route {
    route(service, RouteTarget::Down("ill".into()))
}

fn fixture() -> (HealthService, ServiceStates) {
    let source = ServiceStates {
        routes: Arc::default(),
        directory: SharedDirectory::new(&Config::default()).expect("good settings"),
        readiness: Readiness::default(),
    };
    let routes = [
        live("users"),
        down("echo"),
        route("soon", RouteTarget::Loading),
    ];
    source.routes.publish(routes);
    source.routes.set_complete();
    let service = HealthService::new();
    service.set_source(&source);
    (service, source)
}

fn ask(method: &'static str, service: &str) -> Call {
    let asked = HealthCheckRequest {
        service: service.to_owned(),
    };
    Call::unary("grpc.health.v1.Health", method, asked.encode_to_vec())
}

async fn check(service: &HealthService, name: &str) -> Result<i32, Kind> {
    let reply = service.call(ask("Check", name)).await;
    let reply = reply.map_err(|error| error.kind)?;
    let answer: HealthCheckResponse = coded::read_one(reply.body).await.expect("an answer");
    Ok(answer.status)
}

/// What a stream has to tell at this moment.
fn told(stream: &mut BodyStream) -> Vec<Result<i32, Kind>> {
    let mut told = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(next)) = Pin::new(&mut *stream).poll_next(&mut cx) {
        let status = |octets: Bytes| HealthCheckResponse::decode(octets).expect("a state").status;
        told.push(next.map(status).map_err(|error| error.kind));
    }
    told
}

#[tokio::test]
async fn a_service_serves_where_somebody_answers_for_it() {
    let (service, source) = fixture();
    for (name, expected) in [
        ("", Ok(1)),
        ("users", Ok(1)),
        ("echo", Ok(2)),
        ("soon", Ok(2)),
        ("none", Err(Kind::NotFound)),
    ] {
        assert_eq!(check(&service, name).await, expected, "{name}");
    }
    source.readiness.raise(ReasonKind::Plugin, "users", "gone");
    assert_eq!(check(&service, "").await, Ok(2));
    assert_eq!(check(&service, "users").await, Ok(1));
}

#[tokio::test]
async fn all_services_are_listed_and_the_gateway_with_them() {
    let (service, _source) = fixture();
    let reply = service.call(ask("List", "")).await.expect("an answer");
    let listed: HealthListResponse = coded::read_one(reply.body).await.expect("a list");
    let statuses = listed.statuses.iter();
    let statuses: Vec<_> = statuses
        .map(|(name, one)| (name.as_str(), one.status))
        .collect();
    assert_eq!(statuses, [("", 1), ("echo", 2), ("soon", 2), ("users", 1)]);
}

#[tokio::test]
async fn a_watch_tells_at_once_and_then_what_changes() {
    let (service, source) = fixture();
    let reply = service.call(ask("Watch", "new")).await.expect("a stream");
    let mut stream = reply.body.try_into_stream().expect("a stream");
    assert_eq!(
        told(&mut stream),
        [Ok(3)],
        "it is not known and the stream goes on"
    );
    source.routes.put(&live("users"));
    assert_eq!(told(&mut stream), [], "another service");
    source.routes.put(&live("new"));
    assert_eq!(told(&mut stream), [Ok(1)]);
    source.routes.put(&live("new"));
    assert_eq!(told(&mut stream), [], "no change");
    source.routes.put(&down("new"));
    assert_eq!(told(&mut stream), [Ok(2)]);
    source.routes.remove(&"new".into());
    assert_eq!(told(&mut stream), [Ok(3)]);
}

#[tokio::test]
async fn a_gateway_that_ends_says_so_and_lets_its_watchers_go() {
    let (service, source) = fixture();
    let reply = service.call(ask("Watch", "users")).await.expect("a stream");
    let mut stream = reply.body.try_into_stream().expect("a stream");
    assert_eq!(told(&mut stream), [Ok(1)]);
    source.readiness.raise(ReasonKind::Draining, "", "ending");
    assert_eq!(told(&mut stream), [Ok(2), Err(Kind::Unavailable)]);
}

#[tokio::test]
async fn watchers_are_bounded() {
    let (service, _source) = fixture();
    let all = u32::try_from(WATCHERS_MAX).expect("a few thousand");
    let held = Arc::clone(&service.watchers).try_acquire_many_owned(all);
    let refused = service.call(ask("Watch", "")).await.expect_err("full");
    assert_eq!(refused.kind, Kind::ResourceExhausted);
    drop(held);
    assert!(service.call(ask("Watch", "")).await.is_ok());
}

#[tokio::test]
async fn a_service_that_may_yet_come_is_not_told_unknown() {
    let source = ServiceStates {
        routes: Arc::default(),
        directory: SharedDirectory::new(&Config::default()).expect("good settings"),
        readiness: Readiness::default(),
    };
    let service = HealthService::new();
    assert!(service.is_starting());
    service.set_source(&source);
    assert_eq!(check(&service, "users").await, Err(Kind::Unavailable));
    source.routes.set_complete();
    assert_eq!(check(&service, "users").await, Err(Kind::NotFound));
    assert!(!service.is_starting());
}
