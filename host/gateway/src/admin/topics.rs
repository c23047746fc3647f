//! Durable topics, for operators: their logs, consumers and dead letters.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_core::{
    Error, Text,
    event::{
        Delivery,
        durable::{ConsumerInfo, LogInfo, Position, StoredEvent},
    },
};
use serde_json::{Value as JsonValue, json};

use super::{guard, view::AdminFailure};
use crate::{app::gateway::Gateway, events::to_line};

pub(super) const ENDPOINTS: [(&str, &str, &str); 4] = [
    (
        "GET",
        "/topics",
        "every log of events that are kept: what it holds, its consumers, how far each is behind",
    ),
    ("GET", "/topics/{log}", "one log"),
    (
        "GET",
        "/topics/{log}/events",
        "events that it keeps; ?from=POSITION&limit=N",
    ),
    (
        "POST",
        "/topics/{log}/consumers/{name}/delete",
        "forgets a durable name and what it was to get",
    ),
];

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/topics", get(topics))
        .route("/topics/{log}", get(topic))
        .route("/topics/{log}/events", get(events))
        .route("/topics/{log}/consumers/{name}/delete", post(delete))
}

async fn topics(State(gateway): State<Arc<Gateway>>) -> Response {
    let infos = gateway.control().events().topics().infos().await;
    let view = |(name, info): &(Text, Result<LogInfo, Error>)| match info {
        Ok(info) => log_view(info),
        // The others are there while one store is away.
        Err(error) => json!({ "topic": name.as_str(), "fault": error.to_string() }),
    };
    let topics: Vec<_> = infos.iter().map(view).collect();
    Json(json!({ "topics": topics })).into_response()
}

async fn topic(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Response, AdminFailure> {
    let infos = gateway.control().events().topics().infos().await;
    let found = infos.into_iter().find(|(log, _)| *log == name.as_str());
    let (_, info) = found.ok_or_else(|| unknown(&name))?;
    let info = info.map_err(|error| failed(&error))?;
    Ok(Json(log_view(&info)).into_response())
}

/// Which events of a log.
#[derive(serde::Deserialize)]
struct EventsQuery {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

async fn events(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Query(EventsQuery { from, limit }): Query<EventsQuery>,
) -> Result<Response, AdminFailure> {
    let log = gateway.control().events().topics().log(&name);
    let log = log.ok_or_else(|| unknown(&name))?;
    let limit = limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MAX);
    let events = log.read(Position(from), limit).await;
    let events = events.map_err(|error| failed(&error))?;
    let events: Vec<_> = events.into_iter().map(event_view).collect();
    Ok(Json(json!({ "events": events })).into_response())
}

async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path((name, consumer)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let log = gateway.control().events().topics().log(&name);
    let log = log.ok_or_else(|| unknown(&name))?;
    let deleted = log.delete_consumer(&Text::from(consumer.as_str())).await;
    match deleted.map_err(|error| failed(&error))? {
        true => Ok(Json(json!({ "topic": name, "deleted": consumer })).into_response()),
        false => {
            let message = format!("log {name} has no consumer {consumer}");
            Err(AdminFailure::new(StatusCode::NOT_FOUND, message))
        }
    }
}

fn log_view(log: &LogInfo) -> JsonValue {
    let consumers: Vec<_> = log.consumers.iter().map(consumer_view).collect();
    json!({
        "topic": log.name.as_str(),
        "store": log.store.as_str(),
        "events": log.n_events,
        "bytes": log.n_bytes,
        "first": log.first.0,
        "last": log.last.0,
        "consumers": consumers,
    })
}

fn consumer_view(consumer: &ConsumerInfo) -> JsonValue {
    let patterns: Vec<_> = consumer.patterns.iter().map(ToString::to_string).collect();
    json!({
        "name": consumer.name.as_str(),
        "topics": patterns,
        "acknowledged": consumer.acknowledged.0,
        "pending": consumer.n_pending,
        "in_flight": consumer.n_in_flight,
        "redelivered": consumer.n_redelivered,
        "dead": consumer.n_dead,
        "members": consumer.n_members,
    })
}

/// The event's line, with where and when it was stored and, of a dead letter, what happened to it.
fn event_view(stored: StoredEvent) -> JsonValue {
    let headers = stored.event.headers.iter();
    let headers: serde_json::Map<_, _> = headers
        .filter(|(key, _)| key.starts_with(b"event-"))
        .map(|(key, value)| {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            (text(key), JsonValue::from(text(&value)))
        })
        .collect();
    let line = to_line(&Delivery {
        event: stored.event,
        missed: 0,
        subscription: Text::default(),
    });
    let event: JsonValue = serde_json::from_slice(&line).unwrap_or_default();
    json!({
        "position": stored.position.0,
        "stored_at_ms": stored.stored_at_ms,
        "headers": headers,
        "event": event,
    })
}

fn unknown(name: &str) -> AdminFailure {
    let message = format!("no topic {name:?} is durable; GET /topics names them");
    AdminFailure::new(StatusCode::NOT_FOUND, message)
}

fn failed(error: &Error) -> AdminFailure {
    let status = StatusCode::from_u16(error.http());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    AdminFailure::new(status, error.message.to_string())
}

const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1000;
