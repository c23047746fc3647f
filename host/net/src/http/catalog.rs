//! What `GET /v1/services` and `GET /openapi.json` tell: which services answer, what their methods take
//! and give, and which routes lead to them. And what fronts want to know of a method before they make a
//! call of it.

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Text, service::MethodInfo};

/// Knows the services that answer at present, and who may know of them.
pub trait Catalog: Send + Sync + 'static {
    /// The JSON of every service, or of the one called `name`, that the caller may know of. `asked`
    /// carries the headers of the request and who sent it, and names no service.
    ///
    /// # Errors
    /// Whatever refuses the caller; `not-found` when it may know of no service called `name`.
    fn services(&self, name: Option<Text>, asked: Call) -> BoxFuture<Result<Bytes, Error>>;

    /// The OpenAPI document of what the caller may call by way of the listener called `listener`. `asked`
    /// is as for `services`. A catalogue that has none says so.
    ///
    /// # Errors
    /// Whatever refuses the caller; `not-found` where there is none.
    fn openapi(&self, _listener: Text, _asked: Call) -> BoxFuture<Result<Bytes, Error>> {
        let none = Error::not_found("this gateway has no document of its services");
        Box::pin(std::future::ready(Err(none)))
    }

    /// Whether a service of that name is known, whoever may call it. Asked before a call, and of no
    /// consequence to it: guards decide on the call.
    fn has_service(&self, _service: &str) -> bool {
        true
    }

    /// What is known of a method: nothing but its name where its service does not describe it and may
    /// have it; `None` where the service is not known, or says that it has no such method.
    fn method_info(&self, _service: &str, method: &str) -> Option<MethodInfo> {
        Some(MethodInfo::new(method, false))
    }

    /// Why nobody answers for a service at present that is known or may yet come, so that what is not known of
    /// its methods does not count. It is told before it is known who asks, and names no more than the service.
    fn why_unavailable(&self, _service: &str) -> Option<Error> {
        None
    }

    /// Why what nobody takes may yet be taken: the services that a start brings are not all there.
    fn starting(&self) -> Option<Error> {
        None
    }
}
