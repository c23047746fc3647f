//! Sessions of MQTT as operators see and end them.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{guard, view::AdminFailure};
use crate::app::gateway::Gateway;

/// As `super::ENDPOINTS`.
pub(super) const ENDPOINTS: [(&str, &str, &str); 3] = [
    (
        "GET",
        "/mqtt/sessions",
        "every session of MQTT, connected or kept, and what waits for it",
    ),
    (
        "GET",
        "/mqtt/sessions/{client}",
        "one session and what it is subscribed to; a / in a client's name is written %2F",
    ),
    (
        "POST",
        "/mqtt/sessions/{client}/disconnect",
        "the client's connection ends; its session is kept as it asked for",
    ),
];

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/mqtt/sessions", get(sessions))
        .route("/mqtt/sessions/{client}", get(session))
        .route("/mqtt/sessions/{client}/disconnect", post(disconnect))
}

async fn sessions(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(gateway.mqtt().view()).into_response()
}

async fn session(
    State(gateway): State<Arc<Gateway>>,
    Path(client): Path<String>,
) -> Result<Response, AdminFailure> {
    let session = gateway.mqtt().session(&client);
    let session = session.ok_or_else(|| unknown(&client))?;
    Ok(Json(session).into_response())
}

async fn disconnect(
    State(gateway): State<Arc<Gateway>>,
    Path(client): Path<String>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    match gateway.mqtt().broker().disconnect(&client) {
        true => Ok(Json(json!({ "client": client, "disconnected": true })).into_response()),
        false => Err(unknown(&client)),
    }
}

fn unknown(client: &str) -> AdminFailure {
    let shown: String = client.escape_debug().take(SHOWN_CHARS_MAX).collect();
    let message = format!("no client {shown} is connected or kept");
    AdminFailure::new(StatusCode::NOT_FOUND, message)
}

/// Of a name that nobody has.
const SHOWN_CHARS_MAX: usize = 128;
