//! `POST /plugins/{name}/approve`.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use postern_core::Peer;
use serde_json::json;

use super::{guard, operator, view::AdminFailure};
use crate::app::gateway::Gateway;

/// Which version is meant.
#[derive(serde::Deserialize)]
pub(super) struct ApprovalQuery {
    /// How the digest of what was looked at begins: of component and manifest together.
    digest: Option<String>,
}

pub(super) async fn approve(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Query(ApprovalQuery { digest }): Query<ApprovalQuery>,
    peer: Option<Extension<Arc<Peer>>>,
    headers: HeaderMap,
) -> Result<Response, AdminFailure> {
    guard::check(&headers, &gateway.loaded().config.admin)?;
    if gateway.control().plugin(&name).is_none() {
        return Err(AdminFailure::unknown_plugin(&name, &gateway));
    }
    let by = operator::who(peer.map(|Extension(peer)| peer)).await;
    let approving = gateway.control().approve(&name, digest.as_deref(), &by);
    let approved = approving.await;
    let approved =
        approved.map_err(|refusal| AdminFailure::new(StatusCode::CONFLICT, refusal.to_string()))?;
    let growth: Vec<_> = approved.growth.iter().map(ToString::to_string).collect();
    let plugin = gateway.control().plugin(&name);
    let answer = json!({ "digest": approved.digest, "growth": growth, "plugin": plugin });
    Ok(Json(answer).into_response())
}
