//! A version as operators see it.

use serde::Serialize;

use super::trial::TrialView;

/// What a version is among those of its plugin.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionView {
    pub plugin: String,
    /// As the file's name says; absent where it says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `stable`, `canary`, `shadow`, `rolled-back` or `held`.
    pub place: &'static str,
    /// Nothing changes by itself which version takes the calls.
    #[serde(skip_serializing_if = "is_false")]
    pub pinned: bool,
    /// Why it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place_reason: Option<String>,
    /// Failed calls of all since the start, 0 to 1, faults of callers included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// The upper edge of the bucket of time that 99 of 100 calls are within, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Of a version that is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
