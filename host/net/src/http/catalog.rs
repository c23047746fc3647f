//! What `GET /v1/services` and `GET /openapi.json` tell: which services answer, what their methods take
//! and give, and which routes lead to them.

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Text};

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
}
