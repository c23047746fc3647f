//! The call that a store answers, as its imports ask for it.

use std::sync::Arc;

use postern_core::{Call, Context, Headers, HttpFacts, Text, extension::Asked};

/// The call itself. Kept by pointer: it goes into a store and comes out again for every entry.
pub(crate) enum AmbientCall {
    Owned(Box<Call>),
    /// What others share of it.
    Shared(Arc<Asked>),
}

impl AmbientCall {
    pub(crate) fn service(&self) -> &Text {
        match self {
            Self::Owned(call) => &call.service,
            Self::Shared(asked) => &asked.service,
        }
    }

    pub(crate) fn method(&self) -> &Text {
        match self {
            Self::Owned(call) => &call.method,
            Self::Shared(asked) => &asked.method,
        }
    }

    /// The headers of the request.
    pub(crate) fn headers(&self) -> &Headers {
        match self {
            Self::Owned(call) => &call.headers,
            Self::Shared(asked) => &asked.headers,
        }
    }

    pub(crate) fn http(&self) -> Option<&HttpFacts> {
        match self {
            Self::Owned(call) => call.http.as_deref(),
            Self::Shared(asked) => asked.http.as_deref(),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        match self {
            Self::Owned(call) => &call.context,
            Self::Shared(asked) => &asked.context,
        }
    }
}
