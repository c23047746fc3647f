//! What `GET /v1/services` tells: which services answer, and what their methods take and give.

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Text};
use serde::Serialize;

/// Knows the services that answer at present, and who may know of them.
pub trait Catalog: Send + Sync + 'static {
    /// The JSON of every service, or of the one called `name`, that the caller may know of; see
    /// [`listing`]. `asked` carries the headers of the request and who sent it, and names no service.
    ///
    /// # Errors
    /// Whatever refuses the caller; `not-found` when it may know of no service called `name`.
    fn services(&self, name: Option<Text>, asked: Call) -> BoxFuture<Result<Bytes, Error>>;
}

/// The JSON of `services` in the order of their names, or of the one called `name`.
///
/// # Errors
/// `not-found` when there is none of that name.
pub fn listing(mut services: Vec<ServiceInfo>, name: Option<&str>) -> Result<Bytes, Error> {
    let json = match name {
        None => {
            services.sort_by(|one, other| one.name.cmp(&other.name));
            serde_json::to_vec(&Listing { services })
        }
        Some(name) => {
            let found = services.iter().find(|service| service.name == name);
            let none = || Error::not_found(format!("no service {name} is here"));
            serde_json::to_vec(found.ok_or_else(none)?)
        }
    };
    let json = json.map_err(|error| Error::internal("catalogue").with_source(error))?;
    Ok(json.into())
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
struct Listing {
    services: Vec<ServiceInfo>,
}
