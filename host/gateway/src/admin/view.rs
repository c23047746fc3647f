//! What the admin listener shows.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    cluster::ServiceNumbers, control::NameFault, directory::listing::MethodListing,
    telemetry::calls::CallNumbers,
};

/// One service with its numbers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServiceMetricsView {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub plugin: String,
    pub generation: u64,
    pub is_live: bool,
    /// Why nobody answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Absent where the plugin does not describe itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// What is said of methods, wherever they are answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<MethodListing>,
    pub calls: CallsView,
    /// Its instances, and what was decided among them. Absent for services of the gateway itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ServiceNumbers>,
}

/// Calls of one service since the start.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CallsView {
    pub ended: u64,
    pub failed: u64,
    pub in_flight: u64,
    /// Half of the calls took at most this long, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// An answer that is no success: `{"error", "code", "hint"?}`.
#[derive(Debug)]
pub(crate) struct AdminFailure {
    status: StatusCode,
    message: String,
    hint: Option<String>,
}

impl From<CallNumbers> for CallsView {
    fn from(numbers: CallNumbers) -> Self {
        Self {
            ended: numbers.n_ended(),
            failed: numbers.n_failed(),
            in_flight: numbers.in_flight,
            p50_ms: numbers.durations.quantile_ms(0.5),
            p99_ms: numbers.durations.quantile_ms(0.99),
        }
    }
}

impl AdminFailure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<NameFault> for AdminFailure {
    fn from(fault: NameFault) -> Self {
        match fault {
            NameFault::Unknown { message, hint } => {
                let failure = Self::new(StatusCode::NOT_FOUND, message);
                failure.with_hint(hint.unwrap_or_else(|| "GET /plugins lists them".to_owned()))
            }
            fault @ (NameFault::NotSo(_) | NameFault::Several { .. }) => {
                Self::new(StatusCode::CONFLICT, fault.to_string())
            }
        }
    }
}

impl IntoResponse for AdminFailure {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({ "error": self.message, "code": self.status.as_u16() });
        if let (Some(hint), Some(body)) = (self.hint, body.as_object_mut()) {
            body.insert("hint".to_owned(), hint.into());
        }
        (self.status, Json(body)).into_response()
    }
}
