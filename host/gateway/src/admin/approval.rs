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
use crate::{
    app::gateway::Gateway,
    plugins::trust::{DIGEST_DIGITS_MAX, DIGEST_DIGITS_MIN, is_digest_start},
    printed,
};

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
    check_digest(digest.as_deref())?;
    gateway.control().check_name(&name)?;
    let by = operator::who(peer.map(|Extension(peer)| peer)).await;
    let approved = gateway
        .control()
        .approve(&name, digest.as_deref(), &by)
        .await;
    gateway.control().versions_written().await;
    let (label, held) =
        approved.map_err(|refusal| AdminFailure::new(StatusCode::CONFLICT, refusal.to_string()))?;
    let growth: Vec<_> = held.growth.iter().map(ToString::to_string).collect();
    let plugin = gateway.control().version(&label);
    let answer = json!({ "digest": held.digest, "growth": growth, "plugin": plugin });
    Ok(Json(answer).into_response())
}

/// Every digest begins with nothing at all: whoever means one version says enough of it.
fn check_digest(digest: Option<&str>) -> Result<(), AdminFailure> {
    let Some(digest) = digest.filter(|digest| !is_digest_start(digest)) else {
        return Ok(());
    };
    let shown = printed::shortened(digest, DIGEST_DIGITS_MAX);
    let message = format!(
        "digest={shown:?} is not {DIGEST_DIGITS_MIN} to {DIGEST_DIGITS_MAX} of the digits 0-9 and a-f"
    );
    let hint = "GET /plugins/NAME shows the digest of what is held";
    Err(AdminFailure::new(StatusCode::BAD_REQUEST, message).with_hint(hint))
}
