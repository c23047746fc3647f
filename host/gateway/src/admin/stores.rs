//! Stores of others, for operators.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::app::gateway::Gateway;

/// Endpoints of this file.
pub(super) const ENDPOINTS: [(&str, &str, &str); 1] = [(
    "GET",
    "/stores",
    "every store of [stores.NAME]: whether it is connected, its connections and numbers",
)];

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/stores", get(stores))
}

async fn stores(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "stores": gateway.stores().views() })).into_response()
}
