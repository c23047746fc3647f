//! The catalogue of services as listeners ask for it: `GET /v1/services` is the call
//! `directory/services`, and passes whatever a call passes.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{Body, BoxFuture, Call, Error, Handler, Text, service::MethodInfo};
use postern_net::http::Catalog;
use serde_json::json;

use super::methods::{OPENAPI, SERVICE, SERVICES};
use crate::grpc::KnownMethods;

/// The catalogue behind the handler of a listener's calls.
pub(crate) struct ListenerCatalog {
    handler: Arc<dyn Handler>,
    known: KnownMethods,
}

impl Catalog for ListenerCatalog {
    fn services(&self, name: Option<Text>, asked: Call) -> BoxFuture<Result<Bytes, Error>> {
        let body = name.map_or(Body::Empty, |name| {
            let request = json!({ "service": name.as_str() });
            Body::One(request.to_string().into())
        });
        self.ask(SERVICES, body, asked)
    }

    fn openapi(&self, listener: Text, asked: Call) -> BoxFuture<Result<Bytes, Error>> {
        let request = json!({ "listener": listener.as_str() });
        self.ask(OPENAPI, Body::One(request.to_string().into()), asked)
    }

    fn has_service(&self, service: &str) -> bool {
        self.known.has_service(service)
    }

    fn method_info(&self, service: &str, method: &str) -> Option<MethodInfo> {
        self.known.method_info(service, method)
    }

    fn why_unavailable(&self, service: &str) -> Option<Error> {
        self.known.why_unavailable(service)
    }

    fn starting(&self) -> Option<Error> {
        self.known.starting()
    }
}

impl ListenerCatalog {
    /// Over what `handler` answers and what is `known` of methods.
    #[must_use]
    pub(crate) fn new(handler: Arc<dyn Handler>, known: KnownMethods) -> Self {
        Self { handler, known }
    }

    fn ask(
        &self,
        method: &'static str,
        body: Body,
        asked: Call,
    ) -> BoxFuture<Result<Bytes, Error>> {
        let answer = self.handler.call(Call {
            service: Text::from_static(SERVICE),
            method: Text::from_static(method),
            version: None,
            body,
            ..asked
        });
        Box::pin(async move { answer.await?.body.into_one(usize::MAX).await })
    }
}
