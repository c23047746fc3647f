//! What callers prove, as security schemes: what the configuration knows how to look at.

use serde_json::{Map, Value as Json, json};

use crate::{
    config::{Auth, AuthenticationMode},
    guard::need_of,
};

/// The schemes, and which operations need one.
pub(super) struct Security<'a> {
    auth: &'a Auth,
    schemes: Map<String, Json>,
}

impl<'a> Security<'a> {
    pub(super) fn new(auth: &'a Auth) -> Self {
        let keys = &auth.api_keys;
        let has_keys = !keys.keys.is_empty() || keys.file.is_some();
        // A plugin may know callers where nothing else is configured.
        let needs_some = auth.authentication == AuthenticationMode::Required;
        let has_others = has_keys || !auth.certificates.is_empty();
        let has_tokens = !auth.jwt.is_empty() || (needs_some && !has_others);
        let known = [
            (
                has_tokens,
                "bearer",
                json!({ "type": "http", "scheme": "bearer" }),
            ),
            (
                has_keys,
                "api-key",
                json!({ "type": "apiKey", "in": "header", "name": keys.header }),
            ),
            (
                !auth.certificates.is_empty(),
                "certificate",
                json!({ "type": "mutualTLS" }),
            ),
        ];
        let known = known.into_iter().filter(|(is_known, ..)| *is_known);
        Self {
            auth,
            schemes: known
                .map(|(_, name, scheme)| (name.to_owned(), scheme))
                .collect(),
        }
    }

    pub(super) fn schemes(&self) -> Map<String, Json> {
        self.schemes.clone()
    }

    /// The operation with what it needs of its caller: any of the schemes; nothing where it says so.
    pub(super) fn apply(&self, mut operation: Json, service: &str, method: &str) -> Json {
        if self.schemes.is_empty() {
            return operation;
        }
        let any = || self.schemes.keys().map(|name| json!({ name: [] }));
        let needed: Vec<_> = match need_of(self.auth, service, method) {
            AuthenticationMode::Required => any().collect(),
            AuthenticationMode::Optional => any().chain([json!({})]).collect(),
            AuthenticationMode::Off => Vec::new(),
        };
        if let Some(operation) = operation.as_object_mut() {
            operation.insert("security".to_owned(), needed.into());
        }
        operation
    }
}
