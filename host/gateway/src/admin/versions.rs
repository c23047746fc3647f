//! What operators do with versions of plugins: promote, pin, unpin, and what happened so far.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_core::Peer;
use serde_json::json;

use super::{guard, operator, view::AdminFailure};
use crate::{
    app::gateway::Gateway,
    control::{Control, OfferRefused},
};

/// As `super::ENDPOINTS`. What `{name}` means stands in `control/naming.rs`.
pub(super) const ENDPOINTS: [(&str, &str, &str); 4] = [
    (
        "POST",
        "/plugins/{name}/promote",
        "the version, or the one under trial, takes the plugin's calls",
    ),
    (
        "POST",
        "/plugins/{name}/pin",
        "nothing changes by itself which version takes the plugin's calls",
    ),
    (
        "POST",
        "/plugins/{name}/unpin",
        "newer versions are tried again",
    ),
    (
        "GET",
        "/plugins/{name}/log",
        "what happened to the plugin's versions, the latest last",
    ),
];

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/plugins/{name}/promote", post(promote))
        .route("/plugins/{name}/pin", post(pin))
        .route("/plugins/{name}/unpin", post(unpin))
        .route("/plugins/{name}/log", get(log))
}

async fn promote(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    peer: Option<Extension<Arc<Peer>>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    change(&gateway, &name, (peer, headers), Control::promote).await
}

async fn pin(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    peer: Option<Extension<Arc<Peer>>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    change(&gateway, &name, (peer, headers), Control::pin).await
}

async fn unpin(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    peer: Option<Extension<Arc<Peer>>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    change(&gateway, &name, (peer, headers), Control::unpin).await
}

async fn log(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Response, AdminFailure> {
    let entries = gateway.control().version_history(&name).await;
    if entries.is_empty() {
        gateway.control().check_name(&name)?;
    }
    Ok(Json(json!({ "log": entries })).into_response())
}

/// Does what the peer asks for. Answers once it is on the disk.
async fn change(
    gateway: &Gateway,
    name: &str,
    (peer, headers): (Option<Extension<Arc<Peer>>>, HeaderMap),
    change: impl FnOnce(&Control, &str, &str) -> Result<(), OfferRefused>,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    let control = gateway.control();
    control.check_name(name)?;
    let who = operator::who(peer.map(|Extension(peer)| peer)).await;
    let changed = change(control, name, &who);
    control.versions_written().await;
    match changed {
        Ok(()) => Ok(Json(control.version_in_force(name)).into_response()),
        Err(refused) => Err(AdminFailure::new(StatusCode::CONFLICT, refused.to_string())),
    }
}
