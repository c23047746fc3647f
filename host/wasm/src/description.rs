//! A service as its plugin describes it.

/// A service as its plugin describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServiceInfo {
    pub name: String,
    pub version: Option<String>,
    pub summary: String,
    /// Empty when the plugin does not say.
    pub methods: Vec<MethodInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MethodInfo {
    pub name: String,
    pub summary: String,
    pub kind: CallKind,
    /// Name of the request's type; empty when it takes none.
    pub request: String,
    /// Name of the reply's type; empty when it gives none.
    pub response: String,
    /// Whether a second identical call changes nothing more.
    pub idempotent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Unary,
    ClientStream,
    ServerStream,
    Bidirectional,
}

impl CallKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client-stream",
            Self::ServerStream => "server-stream",
            Self::Bidirectional => "bidirectional",
        }
    }
}
