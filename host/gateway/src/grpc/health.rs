//! The built-in service `grpc.health.v1.Health` (grpc/doc/health-checking.md).
//!
//! | asked for | known and answering | known | not known |
//! | --- | --- | --- | --- |
//! | `Check` | SERVING | NOT_SERVING | status NOT_FOUND; UNAVAILABLE before all plugins are deployed |
//! | `Watch` | SERVING | NOT_SERVING | SERVICE_UNKNOWN, and the stream goes on |
//! | `List` | SERVING | NOT_SERVING | - |
//!
//! The empty name is the gateway: it serves where nothing speaks against traffic (`/readyz`). A service
//! serves where its route leads to somebody: a plugin whose health check does not fail, or an instance
//! elsewhere that is up. A gateway that ends serves nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, Kind, Reply, Retry, Text,
    registry::Health,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::coded;
use crate::{
    directory::SharedDirectory,
    pipeline::route::{Route, RouteTarget, Routes},
    readiness::Readiness,
};

/// The service.
pub(crate) struct HealthService {
    source: OnceLock<WeakSource>,
    watchers: Arc<Semaphore>,
}

/// The routes lead to the service, so it does not hold them.
struct WeakSource {
    routes: Weak<Routes>,
    directory: Weak<SharedDirectory>,
    readiness: Readiness,
}

/// Where it is known who answers.
#[derive(Clone)]
pub(crate) struct ServiceStates {
    pub routes: Arc<Routes>,
    pub directory: Arc<SharedDirectory>,
    pub readiness: Readiness,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HealthListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// One stream of states.
struct Watcher {
    source: ServiceStates,
    service: Text,
    /// What was told last.
    told: Option<ServingStatus>,
    routes: watch::Receiver<u64>,
    readiness: watch::Receiver<u64>,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl HealthService {
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            source: OnceLock::new(),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// What it answers from, once all is built. A second one changes nothing.
    pub(crate) fn set_source(&self, source: &ServiceStates) {
        let _ = self.source.set(WeakSource {
            routes: Arc::downgrade(&source.routes),
            directory: Arc::downgrade(&source.directory),
            readiness: source.readiness.clone(),
        });
    }

    /// Whether services may yet come that a start brings.
    pub(super) fn is_starting(&self) -> bool {
        let source = self.source();
        !source.is_ok_and(|source| source.routes.is_complete())
    }

    fn source(&self) -> Result<ServiceStates, Error> {
        let source = self.source.get().and_then(|source| {
            Some(ServiceStates {
                routes: source.routes.upgrade()?,
                directory: source.directory.upgrade()?,
                readiness: source.readiness.clone(),
            })
        });
        let none = || Error::unavailable(Blame::Gateway, "the gateway starts or ends, try again");
        source.ok_or_else(none)
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permit = Arc::clone(&self.watchers).try_acquire_owned();
        permit.map_err(|_| {
            let message = format!("{WATCHERS_MAX} callers watch, which is the limit");
            Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
                .with_retry(Retry::Elsewhere)
        })
    }
}

impl Handler for HealthService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let source = match self.source() {
            Ok(source) => source,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        match call.method.as_str() {
            "Check" => Box::pin(check(source, call.body)),
            "List" => Box::pin(list(source, call.body)),
            "Watch" => {
                let permit = self.permit();
                Box::pin(async move { watch(source, call.body, permit?).await })
            }
            method => {
                let message = format!("service grpc.health.v1.Health has no method {method:?}");
                let error = Error::new(Kind::Unimplemented, Blame::Client, message);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}

async fn check(source: ServiceStates, body: Body) -> Result<Reply, Error> {
    let asked: HealthCheckRequest = coded::read_one(body).await?;
    let status = source.status(&asked.service.as_str().into());
    let status = status.ok_or_else(|| {
        if let Some(error) = source.routes.starting() {
            return error;
        }
        let name: String = asked.service.chars().take(NAME_CHARS_MAX).collect();
        Error::not_found(format!("no service {name:?}"))
    })?;
    Ok(Reply::one(response(status).encode_to_vec()))
}

async fn list(source: ServiceStates, body: Body) -> Result<Reply, Error> {
    let HealthListRequest {} = coded::read_one(body).await?;
    let routes = source.routes.all();
    if routes.len() > LISTED_MAX {
        let n_services = routes.len();
        let message = format!("{n_services} services exceed the {LISTED_MAX} that are listed");
        return Err(Error::new(Kind::ResourceExhausted, Blame::Gateway, message));
    }
    let named = routes.iter();
    let named = named.map(|(name, route)| (name.to_string(), source.status_of(route)));
    let whole = std::iter::once((String::new(), source.whole()));
    let statuses = whole.chain(named);
    let listed = HealthListResponse {
        statuses: statuses
            .map(|(name, status)| (name, response(status)))
            .collect(),
    };
    Ok(Reply::one(listed.encode_to_vec()))
}

async fn watch(
    source: ServiceStates,
    body: Body,
    permit: OwnedSemaphorePermit,
) -> Result<Reply, Error> {
    let asked: HealthCheckRequest = coded::read_one(body).await?;
    let watcher = Watcher {
        routes: source.routes.changes(),
        readiness: source.readiness.changes(),
        source,
        service: asked.service.into(),
        told: None,
        is_over: false,
        _permit: permit,
    };
    let states = stream::unfold(watcher, |mut watcher| async {
        let next = watcher.next().await?;
        Some((next, watcher))
    });
    let body = Body::Messages(BodyStream::new(states));
    Ok(Reply::new(Headers::new(), body))
}

impl Watcher {
    /// The next state that is not the one before; at last, that the gateway ends.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.is_over {
            return None;
        }
        loop {
            // Before the look, so that a change after it is seen.
            self.routes.borrow_and_update();
            self.readiness.borrow_and_update();
            let status = self.source.status(&self.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(Ok(response(status).encode_to_vec().into()));
            }
            if self.source.readiness.is_draining() {
                self.is_over = true;
                let message = "this gateway is ending; watch another one";
                return Some(Err(Error::unavailable(Blame::Gateway, message)));
            }
            let changed = tokio::select! {
                changed = self.routes.changed() => changed,
                changed = self.readiness.changed() => changed,
            };
            changed.ok()?;
        }
    }
}

impl ServiceStates {
    /// The state of the service of that name; `None` where nobody knows it.
    fn status(&self, service: &Text) -> Option<ServingStatus> {
        if service.is_empty() {
            return Some(self.whole());
        }
        let route = self.routes.get(service)?;
        Some(self.status_of(&route))
    }

    fn whole(&self) -> ServingStatus {
        serving(self.readiness.unready().is_empty())
    }

    fn status_of(&self, route: &Route) -> ServingStatus {
        serving(
            !self.readiness.is_draining()
                && match &route.target {
                    RouteTarget::Live(_) => true,
                    RouteTarget::Cluster(_) => self.is_up(&route.service),
                    RouteTarget::Down(_) | RouteTarget::Loading => false,
                },
        )
    }

    fn is_up(&self, service: &Text) -> bool {
        let snapshot = self.directory.snapshot();
        let found = snapshot.service(service);
        let mut instances = found.iter().flat_map(|service| service.all());
        instances.any(|instance| instance.health == Health::Up)
    }
}

const fn serving(is_serving: bool) -> ServingStatus {
    if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

const fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status as i32,
    }
}

/// Each wakes at every change of a route.
const WATCHERS_MAX: usize = 4096;
/// Services in one answer.
const LISTED_MAX: usize = 10_000;
/// Of a caller's name, shown back to it.
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests;
