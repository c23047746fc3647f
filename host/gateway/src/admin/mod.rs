//! The admin listener: health, numbers and control over HTTP, in JSON. Nothing changes by GET; what
//! changes something is a POST and asks for the token where one is set. Pages of other sites are
//! refused everything.

mod approval;
mod guard;
mod mqtt;
mod operator;
mod recording;
mod scrape;
mod stores;
mod topics;
mod versions;
pub(crate) mod view;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_core::{Error, Peer, registry::Caller};
use postern_net::http::HttpConfig;
use serde_json::json;

use self::view::AdminFailure;
use crate::{
    app::gateway::Gateway, directory::service::CatalogueQuery, nearest::nearest,
    telemetry::export::exposition,
};

/// Every endpoint: method, path, what it does.
const ENDPOINTS: [(&str, &str, &str); 23] = [
    ("GET", "/livez", "200 while the process runs"),
    (
        "GET",
        "/readyz",
        "200 when the gateway takes traffic, 503 with the reasons when it does not; what is degraded",
    ),
    (
        "GET",
        "/metrics",
        "all numbers, as OpenMetrics or as Prometheus text, by what accept asks for",
    ),
    (
        "GET",
        "/plugins",
        "every plugin: state, generation, digest, refusals, numbers",
    ),
    ("GET", "/plugins/{name}", "one plugin"),
    (
        "GET",
        "/extensions",
        "plugins that stand in the way of calls and frames, in order",
    ),
    (
        "GET",
        "/directory",
        "entries, leases and peers of the directory",
    ),
    (
        "GET",
        "/events",
        "who subscribes to which topics, and what was missed",
    ),
    (
        "GET",
        "/bridges",
        "brokers of others: whether each is connected, and what became of its messages",
    ),
    (
        "GET",
        "/channels",
        "every channel: which broker carries, how each is, what was carried",
    ),
    (
        "GET",
        "/vyra",
        "functions and modules of VYRA, and what was asked of them",
    ),
    (
        "GET",
        "/services",
        "every service: who answers for it, its methods, its numbers",
    ),
    (
        "GET",
        "/openapi.json",
        "what may be called, as OpenAPI 3.1; ?listener=NAME leaves out routes of others",
    ),
    (
        "GET",
        "/config",
        "the effective configuration, secrets hidden",
    ),
    (
        "POST",
        "/plugins/{name}/rollback",
        "the version under trial ends; without one, the version or generation before takes the calls again",
    ),
    (
        "POST",
        "/plugins/{name}/release",
        "a plugin that its traps keep from taking calls takes them again",
    ),
    (
        "POST",
        "/plugins/{name}/approve",
        "the version that is held takes the calls; ?digest=D only where its digest begins so",
    ),
    (
        "POST",
        "/plugins/{name}/record",
        "calls of the plugin with all that it was told, a line each, as they end; \
         ?calls=N&share=0.01&time_ms=N&method=SERVICE/METHOD&credentials=true",
    ),
    (
        "POST",
        "/plugins/{name}/replay",
        "replays the recorded calls in the body by the version in service, without any effect; \
         a line each",
    ),
    (
        "POST",
        "/instances/{name}/drain",
        "an instance gets no new calls until it is undrained; a / in its name is written %2F",
    ),
    (
        "POST",
        "/instances/{name}/undrain",
        "the instance has its weight again",
    ),
    (
        "POST",
        "/drain",
        "takes nothing new, finishes what is in flight, ends",
    ),
    ("GET", "/help", "this list"),
];

/// How much and how long an operator's client may take. Few look at a gateway at one time, and each
/// asks for little.
pub(crate) fn limits() -> HttpConfig {
    HttpConfig {
        connections_max: 256,
        streams_max: 32,
        header_timeout: Duration::from_secs(10),
        ..HttpConfig::default()
    }
}

/// The router of all endpoints.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/", get(help))
        .route("/help", get(help))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/plugins", get(plugins))
        .route("/plugins/{name}", get(plugin))
        .route("/plugins/{name}/rollback", post(rollback))
        .route("/plugins/{name}/record", post(recording::record))
        .route("/plugins/{name}/replay", post(recording::replay))
        .route("/plugins/{name}/release", post(release))
        .merge(versions::router())
        .merge(mqtt::router())
        .merge(stores::router())
        .merge(topics::router())
        .route("/plugins/{name}/approve", post(approval::approve))
        .route("/extensions", get(extensions))
        .route("/directory", get(directory))
        .route("/events", get(events))
        .route("/bridges", get(bridges))
        .route("/channels", get(channels))
        .route("/vyra", get(vyra))
        .route("/services", get(services))
        .route("/openapi.json", get(openapi))
        .route("/config", get(config))
        .route("/instances/{name}/drain", post(drain_instance))
        .route("/instances/{name}/undrain", post(undrain_instance))
        .route("/drain", post(drain))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&gateway), own_pages_only))
        .with_state(gateway)
}

/// Every request is judged, those that only look included: what a gateway serves is nobody's to see
/// who merely runs a page in an operator's browser.
async fn own_pages_only(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Result<Response, AdminFailure> {
    if let Some(address) = gateway.admin_address() {
        guard::check_page(&request, &gateway.loaded().config.admin, &address)?;
    }
    Ok(next.run(request).await)
}

/// All of them.
fn endpoints() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    let own = ENDPOINTS.iter().chain(&versions::ENDPOINTS);
    let brokers = mqtt::ENDPOINTS.iter().chain(&stores::ENDPOINTS);
    own.chain(brokers).chain(&topics::ENDPOINTS)
}

async fn help() -> Response {
    let endpoint = |(method, path, does): &(&str, &str, &str)| json!({ "method": method, "path": path, "does": does });
    let all = endpoints();
    Json(json!({ "endpoints": all.map(endpoint).collect::<Vec<_>>() })).into_response()
}

async fn livez() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    let reasons = gateway.unready_reasons();
    let degraded = gateway.readiness().degraded();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = reasons.is_empty();
    let body = json!({ "ready": ready, "reasons": reasons, "degraded": degraded });
    (status, Json(body)).into_response()
}

async fn metrics(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    scrape::answer(exposition(gateway.numbers()), &headers)
}

async fn plugins(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "plugins": gateway.control().plugins() })).into_response()
}

async fn plugin(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Response {
    match gateway.control().plugin_with_changes(&name).await {
        Some(plugin) => Json(plugin).into_response(),
        None => AdminFailure::from(gateway.control().unknown(&name)).into_response(),
    }
}

async fn extensions(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "extensions": gateway.control().extensions() })).into_response()
}

async fn directory(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(gateway.control().directory().view()).into_response()
}

async fn events(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(gateway.control().events().view()).into_response()
}

async fn bridges(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "bridges": gateway.bridges().view() })).into_response()
}

async fn channels(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "channels": gateway.brokered().channels.view() })).into_response()
}

async fn vyra(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(gateway.brokered().vyra.view()).into_response()
}

async fn services(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "services": gateway.services() })).into_response()
}

/// Whose documents are asked for.
#[derive(serde::Deserialize)]
struct OpenApiQuery {
    listener: Option<String>,
}

async fn openapi(
    State(gateway): State<Arc<Gateway>>,
    Query(OpenApiQuery { listener }): Query<OpenApiQuery>,
) -> Response {
    let query = CatalogueQuery::OpenApi { listener };
    let document = gateway
        .control()
        .catalogue(query, Caller::Trusted, &|_, _| true);
    match document {
        Ok(document) => ([(CONTENT_TYPE, "application/json")], document).into_response(),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            AdminFailure::new(status, error.message.into_owned()).into_response()
        }
    }
}

async fn config(State(gateway): State<Arc<Gateway>>) -> Response {
    let loaded = gateway.loaded();
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    Json(json!({ "file": file, "config": loaded.show_json() })).into_response()
}

async fn rollback(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    peer: Option<Extension<Arc<Peer>>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    gateway.control().check_name(&name)?;
    let who = operator::who(peer.map(|Extension(peer)| peer)).await;
    let rolled_back = gateway.control().rollback(&name, &who).await;
    gateway.control().versions_written().await;
    match rolled_back {
        Ok(()) => Ok(Json(gateway.control().version_in_force(&name)).into_response()),
        Err(refusal) => Err(AdminFailure::new(StatusCode::CONFLICT, refusal.to_string())),
    }
}

async fn release(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let control = gateway.control();
    let label = control.release(&name)?;
    Ok(Json(control.version(&label)).into_response())
}

async fn drain(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    gateway.drain();
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "draining" }))).into_response())
}

async fn drain_instance(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let drained = gateway.control().directory().drain(&name);
    answer_drain(&name, drained, &gateway)
}

async fn undrain_instance(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let undrained = gateway.control().directory().undrain(&name);
    answer_drain(&name, undrained, &gateway)
}

fn answer_drain(
    name: &str,
    changed: Result<usize, Error>,
    gateway: &Gateway,
) -> Result<Response, AdminFailure> {
    match changed {
        Ok(entries) => Ok(Json(json!({ "instance": name, "entries": entries })).into_response()),
        Err(error) => {
            let status = StatusCode::from_u16(error.http());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let failure = AdminFailure::new(status, error.message.into_owned());
            let clusters = gateway.control().clusters();
            let known = clusters.iter().flat_map(|service| &service.instances);
            let names = known.map(|instance| instance.instance.as_str());
            Err(match nearest(name, names) {
                Some(near) => failure.with_hint(format!("did you mean {near}?")),
                None => failure.with_hint("GET /services lists instances"),
            })
        }
    }
}

async fn unknown(request: Request) -> AdminFailure {
    let path = request.uri().path();
    let known = endpoints().map(|(_, path, _)| *path);
    let failure = AdminFailure::new(StatusCode::NOT_FOUND, format!("nothing is at {path}"));
    failure.with_hint(match nearest(path, known) {
        Some(near) => format!("did you mean {near}? GET /help lists everything"),
        None => "GET /help lists everything".to_owned(),
    })
}

async fn wrong_method(method: Method, request: Request) -> AdminFailure {
    let path = request.uri().path();
    let message = format!("{path} does not take {method}");
    AdminFailure::new(StatusCode::METHOD_NOT_ALLOWED, message).with_hint(match method {
        Method::GET | Method::HEAD => format!("it changes something: use POST {path}"),
        _ => format!("it changes nothing: use GET {path}"),
    })
}
