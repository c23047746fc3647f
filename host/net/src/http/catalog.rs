//! What `GET /v1/services` tells: which services answer, and what their methods take and give.

use serde::Serialize;

/// Knows the services that answer at present.
pub trait Catalog: Send + Sync + 'static {
    /// Every service in the order of its name. Asked once per listing; nothing is cached.
    fn services(&self) -> Vec<ServiceInfo>;
}

/// One service as the catalogue shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceInfo {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One sentence for people; empty when the service says nothing about itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Empty when the service does not describe its methods; it may answer any.
    pub methods: Vec<MethodInfo>,
}

/// One method as its service describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MethodInfo {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// `unary`, `client-stream`, `server-stream` or `bidirectional`.
    pub kind: String,
    /// Name of the request's type; empty when it takes none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// Name of the reply's type; empty when it gives none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub response: String,
    /// Whether a second identical call changes nothing more.
    pub idempotent: bool,
}

/// The body of `GET /v1/services`.
#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) services: Vec<ServiceInfo>,
}
